//! How long a connector makes a call again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use crate::patience::TOLD_AFTER;
use crate::{Error, Result, Retry};

/// The first pause: about what a server needs to end what it is busy with.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a server that is back should not wait for us.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pauses between the tries of one call, with jitter. For connectors, whose calls change nothing when they are made twice.
///
/// ```no_run
/// # use std::time::Duration;
/// # use tidelock::{Patience, Result};
/// # async fn send() -> Result<()> { Ok(()) }
/// # async fn example() -> Result<()> {
/// let mut patience = Patience::new("calls_again_total", Duration::from_secs(60));
/// while let Err(error) = send().await {
///     patience.after(error, "orders").await?;
/// }
/// # Ok(()) }
/// ```
pub struct Patience {
    counter: &'static str,
    began: Instant,
    pauses: ExponentialBackoff,
    again_for: Duration,
    is_told: bool,
}

impl Patience {
    /// For so long: what takes longer is for the attempt's restart. Each further try is counted by this metric, with the label `table`.
    pub fn new(counter: &'static str, again_for: Duration) -> Self {
        let backoff = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        let pauses = backoff.with_jitter().without_max_times().build();
        Self { counter, began: Instant::now(), pauses, again_for, is_told: false }
    }

    /// Counts its time anew, because what is asked takes others of ours meanwhile: it is slow, and not away. The pauses stay as long as they are.
    pub fn count_anew(&mut self) {
        self.began = Instant::now();
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The same error, where trying again does not help, or did not help for long enough: then the attempt restarts.
    pub async fn after(&mut self, error: Error, table: &str) -> Result<()> {
        if error.retry() != Retry::Retry {
            return Err(error);
        }
        metrics::counter!(self.counter, "table" => table.to_owned()).increment(1);
        let pause = self.pauses.next().unwrap_or(PAUSE_MAX);
        let again_for = self.again_for;
        if self.began.elapsed() + pause > again_for {
            return Err(error.with_retry(Retry::Restart).with("tried_for", format_args!("{again_for:?}")));
        }
        // Once, and not before it is more than a hiccup.
        if !self.is_told && self.began.elapsed() + pause > TOLD_AFTER {
            self.is_told = true;
            tracing::warn!(table, %error, for_at_most = ?again_for, "a call is made again and again");
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience")
            .field("began", &self.began)
            .field("again_for", &self.again_for)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::testing::Heard;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_within_bounds_and_told_once_and_what_does_not_is_not() {
        let heard = Heard::here();
        let error = |retry| Error::new(ErrorKind::Unavailable, "read rows", "no").with_retry(retry);
        let again_for = Duration::from_secs(30);
        let mut patience = Patience::new("test_total", again_for);
        for retry in [Retry::Restart, Retry::Halt] {
            assert_eq!(patience.after(error(retry), "t").await.expect_err("at once").retry(), retry);
        }
        assert_eq!(patience.began.elapsed(), Duration::ZERO);
        let mut tries = 0;
        let last = loop {
            match patience.after(error(Retry::Retry), "t").await {
                Ok(()) => tries += 1,
                Err(last) => break last,
            }
        };
        assert!(last.retry() == Retry::Restart && last.to_string().contains("tried_for=30s"), "{last}");
        assert!((15..40).contains(&tries) && patience.began.elapsed() <= again_for, "{tries}");
        let lines = heard.lines();
        assert!(lines.len() == 1 && lines[0].contains("for_at_most=30s"), "{lines:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_others_go_on_it_is_waited_for_as_long_as_they_do() {
        let error = || Error::new(ErrorKind::RateLimited, "read rows", "no").with_retry(Retry::Retry);
        let (began, again_for) = (Instant::now(), Duration::from_secs(30));
        let mut patience = Patience::new("test_total", again_for);
        while began.elapsed() < 5 * again_for {
            patience.after(error(), "t").await.expect("others go on");
            patience.count_anew();
        }
        while patience.after(error(), "t").await.is_ok() {}
        assert!(began.elapsed() > 5 * again_for && began.elapsed() <= 6 * again_for + 2 * PAUSE_MAX);
    }
}
