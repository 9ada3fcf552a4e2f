//! Where segments are: in the manifest, or in chunks beside it.

use std::ops::Range;

use bytes::Bytes;
use futures::future::try_join_all;
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, Position, Result, Segment};

use super::packed::{pack, unpack};
use super::segment::merge;

/// Larger segments become chunks: what is inline is written again with every manifest.
pub(super) const INLINE_BYTES_MAX: u64 = 4 * 1024;

/// A segment that is stored, or will be with the next manifest.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) segment: Segment,
    /// Its length before it was compressed, which is what merging costs. Of what was restored the length as it is stored: a base that is
    /// taken for smaller than it is is merged once too early.
    pub(super) length: u64,
}

impl Kept {
    pub(super) fn of(segment: Segment) -> Self {
        Self { length: segment.size(), segment }
    }
}

/// The log of a job, as an attempt writes it.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    log: Log,
    attempt: Position,
}

impl Storage {
    pub(crate) fn new(log: Log, attempt: Position) -> Self {
        Self { log, attempt }
    }

    /// Stores a segment. Where a chunk cannot be written it stays inline: the coordinator then tries
    /// itself, counts a failure as one of the checkpoint, and tells it: not once for each segment.
    pub(super) async fn store(&self, bytes: Bytes) -> Kept {
        if bytes.len() as u64 <= INLINE_BYTES_MAX {
            return Kept::of(Segment::Bytes(bytes));
        }
        let length = bytes.len() as u64;
        let bytes = packed(bytes).await;
        let segment = match self.log.write_chunk(self.attempt, bytes.clone()).await {
            Ok(chunk) => Segment::Chunk(chunk),
            Err(error) => {
                tracing::debug!(%error, "a chunk of keyed state could not be written");
                Segment::Bytes(bytes)
            }
        };
        Kept { segment, length }
    }

    pub(super) async fn read(&self, segment: &Segment) -> Result<Bytes> {
        self.log.read_segment(segment).await
    }

    /// Reads segments, the oldest first, and merges them, off the async threads: see [`merge`].
    pub(super) async fn merged(
        &self,
        segments: impl IntoIterator<Item = &Segment>,
        groups: Range<u16>,
        keep_removed: bool,
    ) -> Result<Option<Bytes>> {
        let read = try_join_all(segments.into_iter().map(|segment| self.read(segment))).await?;
        let merge = move || {
            let segments: Vec<Bytes> = read.into_iter().map(unpack).collect::<Result<_>>()?;
            merge(&segments, &groups, keep_removed)
        };
        match tokio::task::spawn_blocking(merge).await {
            Ok(merged) => merged,
            Err(error) => {
                let why = "merging keyed state panicked";
                Err(Error::new(ErrorKind::Bug, "merge state", why).because(error))
            }
        }
    }
}

/// A segment as it is stored; a large one takes long, so off the async threads.
async fn packed(segment: Bytes) -> Bytes {
    let whole = segment.clone();
    tokio::task::spawn_blocking(move || pack(segment)).await.unwrap_or(whole)
}
