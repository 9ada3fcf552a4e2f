//! What the parts share: a source of numbers, a sink that counts what it throws away, and a job.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::log::Log;
use tidelock::{
    Batch, CommitPermit, Committed, Discovery, Epoch, JobId, Known, Pending, Prepared, Result, Sink,
    SinkAttempt, SinkWriter, Source, Split, SplitId, SplitReader, Versioned, WriterId, unknown_version,
};
use tidelock_runtime::Job;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// When the next batch is there.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    /// At once.
    Free,
    /// One in so much time.
    Every(Duration),
    /// When so many numbers are released.
    Released(watch::Receiver<u64>),
}

/// Splits of the numbers from 0, without an end.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) splits: u64,
    /// Numbers in a batch.
    pub(crate) batch: u64,
    pub(crate) pace: Pace,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    split: u64,
    next: u64,
}

impl Versioned for Place {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for Place {
    fn id(&self) -> SplitId {
        SplitId::new(self.split.to_string())
    }
}

enum Beat {
    Free,
    Every(Interval),
    Released(watch::Receiver<u64>),
}

pub(crate) struct Reader {
    place: Place,
    batch: u64,
    beat: Beat,
}

impl Numbers {
    /// A reader of one split from its beginning.
    pub(crate) fn reader(&self, place: Place) -> Reader {
        let beat = match &self.pace {
            Pace::Free => Beat::Free,
            Pace::Every(time) => {
                let mut interval = interval(*time);
                interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Beat::Every(interval)
            }
            Pace::Released(released) => Beat::Released(released.clone()),
        };
        Reader { place, batch: self.batch, beat }
    }

    /// The beginning of a split.
    pub(crate) fn split(&self, split: u64) -> Place {
        Place { split, next: 0 }
    }
}

#[async_trait]
impl Source for Numbers {
    type Record = u64;
    type Split = Place;
    type Reader = Reader;

    async fn discover(&self, known: &Known<Place>) -> Result<Discovery<Place>> {
        let new =
            if known.first_run { (0..self.splits).map(|split| self.split(split)).collect() } else { vec![] };
        Ok(Discovery { new, ..Discovery::default() })
    }

    async fn open(&self, place: Place) -> Result<Reader> {
        Ok(self.reader(place))
    }
}

#[async_trait]
impl SplitReader for Reader {
    type Record = u64;
    type Split = Place;

    async fn next(&mut self) -> Result<Option<Batch<u64, Place>>> {
        let from = self.place.next;
        let mut to = from + self.batch;
        match &mut self.beat {
            Beat::Free => {}
            Beat::Every(interval) => drop(interval.tick().await),
            Beat::Released(released) => match released.wait_for(|released| *released > from).await {
                Ok(released) => to = to.min(*released),
                Err(_) => return Ok(None),
            },
        }
        self.place.next = to;
        Ok(Some(Batch { records: (from..to).collect(), resume: self.place.clone() }))
    }
}

type OnPrepare = dyn Fn(Epoch) + Send + Sync;

/// Counts what it is given, and throws it away.
pub(crate) struct Count<R> {
    written: Arc<AtomicU64>,
    on_prepare: Arc<OnPrepare>,
    records: PhantomData<fn(R)>,
}

impl<R> Count<R> {
    /// A sink that tells when the barrier of an epoch has reached one of its writers.
    pub(crate) fn new(on_prepare: impl Fn(Epoch) + Send + Sync + 'static) -> Self {
        Self { written: Arc::default(), on_prepare: Arc::new(on_prepare), records: PhantomData }
    }

    /// How many records it was given.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A writer without a job.
    pub(crate) fn writer(&self) -> Writer<R> {
        let (written, on_prepare) = (Arc::clone(&self.written), Arc::clone(&self.on_prepare));
        Writer { written, on_prepare, records: PhantomData }
    }
}

pub(crate) struct Writer<R> {
    written: Arc<AtomicU64>,
    on_prepare: Arc<OnPrepare>,
    records: PhantomData<fn(R)>,
}

#[async_trait]
impl<R: Send + 'static> Sink for Count<R> {
    type Record = R;
    type Committable = ();
    type Writer = Writer<R>;

    async fn recover(&self, _: &SinkAttempt, _: &[Pending<()>]) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _: &SinkAttempt, _: WriterId) -> Result<Writer<R>> {
        Ok(self.writer())
    }

    async fn commit(&self, _: &CommitPermit, _: Vec<Pending<()>>) -> Result<Committed> {
        Ok(Committed::default())
    }
}

#[async_trait]
impl<R: Send + 'static> SinkWriter for Writer<R> {
    type Record = R;
    type Committable = ();

    async fn write(&mut self, records: &mut Vec<R>) -> Result<()> {
        self.written.fetch_add(records.len() as u64, Ordering::Relaxed);
        std::hint::black_box(&*records);
        records.clear();
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<()>>> {
        (self.on_prepare)(epoch);
        Ok(Vec::new())
    }

    async fn settled(&mut self, _: Epoch, _: bool) -> Result<()> {
        Ok(())
    }
}

/// A job that checkpoints at an interval.
pub(crate) async fn job(log: Log, interval: Duration) -> Result<Job> {
    let mut config = JobConfig::new(JobId::new("bench")?, "");
    config.settings.interval = interval;
    Job::open_on(config, log).await
}
