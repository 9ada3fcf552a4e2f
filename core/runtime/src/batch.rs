//! What flows between operators: records in batches, their event times beside them, and watermarks
//! in-band.
//!
//! Records and times are two vectors, so that a stream without event time pays nothing for it, and the
//! vector of a reader can travel to a writer without being copied.

use serde::{Deserialize, Serialize};
use timely::Accountable;

use crate::budget::Credit;

/// An event time in milliseconds since 1970.
pub(crate) type Millis = i64;

/// One parallel origin of watermarks: a source or a stateful operator on one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Lane(pub(crate) u32);

/// What a lane says about event time. It holds for all records that follow it on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mark {
    /// No earlier record is expected from the lane.
    At(Millis),
    /// The lane has nothing to read for now: it does not hold the watermark back.
    Idle,
}

/// Records of one epoch. Its marks come after its records.
#[derive(Debug, Clone)]
pub(crate) struct Batch<R> {
    pub(crate) records: Vec<R>,
    /// The event time of each record, or nothing at all where the stream has no event time.
    pub(crate) times: Vec<Millis>,
    pub(crate) marks: Vec<(Lane, Mark)>,
    /// The worker that it is for, where it crosses workers.
    pub(crate) target: u32,
    /// What it takes of the budget of bytes in flight, given back when it is dropped.
    pub(crate) credit: Credit,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            times: Vec::new(),
            marks: Vec::new(),
            target: 0,
            credit: Credit::default(),
        }
    }
}

impl<R> Batch<R> {
    /// The same batch with other records: one for each of the old, in their order.
    pub(crate) fn map<B>(self, logic: impl FnMut(R) -> B) -> Batch<B> {
        let Self { records, times, marks, target, credit } = self;
        Batch { records: records.into_iter().map(logic).collect(), times, marks, target, credit }
    }

    /// Keeps what `keep` wants, and the times of it.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&R) -> bool) {
        if self.times.is_empty() {
            self.records.retain(keep);
            return;
        }
        let times = &mut self.times;
        let (mut seen, mut kept) = (0, 0);
        self.records.retain(|record| {
            let wanted = keep(record);
            if wanted {
                times[kept] = times[seen];
                kept += 1;
            }
            seen += 1;
            wanted
        });
        self.times.truncate(kept);
    }
}

/// Timely tracks progress by this number. It counts marks as well: a batch with nothing but marks must
/// arrive like any other.
impl<R> Accountable for Batch<R> {
    fn record_count(&self) -> i64 {
        i64::try_from(self.records.len() + self.marks.len()).unwrap_or(i64::MAX)
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.marks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_with_their_records() {
        let mut batch =
            Batch { records: vec![1, 2, 3, 4, 5], times: vec![10, 20, 30, 40, 50], ..Batch::default() };
        batch.retain(|record| record % 2 == 1);
        let batch = batch.map(|record| record * 100);
        assert_eq!(batch.records, [100, 300, 500]);
        assert_eq!(batch.times, [10, 30, 50]);
    }

    #[test]
    fn a_batch_of_marks_alone_counts() {
        let marks: Batch<u8> = Batch { marks: vec![(Lane(0), Mark::Idle)], ..Batch::default() };
        assert!(!marks.is_empty());
        assert_eq!(marks.record_count(), 1);
    }
}
