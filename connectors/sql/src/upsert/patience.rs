//! How long rows are sent again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tidelock::{Error, Result, Retry};
use tokio::time::Instant;

use crate::names::TableName;

/// The first pause: about what a server needs to end what it is busy with.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a server that is back should not wait for us.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A server that starts again or fails over needs less. What takes longer is for the attempt's restart.
const AGAIN_FOR: Duration = Duration::from_secs(60);

/// A database is away for so long until it is told: what is shorter is a hiccup.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// The pauses between the tries of one call, with jitter.
pub(super) struct Patience {
    began: Instant,
    pauses: ExponentialBackoff,
    is_told: bool,
}

impl Patience {
    pub(super) fn new() -> Self {
        let backoff = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        let pauses = backoff.with_jitter().without_max_times().build();
        Self { began: Instant::now(), pauses, is_told: false }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The same error, where trying again does not help, or did not help for long enough: then the attempt restarts.
    pub(super) async fn after(&mut self, error: Error, table: &TableName) -> Result<()> {
        if error.retry() != Retry::Retry {
            return Err(error);
        }
        metrics::counter!("tidelock_sql_rows_again_total", "table" => table.to_string()).increment(1);
        let pause = self.pauses.next().unwrap_or(PAUSE_MAX);
        if self.began.elapsed() + pause > AGAIN_FOR {
            return Err(error.with_retry(Retry::Restart).with("sent_for", format_args!("{AGAIN_FOR:?}")));
        }
        if !self.is_told && self.began.elapsed() + pause > TOLD_AFTER {
            self.is_told = true;
            tracing::warn!(%table, %error, for_at_most = ?AGAIN_FOR, "rows are sent again and again");
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
        let table = TableName { schema: None, name: "log".into() };
        let error = |retry| Error::new(ErrorKind::Unavailable, "write rows", "no").with_retry(retry);
        let mut patience = Patience::new();
        for retry in [Retry::Restart, Retry::Halt] {
            assert_eq!(patience.after(error(retry), &table).await.expect_err("at once").retry(), retry);
        }
        assert_eq!(patience.began.elapsed(), Duration::ZERO);
        let mut tries = 0;
        let last = loop {
            match patience.after(error(Retry::Retry), &table).await {
                Ok(()) => tries += 1,
                Err(last) => break last,
            }
        };
        assert_eq!(last.retry(), Retry::Restart);
        assert!((20..100).contains(&tries), "{tries}");
        assert!(patience.began.elapsed() <= AGAIN_FOR);
    }
}
