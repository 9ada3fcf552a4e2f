//! How long a store that fails is asked again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// A store that only blinked is asked again soon.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// One that is away for long is not asked much more often than this, by each of those who wait.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The pauses between the tries of one request, with jitter: many who were refused at once must not come back at once.
pub(super) struct Patience {
    pauses: ExponentialBackoff,
    until: Instant,
}

impl Patience {
    /// Ends at this moment.
    pub(super) fn until(until: Instant) -> Self {
        let pauses = ExponentialBuilder::default().with_jitter().with_min_delay(PAUSE_MIN);
        Self { pauses: pauses.with_max_delay(PAUSE_MAX).without_max_times().build(), until }
    }

    /// How long to wait before the next try, if there is to be one.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let pause = self.pauses.next()?;
        (Instant::now() + pause <= self.until).then_some(pause)
    }
}

/// Durations of users may be as long as they like.
pub(super) fn later(now: Instant, by: Duration) -> Instant {
    const AGES: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
    now + by.min(AGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_may_have_no_end() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now + Duration::from_secs(3_600));
        assert!(Patience::until(later(now, Duration::MAX)).pause().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_their_bound_and_end_with_the_patience() {
        let mut patience = Patience::until(Instant::now() + Duration::from_secs(60));
        let mut pauses = Vec::new();
        while let Some(pause) = patience.pause() {
            pauses.push(pause);
            tokio::time::sleep(pause).await;
        }
        assert!((8..60).contains(&pauses.len()), "{pauses:?}");
        // Jitter adds as much again at most.
        assert!(pauses.iter().all(|pause| (PAUSE_MIN..=2 * PAUSE_MAX).contains(pause)), "{pauses:?}");
        assert!(Patience::until(Instant::now()).pause().is_none());
    }
}
