//! Waiting that a person can see.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

/// What takes longer than this is told: shorter, a line would only be noise.
pub(crate) const TOLD_AFTER: Duration = Duration::from_secs(2);

/// More than any wait: who configures a longer one means for ever, and that is no moment of any clock.
const EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The moment that comes so long after another one.
pub(crate) fn later(than: Instant, by: Duration) -> Instant {
    than + by.min(EVER)
}

/// Awaits something that may take a while. After two seconds it is said once, as a warning, what is waited
/// for and for how long at most: `at_most` is only told, the bound itself belongs to `wait`.
pub async fn patiently<T>(what: &str, at_most: Duration, wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    tokio::select! {
        biased;
        done = &mut wait => return done,
        () = tokio::time::sleep(TOLD_AFTER) => {}
    }
    let at_most = at_most.saturating_sub(TOLD_AFTER);
    tracing::warn!(waiting_for = what, for_at_most = ?at_most, "this takes longer than usual");
    wait.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Heard;

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_than_two_seconds_is_told_once_with_what_and_how_long() {
        let heard = Heard::here();
        patiently("a hiccup", Duration::from_secs(60), tokio::time::sleep(TOLD_AFTER)).await;
        assert_eq!(heard.lines(), Vec::<String>::new());
        patiently("the brokers", Duration::from_secs(60), tokio::time::sleep(TOLD_AFTER * 20)).await;
        let lines = heard.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("the brokers") && lines[0].contains("58s"), "{lines:?}");
    }
}
