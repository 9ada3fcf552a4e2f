//! When a source on one worker tells what it knows of event time.
//!
//! Other workers read other splits of the same source, and some of those may still be on their way to them. What is
//! told too early would make their records late. So:
//!
//! 1. Nothing is told before the first barrier. All splits of the beginning are assigned before it, and a lane that
//!    has told nothing holds the watermark back.
//! 2. At the first barrier, the watermark is told in the epoch that ends there: a split that was read to its end
//!    before it has its watermark in the snapshot that has its end.
//! 3. When later splits were assigned, a step back is told at once, and everything else only in the epoch after
//!    the next barrier. All workers have their new splits by then, and their steps back are in earlier epochs.
//! 4. A lane that falls idle tells first what it has reached: it may be the last one that does.

use crate::batch::{Mark, Millis};

/// What a lane told so far.
#[derive(Debug, Default)]
pub(super) struct LaneClock {
    told: Option<Mark>,
    /// The first barrier has come.
    began: bool,
    /// Splits were assigned since the last barrier.
    newcomers: bool,
    ended: bool,
}

impl LaneClock {
    /// A split was assigned.
    pub(super) fn assigned(&mut self) {
        self.newcomers = true;
    }

    /// A barrier came; its epoch is still open.
    pub(super) fn at_barrier(&mut self) {
        if !self.began {
            (self.began, self.newcomers) = (true, false);
        }
    }

    /// The next epoch is open.
    pub(super) fn after_barrier(&mut self) {
        self.newcomers = false;
    }

    /// The end of input: no record follows.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// What is to be told now, in order, where the splits say `mark` and the furthest of them has `reached` a time.
    pub(super) fn tell(&mut self, mark: Mark, reached: Option<Millis>) -> impl Iterator<Item = Mark> + use<> {
        let told = match self.told {
            Some(Mark::At(time)) => time,
            Some(Mark::Idle) | None => Millis::MIN,
        };
        let (first, then) = match mark {
            _ if self.ended => (None, Some(Mark::At(Millis::MAX))),
            _ if !self.began => (None, None),
            Mark::At(time) if self.newcomers => (None, Some(Mark::At(time.min(told)))),
            Mark::Idle if self.newcomers => (None, None),
            Mark::At(time) => (None, Some(Mark::At(time))),
            Mark::Idle if self.told == Some(Mark::Idle) => (None, None),
            Mark::Idle => (reached.filter(|reached| *reached > told).map(Mark::At), Some(Mark::Idle)),
        };
        let then = then.filter(|mark| self.told != Some(*mark));
        self.told = then.or(self.told);
        first.into_iter().chain(then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Mark = Mark::Idle;

    fn at(time: Millis) -> Mark {
        Mark::At(time)
    }

    fn tell(clock: &mut LaneClock, mark: Mark, reached: Millis) -> Vec<Mark> {
        clock.tell(mark, Some(reached)).collect()
    }

    /// A clock that told 100 after the first barrier.
    fn begun() -> LaneClock {
        let mut clock = LaneClock::default();
        clock.assigned();
        assert_eq!(tell(&mut clock, at(70), 70), []);
        clock.at_barrier();
        assert_eq!(tell(&mut clock, at(100), 100), [at(100)]);
        clock.after_barrier();
        clock
    }

    #[test]
    fn nothing_is_told_twice_and_steps_back_are_told() {
        let mut clock = begun();
        assert_eq!(tell(&mut clock, at(100), 100), []);
        assert_eq!(tell(&mut clock, at(50), 100), [at(50)]);
        assert_eq!(tell(&mut clock, at(120), 120), [at(120)]);
    }

    #[test]
    fn what_ended_before_the_first_barrier_is_told_at_it() {
        let mut clock = LaneClock::default();
        clock.assigned();
        assert_eq!(tell(&mut clock, IDLE, 5_000), []);
        clock.at_barrier();
        assert_eq!(tell(&mut clock, IDLE, 5_000), [at(5_000), IDLE]);
        clock.after_barrier();
        assert_eq!(tell(&mut clock, IDLE, 5_000), []);
    }

    #[test]
    fn a_new_split_holds_back_at_once_and_counts_after_the_next_barrier() {
        let mut clock = begun();
        clock.assigned();
        assert_eq!(tell(&mut clock, at(110), 110), [], "others may not have theirs yet");
        assert_eq!(tell(&mut clock, at(Millis::MIN), 110), [at(Millis::MIN)]);
        assert_eq!(tell(&mut clock, at(60), 110), []);
        clock.at_barrier();
        assert_eq!(tell(&mut clock, at(60), 110), []);
        clock.after_barrier();
        assert_eq!(tell(&mut clock, at(60), 110), [at(60)]);
    }

    #[test]
    fn an_idle_lane_that_gets_a_split_holds_back_at_once() {
        let mut clock = begun();
        assert_eq!(tell(&mut clock, IDLE, 130), [at(130), IDLE]);
        clock.assigned();
        assert_eq!(tell(&mut clock, at(300), 300), [at(Millis::MIN)]);
        clock.at_barrier();
        clock.after_barrier();
        assert_eq!(tell(&mut clock, at(300), 300), [at(300)]);
    }

    #[test]
    fn the_end_of_input_waits_for_nothing() {
        let mut clock = LaneClock::default();
        clock.assigned();
        clock.end();
        assert_eq!(tell(&mut clock, IDLE, 0), [at(Millis::MAX)]);
        assert_eq!(tell(&mut clock, IDLE, 0), []);
    }
}
