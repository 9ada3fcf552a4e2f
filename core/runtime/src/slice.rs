//! How long a worker does one thing before everything else on it has its turn.
//!
//! State of millions of keys is loaded, fired and frozen in slices. Between two of them the operator wakes itself
//! and the worker goes round: other operators, orders, reports, and the signs of life that other processes wait
//! for. What an operator is half-way in is its own; nothing of its input is applied before it is done.

use std::time::Duration;

use tokio::time::Instant;

/// A barrier that passes elsewhere on the worker waits for this at most.
const SLICE: Duration = Duration::from_millis(10);

/// The clock is asked once in so many steps: most take less time than to ask.
const STEPS_A_LOOK: u32 = 64;

/// How long slices are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slicing {
    time: Duration,
    /// Tests count steps, and are timed by nothing.
    steps: u32,
}

impl Default for Slicing {
    fn default() -> Self {
        Self { time: SLICE, steps: u32::MAX }
    }
}

impl Slicing {
    /// Slices of so many steps, however long they take.
    #[cfg(test)]
    pub(crate) fn steps(steps: u32) -> Self {
        Self { time: Duration::MAX, steps }
    }

    pub(crate) fn begin(self) -> Slice {
        Slice { began: Instant::now(), slicing: self, steps: 0, is_over: false }
    }
}

/// One turn of an operator.
#[derive(Debug)]
pub(crate) struct Slice {
    began: Instant,
    slicing: Slicing,
    steps: u32,
    is_over: bool,
}

impl Slice {
    /// Does a step, and says whether it was the last one of the slice.
    pub(crate) fn step(&mut self) -> bool {
        self.steps += 1;
        self.is_over |= self.steps >= self.slicing.steps
            || (self.steps.is_multiple_of(STEPS_A_LOOK) && self.began.elapsed() >= self.slicing.time);
        self.is_over
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_by_steps_or_by_time_and_stays_ended() {
        let mut slice = Slicing::steps(3).begin();
        assert_eq!([0; 5].map(|_| slice.step()), [false, false, true, true, true]);
        assert!(slice.is_over());
        let mut slice = Slicing { time: Duration::ZERO, steps: u32::MAX }.begin();
        let before = (0..).take_while(|_| !slice.step()).count();
        assert_eq!(before as u32 + 1, STEPS_A_LOOK);
    }
}
