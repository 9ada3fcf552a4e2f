//! What users asked of the end of the job, until it comes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::patience::later;

/// How long an attempt that is told to stop may take to begin, if it has not: sinks look at their targets and commit what is pending, and where a target
/// is away they ask for minutes. Who stops a job waits for less: some supervisors kill after ten seconds.
const BEGIN_MAX: Duration = Duration::from_secs(5);

/// What users asked of the end of the job.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The folders of savepoints, of everybody who asked for one.
    pub(super) savepoints: BTreeSet<String>,
    /// Nobody waits for anything.
    pub(super) at_once: bool,
    /// When somebody stopped the job first.
    stopped: Option<Instant>,
    /// The host is open.
    has_begun: bool,
}

impl Farewell {
    /// Somebody stops the job. Nobody who asks for less, or for another folder, takes away what others asked for.
    pub(super) fn stop(&mut self, savepoint: Option<String>, now: Instant) {
        self.savepoints.extend(savepoint);
        self.stopped.get_or_insert(now);
    }

    /// Somebody cancels it.
    pub(super) fn at_once(&mut self) {
        self.at_once = true;
    }

    /// The attempt has begun: from now on it stops with a checkpoint, however long that takes.
    pub(super) fn begun(&mut self) {
        self.has_begun = true;
    }

    /// Until when the attempt must have begun. Who wants a savepoint waits for it.
    pub(super) fn begin_by(&self) -> Option<Instant> {
        let is_waited_for = self.has_begun || !self.savepoints.is_empty();
        self.stopped.filter(|_| !is_waited_for).map(|stopped| later(stopped, BEGIN_MAX))
    }
}
