//! A job's log on an object store.

mod entry;
mod permit;
mod segment;

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;

pub use entry::{Closed, Entry, EntryKind, Lineage, Nonce, PendingState, RequestId, SnapshotId, State};
pub use permit::{CommitPermit, Durable};
pub use segment::{ChunkRef, Segment};

use crate::{JobId, Position, Result};

/// The answer to one create request.
#[derive(Debug)]
pub enum Created {
    /// The entry is durable and ours.
    Ours(Durable),
    /// Something stands at the position: read it back to learn whose.
    Taken,
}

/// What stands at a position.
#[derive(Debug)]
pub enum ReadBack {
    /// An entry with one of the nonces that we asked with: it counts.
    Ours(Durable, Nonce),
    /// An entry of somebody else.
    Foreign(Box<Entry>),
    /// Nothing.
    Absent,
}

/// A job's log.
#[derive(Debug, Clone)]
pub struct Log {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

#[allow(clippy::unused_async, missing_docs, clippy::unimplemented, unused_variables)]
impl Log {
    /// Opens the log at a URL or a local path; creates the folder where it does not exist.
    pub async fn open(url: &str) -> Result<Self> {
        unimplemented!()
    }

    /// A log under `root` of a given store.
    pub fn on(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root }
    }

    /// Proves that the store refuses a second create of the same name.
    pub async fn probe(&self) -> Result<()> {
        unimplemented!()
    }

    /// All positions that have an entry, ascending.
    pub async fn positions(&self) -> Result<Vec<Position>> {
        unimplemented!()
    }

    /// The entry at a position, verified.
    pub async fn read(&self, position: Position) -> Result<Option<Entry>> {
        unimplemented!()
    }

    /// Asks once for the entry's position. An error means that the outcome is unknown.
    pub async fn create(&self, entry: &Entry) -> Result<Created> {
        unimplemented!()
    }

    /// Reads what stands at a position, after a create whose outcome is unknown.
    pub async fn read_back(&self, position: Position, ours: &[Nonce]) -> Result<ReadBack> {
        unimplemented!()
    }

    /// Writes a chunk under a fresh name of this attempt.
    pub async fn write_chunk(&self, attempt: Position, bytes: Bytes) -> Result<ChunkRef> {
        unimplemented!()
    }

    /// Reads a chunk, verified.
    pub async fn read_chunk(&self, chunk: &ChunkRef) -> Result<Bytes> {
        unimplemented!()
    }

    /// The bytes of a segment, wherever they are, verified.
    pub async fn read_segment(&self, segment: &Segment) -> Result<Bytes> {
        unimplemented!()
    }
}
