//! Chunks for those who have no other business with a log: a sink, whose prepared data is too large for an entry.
//!
//! Nothing refers to a chunk when it is written. It is kept from the moment on in which an entry names it, which is why a
//! committable says what it needs ([`Committable::chunks`](crate::Committable::chunks)), and for as long as a retained entry does.
//! One that no entry ever names, of an epoch that failed or a writer that died, is swept by a later attempt; nobody sweeps
//! those of the attempt that runs: see `retention.rs`.

use std::time::Duration;

use bytes::Bytes;

use crate::retry::{Bounds, retry};
use crate::{ErrorKind, Position, Result, Retry};

use super::{ChunkRef, Log};

/// A store that takes no chunk for so long will take no entry either: the attempt ends, and nothing is lost.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// The chunks of a job's log, as one attempt writes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChunkStore {
    log: Log,
    attempt: Position,
}

impl Log {
    /// The chunks of this log, written in the name of `attempt`.
    pub fn chunk_store(&self, attempt: Position) -> ChunkStore {
        ChunkStore { log: self.clone(), attempt }
    }
}

impl ChunkStore {
    /// Writes a chunk, durable when this returns. What may pass is tried again for a while.
    ///
    /// # Errors
    /// Where it is not known to be durable.
    pub async fn write(&self, bytes: Bytes) -> Result<ChunkRef> {
        // Half of a random number is one, too.
        #[allow(clippy::cast_possible_truncation)]
        let jitter_seed = self.log.random() as u64;
        let write = || async {
            let written = self.log.write_chunk(self.attempt, bytes.clone()).await;
            // Each try has a name of its own, and one that failed is referred to by nobody.
            written.map_err(|error| match error.kind() {
                ErrorKind::Unavailable => error.with_retry(Retry::Retry),
                _ => error,
            })
        };
        retry("write a chunk", Bounds { jitter_seed, call_timeout: WRITE_PATIENCE }, write).await.result
    }

    /// Reads a chunk, verified.
    ///
    /// # Errors
    /// As [`Log::read_chunk`].
    pub async fn read(&self, chunk: &ChunkRef) -> Result<Bytes> {
        self.log.read_chunk(chunk).await
    }
}
