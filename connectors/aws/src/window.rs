//! How many requests may be under way: decided here, and kept to in [`Limit`](crate::Limit).
//!
//! ```text
//!   allowed ──all of them went well──> one more ──...──> the maximum
//!      └── one was throttled ──> half, once for all that were under way then ──...──> one
//! ```
//!
//! A service that throttles one request throttles most of those beside it. They all began under the same limit and are one piece of news, so
//! each request remembers under which one it began, and only the first one of an era halves it.

/// The requests that may be under way. No clock, no I/O.
#[derive(Debug)]
pub(crate) struct Window {
    allowed: u32,
    max: u32,
    /// How many went well since the last change.
    well: u32,
    era: Era,
}

/// Between two reductions of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl Window {
    /// All that may be at most: a service says when that is too much.
    pub(crate) fn new(max: u32) -> Self {
        let max = max.max(1);
        Self { allowed: max, max, well: 0, era: Era(0) }
    }

    pub(crate) fn allowed(&self) -> u32 {
        self.allowed
    }

    pub(crate) fn era(&self) -> Era {
        self.era
    }

    /// A request that began in `era` went well. Returns whether one more is allowed now.
    pub(crate) fn went_well(&mut self, era: Era) -> bool {
        // What began before a reduction says nothing about the limit after it.
        if era != self.era || self.allowed == self.max {
            return false;
        }
        self.well += 1;
        if self.well < self.allowed {
            return false;
        }
        self.well = 0;
        self.allowed += 1;
        true
    }

    /// A request that began in `era` was throttled.
    pub(crate) fn throttled(&mut self, era: Era) {
        if era == self.era {
            self.allowed = (self.allowed / 2).max(1);
            self.well = 0;
            self.era = Era(era.0 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_that_are_throttled_together_halve_it_once_and_each_round_that_goes_well_adds_one() {
        let mut window = Window::new(64);
        let began = window.era();
        for _ in 0..64 {
            window.throttled(began);
        }
        assert_eq!(window.allowed(), 32);
        assert!(!window.went_well(began));
        for _round in 0..3 {
            for _ in 0..window.allowed() {
                window.went_well(window.era());
            }
        }
        assert_eq!(window.allowed(), 35);
        window.throttled(window.era());
        assert_eq!(window.allowed(), 17);
    }

    proptest! {
        #[test]
        fn it_is_never_less_than_one_nor_more_than_the_maximum(max in 0_u32..9, news in proptest::collection::vec(any::<(bool, bool)>(), 0..200)) {
            let mut window = Window::new(max);
            let mut old = window.era();
            for (is_well, is_old) in news {
                let era = if is_old { old } else { window.era() };
                old = window.era();
                if is_well { window.went_well(era); } else { window.throttled(era); }
                prop_assert!((1..=max.max(1)).contains(&window.allowed()));
            }
            for _ in 0..1_000 {
                window.went_well(window.era());
            }
            prop_assert_eq!(window.allowed(), max.max(1));
        }
    }
}
