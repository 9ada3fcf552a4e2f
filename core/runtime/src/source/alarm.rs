//! When a source wakes itself because a split may have fallen idle.
//!
//! Timely keeps every wake-up that it was asked for until its time has come, also one for a time that it has
//! already: a source that asked anew with each turn would keep as many as it has turns in the time that it waits.

use std::time::Duration;

use tokio::time::Instant;

/// No wait is longer: then it is looked again. A time for ever is no moment of any clock.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// The next wake-up that was asked for.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Option<Instant>,
}

impl Alarm {
    /// Something is due in so long. Returns how long the wake-up is off that must be asked for; `None` where there is
    /// one that comes no later.
    pub(super) fn set(&mut self, now: Instant, due_in: Duration) -> Option<Duration> {
        let due_in = due_in.min(WAIT_MAX);
        let at = now + due_in;
        if self.at.is_some_and(|set| now < set && set <= at) {
            return None;
        }
        self.at = Some(at);
        Some(due_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_wake_up_at_a_time_and_it_is_not_missed() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut alarm = Alarm::default();
        // A split that has records all the time: what is due moves on with each turn.
        let asked = (0..1_000).filter_map(|turn| alarm.set(begin + turn * second / 1_000, second));
        assert_eq!(asked.collect::<Vec<_>>(), [second]);
        // It came. What is due now was never asked for.
        assert_eq!(alarm.set(begin + second, second / 2), Some(second / 2));
        // Something is due earlier than that.
        assert_eq!(alarm.set(begin + second, second / 4), Some(second / 4));
        assert_eq!(alarm.set(begin + second, second / 2), None);
        assert_eq!(alarm.set(begin + 2 * second, Duration::MAX), Some(WAIT_MAX));
    }
}
