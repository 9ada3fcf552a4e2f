//! What is done now and then while the job runs, and that no epoch waits for: sources are looked at for new splits,
//! leftovers of older attempts are swept, and positions are told to sources for monitors.
//!
//! - Of each, one is under way at a time. What is due while one is under way is left out: the next one does it.
//! - Before the job runs nothing is done; the clock goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::run::Running;
use super::{splits, work};
use crate::job::JobConfig;
use crate::patience::later;
use crate::{Error, ErrorKind, Result, Retry, Stored};

/// Positions are exported to sources at most this often: it is for monitors only.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Upkeep {
    discovery: Beat,
    sweep: Beat,
    sweeping: bool,
    acknowledge: Beat,
    acknowledging: bool,
}

/// When something is done the next time.
#[derive(Debug)]
struct Beat {
    every: Duration,
    due: Instant,
}

impl Beat {
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = later(now, self.every);
        }
        due
    }
}

impl Upkeep {
    pub(super) fn new(config: &JobConfig, now: Instant) -> Self {
        let beat = |every| Beat { every, due: later(now, every) };
        Self {
            discovery: beat(config.discovery_interval),
            sweep: beat(config.sweep_interval),
            sweeping: false,
            acknowledge: Beat { every: ACKNOWLEDGE_EVERY, due: now },
            acknowledging: false,
        }
    }

    /// When something is due. Positions are told when an entry is durable, and have no moment of their own.
    pub(super) fn due(&self) -> Instant {
        self.discovery.due.min(self.sweep.due)
    }

    /// Positions were told to the sources, or not: nothing depends on it.
    pub(super) fn acknowledged(&mut self, result: Result<()>) {
        self.acknowledging = false;
        if let Err(error) = result {
            tracing::warn!(%error, "positions were not exported to the source; nothing depends on it");
        }
    }
}

impl Running {
    /// Does what is due.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if self.upkeep.discovery.is_due(now) && self.machine.is_running() {
            self.want_discovery();
        }
        if self.upkeep.sweep.is_due(now) {
            self.sweep();
        }
    }

    /// I6: the sweep is repeated now and then, because a paused older attempt may open something late. By
    /// now nothing of an older attempt is pending, and nothing of this one is touched by it.
    fn sweep(&mut self) {
        if let Some(attempt) = self.standing.attempt().cloned()
            && self.machine.is_running()
            && !self.upkeep.sweeping
        {
            self.upkeep.sweeping = true;
            let sinks = self.graph.sinks.iter();
            let sinks = sinks.map(|(uid, control)| (attempt.of_sink(uid), Arc::clone(control))).collect();
            let patience = self.patience();
            self.work.push(Box::pin(work::sweep(sinks, patience)));
        }
    }

    /// Nothing depends on one sweep: the next one, or the next attempt, finds what is left. But a sink that met an
    /// attempt which is not older cannot say whose the job is. The log can, once this one has ended.
    pub(super) fn on_swept(&mut self, errors: Vec<Error>) -> Result<()> {
        self.upkeep.sweeping = false;
        for error in errors {
            if error.kind() == ErrorKind::Conflict && error.retry() == Retry::Halt {
                return Err(error);
            }
            tracing::warn!(%error, "leftovers of older attempts were not swept");
        }
        Ok(())
    }

    /// I2: what sources learn of durable positions is for monitors; it is never read back.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        if self.upkeep.acknowledging || !self.upkeep.acknowledge.is_due(now) {
            return;
        }
        self.upkeep.acknowledging = true;
        let durable = |splits: &splits::Splits| -> Vec<Stored> {
            splits.unfinished().map(|split| split.split.clone()).collect()
        };
        let sources = self.building.sources.iter();
        let sources = sources.map(|(uid, splits)| (Arc::clone(&self.graph.sources[uid]), durable(splits)));
        self.work.push(Box::pin(work::acknowledge(sources.collect(), self.deadlines.call_timeout())));
    }
}
