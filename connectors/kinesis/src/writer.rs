//! The writer of a sink, in whichever mode it is.

use std::fmt;

use async_trait::async_trait;
use tidelock::{Epoch, Prepared, Rejecting, Rejects, Result, SinkWriter};

use crate::direct::DirectWriter;
use crate::numbered::{KinesisCommittable, NumberedWriter};
use crate::put::KinesisPut;

/// Writes records: see [`KinesisSink`](crate::KinesisSink).
pub struct KinesisWriter(pub(crate) InMode);

/// A writer of each [`Mode`](crate::Mode).
pub(crate) enum InMode {
    Direct(DirectWriter),
    Numbered(Box<NumberedWriter>),
}

impl fmt::Debug for KinesisWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            InMode::Direct(writer) => writer.fmt(f),
            InMode::Numbered(writer) => writer.fmt(f),
        }
    }
}

/// Whether Kinesis can take a record is found out when it is written, in every mode.
impl Rejecting for KinesisWriter {
    fn reject_to(&mut self, rejects: Rejects<KinesisPut>) {
        match &mut self.0 {
            InMode::Direct(writer) => writer.reject_to(rejects),
            InMode::Numbered(writer) => writer.reject_to(rejects),
        }
    }
}

#[async_trait]
impl SinkWriter for KinesisWriter {
    type Record = KinesisPut;
    type Committable = KinesisCommittable;

    async fn write(&mut self, records: &mut Vec<KinesisPut>) -> Result<()> {
        match &mut self.0 {
            InMode::Direct(writer) => writer.write(records).await,
            InMode::Numbered(writer) => writer.write(records).await,
        }
    }

    /// In the mode `direct` everything is visible already: nothing waits for a commit.
    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<KinesisCommittable>>> {
        match &mut self.0 {
            InMode::Direct(writer) => writer.prepare().await.map(|()| Vec::new()),
            InMode::Numbered(writer) => writer.prepare(epoch).await,
        }
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        match &mut self.0 {
            InMode::Direct(_) => Ok(()),
            InMode::Numbered(writer) => writer.settled(epoch, reinit).await,
        }
    }
}
