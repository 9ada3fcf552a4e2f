//! An epoch as a target gets it: its records a batch at a time, however many there are.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use super::committable::{RecordChunk, WriteAheadCommittable};
use super::form::unpack;
use super::version::Version;
use crate::log::ChunkStore;
use crate::{Error, ErrorKind, JobId, Result, Retry, Uid, Versioned};

/// How many chunks are in memory beside the batch that is being written: the next one is on its way meanwhile.
const READ_AHEAD: usize = 2;

/// Said of records that nobody can read any more: what was promised cannot be kept, and nothing of the epoch is visible.
const LOST: &str = "records that wait to be committed cannot be read back from the job's log; nothing of their epoch was \
     applied. Restore the file from a backup and start the job again; or give the epoch up with \
     `tidelock snapshots abandon`, then roll back to a snapshot from before it, LOG#POSITION, which reads and writes it again";

/// Everything that one sink writes in one epoch.
pub struct Writes<R> {
    /// The job.
    pub job: JobId,
    /// The sink within the job. The target keeps versions for each job and sink apart.
    pub uid: Uid,
    /// The version to apply them with.
    pub version: Version,
    /// What each writer prepared, one after the other.
    prepared: Vec<WriteAheadCommittable>,
    chunks: Option<ChunkStore>,
    record: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Writes<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, uid, version, prepared, .. } = self;
        write!(f, "Writes({job}/{uid}, version {version}, {prepared:?})")
    }
}

impl<R: Versioned> Writes<R> {
    pub(super) fn new(
        (job, uid, version): (JobId, Uid, Version),
        prepared: Vec<WriteAheadCommittable>,
        chunks: Option<ChunkStore>,
    ) -> Self {
        Self { job, uid, version, prepared, chunks, record: PhantomData }
    }

    /// The records from the first one on: those of one writer in their order, one writer after the other. A batch is at
    /// most what a chunk has, so that an epoch of any size passes through little memory. May be asked for again.
    pub fn batches(&self) -> Batches<'_, R> {
        let pieces = self.prepared.iter().flat_map(|prepared| {
            let here = prepared.records.iter().map(move |_| Piece { prepared, chunk: None });
            here.chain(prepared.chunks.iter().map(move |chunk| Piece { prepared, chunk: Some(chunk) }))
        });
        let (pieces, chunks) = (pieces.collect(), self.chunks.as_ref());
        Batches { pieces, chunks, reading: FuturesOrdered::new(), read: None, record: PhantomData }
    }

    /// How many batches [`Writes::batches`] gives: the same whenever and wherever the epoch is applied.
    pub fn batch_count(&self) -> usize {
        let pieces = |prepared: &WriteAheadCommittable| {
            usize::from(prepared.records.is_some()) + prepared.chunks.len()
        };
        self.prepared.iter().map(pieces).sum()
    }

    /// All records at once, in memory: for a target that cannot take them otherwise.
    ///
    /// # Errors
    /// As [`Batches::next`].
    pub async fn all(&self) -> Result<Vec<R>> {
        let (mut all, mut batches) = (Vec::new(), self.batches());
        while let Some(batch) = batches.next().await? {
            all.extend(batch);
        }
        Ok(all)
    }
}

/// A part of what a writer prepared.
#[derive(Clone, Copy)]
struct Piece<'w> {
    prepared: &'w WriteAheadCommittable,
    /// `None`: the records that it has itself.
    chunk: Option<&'w RecordChunk>,
}

/// A piece, and the bytes of its chunk.
type Read<'w> = (Piece<'w>, Result<Bytes>);

/// The records of an epoch, batch by batch: see [`Writes::batches`].
pub struct Batches<'w, R> {
    /// What nobody asked for yet.
    pieces: VecDeque<Piece<'w>>,
    chunks: Option<&'w ChunkStore>,
    reading: FuturesOrdered<BoxFuture<'w, Read<'w>>>,
    /// What came before it was asked for.
    read: Option<Read<'w>>,
    record: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Batches<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("left", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl<R: Versioned> Batches<'_, R> {
    /// The next records, at least one; `None` after the last.
    ///
    /// # Errors
    /// Where they cannot be read from the job's log. What is gone or damaged there halts, with what to do; the target must
    /// then keep nothing of the epoch, where it applies all of it together.
    pub async fn next(&mut self) -> Result<Option<Vec<R>>> {
        self.read_ahead();
        let read = match self.read.take() {
            Some(read) => Some(read),
            None => self.reading.next().await,
        };
        let Some((piece, bytes)) = read else { return Ok(None) };
        let bytes = bytes.map_err(lost)?;
        // What comes next is on its way while this is written.
        self.read_ahead();
        if let Poll::Ready(Some(next)) = futures::poll!(self.reading.next()) {
            self.read = Some(next);
        }
        let Piece { prepared, chunk } = piece;
        let records = match (chunk, &prepared.records) {
            (Some(chunk), _) => {
                unpack(&bytes, chunk.json_bytes).and_then(|json| prepared.decode_chunk(chunk, json))
            }
            (None, Some(records)) => prepared.decode(records.get()),
            (None, None) => Ok(Vec::new()),
        };
        records.map(Some).map_err(lost)
    }

    /// Asks for as many pieces as there is room for.
    fn read_ahead(&mut self) {
        while self.reading.len() + usize::from(self.read.is_some()) < READ_AHEAD
            && let Some(piece) = self.pieces.pop_front()
        {
            let chunks = self.chunks;
            self.reading.push_back(Box::pin(async move {
                let bytes = match (piece.chunk, chunks) {
                    (None, _) => Ok(Bytes::new()),
                    (Some(chunk), Some(chunks)) => chunks.read(&chunk.chunk).await,
                    (Some(_), None) => Err(no_place()),
                };
                (piece, bytes)
            }));
        }
    }
}

/// I7: what was promised and cannot be read halts, with the evidence.
fn lost(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound => {
            Error::new(error.kind(), "read prepared records", LOST).with_retry(Retry::Halt).because(error)
        }
        _ => error,
    }
}

/// A host that gave writers a place for chunks gives it to those who commit.
fn no_place() -> Error {
    let why = "records that wait to be committed are in chunks of the job's log, and this host does not say where that is: \
               give it to the permit, with CommitPermit::with_chunks, and to the attempt, in SinkAttempt::chunks";
    Error::new(ErrorKind::Config, "read prepared records", why)
}
