//! Where the ways of a lane meet again: at a union, and behind an exchange.
//!
//! ```text
//!            ┌── map ──────────────────┐          worker 0 ─────┐
//!   source ──┤                         ├── union              ├── exchange ── worker 0
//!            └── map ── lookup (slow) ─┘          worker 1 ─────┘
//! ```
//!
//! A mark holds for the records that follow it *on its way*. Where a lane forks and its ways meet again, the mark of
//! the faster way says nothing about records that are still on the slower one, and who believed it would call them
//! late. So the n-th mark of a lane is passed on when it has come by all of its ways:
//!
//! 1. Which ways a lane has is known when the graph is built, from the [`Origins`](crate::marks::Origins) of each
//!    input.
//! 2. Every way brings the same marks in the same order, because nothing between an origin and here makes,
//!    drops or changes one. **An operator that does must be an origin itself**, with a lane of its own.
//! 3. A mark that came by some of its ways waits here; the last way passes it on. All of them bring it in the same
//!    epoch, so it keeps its epoch, and nothing must be held for it.
//!
//! What comes out is one lane again, with the marks that its origin made: whatever follows needs to know nothing of
//! the ways, and idle lanes, new splits and the end of input are what they are without a fork. A least over what the
//! ways said last would not do: a way that still says "idle" would count for nothing while it has records.
//!
//! A batch without marks costs nothing here. A mark costs one look-up, and one place while it waits; there are never
//! more of them than batches on the slower way.

use std::collections::{BTreeMap, VecDeque};

use crate::batch::{Lane, Mark};

/// An input of a union, or a worker that sends.
pub(crate) type Way = u32;

/// The lanes of all inputs, and how far each is on each of its ways.
#[derive(Debug)]
pub(crate) struct Meeting {
    lanes: BTreeMap<Lane, Ways>,
}

/// The ways of one lane.
#[derive(Debug, Default)]
struct Ways {
    /// How many of the waiting marks came by each way.
    came: BTreeMap<Way, usize>,
    /// What came by some ways and not by all, the oldest first.
    waiting: VecDeque<Mark>,
}

impl Meeting {
    /// Of ways that bring these lanes.
    pub(crate) fn new<L: Iterator<Item = Lane>>(ways: impl Iterator<Item = (Way, L)>) -> Self {
        let mut lanes: BTreeMap<Lane, Ways> = BTreeMap::new();
        for (way, brings) in ways {
            for lane in brings {
                lanes.entry(lane).or_default().came.insert(way, 0);
            }
        }
        Self { lanes }
    }

    /// Marks came by a way. Leaves those that are passed on, in their order.
    pub(crate) fn pass(&mut self, way: Way, marks: &mut Vec<(Lane, Mark)>) {
        // Never more than came by this way: each passes on one at most.
        marks.retain(|(lane, mark)| {
            let ways = self.lanes.get_mut(lane).expect("invariant: the lanes of a way are known");
            ways.pass(way, *mark)
        });
    }
}

impl Ways {
    /// Whether this is the last way of the mark.
    fn pass(&mut self, way: Way, mark: Mark) -> bool {
        if self.came.len() == 1 {
            return true;
        }
        let came = self.came.get_mut(&way).expect("invariant: a lane comes by its ways");
        match self.waiting.get(*came) {
            Some(first) => {
                assert_eq!(
                    *first, mark,
                    "invariant: every way of a lane brings the same marks in the same order"
                )
            }
            None => self.waiting.push_back(mark),
        }
        *came += 1;
        let all_came = self.came.values().all(|came| *came > 0);
        if all_came {
            // It is the oldest: a younger one that all had brought would have left before.
            self.waiting.pop_front();
            self.came.values_mut().for_each(|came| *came -= 1);
        }
        all_came
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::batch::Millis;

    fn at(lane: u32, time: Millis) -> (Lane, Mark) {
        (Lane(lane), Mark::At(time))
    }

    fn pass(meeting: &mut Meeting, way: Way, marks: &[(Lane, Mark)]) -> Vec<(Lane, Mark)> {
        let mut marks = marks.to_vec();
        meeting.pass(way, &mut marks);
        marks
    }

    #[test]
    fn a_mark_waits_for_its_last_way() {
        let both = || [Lane(0), Lane(1)].into_iter();
        let mut meeting = Meeting::new([(0, both()), (1, both())].into_iter());
        assert_eq!(pass(&mut meeting, 0, &[at(0, 5), at(0, 7), at(1, 3)]), []);
        assert_eq!(pass(&mut meeting, 1, &[at(0, 5)]), [at(0, 5)]);
        assert_eq!(pass(&mut meeting, 1, &[at(1, 3), at(0, 7), at(0, 9)]), [at(1, 3), at(0, 7)]);
        assert_eq!(pass(&mut meeting, 0, &[at(0, 9)]), [at(0, 9)]);
    }

    #[test]
    fn a_lane_with_one_way_waits_for_nobody() {
        let mut meeting =
            Meeting::new([(0, vec![Lane(0)].into_iter()), (1, vec![Lane(4)].into_iter())].into_iter());
        assert_eq!(
            pass(&mut meeting, 1, &[at(4, 5), (Lane(4), Mark::Idle)]),
            [at(4, 5), (Lane(4), Mark::Idle)]
        );
        assert_eq!(pass(&mut meeting, 0, &[at(0, 1)]), [at(0, 1)]);
    }

    #[test]
    #[should_panic(expected = "every way of a lane brings the same marks")]
    fn a_way_that_changes_a_mark_is_found() {
        let mut meeting = Meeting::new([(0, [Lane(0)].into_iter()), (1, [Lane(0)].into_iter())].into_iter());
        pass(&mut meeting, 0, &[at(0, 5)]);
        pass(&mut meeting, 1, &[at(0, 6)]);
    }

    /// Whatever the speed of the ways: what leaves is what the origins said, each mark after all of its ways.
    #[test]
    fn any_number_of_ways_gives_each_lane_as_it_was() {
        for seed in 0..200 {
            println!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let ways = rng.random_range(1..5);
            let said: Vec<(Lane, Mark)> = (0..rng.random_range(0..60))
                .map(|time| match rng.random_range(0..4) {
                    0 => (Lane(time % 3), Mark::Idle),
                    _ => at(time % 3, i64::from(time) - rng.random_range(0..9)),
                })
                .collect();
            let brings: Vec<Vec<Lane>> = (0..ways)
                .map(|way| {
                    (0..3).filter(|lane| way == 0 || rng.random_range(0..3) > *lane).map(Lane).collect()
                })
                .collect();
            let lanes = brings.iter().map(|lanes| lanes.clone().into_iter());
            let mut meeting = Meeting::new((0..).zip(lanes));
            let of_way = |lanes: &Vec<Lane>| {
                said.iter().filter(|(lane, _)| lanes.contains(lane)).copied().collect::<VecDeque<_>>()
            };
            let mut left: Vec<VecDeque<_>> = brings.iter().map(of_way).collect();
            let mut passed: BTreeMap<Lane, Vec<Mark>> = BTreeMap::new();
            while left.iter().any(|left| !left.is_empty()) {
                let way = rng.random_range(0..left.len());
                let count = rng.random_range(0..=left[way].len().min(3));
                let marks: Vec<_> = left[way].drain(..count).collect();
                for (lane, mark) in pass(&mut meeting, Way::try_from(way).unwrap(), &marks) {
                    passed.entry(lane).or_default().push(mark);
                }
                for (lane, passed) in &passed {
                    let slowest = (0..brings.len()).filter(|way| brings[*way].contains(lane)).map(|way| {
                        let to_come = left[way].iter().filter(|(other, _)| other == lane).count();
                        said.iter().filter(|(other, _)| other == lane).count() - to_come
                    });
                    assert_eq!(passed.len(), slowest.min().unwrap());
                }
            }
            for (lane, passed) in passed {
                let said: Vec<Mark> =
                    said.iter().filter(|(other, _)| *other == lane).map(|(_, mark)| *mark).collect();
                assert_eq!(passed, said);
            }
        }
    }
}
