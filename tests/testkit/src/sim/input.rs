//! The simulated source system: a log with splits that appear while the job runs, fill while it runs,
//! and have an end.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    Batch, Discovery, Error, ErrorKind, Known, Result, Source, Split, SplitId, SplitReader, Versioned,
};

use super::doubles::Double;
use super::points::Point;
use super::world::{Client, NoAnswer, State};
use crate::oracle;

/// What flows through a simulated job: a record is its own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The split that it was read from.
    pub split: u32,
    /// Its place within the split, from 0.
    pub place: u64,
}

impl From<&Record> for oracle::Input {
    fn from(record: &Record) -> Self {
        Self::new(record.split.to_string(), record.place)
    }
}

/// A split of the source system.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    /// When it appears.
    pub appears: u64,
    /// How many records it has when it appears.
    pub at_once: u64,
    /// How many it has in the end.
    pub records: u64,
    /// Milliseconds from one record to the next.
    pub gap: u64,
    /// It is listed only when this one was read to its end.
    pub parent: Option<u32>,
    /// Records below this place were acknowledged and are gone.
    pub trimmed: u64,
    /// Bytes that make its position larger.
    pub ballast: usize,
}

/// The source system.
#[derive(Debug, Default)]
pub struct Input {
    /// Its splits.
    pub partitions: BTreeMap<u32, Partition>,
    /// It throws away what was acknowledged. Not with a rollback: that reads it again.
    pub trims: bool,
}

impl Partition {
    fn available(&self, now: u64) -> u64 {
        let later = now.saturating_sub(self.appears).checked_div(self.gap).unwrap_or(u64::MAX);
        self.at_once.saturating_add(later).min(self.records)
    }

    fn available_at(&self, place: u64) -> u64 {
        self.appears + place.saturating_add(1).saturating_sub(self.at_once) * self.gap
    }
}

/// A split with its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimSplit {
    /// Which one.
    pub split: u32,
    /// The first record that was not read yet.
    pub place: u64,
    /// Makes it too large for a manifest, in some runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ballast: String,
}

impl Versioned for SimSplit {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(tidelock::unknown_version::<Self>(version))
    }
}

impl Split for SimSplit {
    fn id(&self) -> SplitId {
        SplitId::new(self.split.to_string())
    }
}

/// Where a first run starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record.
    #[default]
    Earliest,
    /// After the newest record of that moment.
    Latest,
}

/// The connector to the source system, in one process.
#[derive(Debug)]
pub struct SimSource {
    client: Client,
    start: StartAt,
    batch_max: u64,
}

impl SimSource {
    /// The connector of one process.
    pub fn new(client: Client, start: StartAt, batch_max: u64) -> Self {
        Self { client, start, batch_max }
    }
}

pub(super) fn unavailable(operation: &'static str) -> impl Fn(NoAnswer) -> Error {
    move |_| Error::new(ErrorKind::Unavailable, operation, "no answer").with_retry(tidelock::Retry::Retry)
}

fn discover(state: &State, known: &Known<SimSplit>, latest: bool) -> Discovery<SimSplit> {
    let finished = |split: u32| known.finished.iter().any(|id| id.as_str() == split.to_string());
    let is_known = |split: u32| finished(split) || known.active.iter().any(|known| known.split == split);
    let mut found = Discovery { complete: true, ..Discovery::default() };
    for (split, partition) in &state.input.partitions {
        if is_known(*split) {
            continue;
        }
        let hidden =
            partition.appears > state.now || partition.parent.is_some_and(|parent| !finished(parent));
        if hidden {
            found.complete = false;
        } else {
            let place = if latest { partition.available(state.now) } else { 0 };
            found.new.push(SimSplit { split: *split, place, ballast: "x".repeat(partition.ballast) });
        }
    }
    found
}

#[async_trait]
impl Source for SimSource {
    type Record = Record;
    type Split = SimSplit;
    type Reader = SimReader;

    async fn discover(&self, known: &Known<SimSplit>) -> Result<Discovery<SimSplit>> {
        let latest = self.start == StartAt::Latest;
        let known = known.clone();
        let ask = move |state: &mut State| {
            let again = state.double == Some(Double::SourceStartsAtLatestAgain);
            discover(state, &known, latest && (known.first_run || again))
        };
        Ok(self.client.ask(Point::Discover, ask).await.map_err(unavailable("discover"))?.value)
    }

    async fn open(&self, split: SimSplit) -> Result<SimReader> {
        let (resume, process) = (split.clone(), self.client.process);
        let mut asked_before = false;
        let open = move |state: &mut State| {
            let echo = std::mem::replace(&mut asked_before, true);
            let trimmed = state.input.partitions.get(&split.split).map_or(0, |partition| partition.trimmed);
            // A zombie may still be where it was, and nobody takes an echo for an answer; the owner of the
            // job may not.
            let counts = state.is_alive(process) && !state.is_fenced(process) && !echo;
            if split.place < trimmed && counts {
                let SimSplit { split, place, .. } = split;
                state.accuse(format!("split {split} was opened at {place}; acknowledged up to {trimmed}"));
            }
            split.place >= trimmed
        };
        let opened = self.client.ask(Point::OpenSplit, open).await.map_err(unavailable("open a split"))?;
        if !opened.value {
            let gone = "the records at this position are gone";
            return Err(Error::new(ErrorKind::Expired, "open a split", gone).with("split", resume.split));
        }
        Ok(SimReader { client: self.client.clone(), resume, batch_max: self.batch_max })
    }

    async fn acknowledge(&self, durable: &[SimSplit]) -> Result<()> {
        let durable = durable.to_vec();
        let trim = move |state: &mut State| {
            let trims = state.input.trims;
            for split in durable.iter().filter(|_| trims) {
                if let Some(partition) = state.input.partitions.get_mut(&split.split) {
                    partition.trimmed = partition.trimmed.max(split.place);
                }
            }
        };
        self.client.ask(Point::Acknowledge, trim).await.map_err(unavailable("acknowledge"))?;
        Ok(())
    }
}

/// Reads a split of the source system.
#[derive(Debug)]
pub struct SimReader {
    client: Client,
    resume: SimSplit,
    batch_max: u64,
}

enum Next {
    Records(u64),
    WaitUntil(u64),
    End,
}

impl SimReader {
    fn look(&self) -> Next {
        let mut state = self.client.world.lock();
        let Some(partition) = state.input.partitions.get(&self.resume.split) else { return Next::End };
        let available = partition.available(state.now);
        if self.resume.place >= partition.records {
            return Next::End;
        }
        if self.resume.place >= available {
            return Next::WaitUntil(partition.available_at(self.resume.place));
        }
        let most = (available - self.resume.place).min(self.batch_max);
        Next::Records(rand::RngExt::random_range(&mut state.rng, 1..=most))
    }
}

#[async_trait]
impl SplitReader for SimReader {
    type Record = Record;
    type Split = SimSplit;

    async fn next(&mut self) -> Result<Option<Batch<Record, SimSplit>>> {
        loop {
            match self.look() {
                Next::End => return Ok(None),
                Next::WaitUntil(ms) => tokio::time::sleep_until(self.client.world.moment(ms)).await,
                Next::Records(count) => {
                    let first = self.resume.place;
                    self.resume.place += count;
                    // A reader is not infinitely fast, or no barrier would ever come between batches.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let split = self.resume.split;
                    let records = (first..first + count).map(|place| Record { split, place }).collect();
                    let mut resume = self.resume.clone();
                    if self.client.world.lock().double == Some(Double::SourceResumesAhead) {
                        resume.place += 1;
                    }
                    return Ok(Some(Batch { records, resume }));
                }
            }
        }
    }
}
