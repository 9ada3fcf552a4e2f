//! A source and a sink in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::host::{Report, SplitState};
use tidelock::*;
use tokio::sync::watch;

/// A record: its split, its number in it, its event time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) split: String,
    pub(crate) number: u64,
    pub(crate) time: i64,
}

/// Splits of numbered events. How far each split may be read is up to the test.
#[derive(Debug, Default)]
pub(crate) struct MemorySource {
    /// How many events each split has released.
    pub(crate) gates: Mutex<BTreeMap<String, watch::Sender<(u64, bool)>>>,
    /// Makes the reader fail or panic instead of returning this event.
    pub(crate) fail_at: Option<u64>,
    pub(crate) panic_at: Option<u64>,
    /// What each event is said to hold on the heap.
    pub(crate) heap_bytes: u64,
    /// The splits in the order in which they were opened.
    pub(crate) opened: Mutex<Vec<String>>,
    /// Whose its readers are, by what they were told.
    pub(crate) named: Arc<Mutex<Vec<SourceName>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MemorySplit {
    pub(crate) id: String,
    pub(crate) next: u64,
}

impl Versioned for MemorySplit {
    const VERSION: u16 = 1;
    fn upgrade(version: u16, _: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for MemorySplit {
    fn id(&self) -> SplitId {
        SplitId::new(&self.id)
    }
}

impl MemorySource {
    fn gate(&self, split: &str) -> watch::Sender<(u64, bool)> {
        self.gates
            .lock()
            .unwrap()
            .entry(split.to_owned())
            .or_insert_with(|| watch::Sender::new((0, false)))
            .clone()
    }

    /// Lets `split` be read up to `count` events, and ends it there if it is `ended`.
    pub(crate) fn release(&self, split: &str, count: u64, ended: bool) {
        self.gate(split).send_replace((count, ended));
    }

    /// A split as it is assigned.
    pub(crate) fn split(id: &str, next: u64) -> SplitState {
        let split = MemorySplit { id: id.to_owned(), next };
        SplitState {
            id: split.id(),
            split: Stored::encode(&split).unwrap(),
            watermark: None,
            finished: false,
        }
    }
}

pub(crate) struct MemoryReader {
    /// Whose readers these are said to be.
    named: Arc<Mutex<Vec<SourceName>>>,
    split: MemorySplit,
    gate: watch::Receiver<(u64, bool)>,
    fail_at: Option<u64>,
    panic_at: Option<u64>,
    heap_bytes: u64,
    /// Events of the last batch.
    handed_over: u64,
}

#[async_trait]
impl Source for MemorySource {
    type Record = Event;
    type Split = MemorySplit;
    type Reader = MemoryReader;

    async fn discover(&self, _: &Known<MemorySplit>) -> Result<Discovery<MemorySplit>> {
        Ok(Discovery::default())
    }

    async fn open(&self, split: MemorySplit) -> Result<MemoryReader> {
        self.opened.lock().unwrap().push(split.id.clone());
        let gate = self.gate(&split.id).subscribe();
        let Self { fail_at, panic_at, heap_bytes, .. } = *self;
        let named = Arc::clone(&self.named);
        Ok(MemoryReader { named, split, gate, fail_at, panic_at, heap_bytes, handed_over: 0 })
    }
}

#[async_trait]
impl SplitReader for MemoryReader {
    type Record = Event;
    type Split = MemorySplit;

    async fn next(&mut self) -> Result<Option<Batch<Event, MemorySplit>>> {
        let next = self.split.next;
        let gate = self.gate.wait_for(|(released, ended)| *released > next || *ended).await;
        let Ok((released, _)) = gate.map(|gate| *gate) else { return Ok(None) };
        if released <= next {
            return Ok(None);
        }
        let until = released.min(next + 7);
        if self.fail_at.is_some_and(|at| at < until) {
            return Err(Error::new(ErrorKind::Unavailable, "read", "the disk is gone"));
        }
        assert!(self.panic_at.is_none_or(|at| at >= until), "the reader has a defect");
        let event = |number| Event {
            split: self.split.id.clone(),
            number,
            time: i64::try_from(number).unwrap() * 10,
        };
        let records = (next..until).map(event).collect();
        self.split.next = until;
        self.handed_over = until - next;
        Ok(Some(Batch { records, resume: self.split.clone() }))
    }

    fn heap_bytes(&self) -> u64 {
        self.heap_bytes * self.handed_over
    }

    fn belongs_to(&mut self, source: &SourceName) {
        self.named.lock().unwrap().push(source.clone());
    }
}

/// A sink whose committables are the records themselves.
#[derive(Debug)]
pub(crate) struct MemorySink<R> {
    /// How many prepared epochs a writer has place for.
    pub(crate) places: usize,
    pub(crate) fail_at_write: bool,
    /// Which records it cannot take.
    pub(crate) poison: fn(&R) -> bool,
    /// It finds them out in `prepare`, and not in `write`.
    pub(crate) finds_out_late: bool,
}

impl<R> MemorySink<R> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::with_places(usize::MAX))
    }

    pub(crate) fn with_places(places: usize) -> Self {
        Self { places, fail_at_write: false, poison: |_| false, finds_out_late: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Written<R>(pub(crate) Vec<R>);

impl<R: Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Versioned for Written<R> {
    const VERSION: u16 = 1;
    fn upgrade(version: u16, _: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// What a test may write.
pub(crate) trait Datum:
    Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static
{
}
impl<R: Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static> Datum
    for R
{
}

impl<R: Datum> Committable for Written<R> {}

pub(crate) struct MemoryWriter<R> {
    records: Vec<R>,
    taken: usize,
    places: usize,
    fail: bool,
    poison: fn(&R) -> bool,
    finds_out_late: bool,
    rejects: Rejects<R>,
}

impl<R> MemoryWriter<R> {
    fn sort_out(&mut self) -> Result<()> {
        for record in std::mem::take(&mut self.records) {
            if (self.poison)(&record) {
                self.rejects.push(record, Error::new(ErrorKind::Data, "write", "this is poison"))?;
            } else {
                self.records.push(record);
            }
        }
        Ok(())
    }
}

impl<R: Datum> Rejecting for MemoryWriter<R> {
    fn reject_to(&mut self, rejects: Rejects<R>) {
        self.rejects = rejects;
    }
}

#[async_trait]
impl<R: Datum> Sink for MemorySink<R> {
    type Record = R;
    type Committable = Written<R>;
    type Writer = MemoryWriter<R>;

    async fn recover(&self, _: &SinkAttempt, _: &[Pending<Written<R>>]) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _: &SinkAttempt, _: WriterId) -> Result<MemoryWriter<R>> {
        Ok(MemoryWriter {
            records: Vec::new(),
            taken: 0,
            places: self.places,
            fail: self.fail_at_write,
            poison: self.poison,
            finds_out_late: self.finds_out_late,
            rejects: Rejects::default(),
        })
    }

    async fn commit(&self, _: &CommitPermit, _: Vec<Pending<Written<R>>>) -> Result<Committed> {
        Ok(Committed::default())
    }
}

#[async_trait]
impl<R: Datum> SinkWriter for MemoryWriter<R> {
    type Record = R;
    type Committable = Written<R>;

    async fn write(&mut self, records: &mut Vec<R>) -> Result<()> {
        if self.fail {
            return Err(Error::new(ErrorKind::Unavailable, "write", "the target is gone"));
        }
        if self.taken < self.places {
            self.records.append(records);
            if !self.finds_out_late {
                self.sort_out()?;
            }
        }
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Vec<Prepared<Written<R>>>> {
        self.sort_out()?;
        if self.records.is_empty() {
            return Ok(Vec::new());
        }
        self.taken += 1;
        Ok(vec![Prepared::lasting(Written(std::mem::take(&mut self.records)))])
    }

    async fn settled(&mut self, _: Epoch, _: bool) -> Result<()> {
        self.taken = 0;
        Ok(())
    }
}

/// The records that reports list for a sink, in order.
pub(crate) fn committed<R: Datum>(reports: &[Report], sink: &str) -> Vec<R> {
    let uid = Uid::new(sink).unwrap();
    let prepared = reports.iter().filter_map(|report| report.sinks.get(&uid)).flatten();
    prepared.flat_map(|prepared| prepared.committable.decode::<Written<R>>().unwrap().0).collect()
}
