//! The bytes that a checkpoint of keyed state writes: in proportion to what changed, whatever the state is as
//! a whole. Everything that is ever written stays in the log's folder here, so its size tells.

use std::fs::DirEntry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidelock::job::JobConfig;
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, JobId, Result};
use tidelock_runtime::{Graph, Job, Workers};
use tokio::sync::watch;

use crate::numbers::{Count, Numbers, Pace};

const KEYS: u64 = 1_000_000;
/// So many checkpoints, and fewer where each has many keys.
const CHECKPOINTS_MAX: u64 = 200;
const CHANGES: u64 = 20_000_000;
/// The numbers after the first of each key go over the keys in a mixed order, each once in a round.
const STEP: u64 = 2_654_435_761;

fn keyed(graph: &Graph<'_>, numbers: &Arc<Numbers>, count: &Arc<Count<u64>>) {
    let stream = graph.source("numbers", numbers).stream();
    stream
        .key_by(|number| if *number < KEYS { *number } else { number.wrapping_mul(STEP) % KEYS })
        .stateful("sum", |_, sum, number, context| {
            let sum = sum.get_or_insert(0_u64);
            *sum = sum.wrapping_add(number);
            context.emit(*sum);
            Ok(())
        })
        .sink("count", count);
}

/// All bytes in a folder. A name with `#` is a file that is being written: it vanishes, and has a link that stays.
fn bytes_in(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let size = |entry: DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) if !entry.file_name().to_string_lossy().contains('#') => metadata.len(),
        _ => 0,
    };
    entries.map(size).sum()
}

struct Written {
    /// By the first checkpoint, with every key.
    first: u64,
    /// By each of the others, merges included.
    others: Vec<u64>,
    prepare: Vec<Duration>,
}

async fn measure(changed: u64) -> Result<Written> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Other, "begin", error.to_string()))?;
    let (release, released) = watch::channel(0);
    let numbers = Arc::new(Numbers { splits: 1, batch: 1024, pace: Pace::Released(released) });
    let count = Arc::new(Count::new(|_| {}));
    let mut config = JobConfig::new(JobId::new("bench")?, "");
    config.settings.interval = Duration::from_secs(3_600);
    config.retained = u32::MAX;
    let log = Log::open(&folder.path().display().to_string()).await?;
    let job = Job::open_on(config, log).await?;
    let (handle, to_count) = (job.handle(), Arc::clone(&count));
    let running = tokio::spawn(job.run(Workers::threads(1), move |graph| keyed(graph, &numbers, &to_count)));

    let (mut written, mut goal, mut before) = (Vec::new(), KEYS, 0);
    let mut prepare = Vec::new();
    for _ in 0..=(CHANGES / changed).min(CHECKPOINTS_MAX) {
        release.send_replace(goal);
        while count.written() < goal {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        handle.checkpoint().await?;
        prepare.push(handle.progress().prepare);
        let now = bytes_in(folder.path());
        written.push(now - before);
        (goal, before) = (goal + changed, now);
    }
    handle.cancel().await?;
    running.await.expect("invariant: a job does not panic")?;
    let others = written.split_off(1);
    Ok(Written { first: written[0], others, prepare: prepare.split_off(1) })
}

pub(crate) async fn run() -> Result<()> {
    println!(
        "| keys | changed | first checkpoint | others, mean | p50 | max | a changed key | prepare p50 | max |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for changed in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let Written { first, mut others, mut prepare } = measure(changed).await?;
        others.sort_unstable();
        prepare.sort_unstable();
        let mean = others.iter().sum::<u64>() as f64 / others.len() as f64;
        let (p50, max) = (others[others.len() / 2], others[others.len() - 1]);
        let (prepare_p50, prepare_max) = (prepare[prepare.len() / 2], prepare[prepare.len() - 1]);
        println!(
            "| {KEYS} | {changed} | {:.1} MB | {:.1} kB | {:.1} kB | {:.1} kB | {:.0} B | {:.2} ms | {:.2} ms |",
            first as f64 / 1e6,
            mean / 1e3,
            p50 as f64 / 1e3,
            max as f64 / 1e3,
            mean / changed as f64,
            prepare_p50.as_secs_f64() * 1e3,
            prepare_max.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}
