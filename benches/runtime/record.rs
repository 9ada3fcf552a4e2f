//! What the framework costs for a record: the CPU time of the whole process and its allocations, less what
//! the same reader, functions and writer take without a job.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use stats_alloc::Region;
use tidelock::log::Log;
use tidelock::{Result, SinkWriter, SplitReader};
use tidelock_runtime::{Graph, Workers};

use crate::ALLOCATOR;
use crate::numbers::{Count, Numbers, Pace, job};

const INTERVAL: Duration = Duration::from_millis(10);
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
/// Records without a job: as many as one job has at least.
const BY_HAND: u64 = 100_000_000;
const KEYS: u64 = 1_000;

/// What was used up, of each a sum for the whole process.
struct Used {
    cpu: Duration,
    allocations: usize,
    records: u64,
    passed: Duration,
}

impl Used {
    fn cpu_ns(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.records as f64
    }

    fn allocations(&self) -> f64 {
        self.allocations as f64 / self.records as f64
    }

    fn millions_a_second(&self) -> f64 {
        self.records as f64 / self.passed.as_secs_f64() / 1e6
    }
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What passes while a future runs.
async fn measure(written: impl Fn() -> u64, during: impl Future<Output = ()>) -> Used {
    let (region, began) = (Region::new(ALLOCATOR), tokio::time::Instant::now());
    let (cpu, records) = (cpu_time(), written());
    during.await;
    let used = region.change();
    Used {
        cpu: cpu_time() - cpu,
        allocations: used.allocations + used.reallocations,
        records: written() - records,
        passed: began.elapsed(),
    }
}

fn is_wanted(number: u64) -> bool {
    number != u64::MAX
}

/// The same reader, functions and writer, one after the other on this thread.
async fn by_hand(batch: u64) -> Used {
    let (numbers, count) = (Numbers { splits: 1, batch, pace: Pace::Free }, Count::new(|_| {}));
    let (mut reader, mut writer) = (numbers.reader(numbers.split(0)), count.writer());
    measure(|| count.written(), async {
        while count.written() < BY_HAND {
            let read = reader.next().await.ok().flatten().expect("invariant: the numbers never end");
            let mut records: Vec<u64> = read
                .records
                .into_iter()
                .map(|number| number + 1)
                .filter(|number| is_wanted(*number))
                .collect();
            writer.write(&mut records).await.expect("invariant: counting never fails");
        }
    })
    .await
}

/// A job with this graph, once it is warm.
async fn in_a_job(
    workers: usize,
    batch: u64,
    build: impl for<'s> Fn(&Graph<'s>, &Arc<Numbers>, &Arc<Count<u64>>) + Send + Sync + 'static,
) -> Result<Used> {
    let numbers = Arc::new(Numbers { splits: workers as u64, batch, pace: Pace::Free });
    let count = Arc::new(Count::new(|_| {}));
    let job = job(Log::on(Arc::new(InMemory::new()), "log".into()), INTERVAL).await?;
    let (handle, to_count) = (job.handle(), Arc::clone(&count));
    let running =
        tokio::spawn(job.run(Workers::threads(workers), move |graph| build(graph, &numbers, &to_count)));
    tokio::time::sleep(WARM_UP).await;
    let used = measure(|| count.written(), tokio::time::sleep(MEASURED)).await;
    handle.cancel().await?;
    running.await.expect("invariant: a job does not panic")?;
    Ok(used)
}

fn stateless(graph: &Graph<'_>, numbers: &Arc<Numbers>, count: &Arc<Count<u64>>) {
    let stream = graph.source("numbers", numbers).stream();
    stream.map(|number| number + 1).filter(|number| is_wanted(*number)).sink("count", count);
}

fn keyed(graph: &Graph<'_>, numbers: &Arc<Numbers>, count: &Arc<Count<u64>>) {
    let stream = graph.source("numbers", numbers).stream();
    stream
        .map(|number| number + 1)
        .key_by(|number| number % KEYS)
        .stateful("sum", |_, sum, number, context| {
            let sum = sum.get_or_insert(0_u64);
            *sum = sum.wrapping_add(number);
            context.emit(*sum);
            Ok(())
        })
        .sink("count", count);
}

fn row(name: &str, batch: u64, used: &Used, less: f64) {
    let (all, own) = (used.cpu_ns(), used.cpu_ns() - less);
    let (allocations, rate) = (used.allocations(), used.millions_a_second());
    println!("| {name} | {batch} | {all:.1} ns | {own:.1} ns | {allocations:.4} | {rate:.1} M/s |");
}

pub(crate) async fn run() -> Result<()> {
    println!("| graph | records in a batch | CPU | of it the framework | allocations | rate |");
    println!("|---|---:|---:|---:|---:|---:|");
    for batch in [64, 256, 1024] {
        let by_hand = by_hand(batch).await;
        row("without a job", batch, &by_hand, by_hand.cpu_ns());
        let used = in_a_job(1, batch, stateless).await?;
        row("map, filter; 1 worker", batch, &used, by_hand.cpu_ns());
        for (workers, name) in [(1, "keyed sum; 1 worker"), (2, "keyed sum; 2 workers")] {
            let used = in_a_job(workers, batch, keyed).await?;
            row(name, batch, &used, by_hand.cpu_ns());
        }
    }
    Ok(())
}
