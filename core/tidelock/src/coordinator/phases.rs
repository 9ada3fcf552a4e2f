//! How long the phases of each checkpoint take: for metrics, spans and the progress display.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::{Epoch, JobId};

/// One phase of one checkpoint that is under way.
#[derive(Debug)]
struct Phase {
    since: Instant,
    /// Closes with the phase, so that a subscriber shows its duration.
    _span: Span,
}

/// The phases under way.
#[derive(Debug)]
pub(super) struct Phases {
    job: JobId,
    prepare: BTreeMap<Epoch, Phase>,
    append: BTreeMap<Epoch, Phase>,
    commit: BTreeMap<Epoch, Phase>,
}

impl Phases {
    pub(super) fn new(job: JobId) -> Self {
        Self { job, prepare: BTreeMap::new(), append: BTreeMap::new(), commit: BTreeMap::new() }
    }

    pub(super) fn barrier_sent(&mut self, epoch: Epoch, now: Instant) {
        let span = tracing::info_span!("prepare", job = %self.job, %epoch);
        self.prepare.insert(epoch, Phase { since: now, _span: span });
    }

    /// All tasks reported and the entry is asked for. Asked again, the first time counts.
    pub(super) fn append_begun(&mut self, epoch: Epoch, now: Instant) -> Option<Duration> {
        let taken = end(&self.job, &mut self.prepare, epoch, "prepare", now);
        let span = tracing::info_span!("append", job = %self.job, %epoch);
        self.append.entry(epoch).or_insert(Phase { since: now, _span: span });
        taken
    }

    pub(super) fn durable(&mut self, epoch: Epoch, now: Instant) -> Option<Duration> {
        metrics::counter!("tidelock_checkpoints_total", "job" => self.job.to_string()).increment(1);
        let span = tracing::info_span!("commit", job = %self.job, %epoch);
        self.commit.insert(epoch, Phase { since: now, _span: span });
        end(&self.job, &mut self.append, epoch, "append", now)
    }

    pub(super) fn confirmed(&mut self, epoch: Epoch, now: Instant) -> Option<Duration> {
        end(&self.job, &mut self.commit, epoch, "commit", now)
    }

    pub(super) fn given_up(&mut self, epoch: Epoch) {
        metrics::counter!("tidelock_checkpoint_failures_total", "job" => self.job.to_string()).increment(1);
        self.prepare.remove(&epoch);
        self.append.remove(&epoch);
    }
}

/// Ends a phase; those of earlier epochs, which a later checkpoint covers, end with it.
fn end(
    job: &JobId,
    phases: &mut BTreeMap<Epoch, Phase>,
    epoch: Epoch,
    name: &'static str,
    now: Instant,
) -> Option<Duration> {
    let later = phases.split_off(&epoch.next());
    let phase = std::mem::replace(phases, later).remove(&epoch)?;
    let taken = now.saturating_duration_since(phase.since);
    metrics::histogram!("tidelock_checkpoint_seconds", "job" => job.to_string(), "phase" => name)
        .record(taken.as_secs_f64());
    Some(taken)
}
