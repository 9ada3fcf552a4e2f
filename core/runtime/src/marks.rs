//! Where watermarks come from, and the watermark of an operator: the least of what its lanes say.

use std::collections::BTreeMap;

use crate::batch::{Lane, Mark, Millis};

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

/// The lane of an origin on one worker.
pub(crate) fn lane_of(origin: u32, worker: u32, workers: u32) -> Lane {
    Lane(origin * workers + worker)
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
    pub(crate) fn lanes(&self, worker: u32, workers: u32) -> impl Iterator<Item = Lane> + use<> {
        let origins: Vec<_> = self.0.iter().map(|(number, reach)| (*number, *reach)).collect();
        origins.into_iter().flat_map(move |(number, reach)| {
            let from = match reach {
                Reach::Own => worker..worker + 1,
                Reach::All => 0..workers,
            };
            from.map(move |from| lane_of(number, from, workers))
        })
    }
}

#[derive(Debug)]
pub(crate) struct Marks {
    lanes: BTreeMap<Lane, Mark>,
    /// It never goes back, whatever a lane says later.
    watermark: Millis,
}

impl Marks {
    /// Waits for every lane. `restored` is the watermark of the snapshot.
    pub(crate) fn new(lanes: impl Iterator<Item = Lane>, restored: Millis) -> Self {
        let lanes = lanes.map(|lane| (lane, Mark::At(Millis::MIN))).collect();
        Self { lanes, watermark: restored }
    }

    /// What a lane says. Returns the watermark if it moved.
    pub(crate) fn tell(&mut self, lane: Lane, mark: Mark) -> Option<Millis> {
        self.lanes.insert(lane, mark);
        let at = |mark: &Mark| match mark {
            Mark::At(time) => Some(*time),
            Mark::Idle => None,
        };
        // Where every lane is idle, time stands still.
        let least = self.lanes.values().filter_map(at).min()?;
        (least > self.watermark).then(|| {
            self.watermark = least;
            least
        })
    }

    pub(crate) fn watermark(&self) -> Millis {
        self.watermark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_lane_decides_idle_ones_do_not_and_time_never_goes_back() {
        let origins = Origins::of(0).exchanged().joined(Origins::of(1));
        let mut marks = Marks::new(origins.lanes(1, 2), Millis::MIN);
        assert_eq!(marks.tell(Lane(0), Mark::At(10)), None);
        assert_eq!(marks.tell(Lane(1), Mark::At(20)), None);
        // Lane 2 belongs to the other worker and is not waited for; lane 3 is.
        assert_eq!(marks.tell(Lane(3), Mark::At(30)), Some(10));
        assert_eq!(marks.tell(Lane(0), Mark::Idle), Some(20));
        assert_eq!(marks.tell(Lane(0), Mark::At(5)), None);
        assert_eq!(marks.tell(Lane(0), Mark::At(40)), None);
        assert_eq!(marks.tell(Lane(1), Mark::At(50)), Some(30));
        assert_eq!(marks.watermark(), 30);
    }

    #[test]
    fn a_restored_watermark_is_the_floor() {
        let mut marks = Marks::new(Origins::of(0).lanes(0, 1), 100);
        assert_eq!(marks.tell(Lane(0), Mark::At(99)), None);
        assert_eq!(marks.tell(Lane(0), Mark::At(101)), Some(101));
    }

    #[test]
    fn an_origin_that_comes_by_two_ways_reaches_whom_one_of_them_reaches() {
        let joined = Origins::of(3).joined(Origins::of(3).exchanged());
        assert_eq!(joined, Origins::of(3).exchanged().joined(Origins::of(3)));
        let lanes: Vec<Lane> = joined.lanes(1, 3).collect();
        assert_eq!(lanes, [Lane(9), Lane(10), Lane(11)]);
    }
}
