//! When a failed attempt is followed by another one within the process.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::FutureExt;
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
    /// An attempt that still completed checkpoints this long after it began was a good one: counting and
    /// waiting begin anew. One that only ran long is counted, so that a job which fails at the same
    /// place each time ends, however long it takes to get there. Default 60 s.
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
        Attempts { restarts: self, waits: self.waits(), failed: 0, began: Instant::now() }
    }
}

/// The attempts of one run.
#[derive(Debug)]
pub(crate) struct Attempts {
    restarts: Restarts,
    waits: ExponentialBackoff,
    /// How many of them failed in a row.
    failed: usize,
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
        let last = handle.shared_counters().last_checkpoint();
        let ran_for = last.and_then(|last| last.checked_duration_since(self.began));
        if ran_for.is_some_and(|ran_for| ran_for >= self.restarts.good_after) {
            self.waits = self.restarts.waits();
            self.failed = 0;
        }
        // Nobody is told of another attempt where none is wanted.
        if handle.end_requested().now_or_never().is_some() {
            return Err(error);
        }
        self.failed += 1;
        let Some(wait) = self.waits.next() else { return Err(error) };
        self.tell(&error, wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = handle.end_requested() => return Err(error),
        }
        self.began = Instant::now();
        Ok(())
    }

    /// Whoever starts a job must see that it does not run as it should, and why.
    fn tell(&self, error: &Error, wait: Duration) {
        let uid = error.context().find(|(key, _)| *key == "uid").map(|(_, uid)| uid);
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let because = causes.last().map(tracing::field::display);
        let (failed, of) = (self.failed, self.restarts.attempts_max);
        tracing::warn!(
            uid, %error, because, next_in = ?wait,
            "the job failed and is restarted from its newest snapshot, for the {failed}. of at most {of} times"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counters::Counters;
    use crate::testing::Heard;

    fn error() -> Error {
        Error::new(ErrorKind::Unavailable, "write", "record 7 is refused").with("uid", "rows")
    }

    /// Fails until the run ends, each time an hour after it began, and says how often it was tried again.
    async fn failing(counters: &Arc<Counters>, checkpoint_at: Option<Duration>) -> usize {
        let handle = Handle::new(Arc::clone(counters));
        let mut attempts = Restarts::default().begin();
        for tried in 0..100 {
            tokio::time::sleep(checkpoint_at.unwrap_or_default()).await;
            if checkpoint_at.is_some() {
                counters.checkpointed();
            }
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            if attempts.after(error(), &handle).await.is_err() {
                return tried;
            }
        }
        100
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_fails_at_the_same_place_ends_however_long_it_takes_to_get_there() {
        let counters = Arc::default();
        assert_eq!(failing(&counters, None).await, 10);
        // The empty checkpoint with which an attempt begins does not make it a good one.
        assert_eq!(failing(&counters, Some(Duration::from_secs(1))).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn each_restart_is_told_with_uid_cause_and_the_time_to_the_next() {
        let heard = Heard::here();
        let handle = Handle::new(Arc::default());
        let mut attempts = Restarts { attempts_max: 2, ..Restarts::default() }.begin();
        let full = std::io::Error::other("no space left");
        attempts.after(error().because(full), &handle).await.unwrap();
        attempts.after(error(), &handle).await.unwrap();
        assert!(attempts.after(error(), &handle).await.is_err());
        let lines = heard.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for told in ["uid=\"rows\"", "record 7 is refused", "no space left", "next_in=1", "1. of at most 2"] {
            assert!(lines[0].contains(told), "{told}: {lines:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_went_on_well_for_long_are_not_counted() {
        assert_eq!(failing(&Arc::default(), Some(Duration::from_secs(60))).await, 100);
    }
}
