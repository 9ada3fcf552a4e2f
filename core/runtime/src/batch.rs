//! What flows between operators: records in batches, and watermarks in-band.

use serde::{Deserialize, Serialize};
use timely::Accountable;

use crate::budget::Credit;
pub(crate) use crate::records::Millis;
use crate::records::Records;

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
    pub(crate) records: Records<R>,
    pub(crate) marks: Vec<(Lane, Mark)>,
    /// The worker that it is for, where it crosses workers.
    pub(crate) target: u32,
    /// The worker that it comes from, where it crosses workers.
    pub(crate) sender: u32,
    /// What it takes of the budget of bytes in flight, given back when it is dropped.
    pub(crate) credit: Credit,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self {
            records: Records::default(),
            marks: Vec::new(),
            target: 0,
            sender: 0,
            credit: Credit::default(),
        }
    }
}

impl<R> Batch<R> {
    /// The same batch with what `logic` makes of its records.
    pub(crate) fn with<B>(self, logic: impl FnOnce(Records<R>) -> Records<B>) -> Batch<B> {
        let Self { records, marks, target, sender, credit } = self;
        Batch { records: logic(records), marks, target, sender, credit }
    }

    /// As [`Batch::with`], where that can fail.
    pub(crate) fn try_with<B, E>(
        self,
        logic: impl FnOnce(Records<R>) -> Result<Records<B>, E>,
    ) -> Result<Batch<B>, E> {
        let Self { records, marks, target, sender, credit } = self;
        Ok(Batch { records: logic(records)?, marks, target, sender, credit })
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
    fn a_batch_of_marks_alone_counts() {
        let marks: Batch<u8> = Batch { marks: vec![(Lane(0), Mark::Idle)], ..Batch::default() };
        assert!(!marks.is_empty());
        assert_eq!(marks.record_count(), 1);
    }
}
