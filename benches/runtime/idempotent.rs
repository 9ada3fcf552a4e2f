//! What checkpoints cost beside a sink that is idempotent: rows into a database at a fixed rate, with checkpoints of positions alone
//! and of keyed state of several sizes. Everything that is ever written stays in the log's folder, so its size tells.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidelock::job::JobConfig;
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, JobId, Result, Uid};
use tidelock_runtime::{Graph, Job, Workers};
use tidelock_sql::{Change, Mode, SqlConfig, SqlSink, SqlSinkConfig};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::numbers::{Numbers, Pace};
use crate::record::cpu_time;
use crate::state::bytes_in;

/// Rows in a second, and in each tick.
const RATE: u64 = 5_000;
const TICK: Duration = Duration::from_millis(10);
const SECONDS: u64 = 10;
/// How many rows the table has.
const ROWS: u64 = 10_000;
/// The numbers after the first of each key go over the keys in a mixed order, each once in a round.
const STEP: u64 = 2_654_435_761;
const KEYS: [u64; 4] = [0, 1_000, 100_000, 1_000_000];
const INTERVALS_MS: [u64; 3] = [10, 100, 1_000];

#[derive(Serialize)]
struct Row {
    id: u64,
    sum: u64,
}

fn row(number: u64, sum: u64) -> Change<Row> {
    Change::Upsert(Row { id: number % ROWS, sum })
}

/// Without keys: each number as a row. With them: each key's sum, of which all have one before the first row.
fn rows(graph: &Graph<'_>, numbers: &Arc<Numbers>, sink: &Arc<SqlSink<Row>>, keys: u64) {
    let stream = graph.source("numbers", numbers).stream();
    if keys == 0 {
        stream.map(|number| row(number, number)).sink("rows", sink);
        return;
    }
    stream
        .key_by(move |number| if *number < keys { *number } else { number.wrapping_mul(STEP) % keys })
        .stateful("sum", move |_, sum, number, context| {
            let sum = sum.get_or_insert(0_u64);
            *sum = sum.wrapping_add(number);
            if number >= keys {
                context.emit(row(number, *sum));
            }
            Ok(())
        })
        .sink("rows", sink);
}

struct Cost {
    checkpoints: u64,
    bytes: u64,
    cpu: Duration,
    rows: u64,
    prepare: Duration,
}

async fn measure(database: &SqlConfig, keys: u64, every: Duration) -> Result<Cost> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Other, "begin", error.to_string()))?;
    database.execute("DROP TABLE IF EXISTS sums").await?;
    database
        .execute(
            "CREATE TABLE sums (id BIGINT PRIMARY KEY, sum BIGINT NOT NULL, \
             tidelock_attempt BIGINT NOT NULL, tidelock_sequence BIGINT NOT NULL)",
        )
        .await?;
    let mut writing = SqlSinkConfig::new(database.clone(), "sums");
    writing.mode = Mode::Upsert;
    let sink = Arc::new(SqlSink::new(writing)?);
    let (release, released) = watch::channel(0);
    let numbers = Arc::new(Numbers { splits: 1, batch: 1024, pace: Pace::Released(released) });
    let mut config = JobConfig::new(JobId::new("bench")?, "");
    config.settings.interval = every;
    config.retained = u32::MAX;
    let job = Job::open_on(config, Log::open(&folder.path().display().to_string()).await?).await?;
    let handle = job.handle();
    let running = tokio::spawn(job.run(Workers::threads(1), move |graph| rows(graph, &numbers, &sink, keys)));

    let (source, rows) = (Uid::new("numbers")?, Uid::new("rows")?);
    let mut goal = keys;
    release.send_replace(goal);
    while handle.records_read().get(&source).copied().unwrap_or(0) < goal {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Two checkpoints more have all of it, and what they merge is of the beginning.
    handle.checkpoint().await?;
    handle.checkpoint().await?;
    let written = || handle.records_written().get(&rows).copied().unwrap_or(0);
    let before = (handle.progress().checkpoints, bytes_in(folder.path()), cpu_time(), written());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut prepare = Vec::new();
    for _ in 0..SECONDS * 1_000 / TICK.as_millis() as u64 {
        ticks.tick().await;
        goal += RATE * TICK.as_millis() as u64 / 1_000;
        release.send_replace(goal);
        prepare.push(handle.progress().prepare);
    }
    let cost = Cost {
        checkpoints: handle.progress().checkpoints - before.0,
        bytes: bytes_in(folder.path()) - before.1,
        cpu: cpu_time() - before.2,
        rows: written() - before.3,
        prepare: {
            prepare.sort_unstable();
            prepare[prepare.len() / 2]
        },
    };
    handle.cancel().await?;
    running.await.expect("invariant: a job does not panic")?;
    Ok(cost)
}

/// `url`: the database; without one a file of SQLite.
pub(crate) async fn run(url: Option<String>) -> Result<()> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Other, "begin", error.to_string()))?;
    let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.path().join("sums.db").display()));
    let database = SqlConfig::from_url(&url)?;
    println!(
        "| a checkpoint every | keys | checkpoints | bytes each | CPU, a row | CPU of a core | prepare p50 |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for every in INTERVALS_MS {
        for keys in KEYS {
            let cost = Box::pin(measure(&database, keys, Duration::from_millis(every))).await?;
            let keys = if keys == 0 { "positions only".to_owned() } else { keys.to_string() };
            println!(
                "| {every} ms | {keys} | {} | {:.1} kB | {:.1} us | {:.1} % | {:.2} ms |",
                cost.checkpoints,
                cost.bytes as f64 / cost.checkpoints.max(1) as f64 / 1e3,
                cost.cpu.as_secs_f64() * 1e6 / cost.rows.max(1) as f64,
                cost.cpu.as_secs_f64() * 100.0 / SECONDS as f64,
                cost.prepare.as_secs_f64() * 1e3,
            );
        }
    }
    Ok(())
}
