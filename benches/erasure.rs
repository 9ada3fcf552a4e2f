//! What the erasing bridge costs: the same reader and the same writer, called with their types known
//! and through [`DynReader`] and [`DynWriter`].
//!
//! Both move the same batches of `u64` and do next to nothing with them, so that the difference is the
//! bridge: one more boxed future and one dynamic call for each batch. `stored` is what a barrier adds:
//! a split becomes JSON there, once for each checkpoint and not for each batch.
#![allow(missing_docs)] // `criterion_group!` makes a public function without a doc

use std::hint::black_box;

use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use tidelock::{
    Batch, CommitPermit, Committed, Discovery, DynReader, DynWriter, Epoch, Generation, JobId, Known,
    Pending, Position, Prepared, Result, Sink, SinkAttempt, SinkData, SinkWriter, Source, SourceData,
    SourceName, Split, SplitId, SplitReader, Stored, Uid, Versioned, WriterId, unknown_version,
};

/// Records in a batch: alone, a small batch, and as many as a fast source gives.
const BATCH_SIZES: [usize; 3] = [1, 64, 1024];

/// A split of numbers, with the next one to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Numbers {
    partition: u32,
    next: u64,
}

impl Versioned for Numbers {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for Numbers {
    fn id(&self) -> SplitId {
        SplitId::new(self.partition.to_string())
    }
}

/// Counts upwards, `batch` numbers at a time.
struct Counting {
    batch: usize,
}

struct CountingReader {
    batch: u64,
    split: Numbers,
}

#[async_trait]
impl Source for Counting {
    type Record = u64;
    type Split = Numbers;
    type Reader = CountingReader;

    async fn discover(&self, _known: &Known<Numbers>) -> Result<Discovery<Numbers>> {
        Ok(Discovery::default())
    }

    async fn open(&self, split: Numbers) -> Result<CountingReader> {
        Ok(CountingReader { batch: self.batch as u64, split })
    }
}

#[async_trait]
impl SplitReader for CountingReader {
    type Record = u64;
    type Split = Numbers;

    async fn next(&mut self) -> Result<Option<Batch<u64, Numbers>>> {
        let from = self.split.next;
        self.split.next += self.batch;
        Ok(Some(Batch { records: (from..self.split.next).collect(), resume: self.split.clone() }))
    }
}

/// Adds up what it is given.
struct Summing;

#[derive(Default)]
struct SummingWriter {
    sum: u64,
}

#[async_trait]
impl Sink for Summing {
    type Record = u64;
    type Committable = ();
    type Writer = SummingWriter;

    async fn recover(&self, _attempt: &SinkAttempt, _pending: &[Pending<()>]) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _attempt: &SinkAttempt, _writer: WriterId) -> Result<SummingWriter> {
        Ok(SummingWriter::default())
    }

    async fn commit(&self, _permit: &CommitPermit, _committables: Vec<Pending<()>>) -> Result<Committed> {
        Ok(Committed::default())
    }
}

#[async_trait]
impl SinkWriter for SummingWriter {
    type Record = u64;
    type Committable = ();

    async fn write(&mut self, records: &mut Vec<u64>) -> Result<()> {
        self.sum = records.drain(..).fold(self.sum, u64::wrapping_add);
        Ok(())
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Vec<Prepared<()>>> {
        Ok(vec![Prepared::lasting(())])
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        Ok(())
    }
}

/// The result of a future that never waits: no executor takes part in what is measured.
fn ready<T>(future: impl Future<Output = Result<T>>) -> T {
    future.now_or_never().expect("invariant: it never waits").expect("invariant: it never fails")
}

fn source(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("source");
    for size in BATCH_SIZES {
        group.throughput(Throughput::Elements(size as u64));
        let source = Counting { batch: size };
        let start = Numbers { partition: 0, next: 0 };
        let mut typed = ready(Source::open(&source, start.clone()));
        group.bench_function(BenchmarkId::new("typed", size), |bencher| {
            bencher.iter(|| black_box(ready(typed.next())));
        });
        let stored = Stored::encode(&start).expect("invariant: a split has a stored form");
        let mut erased: Box<dyn DynReader<u64>> = ready(SourceData::open(&source, &name(), stored));
        group.bench_function(BenchmarkId::new("erased", size), |bencher| {
            bencher.iter(|| black_box(ready(erased.next())));
        });
    }
    group.finish();
}

fn name() -> SourceName {
    let job = JobId::new("erasure").expect("invariant: a legal name");
    SourceName { job, uid: Uid::new("numbers").expect("invariant: a legal name") }
}

fn sink(criterion: &mut Criterion) {
    let job = JobId::new("erasure").expect("invariant: a legal name");
    let uid = Uid::new("sums").expect("invariant: a legal name");
    let attempt = SinkAttempt { job, uid, number: Position(1), generation: Generation(1), chunks: None };
    let mut group = criterion.benchmark_group("sink");
    for size in BATCH_SIZES {
        group.throughput(Throughput::Elements(size as u64));
        let mut records = Vec::with_capacity(size);
        let mut typed = ready(Sink::open(&Summing, &attempt, WriterId(0)));
        group.bench_function(BenchmarkId::new("typed", size), |bencher| {
            bencher.iter(|| {
                records.extend(0..size as u64);
                ready(typed.write(black_box(&mut records)));
            });
        });
        let mut erased: Box<dyn DynWriter<u64>> = ready(SinkData::open(&Summing, &attempt, WriterId(0)));
        group.bench_function(BenchmarkId::new("erased", size), |bencher| {
            bencher.iter(|| {
                records.extend(0..size as u64);
                ready(erased.write(black_box(&mut records)));
            });
        });
        black_box(typed.sum);
    }
    group.finish();
}

fn barrier(criterion: &mut Criterion) {
    let start = Stored::encode(&Numbers { partition: 0, next: 0 }).expect("invariant: it has a stored form");
    let reader: Box<dyn DynReader<u64>> = ready(SourceData::open(&Counting { batch: 1 }, &name(), start));
    criterion.bench_function("barrier/stored", |bencher| {
        bencher.iter(|| black_box(reader.resume()));
    });
}

criterion_group!(benches, source, sink, barrier);
criterion_main!(benches);
