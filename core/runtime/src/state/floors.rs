//! The watermarks of an operator by key group, as they are stored.
//!
//! All workers hear the same lanes, but not in the same order. As long as no lane is idle that makes no difference at a
//! barrier. Where a lane was idle and came back, it does: a worker that heard "idle" before another lane moved on is
//! ahead of one that heard it afterwards, and stays ahead. So each worker stores its own watermark, for its own key groups.
//!
//! Under another number of workers a worker gets groups of several. It begins with the least of their watermarks,
//! and each group keeps its own as a floor until the worker has passed it: a window that had its result is
//! over for its group, and never has a second one; and no record is late that was not late before.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::batch::Millis;

/// How far each key group of a worker is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Floors {
    first: u16,
    /// The watermark of each group, from the first on.
    at: Vec<Millis>,
    greatest: Option<Millis>,
}

/// Neighbouring groups with one watermark: the stored form is a list of these, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stretch {
    first: u16,
    last: u16,
    watermark: Millis,
}

impl Floors {
    /// Groups of which nothing is known.
    pub(crate) fn of(groups: &Range<u16>) -> Self {
        Self { first: groups.start, at: vec![Millis::MIN; groups.len()], greatest: None }
    }

    /// Takes what is stored for any groups; those of others are passed over.
    pub(super) fn raise(&mut self, stored: &[Stretch]) {
        for (group, at) in (self.first..).zip(&mut self.at) {
            let of_group = stored.iter().filter(|stretch| (stretch.first..=stretch.last).contains(&group));
            *at = of_group.map(|stretch| stretch.watermark).fold(*at, Millis::max);
        }
        self.greatest = self.at.iter().copied().max();
    }

    /// All groups have at least this watermark.
    pub(crate) fn raise_all(&mut self, watermark: Millis) {
        self.at.iter_mut().for_each(|at| *at = watermark.max(*at));
        self.greatest = self.greatest.max(Some(watermark));
    }

    /// What holds for all groups.
    pub(crate) fn least(&self) -> Millis {
        self.at.iter().copied().min().unwrap_or(Millis::MIN)
    }

    /// Whether any group is ahead of this watermark.
    pub(crate) fn is_ahead(&self, of: Millis) -> bool {
        self.greatest.is_some_and(|greatest| greatest > of)
    }

    /// The watermark of a group.
    pub(crate) fn of_group(&self, group: u16) -> Millis {
        let index = usize::from(group.wrapping_sub(self.first));
        self.at.get(index).copied().unwrap_or(Millis::MIN)
    }

    /// The stored form; empty, where nothing is known of any group.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for (group, watermark) in (self.first..).zip(self.at.iter().copied()) {
            match stretches.last_mut() {
                Some(last) if last.watermark == watermark => last.last = group,
                _ => stretches.push(Stretch { first: group, last: group, watermark }),
            }
        }
        stretches.retain(|stretch| stretch.watermark > Millis::MIN);
        stretches
    }
}

impl Stretch {
    /// One watermark for many groups.
    pub(super) fn of(groups: Range<u16>, watermark: Millis) -> Self {
        Self { first: groups.start, last: groups.end.saturating_sub(1), watermark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_keeps_its_own_until_all_are_past_it() {
        let mut floors = Floors::of(&(10..20));
        assert_eq!((floors.least(), floors.is_ahead(Millis::MIN)), (Millis::MIN, false));
        floors.raise(&[Stretch::of(0..13, 70), Stretch::of(13..16, 50)]);
        assert_eq!([10, 12, 13, 15, 16, 19].map(|group| floors.of_group(group)), {
            [70, 70, 50, 50, Millis::MIN, Millis::MIN]
        });
        assert_eq!(floors.least(), Millis::MIN);
        assert!(floors.is_ahead(69) && !floors.is_ahead(70));
        assert_eq!(floors.stretches(), [Stretch::of(10..13, 70), Stretch::of(13..16, 50)]);
        floors.raise_all(60);
        assert_eq!(floors.stretches(), [Stretch::of(10..13, 70), Stretch::of(13..20, 60)]);
        assert_eq!(floors.least(), 60);
        floors.raise_all(80);
        assert_eq!(floors.stretches(), [Stretch::of(10..20, 80)]);
        assert!(!floors.is_ahead(80));
    }

    #[test]
    fn what_is_stored_is_read_again_by_whoever_has_the_groups() {
        let mut floors = Floors::of(&(0..64));
        floors.raise(&[Stretch::of(0..20, 5), Stretch::of(20..64, -7)]);
        let stored = serde_json::to_string(&floors.stretches()).unwrap();
        // This form never changes: snapshots have it.
        assert_eq!(stored, r#"[{"first":0,"last":19,"watermark":5},{"first":20,"last":63,"watermark":-7}]"#);
        let read: Vec<Stretch> = serde_json::from_str(&stored).unwrap();
        let mut other = Floors::of(&(15..30));
        other.raise(&read);
        assert_eq!(other.stretches(), [Stretch::of(15..20, 5), Stretch::of(20..30, -7)]);
    }
}
