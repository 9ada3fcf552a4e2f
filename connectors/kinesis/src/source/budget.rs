//! How often a shard may be asked, and how much of it may be read: the service allows each so much, and refuses what is beyond.

use std::time::Duration;

use tokio::time::Instant;

/// The service gives so much of a shard in a second. After a larger answer it refuses calls until the time for it is over.
const BYTES_PER_SECOND: u64 = 2_000_000;

/// What may be asked of one shard, and when.
#[derive(Debug)]
pub(super) struct Budget {
    /// Between two calls.
    apart: Duration,
    /// The next call may be made then.
    free_at: Instant,
}

impl Budget {
    pub(super) fn new(calls_per_second: u32, now: Instant) -> Self {
        Self { apart: Duration::from_secs(1) / calls_per_second.max(1), free_at: now }
    }

    /// When the next call may be made.
    pub(super) fn free_at(&self) -> Instant {
        self.free_at
    }

    /// A call was begun then, and brought so many bytes.
    pub(super) fn spend(&mut self, begun: Instant, bytes: u64) {
        let for_bytes = Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND);
        self.free_at = begun + self.apart.max(for_bytes);
    }
}

/// The pauses of a shard that has nothing new: each is longer than the one before, since every call counts for all that read the shard.
#[derive(Debug)]
pub(super) struct Idle {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Idle {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), next: first }
    }

    /// Something came.
    pub(super) fn end(&mut self) {
        self.next = self.first;
    }

    /// How long to wait now.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_apart_and_after_many_bytes_further_apart() {
        let now = Instant::now();
        let mut budget = Budget::new(5, now);
        assert_eq!(budget.free_at(), now);
        budget.spend(now, 1_000);
        assert_eq!(budget.free_at() - now, Duration::from_millis(200));
        budget.spend(now, 10_000_000);
        assert_eq!(budget.free_at() - now, Duration::from_secs(5));
        budget.spend(now, u64::MAX);
    }

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_when_something_came() {
        let mut idle = Idle::new(Duration::from_millis(200), Duration::from_secs(1));
        let pauses = [0; 5].map(|_| idle.pause().as_millis());
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000]);
        idle.end();
        assert_eq!(idle.pause().as_millis(), 200);
    }
}
