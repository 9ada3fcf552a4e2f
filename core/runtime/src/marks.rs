//! The watermark of an operator: the least of what its lanes say.

use std::collections::BTreeMap;

use crate::batch::{Lane, Mark, Millis};
use crate::stream::Origin;

#[derive(Debug)]
pub(crate) struct Marks {
    lanes: BTreeMap<Lane, Mark>,
    /// It never goes back, whatever a lane says later.
    watermark: Millis,
}

impl Marks {
    /// Waits for every lane of the origins. `restored` is the watermark of the snapshot.
    pub(crate) fn new(origins: &[Origin], worker: u32, workers: u32, restored: Option<Millis>) -> Self {
        let lanes = origins.iter().flat_map(|origin| {
            let from = if origin.from_all { 0..workers } else { worker..worker + 1 };
            from.map(move |from| (Lane(origin.number * workers + from), Mark::At(Millis::MIN)))
        });
        Self { lanes: lanes.collect(), watermark: restored.unwrap_or(Millis::MIN) }
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
        let origins = [Origin { number: 0, from_all: true }, Origin { number: 1, from_all: false }];
        let mut marks = Marks::new(&origins, 1, 2, None);
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
        let mut marks = Marks::new(&[Origin { number: 0, from_all: false }], 0, 1, Some(100));
        assert_eq!(marks.tell(Lane(0), Mark::At(99)), None);
        assert_eq!(marks.tell(Lane(0), Mark::At(101)), Some(101));
    }
}
