//! A source in memory: correct, or broken in exactly one way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    Batch, Discovery, Error, ErrorKind, Known, Result, Source, Split, SplitId, SplitReader, Versioned,
    unknown_version,
};

use super::SourceDefect as D;
use super::feed::{Feed, SplitState};
use crate::oracle::Input;

/// The most records that a batch of a [`MemorySource`] has.
pub const BATCH_RECORDS_MAX: usize = 16;

/// The split of a [`MemorySource`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySplit {
    split: String,
    next: u64,
    /// What [`D::ForgetsPosition`] has instead of `next`.
    #[serde(skip)]
    moved: u64,
}

impl MemorySplit {
    fn place(&self) -> u64 {
        self.next + self.moved
    }
}

impl Versioned for MemorySplit {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for MemorySplit {
    fn id(&self) -> SplitId {
        SplitId::new(&self.split)
    }
}

/// A source that reads a [`Feed`].
#[derive(Debug)]
pub struct MemorySource {
    feed: Feed,
    at_latest: bool,
    defect: Option<D>,
    /// What this process remembers; a correct source never asks.
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    listed: Option<BTreeSet<String>>,
    returned: BTreeSet<String>,
    opened_last: String,
}

impl MemorySource {
    /// A correct source that starts at the earliest record.
    pub fn new(feed: Feed) -> Self {
        Self { feed, at_latest: false, defect: None, memory: Arc::default() }
    }

    /// Starts at the latest record instead.
    #[must_use]
    pub fn at_latest(mut self) -> Self {
        self.at_latest = true;
        self
    }

    /// Breaks it in one way.
    #[must_use]
    pub fn broken(mut self, defect: D) -> Self {
        self.defect = Some(defect);
        self
    }

    fn has(&self, defect: D) -> bool {
        self.defect == Some(defect)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("invariant: nobody panics while holding the memory")
    }

    /// Where a new split starts.
    fn start(&self, split: &SplitState, first_run: bool) -> u64 {
        let beginning = if self.has(D::DiscoversAcknowledged) { split.acknowledged } else { split.first };
        match self.defect {
            Some(D::NewSplitsStartAtEnd) if !first_run => split.end,
            Some(D::AlwaysStartsAtLatest) if self.at_latest => split.end,
            _ if first_run && self.at_latest => split.end,
            _ => beginning,
        }
    }

    fn is_known(&self, split: &MemorySplit, known: &Known<MemorySplit>) -> bool {
        let id = split.id();
        let active = known.active.iter().any(|active| match self.defect {
            // Compares whole splits: one that has moved is another.
            Some(D::ReturnsActive) => active == split,
            _ => active.id() == id,
        });
        let finished = known.finished.contains(&id) && !self.has(D::ReturnsFinished);
        active || finished
    }
}

#[async_trait]
impl Source for MemorySource {
    type Record = Input;
    type Split = MemorySplit;
    type Reader = MemoryReader;

    async fn discover(&self, known: &Known<MemorySplit>) -> Result<Discovery<MemorySplit>> {
        tokio::task::yield_now().await;
        let splits = self.feed.lock();
        let mut memory = self.memory();
        let listed = memory.listed.get_or_insert_with(|| splits.keys().cloned().collect()).clone();
        let mut found = Discovery::default();
        for (name, split) in splits.iter() {
            let new = MemorySplit { split: name.clone(), next: self.start(split, known.first_run), moved: 0 };
            let missed = match self.defect {
                Some(D::ListsOnce) => !listed.contains(name),
                Some(D::RemembersDiscovery) => !memory.returned.insert(name.clone()),
                _ => false,
            };
            if !missed && !self.is_known(&new, known) {
                found.new.push(new);
            }
        }
        if self.has(D::ForgetsTooEarly) {
            found.forget.clone_from(&known.finished);
        }
        Ok(found)
    }

    async fn open(&self, split: MemorySplit) -> Result<MemoryReader> {
        tokio::task::yield_now().await;
        let splits = self.feed.lock();
        let state = splits.get(&split.split).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "open", "the feed has no such split").with("split", &split.split)
        })?;
        let mut next = split.place();
        if next < state.first && !self.has(D::SkipsWhatIsGone) {
            return Err(Error::new(ErrorKind::Expired, "open", "the position is gone").with("place", next));
        }
        next = next.max(state.first);
        match self.defect {
            Some(D::ResumesFromAcknowledged) => next = next.max(state.acknowledged),
            Some(D::ContinuesWhereReadingEnded) if next == 0 => next = state.read,
            Some(D::DecidesLatestAtOpen) if self.at_latest && next > 0 => next = state.end,
            _ => {}
        }
        self.memory().opened_last.clone_from(&split.split);
        Ok(MemoryReader {
            feed: self.feed.clone(),
            defect: self.defect,
            memory: Arc::clone(&self.memory),
            split: split.split,
            next,
            batches: 0,
        })
    }

    async fn acknowledge(&self, durable: &[MemorySplit]) -> Result<()> {
        for split in durable {
            if let Some(state) = self.feed.lock().get_mut(&split.split) {
                if split.place() < state.acknowledged && self.has(D::RefusesOldAcknowledgement) {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        "acknowledge",
                        "that was acknowledged before",
                    ));
                }
                state.acknowledged = state.acknowledged.max(split.place());
            }
        }
        Ok(())
    }
}

/// The reader of a [`MemorySource`].
#[derive(Debug)]
pub struct MemoryReader {
    feed: Feed,
    defect: Option<D>,
    memory: Arc<Mutex<Memory>>,
    split: String,
    next: u64,
    batches: u64,
}

impl MemoryReader {
    fn has(&self, defect: D) -> bool {
        self.defect == Some(defect)
    }

    /// The places of the next batch; `None` at the end of the split, empty where nothing is there yet.
    fn take(&mut self) -> Option<std::ops::Range<u64>> {
        if self.has(D::MixesSplits) {
            let opened_last =
                &self.memory.lock().expect("invariant: nobody panics while holding it").opened_last;
            self.split.clone_from(opened_last);
        }
        let mut splits = self.feed.lock();
        let state = splits.get_mut(&self.split)?;
        if self.next >= state.end && (state.ended || self.has(D::EndsWhenDry)) {
            return None;
        }
        let waiting = state.end.saturating_sub(self.next);
        let whole = self.has(D::ReturnsAllAtOnce) && waiting > 3_000;
        let count = if whole { waiting } else { waiting.min(BATCH_RECORDS_MAX as u64) };
        let places = self.next..self.next + count;
        state.read = places.end;
        Some(places)
    }

    /// The split to resume from after `places`.
    fn resume(&self, places: &std::ops::Range<u64>) -> MemorySplit {
        let next = match self.defect {
            Some(D::ResumesTooFar) if self.batches > 1 => places.end + 1,
            Some(D::ResumesTooEarly) if self.batches > 1 => places.end - 1,
            _ => places.end,
        };
        let (next, moved) = if self.has(D::ForgetsPosition) { (0, next) } else { (next, 0) };
        MemorySplit { split: self.split.clone(), next, moved }
    }
}

#[async_trait]
impl SplitReader for MemoryReader {
    type Record = Input;
    type Split = MemorySplit;

    async fn next(&mut self) -> Result<Option<Batch<Input, MemorySplit>>> {
        loop {
            let feed = self.feed.clone();
            let mut changed = std::pin::pin!(feed.changed.notified());
            // Listening begins before looking, or a change between the two would be missed.
            changed.as_mut().enable();
            let Some(places) = self.take() else { return Ok(None) };
            if places.is_empty() {
                changed.await;
                continue;
            }
            self.batches += 1;
            let mut records: Vec<Input> =
                places.clone().map(|place| Input::new(&self.split, place)).collect();
            match self.defect {
                Some(D::LosesARecord) if self.split == "2" && places.contains(&700) => drop(records.pop()),
                Some(D::SwapsRecords) if places.contains(&90) => records.swap(0, 1),
                _ => {}
            }
            let resume = self.resume(&places);
            self.next = places.end;
            return Ok(Some(Batch { records, resume }));
        }
    }
}
