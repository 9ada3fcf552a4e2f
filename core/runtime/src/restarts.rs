//! When a failed attempt is followed by another one within the process.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::time::Instant;

use crate::handle::Handle;

/// How often and how fast attempts follow each other. Every attempt restores the newest snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// How many failed attempts in a row are followed by another one. Default 10.
    pub attempts_max: usize,
    /// The wait before the first of them; it doubles from one to the next. Default 100 ms.
    pub wait_first: Duration,
    /// The longest wait. Default 30 s.
    pub wait_max: Duration,
    /// An attempt that ran this long was a good one: counting and waiting begin anew. Default 60 s.
    pub good_after: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            attempts_max: 10,
            wait_first: Duration::from_millis(100),
            wait_max: Duration::from_secs(30),
            good_after: Duration::from_secs(60),
        }
    }
}

impl Restarts {
    /// The first failure ends the run: something outside starts the process again.
    pub fn never() -> Self {
        Self { attempts_max: 0, ..Self::default() }
    }

    fn waits(&self) -> ExponentialBackoff {
        let waits = ExponentialBuilder::default().with_min_delay(self.wait_first);
        waits.with_max_delay(self.wait_max).with_max_times(self.attempts_max).with_jitter().build()
    }

    /// Begins to count.
    pub(crate) fn begin(self) -> Attempts {
        Attempts { restarts: self, waits: self.waits(), began: Instant::now() }
    }
}

/// The attempts of one run.
#[derive(Debug)]
pub(crate) struct Attempts {
    restarts: Restarts,
    waits: ExponentialBackoff,
    began: Instant,
}

impl Attempts {
    /// Waits for the next attempt after one that failed.
    ///
    /// # Errors
    /// The same error, where trying again does not help, was tried often enough, or is not wanted.
    pub(crate) async fn after(&mut self, error: Error, handle: &Handle) -> Result<()> {
        // A newer attempt owns the job, or a person must look: another attempt would be wrong. A defect and
        // a wrong setting meet the same end in every attempt, whatever their errors advise.
        let kinds = [ErrorKind::Fenced, ErrorKind::Bug, ErrorKind::Config];
        if kinds.contains(&error.kind()) || error.retry() == Retry::Halt {
            return Err(error);
        }
        if self.began.elapsed() >= self.restarts.good_after {
            self.waits = self.restarts.waits();
        }
        let Some(wait) = self.waits.next() else { return Err(error) };
        tracing::warn!(%error, ?wait, "restarting from the newest snapshot");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = handle.end_requested() => return Err(error),
        }
        self.began = Instant::now();
        Ok(())
    }
}
