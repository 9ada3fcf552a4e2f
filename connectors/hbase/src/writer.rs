//! The writer of a sink, in whichever mode it is.

use std::fmt;

use async_trait::async_trait;
use tidelock::write_ahead::{WriteAheadCommittable, WriteAheadWriter};
use tidelock::{Epoch, Prepared, Rejecting, Rejects, Result, SinkWriter};

use crate::mutation::RowMutation;
use crate::upsert::UpsertWriter;

/// Writes rows: see [`HbaseSink`](crate::HbaseSink).
pub struct HbaseWriter(pub(crate) InMode);

/// A writer of each [`Mode`](crate::Mode).
pub(crate) enum InMode {
    Upsert(UpsertWriter),
    Ledger(Box<WriteAheadWriter<RowMutation>>),
}

impl fmt::Debug for HbaseWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            InMode::Upsert(writer) => writer.fmt(f),
            InMode::Ledger(writer) => writer.fmt(f),
        }
    }
}

/// Whether HBase can take a record is found out when it is written, in both modes.
impl Rejecting for HbaseWriter {
    fn reject_to(&mut self, rejects: Rejects<RowMutation>) {
        match &mut self.0 {
            InMode::Upsert(writer) => writer.reject_to(rejects),
            InMode::Ledger(writer) => writer.reject_to(rejects),
        }
    }
}

#[async_trait]
impl SinkWriter for HbaseWriter {
    type Record = RowMutation;
    type Committable = WriteAheadCommittable;

    async fn write(&mut self, records: &mut Vec<RowMutation>) -> Result<()> {
        match &mut self.0 {
            InMode::Upsert(writer) => writer.write(records).await,
            InMode::Ledger(writer) => writer.write(records).await,
        }
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<WriteAheadCommittable>>> {
        match &mut self.0 {
            InMode::Upsert(writer) => writer.prepare(epoch).await,
            InMode::Ledger(writer) => writer.prepare(epoch).await,
        }
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        match &mut self.0 {
            InMode::Upsert(writer) => writer.settled(epoch, reinit).await,
            InMode::Ledger(writer) => writer.settled(epoch, reinit).await,
        }
    }
}
