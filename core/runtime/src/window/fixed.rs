//! Tumbling and sliding windows.

use std::task::Poll;

use bytes::Bytes;
use tidelock::Result;

use super::panes::Panes;
use super::{Aggregate, Fixed};
use crate::batch::Millis;
use crate::counters::Counter;
use crate::key::group_of;
use crate::keyed::{KeyOf, Logic, Setting};
use crate::slice::Slice;
use crate::state::StoredValue;

pub(super) struct FixedLogic<A: Aggregate> {
    pub(super) key: KeyOf<A::In, A::Key>,
    pub(super) windows: Fixed,
    pub(super) panes: Panes<A>,
    pub(super) late: Counter,
}

impl Fixed {
    /// The start and end of every window that a time is in, the latest first.
    pub(super) fn of(self, time: Millis) -> impl Iterator<Item = (Millis, Millis)> {
        let Self { size, slide, offset, .. } = self;
        let last = time.saturating_sub(time.saturating_sub(offset).rem_euclid(slide));
        let starts = std::iter::successors(Some(last), move |start| start.checked_sub(slide));
        starts
            .take_while(move |start| time.saturating_sub(*start) < size)
            .map(move |start| (start, start.saturating_add(size)))
    }
}

impl<A: Aggregate> Logic for FixedLogic<A> {
    type In = A::In;
    type Out = A::Out;
    type Side = A::In;

    fn apply(&mut self, record: A::In, setting: &mut Setting<A::Out, A::In>) -> Result<()> {
        let time = setting.time.expect("invariant: a stream with windows has event time");
        let watermark = setting.watermark_of(|| group_of(&(self.key)(&record)))?;
        let mut in_time = false;
        for (start, end) in self.windows.of(time) {
            if self.panes.is_over(end, watermark) {
                // Earlier windows are over as well.
                break;
            }
            in_time = true;
            let pane = ((self.key)(&record), start);
            self.panes.add(pane, end, &record, watermark, &mut setting.out);
        }
        // Between two sliding windows with gaps a record may be in none: it is not late.
        if !in_time && self.windows.of(time).next().is_some() {
            self.late.add(1);
            setting.side.push(record, Some(time));
        }
        Ok(())
    }

    fn fire(&mut self, setting: &mut Setting<A::Out, A::In>, slice: &mut Slice) -> Result<Poll<()>> {
        // Nothing else is kept of a window.
        let mut gone = Vec::new();
        Ok(self.panes.fire(setting.watermark, &mut setting.out, slice, &mut gone))
    }

    fn freeze(&mut self, slice: &mut Slice) -> Result<Poll<Option<Bytes>>> {
        self.panes.table.freeze(slice)
    }

    fn load(&mut self, key: &[u8], value: StoredValue<'_>) -> Result<()> {
        self.panes.load(key, value).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Sliding, Tumbling};
    use super::*;

    fn of(windows: Fixed, time: Millis) -> Vec<(Millis, Millis)> {
        windows.of(time).collect()
    }

    #[test]
    fn a_time_is_in_one_tumbling_window() {
        let windows = Tumbling::of(Duration::from_millis(10));
        assert_eq!(of(windows, 0), [(0, 10)]);
        assert_eq!(of(windows, 9), [(0, 10)]);
        assert_eq!(of(windows, 10), [(10, 20)]);
        assert_eq!(of(windows, -1), [(-10, 0)]);
        assert_eq!(of(windows.offset(Duration::from_millis(3)), 12), [(3, 13)]);
        assert_eq!(of(windows, Millis::MAX).len(), 1);
    }

    #[test]
    fn a_time_is_in_every_sliding_window_around_it() {
        let windows = Sliding::of(Duration::from_millis(10), Duration::from_millis(4));
        assert_eq!(of(windows, 13), [(12, 22), (8, 18), (4, 14)]);
        assert_eq!(of(windows, 1), [(0, 10), (-4, 6), (-8, 2)]);
        let with_gaps = Sliding::of(Duration::from_millis(2), Duration::from_millis(10));
        assert_eq!(of(with_gaps, 1), [(0, 2)]);
        assert_eq!(of(with_gaps, 5), []);
    }
}
