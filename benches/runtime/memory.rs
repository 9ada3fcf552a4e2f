//! The memory of a job over time: a fixed number of keys, windows that come and go, a checkpoint every ten
//! milliseconds. It must be flat.

use std::sync::Arc;
use std::time::Duration;

use tidelock::log::Log;
use tidelock::{Error, ErrorKind, Result};
use tidelock_runtime::{Graph, Tumbling, Window, Workers, fold};

use crate::numbers::{Count, Numbers, Pace, job};

const INTERVAL: Duration = Duration::from_millis(10);
const WORKERS: usize = 2;
/// Numbers of each split in a millisecond of event time and of the clock.
const NUMBERS_A_MS: u64 = 10;
const KEYS: u64 = 10_000;
const WINDOW: Duration = Duration::from_secs(1);

fn windows(graph: &Graph<'_>, numbers: &Arc<Numbers>, count: &Arc<Count<u64>>) {
    let (sums, late) = graph
        .source("numbers", numbers)
        .event_time(|number| i64::try_from(number / NUMBERS_A_MS).unwrap_or(i64::MAX))
        .stream()
        .key_by(|number| number % KEYS)
        .stateful("sum", |_, sum, number, context| {
            let sum = sum.get_or_insert(0_u64);
            *sum = sum.wrapping_add(number);
            context.emit(number);
            Ok(())
        })
        .key_by(|number| number % KEYS)
        .window(
            "windows",
            Tumbling::of(WINDOW),
            fold(|sum: &mut u64, number: &u64| *sum += number, |_: &u64, _: Window, sum: &u64| *sum),
        );
    sums.union(late).sink("count", count);
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes that were asked for and not given back.
fn in_use() -> usize {
    let stats = crate::ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

pub(crate) async fn run(minutes: u64) -> Result<()> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Other, "begin", error.to_string()))?;
    let pace = Pace::Every(Duration::from_millis(1));
    let numbers = Arc::new(Numbers { splits: WORKERS as u64, batch: NUMBERS_A_MS, pace });
    let count = Arc::new(Count::new(|_| {}));
    let job = job(Log::open(&folder.path().display().to_string()).await?, INTERVAL).await?;
    let (handle, to_count) = (job.handle(), Arc::clone(&count));
    let running =
        tokio::spawn(job.run(Workers::threads(WORKERS), move |graph| windows(graph, &numbers, &to_count)));
    println!("| minute | resident | in use | checkpoints | windows |");
    println!("|---:|---:|---:|---:|---:|");
    for minute in 1..=minutes {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (resident, in_use) = (resident() as f64 / 1e6, in_use() as f64 / 1e6);
        let checkpoints = handle.progress().checkpoints;
        println!("| {minute} | {resident:.1} MB | {in_use:.1} MB | {checkpoints} | {} |", count.written());
    }
    handle.stop(None).await?;
    running.await.expect("invariant: a job does not panic")?;
    Ok(())
}
