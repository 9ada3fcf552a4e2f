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

/// When something that goes on is told again: a disk that stays full for a night must not fill another one with warnings.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    pause: Duration,
    again: Option<Instant>,
}

impl Telling {
    /// The pause after the first warning. Each later one is twice as long, up to [`PAUSE_MAX`](Self::PAUSE_MAX).
    const PAUSE_MIN: Duration = Duration::from_secs(10);
    /// Whoever looks at the log must find within this time what is wrong.
    const PAUSE_MAX: Duration = Duration::from_secs(600);

    /// Whether it is time: at once for the first time, and then after pauses that grow.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if self.again.is_some_and(|again| now < again) {
            return false;
        }
        self.pause = (self.pause * 2).clamp(Self::PAUSE_MIN, Self::PAUSE_MAX);
        self.again = Some(later(now, self.pause));
        true
    }
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
    async fn what_goes_on_is_told_at_once_and_then_after_growing_pauses() {
        let (mut telling, begun) = (Telling::default(), Instant::now());
        let mut told = Vec::new();
        for _second in 0..3_600 {
            if telling.is_due() {
                told.push(begun.elapsed().as_secs());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(told, [0, 10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430, 3_030]);
    }

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
