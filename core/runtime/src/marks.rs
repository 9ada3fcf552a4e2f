//! Where watermarks come from, and the watermark of an operator: the least of what its lanes say.

use std::collections::BTreeMap;

use crate::batch::{Lane, Mark, Millis};
use crate::seat::Seat;

/// The sources and stateful operators that a stream's watermarks come from: all that lie on its ways without
/// another one in between. None, where the stream has no event time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins(BTreeMap<u32, Reach>);

/// Whose marks of an origin reach a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// Those of its own worker.
    Own,
    /// Those of all workers: the stream was exchanged on the way.
    All,
}

impl Origins {
    /// The stream comes from here.
    pub(crate) fn of(number: u32) -> Self {
        Self(BTreeMap::from([(number, Reach::Own)]))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of two streams that are joined.
    pub(crate) fn joined(mut self, other: Self) -> Self {
        for (number, reach) in other.0 {
            let known = self.0.entry(number).or_insert(reach);
            *known = reach.max(*known);
        }
        self
    }

    /// An exchange brings marks to all workers.
    pub(crate) fn exchanged(mut self) -> Self {
        self.0.values_mut().for_each(|reach| *reach = Reach::All);
        self
    }

    /// The lanes whose marks reach a worker.
    pub(crate) fn lanes(&self, seat: Seat) -> impl Iterator<Item = Lane> + use<> {
        let origins = self.0.clone().into_iter();
        origins.flat_map(move |(number, reach)| {
            let from = seat.with_all_others().filter(move |from| reach == Reach::All || *from == seat);
            from.map(move |from| from.lane(number))
        })
    }
}

/// The lanes of an operator, and what follows from them.
#[derive(Debug)]
pub(crate) struct Marks {
    lanes: BTreeMap<Lane, Said>,
    /// It never goes back, whatever a lane says later.
    watermark: Millis,
    /// No lane holds it back.
    idle: bool,
}

/// What a lane said last.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: Millis,
    idle: bool,
}

impl Marks {
    /// Waits for every lane. `restored` is the watermark of the snapshot.
    pub(crate) fn new(lanes: impl Iterator<Item = Lane>, restored: Millis) -> Self {
        let lanes = lanes.map(|lane| (lane, Said { at: Millis::MIN, idle: false })).collect();
        Self { lanes, watermark: restored, idle: false }
    }

    /// What a lane says. Returns what the operator says because of it, in order: where the watermark moved, where
    /// nothing holds it back any more, where something does again.
    pub(crate) fn tell(&mut self, lane: Lane, mark: Mark) -> impl Iterator<Item = Mark> + use<> {
        let said = self.lanes.get_mut(&lane).expect("invariant: the lanes of an operator are known");
        match mark {
            Mark::At(at) => *said = Said { at, idle: false },
            Mark::Idle => said.idle = true,
        }
        let least = self.lanes.values().filter(|said| !said.idle).map(|said| said.at).min();
        let was_idle = std::mem::replace(&mut self.idle, least.is_none());
        // Where no lane holds it back, the furthest one says how far event time is: whoever fell idle last.
        let furthest = || self.lanes.values().map(|said| said.at).max();
        let reached = least.or_else(furthest).unwrap_or(Millis::MIN);
        let moved = reached > self.watermark;
        self.watermark = self.watermark.max(reached);
        let at = (moved || (was_idle && !self.idle)).then_some(Mark::At(self.watermark));
        at.into_iter().chain((self.idle && !was_idle).then_some(Mark::Idle))
    }

    pub(crate) fn watermark(&self) -> Millis {
        self.watermark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(worker: u32, workers: u32) -> Seat {
        Seat { worker, workers }
    }

    fn tell(marks: &mut Marks, lane: u32, mark: Mark) -> Vec<Mark> {
        marks.tell(Lane(lane), mark).collect()
    }

    #[test]
    fn the_least_lane_decides_idle_ones_do_not_and_time_never_goes_back() {
        let (at, idle) = (Mark::At, Mark::Idle);
        let origins = Origins::of(0).exchanged().joined(Origins::of(1));
        let mut marks = Marks::new(origins.lanes(seat(1, 2)), Millis::MIN);
        assert_eq!(tell(&mut marks, 0, at(10)), []);
        assert_eq!(tell(&mut marks, 1, at(20)), []);
        // Lane 2 belongs to the other worker and is not waited for; lane 3 is.
        assert_eq!(tell(&mut marks, 3, at(30)), [at(10)]);
        assert_eq!(tell(&mut marks, 0, idle), [at(20)]);
        assert_eq!(tell(&mut marks, 0, at(5)), []);
        assert_eq!(tell(&mut marks, 0, at(40)), []);
        assert_eq!(tell(&mut marks, 1, at(50)), [at(30)]);
        assert_eq!(marks.watermark(), 30);
    }

    #[test]
    fn where_all_lanes_are_idle_time_is_what_the_furthest_reached_whoever_was_last() {
        let (at, idle) = (Mark::At, Mark::Idle);
        let said = [(0, at(10)), (1, at(90)), (0, idle), (1, idle)];
        for order in [[0, 1, 2, 3], [0, 1, 3, 2], [1, 3, 0, 2], [0, 2, 1, 3]] {
            let mut marks = Marks::new(Origins::of(0).exchanged().lanes(seat(0, 2)), Millis::MIN);
            let told: Vec<Mark> =
                order.iter().flat_map(|index| tell(&mut marks, said[*index].0, said[*index].1)).collect();
            assert_eq!(told[told.len() - 2..], [at(90), idle], "{order:?}");
            // It is said again when something holds it back again.
            assert_eq!(tell(&mut marks, 0, at(20)), [at(90)]);
            assert_eq!(tell(&mut marks, 0, at(95)), [at(95)]);
            assert_eq!(tell(&mut marks, 0, idle), [idle]);
        }
    }

    #[test]
    fn a_restored_watermark_is_the_floor() {
        let mut marks = Marks::new(Origins::of(0).lanes(seat(0, 1)), 100);
        assert_eq!(tell(&mut marks, 0, Mark::At(99)), []);
        assert_eq!(tell(&mut marks, 0, Mark::At(101)), [Mark::At(101)]);
    }

    #[test]
    fn an_origin_that_comes_by_two_ways_reaches_whom_one_of_them_reaches() {
        let joined = Origins::of(3).joined(Origins::of(3).exchanged());
        assert_eq!(joined, Origins::of(3).exchanged().joined(Origins::of(3)));
        let lanes: Vec<Lane> = joined.lanes(seat(1, 3)).collect();
        assert_eq!(lanes, [Lane(9), Lane(10), Lane(11)]);
    }
}
