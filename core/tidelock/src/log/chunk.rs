//! Chunks: large pieces of state beside the manifests, written once under a fresh name.

use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::{Error, ErrorKind, Position, Result};

use super::error::{from_read, from_store, is_absent, is_taken};
use super::manifest::{damaged, gone};
use super::{CHUNKS, ChunkRef, Log, POSITION_DIGITS, Segment, parse_position};

/// Random part of a chunk's name, in hexadecimal digits: 128 bits, so that no two are ever the same.
const RANDOM_DIGITS: usize = 32;

/// How long the removal of a chunk that failed may take: the store may be what failed.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(5);

impl Log {
    /// Writes a chunk under a fresh name of this attempt. After an error nothing refers to it: it is removed
    /// where that is possible now, and else by a later attempt.
    ///
    /// # Errors
    /// Where it is not known to be durable.
    pub async fn write_chunk(&self, attempt: Position, bytes: Bytes) -> Result<ChunkRef> {
        let digits = POSITION_DIGITS;
        let name = format!("{CHUNKS}/{attempt:0digits$}-{:032x}", self.random());
        let chunk = ChunkRef { name, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) };
        let object = self.chunk_object(&chunk.name)?;
        match self.put_new(&object, bytes.into()).await {
            Ok(()) => Ok(chunk),
            // The name is fresh: "taken" is the answer to our own request, sent again by the store's client.
            Err(error) if is_taken(&error) => self.read_chunk(&chunk).await.map(|_| chunk),
            Err(error) => {
                // The request may have arrived. Whoever tries again takes another name.
                let _ = tokio::time::timeout(REMOVAL_TIMEOUT, self.store.delete(&object)).await;
                Err(from_store("write a chunk", &self.place_of(&object), error))
            }
        }
    }

    /// Reads a chunk, verified.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] where its bytes are not the ones that were written;
    /// [`ErrorKind::NotFound`] where it is gone.
    pub async fn read_chunk(&self, chunk: &ChunkRef) -> Result<Bytes> {
        let object = self.chunk_object(&chunk.name)?;
        let place = self.place_of(&object);
        let found = self.store.get(&object).await.map_err(|error| match is_absent(&error) {
            true => gone(&place).because(error),
            false => from_read("read a chunk", &place, error),
        })?;
        // The size is compared before the bytes are held in memory.
        if found.meta.size != chunk.bytes {
            return Err(damaged(&place, "its length is not the one that its entry says")
                .with("bytes_expected", chunk.bytes)
                .with("bytes_found", found.meta.size));
        }
        let bytes = found.bytes().await.map_err(|error| from_read("read a chunk", &place, error))?;
        let crc = crc32c::crc32c(&bytes);
        if crc != chunk.crc32c || bytes.len() as u64 != chunk.bytes {
            return Err(damaged(&place, "its bytes are not the ones that its entry says")
                .with("crc32c_expected", format!("{:08x}", chunk.crc32c))
                .with("crc32c_found", format!("{crc:08x}")));
        }
        Ok(bytes)
    }

    /// The bytes of a segment, wherever they are, verified.
    ///
    /// # Errors
    /// As [`Log::read_chunk`].
    pub async fn read_segment(&self, segment: &Segment) -> Result<Bytes> {
        match segment {
            Segment::Json(json) => Ok(Bytes::copy_from_slice(json.get().as_bytes())),
            Segment::Bytes(bytes) => Ok(bytes.clone()),
            Segment::Chunk(chunk) => self.read_chunk(chunk).await,
        }
    }

    /// Where a chunk is. Its name comes from a file: only a name that we could have written is followed,
    /// so that no manifest leads out of the log.
    pub(super) fn chunk_object(&self, name: &str) -> Result<Path> {
        let file = name.strip_prefix(CHUNKS).and_then(|rest| rest.strip_prefix('/'));
        match file.filter(|file| chunk_attempt(file).is_some()) {
            Some(file) => Ok(self.root.clone().join(CHUNKS).join(file)),
            None => Err(Error::new(ErrorKind::Corrupt, "read a chunk", "this is not the name of a chunk")
                .with("name", format!("{name:?}"))
                .with("log", &self.place)),
        }
    }
}

/// The attempt in a chunk's file name; `None` where it is not such a name.
pub(super) fn chunk_attempt(file: &str) -> Option<Position> {
    let (attempt, random) = file.split_once('-')?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fresh = random.len() == RANDOM_DIGITS && random.bytes().all(hex);
    parse_position(attempt).filter(|_| fresh)
}
