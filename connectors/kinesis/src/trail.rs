//! Up to which place the records of a numbering were acknowledged a while ago: the floor that its headers say.
//!
//! The service gives records of one shard greater numbers the later they are put, and says so only of those that are some time apart. A reader drops
//! what is before the floor and was not read, so what was acknowledged just now must not be below the floor of what is sent just then.
//!
//! Pure: times are milliseconds of a clock that never goes back.

use std::collections::VecDeque;

use crate::place::Place;

/// How long a record must have been acknowledged before a floor passes it. Far more than the service needs to put two requests into an order; a shard takes 1,000 records in
/// that time, which its reader remembers one by one.
pub(crate) const LAG_MS: u64 = 1_000;

/// What is noted within this time is one note: so many more places are remembered by readers, and so few notes here.
pub(crate) const STEP_MS: u64 = LAG_MS / 10;

/// The notes of one numbering.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail {
    /// When all before a place was acknowledged, both ascending.
    notes: VecDeque<(u64, Place)>,
    /// The newest note that is old enough.
    floor: Place,
}

impl Trail {
    /// Takes note that everything before this place is acknowledged.
    pub(crate) fn note(&mut self, now_ms: u64, place: Place) {
        self.pass(now_ms);
        let last = self.notes.back().copied();
        let is_due = last.is_none_or(|(noted_ms, _)| now_ms >= noted_ms + STEP_MS);
        let is_more = last.map_or(self.floor, |(_, noted)| noted) < place;
        if is_due && is_more {
            self.notes.push_back((now_ms, place));
        }
    }

    /// The floor of what is sent now.
    pub(crate) fn floor(&mut self, now_ms: u64) -> Place {
        self.pass(now_ms);
        self.floor
    }

    fn pass(&mut self, now_ms: u64) {
        while let Some((noted_ms, place)) = self.notes.front().copied()
            && now_ms >= noted_ms + LAG_MS
        {
            self.notes.pop_front();
            self.floor = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(index: u64) -> Place {
        Place::from((7, index))
    }

    #[test]
    fn a_floor_is_what_was_acknowledged_a_while_ago() {
        let mut trail = Trail::default();
        assert_eq!(trail.floor(0), Place::default());
        trail.note(10, place(0));
        assert_eq!(trail.floor(10 + LAG_MS - 1), Place::default());
        assert_eq!(trail.floor(10 + LAG_MS), place(0));
        // Notes of one moment are one: it is the first of them, which is true of the others, too.
        trail.note(2_000, place(5));
        trail.note(2_000 + STEP_MS - 1, place(6));
        trail.note(2_000 + STEP_MS, place(7));
        assert_eq!(trail.floor(2_000 + LAG_MS), place(5));
        assert_eq!(trail.floor(2_000 + LAG_MS + STEP_MS), place(7));
        // A floor never goes back.
        trail.note(9_000, place(3));
        assert_eq!(trail.floor(99_000), place(7));
    }

    #[test]
    fn few_notes_are_kept_however_much_is_acknowledged() {
        let mut trail = Trail::default();
        for at in 0..10_000 {
            trail.note(at, place(at));
            assert!(trail.notes.len() <= 11, "{}", trail.notes.len());
            assert!(trail.floor(at).index + LAG_MS <= at + 1 || trail.floor(at) == Place::default());
        }
        assert!(trail.floor(10_000).index >= 10_000 - LAG_MS - 2 * STEP_MS);
    }
}
