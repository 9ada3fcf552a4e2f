//! The writer of a sink, in whichever mode it is.

use std::fmt;

use async_trait::async_trait;
use tidelock::{Epoch, Prepared, Rejecting, Rejects, Result, SinkWriter};

use crate::batched::BatchedWriter;
use crate::change::ItemChange;
use crate::ledger::{DynamoCommittable, LedgerWriter};
use crate::versioned::VersionedWriter;

/// Writes items: see [`DynamoSink`](crate::DynamoSink).
pub struct DynamoWriter(pub(crate) InMode);

/// A writer of each [`Mode`](crate::Mode).
pub(crate) enum InMode {
    Versioned(VersionedWriter),
    Batched(BatchedWriter),
    Ledger(Box<LedgerWriter>),
}

impl fmt::Debug for DynamoWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            InMode::Versioned(writer) => writer.fmt(f),
            InMode::Batched(writer) => writer.fmt(f),
            InMode::Ledger(writer) => writer.fmt(f),
        }
    }
}

/// Whether DynamoDB can take a record is found out when it is written, in every mode.
impl Rejecting for DynamoWriter {
    fn reject_to(&mut self, rejects: Rejects<ItemChange>) {
        match &mut self.0 {
            InMode::Versioned(writer) => writer.reject_to(rejects),
            InMode::Batched(writer) => writer.reject_to(rejects),
            InMode::Ledger(writer) => writer.reject_to(rejects),
        }
    }
}

#[async_trait]
impl SinkWriter for DynamoWriter {
    type Record = ItemChange;
    type Committable = DynamoCommittable;

    async fn write(&mut self, records: &mut Vec<ItemChange>) -> Result<()> {
        match &mut self.0 {
            InMode::Versioned(writer) => writer.write(records).await,
            InMode::Batched(writer) => writer.write(records).await,
            InMode::Ledger(writer) => writer.write(records).await,
        }
    }

    /// In the modes that write at once everything is visible already: nothing waits for a commit.
    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<DynamoCommittable>>> {
        match &mut self.0 {
            InMode::Versioned(writer) => writer.prepare().await,
            InMode::Batched(writer) => writer.prepare(),
            InMode::Ledger(writer) => return writer.prepare(epoch).await,
        }
        .map(|()| Vec::new())
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        match &mut self.0 {
            InMode::Versioned(_) | InMode::Batched(_) => Ok(()),
            InMode::Ledger(writer) => writer.settled(epoch, reinit).await,
        }
    }
}
