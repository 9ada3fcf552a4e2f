//! The writer of the mode `numbered`: what it is given waits in the job's log, with the stream that it is for and the numbering that it is of.

use std::fmt;

use async_trait::async_trait;
use tidelock::write_ahead::WriteAheadWriter;
use tidelock::{Epoch, Prepared, Rejecting, Rejects, Result, SinkWriter};

use super::committable::KinesisCommittable;
use crate::header::NumberingId;
use crate::mark::Mark;
use crate::put::KinesisPut;

/// Writes nothing before the commit: see [`Mode::Numbered`](crate::Mode::Numbered).
pub(crate) struct NumberedWriter {
    inner: WriteAheadWriter<KinesisPut>,
    stream: Mark,
    numbering: NumberingId,
    /// The first epoch in which something was written.
    since: Option<Epoch>,
}

impl fmt::Debug for NumberedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NumberedWriter")
            .field("stream", &self.stream)
            .field("numbering", &self.numbering)
            .field("inner", &self.inner)
            .finish()
    }
}

impl NumberedWriter {
    pub(super) fn new(inner: WriteAheadWriter<KinesisPut>, stream: Mark) -> Self {
        Self { inner, stream, numbering: NumberingId::new(), since: None }
    }
}

impl Rejecting for NumberedWriter {
    fn reject_to(&mut self, rejects: Rejects<KinesisPut>) {
        self.inner.reject_to(rejects);
    }
}

#[async_trait]
impl SinkWriter for NumberedWriter {
    type Record = KinesisPut;
    type Committable = KinesisCommittable;

    async fn write(&mut self, records: &mut Vec<KinesisPut>) -> Result<()> {
        self.inner.write(records).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<KinesisCommittable>>> {
        let prepared = self.inner.prepare(epoch).await?.into_iter();
        let numbered = |Prepared { committable: records, expires_in }| {
            let since = *self.since.get_or_insert(epoch);
            let (stream, numbering) = (self.stream.clone(), self.numbering);
            Prepared { committable: KinesisCommittable { stream, numbering, since, records }, expires_in }
        };
        Ok(prepared.map(numbered).collect())
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.inner.settled(epoch, reinit).await
    }
}
