//! The time, as far as it can be believed.
//!
//! ```text
//!   our clock ──compared with the server's──> a time that was right ──what has passed since──> now, at least
//!        └── ahead of that by more than clocks may be apart: compared again, and refused where the server does not agree
//! ```
//!
//! Times of cells are near it, and others go by them: times to live, cells with the server's time, the next attempt. Times of a clock that is behind, or
//! is set back, would stand still, and what is written would expire at once. A clock that jumps ahead would leave cells from the future.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::time::Instant;

use crate::control::Control;

/// The clock in milliseconds since 1970. Tests give another one.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

pub(crate) fn clock() -> Clock {
    Arc::new(|| jiff::Timestamp::now().as_millisecond())
}

/// How far our clock may be ahead of the server's: further, and cells would be from the future for everybody else.
const CLOCKS_APART_MAX: i64 = 600_000;

/// A server that is further ahead of us is worth a word.
const BEHIND_MAX: i64 = 60_000;

/// A clock that is compared with the server's.
pub(crate) struct ComparedClock {
    clock: Clock,
    /// A time that was right, and when it was.
    right: Mutex<Option<(i64, Instant)>>,
}

impl fmt::Debug for ComparedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComparedClock").field("right", &self.right).finish_non_exhaustive()
    }
}

impl ComparedClock {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, right: Mutex::default() }
    }

    /// What our clock says, right or wrong.
    pub(crate) fn unchecked(&self) -> i64 {
        (self.clock)()
    }

    /// The time. The server is asked at first, and where our clock jumped ahead: a machine that slept is right.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the advice to halt, where our clock is far ahead of the server's.
    pub(crate) async fn now(&self, control: &Control) -> Result<i64> {
        match self.believed() {
            Some(now) => Ok(now),
            None => self.compare(control).await,
        }
    }

    /// The same, and the server is asked in any case.
    pub(crate) async fn compare(&self, control: &Control) -> Result<i64> {
        let (clock, server) = (self.unchecked(), control.server_clock().await?);
        check_clock(clock, server)?;
        let now = clock.max(server).max(self.expected().unwrap_or(i64::MIN));
        *self.right.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Instant::now()));
        Ok(now)
    }

    /// The time, where there is no need to ask.
    fn believed(&self) -> Option<i64> {
        let (clock, expected) = (self.unchecked(), self.expected()?);
        (clock <= expected.saturating_add(CLOCKS_APART_MAX)).then(|| clock.max(expected))
    }

    /// Where the clock must be by what has passed.
    fn expected(&self) -> Option<i64> {
        let (right, since) = (*self.right.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(right.saturating_add(millis_since(since)))
    }
}

/// How much time has passed.
pub(crate) fn millis_since(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Whether our clock is one that others can live with.
fn check_clock(now: i64, server: i64) -> Result<()> {
    if now > server.saturating_add(CLOCKS_APART_MAX) {
        let why = "the clock of this machine is far ahead of the one of HBase: cells would be from the future for everybody else. Set the clocks";
        return Err(Error::new(ErrorKind::Config, "compare clocks", why)
            .with_retry(Retry::Halt)
            .with("ahead_by", format_args!("{:?}", Duration::from_millis(now.abs_diff(server)))));
    }
    if server > now.saturating_add(BEHIND_MAX) {
        tracing::warn!(behind_by = ?Duration::from_millis(now.abs_diff(server)), "the clock of this machine is behind the one of HBase");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const TIME: i64 = 1_764_457_200_000;

    #[test]
    fn a_clock_that_is_far_ahead_of_the_server_is_refused() {
        check_clock(TIME + CLOCKS_APART_MAX, TIME).expect("near enough");
        check_clock(TIME - 10 * CLOCKS_APART_MAX, TIME)
            .expect("behind: what it gives begins with the server's time");
        let error = check_clock(TIME + CLOCKS_APART_MAX + 1_000, TIME).expect_err("ahead");
        assert!(error.retry() == Retry::Halt && error.to_string().contains("ahead_by=601s"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_where_the_clock_does_not_and_a_clock_that_jumps_ahead_is_not_believed() {
        let said = Arc::new(AtomicI64::new(TIME));
        let clock = ComparedClock::new({
            let said = Arc::clone(&said);
            Arc::new(move || said.load(Ordering::SeqCst))
        });
        assert_eq!(clock.believed(), None, "nobody was asked");
        *clock.right.lock().expect("a lock") = Some((TIME, Instant::now()));
        let passes = async |millis: i64, says: i64| {
            tokio::time::sleep(Duration::from_millis(millis.unsigned_abs())).await;
            said.store(says, Ordering::SeqCst);
            clock.believed()
        };
        assert_eq!(passes(1_000, TIME + 1_000).await, Some(TIME + 1_000));
        assert_eq!(passes(1_000, TIME + 7_000).await, Some(TIME + 7_000), "somewhat ahead");
        assert_eq!(passes(58_000, TIME + 7_000).await, Some(TIME + 60_000), "it stands still");
        assert_eq!(passes(60_000, TIME - 86_400_000).await, Some(TIME + 120_000), "it is set back");
        assert_eq!(passes(0, TIME + 86_400_000).await, None, "it jumps");
    }
}
