//! The attempt's clocks and its chance. Both are given to it, so that a simulation replays exactly.
//!
//! - What the machine counts, deadlines above all, are **milliseconds since the attempt began**: they never go back.
//! - The **wall clock** is for people and for generations. It was read once, at the beginning, and goes on with the
//!   other one, so it does not jump while the attempt lives.
//! - **Chance** only jitters pauses: nothing is decided by it.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::protocol::Millis;

pub(super) struct Clocks {
    began: Instant,
    /// The wall clock at the beginning.
    wall: jiff::Timestamp,
    chance: SmallRng,
}

impl Clocks {
    pub(super) fn new(began: Instant, wall: jiff::Timestamp, seed: u64) -> Self {
        Self { began, wall, chance: SmallRng::seed_from_u64(seed) }
    }

    /// The time since the beginning.
    pub(super) fn now(&self) -> Millis {
        millis(self.began.elapsed())
    }

    /// The wall clock's time.
    pub(super) fn wall(&self) -> jiff::Timestamp {
        jiff::SignedDuration::try_from(self.began.elapsed())
            .ok()
            .and_then(|elapsed| self.wall.checked_add(elapsed).ok())
            .unwrap_or(self.wall)
    }

    /// The same in milliseconds, as generations count.
    pub(super) fn wall_ms(&self) -> u64 {
        u64::try_from(self.wall().as_millisecond()).unwrap_or(0)
    }

    /// Another seed for pauses.
    pub(super) fn seed(&mut self) -> u64 {
        self.chance.random()
    }

    /// A pause that begins with the shortest, was doubled so often, and never exceeds the longest; jittered, so that
    /// attempts which met the same trouble do not come back together.
    pub(super) fn pause(&mut self, within: RangeInclusive<Duration>, doubled: u32) -> Duration {
        let longest = within.start().saturating_mul(1 << doubled.min(16)).min(*within.end());
        longest.mul_f64(self.chance.random_range(0.5..1.0))
    }
}

/// Milliseconds, as the machine counts them.
pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
