//! A newer attempt owns the job: what this one says then, and how it finds out when it fails first.

use std::time::Duration;

use super::run::Running;
use crate::{Error, ErrorKind, Position};

/// How long an attempt that failed looks for a newer one. It is one list and one read; a host does not wait
/// for longer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

impl Running {
    /// What ended the attempt. A newer attempt sweeps what this one has not finished, so a reader, a writer or
    /// a sink may fail of that before the next append is refused. I5: the log says it, and is looked at once.
    /// Where it cannot be read, the failure is all that is known.
    pub(super) async fn fenced_or(&mut self, failure: Error) -> Error {
        if failure.kind() == ErrorKind::Fenced || !self.machine.has_claimed() {
            return failure;
        }
        match tokio::time::timeout(LOOK_TIMEOUT, self.log.newest()).await {
            Ok(Ok(Some(newest))) if newest.attempt > self.attempt_number() => {
                self.fenced(newest.attempt).because(failure)
            }
            Ok(Ok(_)) => failure,
            Ok(Err(error)) => {
                tracing::warn!(%error, "whether a newer attempt owns the job is not known: the log cannot be read");
                failure
            }
            Err(_) => {
                tracing::warn!(
                    "whether a newer attempt owns the job is not known: the log did not answer in time"
                );
                failure
            }
        }
    }

    pub(super) fn fenced(&self, claim: Position) -> Error {
        Error::new(
            ErrorKind::Fenced,
            "run",
            "a newer attempt owns this job: this one ends, and what it had not checkpointed is the other's to do",
        )
        .with("job", &self.config.job)
        .with("attempt", self.attempt_number())
        .with("claimed_at", claim)
    }
}
