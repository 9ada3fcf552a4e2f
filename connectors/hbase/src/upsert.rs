//! The writer of the mode `upsert`: what it was given is in the table when the call returns.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::write_ahead::WriteAheadCommittable;
use tidelock::{Epoch, Error, ErrorKind, Prepared, Rejecting, Rejects, Result, SinkWriter};
use tokio::time::{Instant, sleep_until};

use crate::merge::Step;
use crate::mutation::RowMutation;
use crate::sample;
use crate::seen::Written;
use crate::target::{Ready, Target};
use crate::times::Stamps;

/// Writes rows at once: see [`Mode::Upsert`](crate::Mode::Upsert).
pub(crate) struct UpsertWriter {
    target: Arc<Target>,
    ready: Arc<Ready>,
    /// `None`: versions are those of the records.
    stamps: Option<Stamps>,
    rejects: Rejects<RowMutation>,
    /// What is written was compared with what is in the table.
    is_compared: bool,
    /// A call failed, or was dropped: not everything of the epoch is known to have arrived.
    failed: bool,
}

impl fmt::Debug for UpsertWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpsertWriter")
            .field("table", &self.target.config.table)
            .field("stamps", &self.stamps)
            .finish_non_exhaustive()
    }
}

impl UpsertWriter {
    pub(crate) fn new(target: Arc<Target>, ready: Arc<Ready>) -> Self {
        let stamps = ready.times.clone().map(Stamps::new);
        Self { target, ready, stamps, rejects: Rejects::default(), is_compared: false, failed: false }
    }

    fn check_whole(&self) -> Result<()> {
        if self.failed {
            let why = "an earlier call of this writer failed: not everything of the epoch is known to be in the table";
            let error = Error::new(ErrorKind::Conflict, "write rows", why);
            return Err(error.with("table", &self.target.config.table));
        }
        Ok(())
    }

    async fn take(&mut self, records: &mut Vec<RowMutation>) -> Result<()> {
        let mut good = Vec::with_capacity(records.len());
        for record in records.drain(..) {
            match self.ready.checks.check(&record) {
                Ok(()) => good.push(record),
                Err(error) => self.rejects.push(record, error)?,
            }
        }
        let Some(stamps) = &mut self.stamps else {
            let steps = self.ready.merge.by_version(good);
            self.compare(&steps)?;
            return self.target.sender.send(steps).await;
        };
        let merged = self.ready.merge.in_order(good);
        let steps = match merged.times() {
            0 => return Ok(()),
            count => merged.at(stamps.next(count).await?),
        };
        let first = if self.is_compared { None } else { Written::of(&steps) };
        self.target.sender.send(steps).await?;
        if let Some(first) = first {
            let Target { gateways, config, .. } = &*self.target;
            first.check(gateways, &config.table, stamps.claim()).await?;
            self.is_compared = true;
        }
        Ok(())
    }

    /// The first version that is written says what kind of number versions are.
    fn compare(&mut self, steps: &[Step]) -> Result<()> {
        let Some(first) = steps.first().filter(|_| !self.is_compared) else { return Ok(()) };
        let now = self.target.clock.unchecked();
        sample::check_record(&self.target.config.table, self.ready.newest, first.timestamp, now)?;
        self.is_compared = true;
        Ok(())
    }
}

impl Rejecting for UpsertWriter {
    fn reject_to(&mut self, rejects: Rejects<RowMutation>) {
        self.rejects = rejects;
    }
}

#[async_trait]
impl SinkWriter for UpsertWriter {
    type Record = RowMutation;
    type Committable = WriteAheadCommittable;

    async fn write(&mut self, records: &mut Vec<RowMutation>) -> Result<()> {
        self.check_whole()?;
        let began = Instant::now();
        self.failed = true;
        self.take(records).await?;
        self.failed = false;
        // What comes meanwhile is gathered by the host, and the next call has it all.
        sleep_until(began + Duration::from_millis(self.target.config.linger_ms)).await;
        Ok(())
    }

    /// What was written has arrived when its call returned, and readers see it: nothing waits for a commit.
    async fn prepare(&mut self, _epoch: Epoch) -> Result<Vec<Prepared<WriteAheadCommittable>>> {
        self.check_whole()?;
        Ok(Vec::new())
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        Ok(())
    }
}
