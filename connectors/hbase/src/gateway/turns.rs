//! Whose turn it is: gateways one after the other, those that failed a moment ago last. It decides purely.

use std::time::Duration;

use tokio::time::Instant;

/// For how long a gateway that failed is passed over where another one is there. One that hangs costs the first call after it a time limit.
const PASSED_OVER_FOR: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Turns {
    /// When each of them failed, where it did not answer since.
    failed: Vec<Option<Instant>>,
    /// Which of them have ever answered.
    known: Vec<bool>,
    next: usize,
}

impl Turns {
    pub(super) fn of(gateways: usize) -> Self {
        Self { failed: vec![None; gateways], known: vec![false; gateways], next: 0 }
    }

    /// All gateways, in the order in which to try them. The next one to ask begins with the next gateway.
    pub(super) fn order(&mut self, now: Instant) -> Vec<usize> {
        let count = self.failed.len();
        let mut order: Vec<usize> = (0..count).map(|step| (self.next + step) % count).collect();
        self.next = (self.next + 1) % count;
        // The one that failed first may be back first. Those that are in order keep theirs: the sort is stable.
        order.sort_by_key(|&gateway| self.failed_lately(gateway, now));
        order
    }

    /// When it failed, if that was a moment ago.
    pub(super) fn failed_lately(&self, gateway: usize, now: Instant) -> Option<Instant> {
        self.failed[gateway].filter(|&failed| now.duration_since(failed) < PASSED_OVER_FOR)
    }

    pub(super) fn failed(&mut self, gateway: usize, now: Instant) {
        self.failed[gateway] = Some(now);
    }

    pub(super) fn answered(&mut self, gateway: usize) {
        self.failed[gateway] = None;
        self.known[gateway] = true;
    }

    /// Whether it has ever answered.
    pub(super) fn is_known(&self, gateway: usize) -> bool {
        self.known[gateway]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_asked_in_turn_and_those_that_failed_last() {
        let (mut turns, now) = (Turns::of(3), Instant::now());
        assert_eq!(turns.order(now), [0, 1, 2]);
        assert_eq!(turns.order(now), [1, 2, 0]);
        turns.failed(2, now);
        assert_eq!(turns.order(now), [0, 1, 2]);
        assert_eq!(turns.order(now), [0, 1, 2]);
        turns.failed(0, now + Duration::from_secs(1));
        let now = now + Duration::from_secs(2);
        assert_eq!(turns.order(now), [1, 2, 0]);
        turns.answered(2);
        assert_eq!(turns.order(now), [2, 1, 0]);
        assert_eq!(turns.order(now + PASSED_OVER_FOR), [0, 1, 2]);
    }
}
