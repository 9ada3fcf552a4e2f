//! A source that hands over no more than so many records a second, and counts them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidelock::{Batch, Discovery, Known, Result, Source, SourceName, SplitReader};
use tokio::time::Instant;

/// A pause may have been longer than asked for; no more than this is made up for afterwards, so that
/// records never come in a burst.
const CATCH_UP: Duration = Duration::from_millis(10);

/// One pace for all readers of a process.
pub(crate) struct Pace {
    /// Records a second; 0 is unlimited.
    rate: u64,
    /// When the next record may be handed over.
    next: Mutex<Instant>,
    /// Told how many records are handed over, before they are.
    read: Box<dyn Fn(u64) + Send + Sync>,
}

impl Pace {
    pub(crate) fn new(rate: u64, read: impl Fn(u64) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { rate, next: Mutex::new(Instant::now()), read: Box::new(read) })
    }

    /// How many records a batch may have.
    pub(crate) fn batch_records(&self) -> usize {
        batch_records(self.rate)
    }

    /// When `count` records may be handed over; their time is taken.
    fn reserve(&self, count: u64, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
        *next = at + Duration::from_secs_f64(count as f64 / self.rate as f64);
        at
    }

    async fn wait(&self, count: u64) {
        if self.rate > 0 && count > 0 {
            tokio::time::sleep_until(self.reserve(count, Instant::now())).await;
        }
        (self.read)(count);
    }
}

/// How many records a batch may have at a rate: those of five milliseconds, so that a checkpoint need not
/// fall behind a large batch.
fn batch_records(rate: u64) -> usize {
    const BATCHES_A_SECOND: u64 = 200;
    const MAX: u64 = 1_024;
    let records = if rate == 0 { MAX } else { (rate / BATCHES_A_SECOND).clamp(1, MAX) };
    usize::try_from(records).unwrap_or(1)
}

/// A source at a [`Pace`]. The readers wait by themselves, so no barrier does.
pub(crate) struct Paced<S> {
    source: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    pub(crate) fn new(source: S, pace: Arc<Pace>) -> Self {
        Self { source, pace }
    }
}

impl<S: fmt::Debug> fmt::Debug for Paced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced").field("source", &self.source).finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: Source> Source for Paced<S> {
    type Record = S::Record;
    type Split = S::Split;
    type Reader = PacedReader<S::Reader>;

    const OPEN_SPLITS_MAX: usize = S::OPEN_SPLITS_MAX;

    async fn discover(&self, known: &Known<S::Split>) -> Result<Discovery<S::Split>> {
        self.source.discover(known).await
    }

    async fn open(&self, split: S::Split) -> Result<Self::Reader> {
        Ok(PacedReader { reader: self.source.open(split).await?, pace: Arc::clone(&self.pace) })
    }

    async fn acknowledge(&self, durable: &[S::Split]) -> Result<()> {
        self.source.acknowledge(durable).await
    }
}

/// Reads one split at the pace of its source.
pub(crate) struct PacedReader<R> {
    reader: R,
    pace: Arc<Pace>,
}

#[async_trait]
impl<R: SplitReader> SplitReader for PacedReader<R> {
    type Record = R::Record;
    type Split = R::Split;

    async fn next(&mut self) -> Result<Option<Batch<R::Record, R::Split>>> {
        let batch = self.reader.next().await?;
        if let Some(batch) = &batch {
            self.pace.wait(batch.records.len() as u64).await;
        }
        Ok(batch)
    }

    fn heap_bytes(&self) -> u64 {
        self.reader.heap_bytes()
    }

    fn belongs_to(&mut self, source: &SourceName) {
        self.reader.belongs_to(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_are_spread_over_time_and_a_long_pause_is_not_made_up_for() {
        let pace = Pace::new(1_000, |_| {});
        let begin = Instant::now();
        assert!(pace.reserve(100, begin) <= begin);
        let second = pace.reserve(100, begin);
        let third = pace.reserve(1, begin);
        assert_eq!(third - second, Duration::from_millis(100));
        let later = begin + Duration::from_secs(60);
        assert_eq!(pace.reserve(1, later), later - CATCH_UP);
    }

    #[test]
    fn batches_are_small_where_records_are_slow() {
        assert_eq!([0, 1, 9_000, 1_000_000].map(batch_records), [1_024, 1, 45, 1_024]);
    }
}
