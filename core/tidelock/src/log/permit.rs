//! Proof that an entry is durable and ours. Nothing is committed without it (I1).

use crate::{Epoch, Position, Uid};

use super::ChunkStore;

/// Proof that an entry of the job's log is durable and ours. Only the log makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Durable {
    position: Position,
    epoch: Epoch,
}

impl Durable {
    /// Called by the log alone, where a create succeeded or a read-back found our nonce.
    pub(in crate::log) fn new(position: Position, epoch: Epoch) -> Self {
        Self { position, epoch }
    }

    /// The entry's place in the log.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The epoch that the entry covers.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The permit to commit what the entry lists for one sink.
    pub fn permit(&self, uid: &Uid) -> CommitPermit {
        CommitPermit { uid: uid.clone(), epoch: self.epoch, chunks: None }
    }
}

/// The right to commit what a durable entry lists for one sink. It cannot be made from data: it never
/// travels, so whoever holds one is in the process that owns the log.
#[derive(Debug)]
pub struct CommitPermit {
    uid: Uid,
    epoch: Epoch,
    chunks: Option<ChunkStore>,
}

impl CommitPermit {
    /// For a host that does not use our coordinator and log: it asserts that a snapshot that lists
    /// everything to be committed is durable, and that no newer attempt owns the job. Used
    /// wrongly, data is doubled or lost.
    pub fn i_swear_that_the_snapshot_is_durable_and_ours(uid: Uid, epoch: Epoch) -> Self {
        Self { uid, epoch, chunks: None }
    }

    /// The sink that may commit.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The epoch up to which it may commit.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where the chunks are that committables name. `None`: the host gave the writers no place for any.
    pub fn chunks(&self) -> Option<&ChunkStore> {
        self.chunks.as_ref()
    }

    /// Says where the chunks are that committables name: where
    /// [`SinkAttempt::chunks`](crate::SinkAttempt::chunks) said so to the writers.
    #[must_use]
    pub fn with_chunks(self, chunks: ChunkStore) -> Self {
        Self { chunks: Some(chunks), ..self }
    }
}
