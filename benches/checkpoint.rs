//! What a checkpoint costs: the coordinator, the protocol and the log, with a host that only reports.
//!
//! The host is one future beside the coordinator on one thread. On a store in memory the thread's CPU time
//! is measured, which other work on the machine hardly touches; on the local folder the time that passes,
//! which is mostly the disk's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use object_store::memory::InMemory;
use object_store::path::Path;
use tidelock::coordinator::{Control, Coordinator, HostLink};
use tidelock::host::{News, Order, Report};
use tidelock::job::{Graph, Job, JobConfig};
use tidelock::log::Log;
use tidelock::{
    Discovery, JobId, Known, Result, SourceControl, SplitId, SplitState, Stored, StoredSplit, Uid,
};

/// A source with some splits that are always there.
struct Splits(usize);

fn split(number: usize, position: u64) -> StoredSplit {
    let json = format!(r#"{{"topic":"orders","partition":{number},"offset":{position}}}"#);
    let json = serde_json::value::RawValue::from_string(json).expect("JSON");
    StoredSplit { id: SplitId::new(format!("orders-{number:05}")), split: Stored { version: 1, json } }
}

fn state(number: usize, position: u64) -> SplitState {
    let StoredSplit { id, split } = split(number, position);
    SplitState { id, split, watermark: Some(0), finished: false }
}

#[async_trait]
impl SourceControl for Splits {
    async fn discover(&self, known: Known<Stored>) -> Result<Discovery<StoredSplit>> {
        let new =
            if known.first_run { (0..self.0).map(|number| split(number, 0)).collect() } else { Vec::new() };
        Ok(Discovery { new, forget: Vec::new(), complete: true })
    }

    async fn acknowledge(&self, _: Vec<Stored>) -> Result<()> {
        Ok(())
    }
}

fn uid() -> Uid {
    Uid::new("orders").expect("legal")
}

/// Reports every epoch at once; `moved` splits have moved each time.
async fn host(mut link: HostLink, moved: usize, epochs: u64, control: Control) -> Duration {
    let (mut first, mut last) = (None, Duration::ZERO);
    let mut attempt = tidelock::Position(0);
    while let Some(order) = link.orders.recv().await {
        match order {
            Order::Open(opening) => {
                attempt = opening.attempt.number;
                let _ = link.news.send(News::Opened).await;
            }
            Order::Barrier { epoch, .. } => {
                // The start of the job, with its first whole snapshot, does not count.
                last = cpu_time();
                first.get_or_insert(last);
                let splits = (0..moved).map(|number| state(number, epoch.0)).collect();
                let report = Report {
                    epoch,
                    attempt,
                    sources: BTreeMap::from([(uid(), splits)]),
                    ..Report::default()
                };
                let _ = link.news.send(News::Report(report)).await;
                if epoch.0 >= epochs {
                    let _ = control.stop(None).await;
                }
            }
            _ => {}
        }
    }
    last - first.unwrap_or(last)
}

/// Runs `epochs` epochs back to back and returns how long that took.
async fn run(log: Log, splits: usize, moved: usize, epochs: u64) -> Took {
    let mut config = JobConfig::new(JobId::new("bench").expect("legal"), "");
    config.settings.interval = Duration::from_nanos(1);
    let job = Job::open_on(config, log).await.expect("opens");
    let source: Arc<dyn SourceControl> = Arc::new(Splits(splits));
    let graph = Graph { sources: BTreeMap::from([(uid(), source)]), tasks: 1, ..Graph::default() };
    let (coordinator, link, control) = Coordinator::new(job, graph);
    #[allow(clippy::disallowed_methods)] // The clock is what is measured here.
    let began = Instant::now();
    let (ended, cpu) = tokio::join!(coordinator.run(), host(link, moved, epochs, control));
    ended.expect("ends by itself");
    Took { passed: began.elapsed(), cpu }
}

struct Took {
    passed: Duration,
    cpu: Duration,
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn memory() -> Log {
    Log::on(Arc::new(InMemory::new()), Path::from("bench"))
}

fn checkpoint(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    let mut group = criterion.benchmark_group("checkpoint");
    group.bench_function("the host's own part: a report of 10000 splits", |bencher| {
        bencher.iter(|| (0..10_000).map(|number| state(number, 7)).collect::<Vec<_>>());
    });
    group.sample_size(10);
    for (splits, moved) in [(1, 0), (1, 1), (64, 64), (10_000, 100), (10_000, 10_000)] {
        let name = BenchmarkId::new("memory", format!("{moved} of {splits} splits moved"));
        group.bench_function(name, |bencher| {
            // At least some epochs, so that the beginning and the end do not count.
            bencher.iter_custom(|epochs| {
                let least = epochs.max(20);
                let took = runtime.block_on(run(memory(), splits, moved, least));
                took.cpu.mul_f64(epochs as f64 / least as f64)
            });
        });
    }
    group.bench_function("local folder with fsync, 1 of 1 splits moved", |bencher| {
        bencher.iter_custom(|epochs| {
            let folder = tempfile::tempdir().expect("a folder");
            let place = folder.path().join("log").display().to_string();
            let least = epochs.max(200);
            let took = runtime.block_on(async {
                let log = Log::open(&place).await.expect("opens");
                run(log, 1, 1, least).await
            });
            took.passed.mul_f64(epochs as f64 / least as f64)
        });
    });
    group.finish();
}

criterion_group!(benches, checkpoint);
criterion_main!(benches);
