//! The splits of a source on one worker: positions, watermarks, and who may be opened.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidelock::host::SplitState;
use tidelock::{Epoch, Result, Split, SplitId, Stored, StoredSplit};
use tokio::time::Instant;

use crate::batch::{Mark, Millis};

/// How a source reads its splits and tells the time.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// How far a record's time may lie before the greatest one of its split.
    pub(crate) out_of_orderness: Millis,
    /// After this time without records a split no longer holds the watermark back.
    pub(crate) idle_after: Option<Duration>,
    /// Splits are read in the order of their names, and later ones hold later records.
    pub(crate) in_order_of_names: bool,
    /// How many splits are open at once on a worker.
    pub(crate) open_splits_max: usize,
}

/// A split that is being read.
#[derive(Debug)]
struct Open<S> {
    id: SplitId,
    resume: S,
    watermark: Option<Millis>,
    /// It is not as it was last reported.
    moved: bool,
    /// When it last had records, or was opened.
    heard: Instant,
}

/// A split that was read to its end.
#[derive(Debug)]
struct Finished {
    /// The epoch that it ended in, once that is cut.
    epoch: Option<Epoch>,
    watermark: Option<Millis>,
    /// The snapshot with its end is durable: its children are assigned.
    is_durable: bool,
}

#[derive(Debug)]
pub(crate) struct Splits<S> {
    reading: Reading,
    open: BTreeMap<u32, Open<S>>,
    next_slot: u32,
    waiting: VecDeque<SplitState>,
    /// Finished splits hold the watermark back until the snapshot that lists their children is durable:
    /// before that, a child may be known to the coordinator alone. Then they hold it until the next
    /// barrier: before that, a child may be on its way to another worker.
    finished: Vec<Finished>,
    /// The greatest watermark that a split had.
    reached: Option<Millis>,
    /// The greatest watermark that any split of the source had which ended before the snapshot, on any worker: it is not
    /// assigned again, and event time is where it left it. It holds only where nothing is read: what this worker
    /// reads may be behind it.
    restored: Option<Millis>,
    /// Finished, to be reported by the next cut.
    ended: Vec<SplitState>,
}

impl<S: Split> Splits<S> {
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            reading,
            open: BTreeMap::new(),
            next_slot: 0,
            waiting: VecDeque::new(),
            finished: Vec::new(),
            reached: None,
            restored: None,
            ended: Vec::new(),
        }
    }

    /// The source goes on from a snapshot in which splits that ended had come so far.
    pub(crate) fn restored(&mut self, reached: Option<Millis>) {
        self.restored = reached;
    }

    /// A split to be read when its turn comes.
    pub(crate) fn assign(&mut self, split: SplitState) {
        let place = if self.reading.in_order_of_names {
            self.waiting.partition_point(|waiting| waiting.id < split.id)
        } else {
            self.waiting.len()
        };
        self.waiting.insert(place, split);
    }

    /// The next split to open, if one may be opened.
    pub(crate) fn open_next(&mut self, now: Instant) -> Result<Option<(u32, S)>> {
        if self.open.len() >= self.reading.open_splits_max {
            return Ok(None);
        }
        let Some(SplitState { id, split, watermark, .. }) = self.waiting.pop_front() else { return Ok(None) };
        let resume: S = split.decode()?;
        let slot = self.next_slot;
        self.next_slot += 1;
        self.reached = self.reached.max(watermark);
        self.open.insert(slot, Open { id, resume: resume.clone(), watermark, moved: false, heard: now });
        Ok(Some((slot, resume)))
    }

    /// A split moved on. `latest` is the greatest event time among the records; without records it was
    /// not `heard` of.
    pub(crate) fn advance(&mut self, slot: u32, resume: S, latest: Option<Millis>, heard: Option<Instant>) {
        let Some(open) = self.open.get_mut(&slot) else { return };
        open.resume = resume;
        open.moved = true;
        open.heard = heard.unwrap_or(open.heard);
        if let Some(latest) = latest {
            let watermark = latest.saturating_sub(self.reading.out_of_orderness);
            // `None` is less than any time: a watermark never goes back.
            open.watermark = open.watermark.max(Some(watermark));
            self.reached = self.reached.max(open.watermark);
        }
    }

    /// A split is read to its end. Returns it as it ended.
    pub(crate) fn finish(&mut self, slot: u32) -> Result<Option<StoredSplit>> {
        let Some(Open { id, resume, watermark, .. }) = self.open.remove(&slot) else { return Ok(None) };
        let split = Stored::encode(&resume)?;
        self.ended.push(SplitState { id: id.clone(), split: split.clone(), watermark, finished: true });
        self.finished.push(Finished { epoch: None, watermark, is_durable: false });
        Ok(Some(StoredSplit { id, split }))
    }

    /// The name of a split that is open.
    pub(crate) fn name(&self, slot: u32) -> Option<&SplitId> {
        self.open.get(&slot).map(|open| &open.id)
    }

    /// The splits that moved or ended since the last cut.
    pub(crate) fn cut(&mut self, epoch: Epoch) -> Result<Vec<SplitState>> {
        let mut report = std::mem::take(&mut self.ended);
        self.finished.retain(|finished| !finished.is_durable);
        for finished in self.finished.iter_mut().filter(|finished| finished.epoch.is_none()) {
            finished.epoch = Some(epoch);
        }
        for open in self.open.values_mut().filter(|open| open.moved) {
            open.moved = false;
            report.push(SplitState {
                id: open.id.clone(),
                split: Stored::encode(&open.resume)?,
                watermark: open.watermark,
                finished: false,
            });
        }
        Ok(report)
    }

    /// The snapshot of an epoch is durable.
    pub(crate) fn completed(&mut self, completed: Epoch) {
        for finished in &mut self.finished {
            finished.is_durable |= finished.epoch.is_some_and(|epoch| epoch <= completed);
        }
    }

    /// Time passed in which records could not be taken: no split is idle because of that.
    pub(crate) fn excuse(&mut self, now: Instant) {
        for open in self.open.values_mut() {
            open.heard = now;
        }
    }

    /// What the source says about event time on this worker.
    pub(crate) fn mark(&self, now: Instant) -> Mark {
        let mut open = self.open.values().filter(|open| !self.is_idle(open, now)).map(|open| open.watermark);
        let least = if self.reading.in_order_of_names {
            // Later splits hold later records: what was read speaks for all of them. One that waits speaks too
            // while none is open: a lane with something to read is not idle, or others would go on without it.
            let has_more = open.next().is_some() || (self.open.is_empty() && !self.waiting.is_empty());
            has_more.then_some(self.reached)
        } else {
            let waiting = self.waiting.iter().map(|split| split.watermark);
            let finished = self.finished.iter().map(|finished| finished.watermark);
            open.chain(waiting).chain(finished).min()
        };
        least.map_or(Mark::Idle, |watermark| Mark::At(watermark.unwrap_or(Millis::MIN)))
    }

    /// The greatest watermark that a split of this worker had, or any before the restore: where none of this worker's
    /// holds event time back, that is how far it is.
    pub(crate) fn reached(&self) -> Option<Millis> {
        self.reached.max(self.restored)
    }

    fn is_idle(&self, open: &Open<S>, now: Instant) -> bool {
        self.reading.idle_after.is_some_and(|after| now.duration_since(open.heard) >= after)
    }

    /// When the next split may become idle.
    pub(crate) fn idle_in(&self, now: Instant) -> Option<Duration> {
        let after = self.reading.idle_after?;
        let heard = self.open.values().filter(|open| !self.is_idle(open, now)).map(|open| open.heard);
        Some(after.saturating_sub(now.saturating_duration_since(heard.min()?)))
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Versioned;

    use super::*;

    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    struct Place(String, u64);

    impl Versioned for Place {
        const VERSION: u16 = 1;
        fn upgrade(version: u16, _: &str) -> Result<Self> {
            Err(tidelock::unknown_version::<Self>(version))
        }
    }

    impl Split for Place {
        fn id(&self) -> SplitId {
            SplitId::new(&self.0)
        }
    }

    fn reading() -> Reading {
        Reading { out_of_orderness: 5, idle_after: None, in_order_of_names: false, open_splits_max: 2 }
    }

    fn state(id: &str, watermark: Option<Millis>) -> SplitState {
        let split = Stored::encode(&Place(id.to_owned(), 0)).unwrap();
        SplitState { id: SplitId::new(id), split, watermark, finished: false }
    }

    fn open(splits: &mut Splits<Place>, now: Instant) -> Option<(u32, String)> {
        splits.open_next(now).unwrap().map(|(slot, split)| (slot, split.0))
    }

    #[test]
    fn a_split_that_waits_to_be_opened_holds_the_watermark_back() {
        let now = Instant::now();
        let mut splits = Splits::<Place>::new(reading());
        assert_eq!(splits.mark(now), Mark::Idle);
        for id in ["a", "b", "c"] {
            splits.assign(state(id, (id == "c").then_some(40)));
        }
        assert_eq!(open(&mut splits, now), Some((0, "a".into())));
        assert_eq!(open(&mut splits, now), Some((1, "b".into())));
        assert_eq!(open(&mut splits, now), None, "two are open");
        splits.advance(0, Place("a".into(), 1), Some(105), Some(now));
        assert_eq!(splits.mark(now), Mark::At(Millis::MIN));
        splits.advance(1, Place("b".into(), 1), Some(205), Some(now));
        assert_eq!(splits.mark(now), Mark::At(40), "what `c` had when it was restored");
        // A watermark never goes back.
        splits.advance(0, Place("a".into(), 2), Some(50), Some(now));
        let ended = splits.finish(1).unwrap().unwrap();
        assert_eq!((ended.id.as_str(), ended.split.decode::<Place>().unwrap().1), ("b", 1));
        assert_eq!(open(&mut splits, now), Some((2, "c".into())));
        splits.advance(2, Place("c".into(), 1), Some(305), Some(now));
        assert_eq!(splits.mark(now), Mark::At(100));
    }

    #[test]
    fn a_finished_split_holds_the_watermark_until_its_children_are_known() {
        let now = Instant::now();
        let mut splits = Splits::<Place>::new(reading());
        splits.assign(state("parent", None));
        splits.assign(state("other", None));
        while open(&mut splits, now).is_some() {}
        splits.advance(0, Place("parent".into(), 9), Some(105), Some(now));
        splits.advance(1, Place("other".into(), 9), Some(505), Some(now));
        splits.finish(0).unwrap();
        let report = splits.cut(Epoch(7)).unwrap();
        let finished: Vec<_> = report.iter().map(|split| (split.id.as_str(), split.finished)).collect();
        assert_eq!(finished, [("parent", true), ("other", false)]);
        assert_eq!(report[0].watermark, Some(100));
        assert_eq!(splits.mark(now), Mark::At(100));
        splits.completed(Epoch(6));
        assert_eq!(splits.mark(now), Mark::At(100));
        splits.completed(Epoch(7));
        assert_eq!(splits.mark(now), Mark::At(100), "a child may be on its way to another worker");
        assert_eq!(splits.cut(Epoch(8)).unwrap(), [], "nothing moved");
        assert_eq!(splits.mark(now), Mark::At(500));
        splits.assign(state("child", Some(100)));
        assert_eq!(splits.mark(now), Mark::At(100), "the child holds it now");
    }

    #[test]
    fn an_idle_split_holds_nothing_back_and_one_that_could_not_be_read_is_not_idle() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut splits = Splits::<Place>::new(Reading { idle_after: Some(second), ..reading() });
        splits.assign(state("a", None));
        splits.assign(state("b", None));
        while open(&mut splits, now).is_some() {}
        splits.advance(0, Place("a".into(), 1), Some(105), Some(now + second / 2));
        splits.advance(1, Place("b".into(), 1), None, None);
        assert_eq!(splits.idle_in(now), Some(second));
        assert_eq!(splits.mark(now + second / 2), Mark::At(Millis::MIN));
        assert_eq!(splits.mark(now + second), Mark::At(100), "`b` had a position, and no record");
        assert_eq!(splits.idle_in(now + second), Some(second / 2));
        assert_eq!(splits.mark(now + 2 * second), Mark::Idle);
        splits.excuse(now + 2 * second);
        assert_eq!(splits.mark(now + 2 * second), Mark::At(Millis::MIN));
    }

    #[test]
    fn in_the_order_of_names_the_open_split_speaks_for_the_later_ones() {
        let now = Instant::now();
        let ordered = Reading { in_order_of_names: true, open_splits_max: 1, ..reading() };
        let mut splits = Splits::<Place>::new(ordered);
        for id in ["2013-03", "2013-01", "2013-02"] {
            splits.assign(state(id, None));
        }
        assert_eq!(splits.mark(now), Mark::At(Millis::MIN), "a barrier may come before any is open");
        let mut order = Vec::new();
        while let Some((slot, id)) = open(&mut splits, now) {
            splits.advance(slot, Place(id.clone(), 1), Some(1005), Some(now));
            assert_eq!(splits.mark(now), Mark::At(1000));
            splits.finish(slot).unwrap();
            order.push(id);
            let more = if order.len() < 3 { Mark::At(1000) } else { Mark::Idle };
            assert_eq!((splits.mark(now), splits.reached()), (more, Some(1000)));
        }
        assert_eq!(order, ["2013-01", "2013-02", "2013-03"]);
    }
}
