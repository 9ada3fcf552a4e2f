//! How long a call is made again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tidelock::{Error, Result, Retry};
use tokio::time::Instant;

/// The first pause: about what a gateway needs to end what it is busy with.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a server that is back should not wait for us.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// HBase is away for so long until it is told: what is shorter is a hiccup.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// The pauses between the tries of one call, with jitter.
pub(crate) struct Patience {
    began: Instant,
    pauses: ExponentialBackoff,
    again_for: Duration,
    is_told: bool,
}

impl Patience {
    /// For so long: what takes longer is for the attempt's restart.
    pub(crate) fn new(again_for: Duration) -> Self {
        let backoff = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        let pauses = backoff.with_jitter().without_max_times().build();
        Self { began: Instant::now(), pauses, again_for, is_told: false }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The same error, where trying again does not help, or did not help for long enough: then the attempt restarts.
    pub(crate) async fn after(&mut self, error: Error, table: &str) -> Result<()> {
        if error.retry() != Retry::Retry {
            return Err(error);
        }
        metrics::counter!("tidelock_hbase_calls_again_total", "table" => table.to_owned()).increment(1);
        let pause = self.pauses.next().unwrap_or(PAUSE_MAX);
        let again_for = self.again_for;
        if self.began.elapsed() + pause > again_for {
            return Err(error.with_retry(Retry::Restart).with("tried_for", format_args!("{again_for:?}")));
        }
        if !self.is_told && self.began.elapsed() + pause > TOLD_AFTER {
            self.is_told = true;
            tracing::warn!(table, %error, for_at_most = ?again_for, "a call is made again and again");
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_within_bounds_and_what_does_not_is_not() {
        let error = |retry| Error::new(ErrorKind::Unavailable, "read rows", "no").with_retry(retry);
        let mut patience = Patience::new(Duration::from_secs(30));
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
        assert!((15..40).contains(&tries), "{tries}");
    }
}
