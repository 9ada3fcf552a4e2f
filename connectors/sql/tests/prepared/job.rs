//! Whole jobs in the mode `prepared`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::JobConfig;
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_files::{FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_runtime::{Job, Restarts, Workers};
use tidelock_sql::{Change, Mode, SqlSink};
use tidelock_testkit::harness::Row;
use tokio::time::{Instant, sleep};

use crate::common::Place;

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Given {
    id: u64,
}

/// A file of records; it appears at once.
fn feed(folder: &TempDir, name: &str, ids: impl Iterator<Item = u64>) {
    let lines: String = ids.map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let hidden = folder.path().join(format!("in/.{name}"));
    std::fs::write(&hidden, lines).unwrap();
    std::fs::rename(hidden, folder.path().join("in").join(name)).unwrap();
}

/// Waits until the table says so.
async fn until(place: &Place, what: &str, query: &str, wanted: impl Fn(i128) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = place.query(query).await[0][0].int();
        if wanted(found) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {found}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What happens to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Killed,
    /// For longer than most things wait.
    Paused,
}

/// Each record a row, or each a change of one of a hundred rows: a server that is killed or paused in the middle costs nothing.
async fn goes_on(
    database: Database,
    blow: Blow,
    change: fn(Given) -> Change<Row>,
    expected: fn(u64) -> Vec<Row>,
) {
    const ROWS: u64 = 6_000;
    let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
    let place = Place::on(&server).await.in_mode(Mode::Prepared);
    place.make_table().await;
    let folder = TempDir::new().unwrap();
    for name in ["in", "log"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let mut reading =
        FilesSourceConfig::new(folder.path().join("in").to_str().unwrap(), SourceFormat::JsonLines);
    reading.bounded = false;
    let source = Arc::new(FilesSource::<Given>::new(reading).unwrap());
    let sink = Arc::new(SqlSink::<Row>::new(place.sink_config()).unwrap());
    let mut config = JobConfig::new("rows".parse().unwrap(), folder.path().join("log").to_str().unwrap());
    config.settings.interval = Duration::from_millis(50);
    config.discovery_interval = Duration::from_millis(20);
    let restarts =
        Restarts { attempts_max: 1_000, wait_max: Duration::from_millis(500), ..Restarts::default() };
    let job = Job::open(config).await.unwrap().restarts(restarts);
    let handle = job.handle();
    let running = tokio::spawn(async move {
        let ended = job.run(Workers::threads(1), move |graph| {
            graph.source("given", &source).stream().map(change).sink("rows", &sink);
        });
        ended.await.unwrap();
    });
    let newest = "SELECT coalesce(max(value), -1) FROM log";
    let mut next = 0;
    for round in 0..2 {
        let first = i128::from(next);
        feed(&folder, &format!("{round}-a.jsonl"), next..next + ROWS);
        next += ROWS;
        until(&place, "rows come", newest, |value| value >= first).await;
        match blow {
            Blow::Killed => server.kill().await.unwrap(),
            Blow::Paused => server.pause().await.unwrap(),
        }
        feed(&folder, &format!("{round}-b.jsonl"), next..next + ROWS);
        next += ROWS;
        match blow {
            Blow::Killed => server.start_again().await.unwrap(),
            Blow::Paused => {
                sleep(Duration::from_secs(20)).await;
                server.unpause().await.unwrap();
            }
        }
        let last = i128::from(next) - 1;
        until(&place, "all come", newest, |value| value == last).await;
    }
    handle.stop(None).await.unwrap();
    running.await.unwrap();
    let mut rows = place.rows("value").await;
    rows.sort_by_key(|row| row.value);
    assert!(rows == expected(next), "{database:?}: {} rows", rows.len());
    super::nothing_is_locked(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_of_inserts_goes_on_where_its_server_is_killed() {
    Database::each(async |database| {
        let change = |given: Given| Change::Insert(Row::new(format!("k{}", given.id), given.id));
        let expected = |count| (0..count).map(|id| Row::new(format!("k{id}"), id)).collect();
        Box::pin(goes_on(database, Blow::Killed, change, expected)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_that_changes_the_same_rows_in_each_epoch_goes_on_where_its_server_is_killed() {
    Database::each(async |database| {
        let change = |given: Given| Change::Upsert(Row::new(format!("k{}", given.id % 100), given.id));
        let expected =
            |count: u64| (count - 100..count).map(|id| Row::new(format!("k{}", id % 100), id)).collect();
        Box::pin(goes_on(database, Blow::Killed, change, expected)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_goes_on_where_its_server_is_paused() {
    Database::each(async |database| {
        let change = |given: Given| Change::Insert(Row::new(format!("k{}", given.id), given.id));
        let expected = |count| (0..count).map(|id| Row::new(format!("k{id}"), id)).collect();
        Box::pin(goes_on(database, Blow::Paused, change, expected)).await;
    })
    .await;
}
