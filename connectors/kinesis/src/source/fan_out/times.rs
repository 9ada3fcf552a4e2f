//! When a subscription begins and ends, and until when its last word tells where the next one goes on. No clock, no I/O.

use std::time::Duration;

/// A subscription may live for five minutes.
const LIFE: Duration = Duration::from_secs(290);

/// What must lie between two that begin for the same shard: the service refuses one that comes earlier.
const APART: Duration = Duration::from_secs(5);

/// For how long there may be no room for what comes: a checkpoint that waits for a slow sink takes as long now and then.
const NO_ROOM: Duration = Duration::from_secs(10);

/// A stream keeps records for a day at least, and clocks are a quarter of an hour apart at most: the service refuses what is signed by one that is
/// further away.
const SURELY_KEPT_MS: i64 = 23 * 3_600 * 1_000;

/// The times of subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    life: Duration,
    apart: Duration,
    pub(super) no_room: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { life: LIFE, apart: APART, no_room: NO_ROOM }
    }
}

impl Times {
    pub(super) fn of_ms(life: u64, apart: u64, no_room: u64) -> Self {
        let of = Duration::from_millis;
        Self { life: of(life), apart: of(apart), no_room: of(no_room) }
    }

    /// How long one lives: a tenth shorter at most, by `chance` from 0 to 1, or all shards that were opened together would be subscribed to anew together.
    pub(super) fn life(&self, chance: f64) -> Duration {
        self.life.mul_f64(1.0 - 0.1 * chance.clamp(0.0, 1.0))
    }

    /// How long after the beginning of one the next begins: a fifth later at most.
    pub(super) fn apart(&self, chance: f64) -> Duration {
        self.apart.mul_f64(1.0 + 0.2 * chance.clamp(0.0, 1.0))
    }
}

/// Whether all records are there still that come after an event, so that the next subscription may go on after what it named. Whoever goes on after a record that
/// was thrown away meanwhile is given the oldest one that is there, without a word.
pub(super) fn is_all_there(heard_ms: i64, behind_ms: i64, now_ms: i64) -> bool {
    // What comes after the event is younger than what it brought, which was so far behind.
    let passed = now_ms.saturating_sub(heard_ms);
    // A clock that was set back says nothing of how much time has passed.
    passed >= 0 && passed.saturating_add(behind_ms.max(0)) < SURELY_KEPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_ends_before_the_service_ends_it_and_the_next_comes_when_the_service_takes_it() {
        let times = Times::default();
        for chance in [0.0, 0.3, 1.0, -7.0, f64::INFINITY] {
            let (life, apart) = (times.life(chance), times.apart(chance));
            assert!(Duration::from_secs(260) < life && life < Duration::from_secs(300), "{life:?}");
            assert!(Duration::from_secs(5) <= apart && apart <= Duration::from_secs(6), "{apart:?}");
        }
        assert_ne!(times.life(0.1), times.life(0.9));
    }

    #[test]
    fn what_lags_behind_by_about_the_time_that_records_are_kept_goes_on_from_the_position() {
        const HOUR: i64 = 3_600_000;
        assert!(is_all_there(0, 0, 0) && is_all_there(7, 0, 7 + HOUR));
        // It waited for half a day, and was half a day behind.
        assert!(!is_all_there(0, 12 * HOUR, 12 * HOUR));
        assert!(is_all_there(0, 12 * HOUR, 10 * HOUR));
        assert!(!is_all_there(0, 0, 23 * HOUR) && !is_all_there(0, 24 * HOUR, 1));
        assert!(!is_all_there(0, i64::MAX, i64::MAX), "no overflow");
        assert!(!is_all_there(10, 0, 9), "the clock was set back");
        assert!(is_all_there(0, -1, 1), "some servers count what is not there yet");
    }
}
