//! The splits of a source on one worker: positions, watermarks, and who may be opened.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidelock::host::SplitState;
use tidelock::{Epoch, Result, Split, SplitId, Stored};
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
}

#[derive(Debug)]
pub(crate) struct Splits<S> {
    reading: Reading,
    open: BTreeMap<u32, Open<S>>,
    next_slot: u32,
    waiting: VecDeque<SplitState>,
    /// Finished splits hold the watermark back until the snapshot that lists their children is durable:
    /// before that, a child may be known to the coordinator alone.
    finished: Vec<Finished>,
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
            ended: Vec::new(),
        }
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
        self.open.insert(slot, Open { id, resume: resume.clone(), watermark, moved: false, heard: now });
        Ok(Some((slot, resume)))
    }

    /// A split moved on. `latest` is the greatest event time among the records.
    pub(crate) fn advance(&mut self, slot: u32, resume: S, latest: Option<Millis>, now: Instant) {
        let Some(open) = self.open.get_mut(&slot) else { return };
        open.resume = resume;
        open.moved = true;
        open.heard = now;
        if let Some(latest) = latest {
            let watermark = latest.saturating_sub(self.reading.out_of_orderness);
            // `None` is less than any time: a watermark never goes back.
            open.watermark = open.watermark.max(Some(watermark));
        }
    }

    /// A split is read to its end. Returns its name.
    pub(crate) fn finish(&mut self, slot: u32) -> Result<Option<SplitId>> {
        let Some(Open { id, resume, watermark, .. }) = self.open.remove(&slot) else { return Ok(None) };
        let split = Stored::encode(&resume)?;
        self.ended.push(SplitState { id: id.clone(), split, watermark, finished: true });
        self.finished.push(Finished { epoch: None, watermark });
        Ok(Some(id))
    }

    /// The splits that moved or ended since the last cut.
    pub(crate) fn cut(&mut self, epoch: Epoch) -> Result<Vec<SplitState>> {
        let mut report = std::mem::take(&mut self.ended);
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
        self.finished.retain(|finished| finished.epoch.is_none_or(|epoch| epoch > completed));
    }

    /// Time passed in which records could not be taken: no split is idle because of that.
    pub(crate) fn excuse(&mut self, now: Instant) {
        for open in self.open.values_mut() {
            open.heard = now;
        }
    }

    /// What the source says about event time on this worker.
    pub(crate) fn mark(&self, now: Instant) -> Mark {
        let open = self.open.values().filter(|open| !self.is_idle(open, now)).map(|open| open.watermark);
        let least = if self.reading.in_order_of_names {
            // Later splits hold later records: what is open speaks for them.
            open.min()
        } else {
            let waiting = self.waiting.iter().map(|split| split.watermark);
            let finished = self.finished.iter().map(|finished| finished.watermark);
            open.chain(waiting).chain(finished).min()
        };
        least.map_or(Mark::Idle, |watermark| Mark::At(watermark.unwrap_or(Millis::MIN)))
    }

    fn is_idle(&self, open: &Open<S>, now: Instant) -> bool {
        self.reading.idle_after.is_some_and(|after| now.duration_since(open.heard) >= after)
    }

    /// When the next split may become idle.
    pub(crate) fn idle_in(&self, now: Instant) -> Option<Duration> {
        let after = self.reading.idle_after?;
        let heard = self.open.values().filter(|open| !self.is_idle(open, now)).map(|open| open.heard);
        Some((heard.min()? + after).saturating_duration_since(now))
    }
}
