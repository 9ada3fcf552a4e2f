//! What is due now and then is done: see [`Upkeep`](super::upkeep::Upkeep).

use std::sync::Arc;

use tokio::time::Instant;

use super::run::Running;
use super::splits::Splits;
use super::work;
use crate::{Error, ErrorKind, Result, Retry, Stored};

impl Running {
    /// Does what is due.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if self.upkeep.is_discovery_due(now) && self.machine.is_running() {
            self.want_discovery();
        }
        if self.upkeep.is_sweep_due(now) {
            self.sweep();
        }
    }

    /// I6: the sweep is repeated now and then, because a paused older attempt may open something late. By
    /// now nothing of an older attempt is pending, and nothing of this one is touched by it.
    fn sweep(&mut self) {
        if let Some(attempt) = self.standing.attempt().cloned()
            && self.machine.is_running()
            && self.upkeep.begin_sweep()
        {
            let sinks = self.graph.sinks.iter();
            let sinks = sinks.map(|(uid, control)| (attempt.of_sink(uid), Arc::clone(control))).collect();
            let bounds = self.bounds();
            self.work.push(Box::pin(work::sweep(sinks, bounds)));
        }
    }

    /// Nothing depends on one sweep: the next one, or the next attempt, finds what is left. But a sink that met an
    /// attempt which is not older cannot say whose the job is. The log can, once this one has ended.
    pub(super) fn on_swept(&mut self, errors: Vec<Error>) -> Result<()> {
        self.upkeep.swept();
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
        if !self.upkeep.begin_acknowledge(now) {
            return;
        }
        let durable = |splits: &Splits| -> Vec<Stored> {
            splits.unfinished().map(|split| split.split.clone()).collect()
        };
        let sources = self.building.sources.iter();
        let sources = sources.map(|(uid, splits)| (Arc::clone(&self.graph.sources[uid]), durable(splits)));
        self.work.push(Box::pin(work::acknowledge(sources.collect(), self.deadlines.call_timeout())));
    }
}
