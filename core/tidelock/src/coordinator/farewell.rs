//! What users asked of the end of the job, until it comes.

use std::collections::BTreeSet;

/// What users asked of the end of the job.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The folders of savepoints, of everybody who asked for one.
    pub(super) savepoints: BTreeSet<String>,
    /// Nobody waits for anything.
    pub(super) at_once: bool,
}

impl Farewell {
    /// Somebody stops the job. Nobody who asks for less, or for another folder, takes away what others asked for.
    pub(super) fn stop(&mut self, savepoint: Option<String>) {
        self.savepoints.extend(savepoint);
    }

    /// Somebody cancels it.
    pub(super) fn at_once(&mut self) {
        self.at_once = true;
    }
}
