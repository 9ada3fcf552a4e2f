//! A whole job in a process of its own, which is killed again and again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::JobConfig;
use tidelock_containers::Database;
use tidelock_files::{FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_runtime::{Job, Workers};
use tidelock_sql::{Change, Mode, SqlConfig, SqlSink};
use tidelock_testkit::harness::Row;
use tokio::time::{Instant, sleep};

use super::common::Place;
use super::{on_shared, on_sqlite};

const ROWS: u64 = 60_000;
const KEYS: u64 = 400;
const KILLS: usize = 5;

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(180);

/// Tells the test that is a child where its folder is.
const FOLDER: &str = "TIDELOCK_SQL_TEST_FOLDER";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Given {
    id: u64,
}

/// Keys come again and again, and some are deleted on the way.
fn change(given: Given) -> Change<Row> {
    let row = Row::new(format!("k{:03}", given.id % KEYS), given.id);
    match given.id % 11 {
        3 => Change::Delete(row),
        5 | 6 => Change::Upsert(row),
        _ => Change::Insert(row),
    }
}

/// What a reader sees at the end.
fn expected() -> Vec<Row> {
    let mut rows = BTreeMap::new();
    for id in 0..ROWS {
        match change(Given { id }) {
            Change::Delete(row) => rows.remove(&row.key),
            Change::Insert(row) | Change::Upsert(row) | Change::Update(row) => {
                rows.insert(row.key.clone(), row)
            }
        };
    }
    rows.into_values().collect()
}

/// The job, to its end. Does nothing unless it was started by [`start`].
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let path = |name: &str| format!("{folder}/{name}");
    let settings = std::fs::read_to_string(path("database.json")).unwrap();
    let (given, password): (String, String) = serde_json::from_str(&settings).unwrap();
    let mut database: SqlConfig = serde_json::from_str(&given).unwrap();
    database.password = password.into();
    let place = Place::of_config(database, Mode::Upsert);
    let reading = FilesSourceConfig::new(path("in"), SourceFormat::JsonLines);
    let source = Arc::new(FilesSource::<Given>::new(reading).unwrap());
    let sink = Arc::new(SqlSink::<Row>::new(place.sink_config()).unwrap());
    let mut config = JobConfig::new("rows".parse().unwrap(), path("log"));
    config.settings.interval = Duration::from_millis(20);
    let job = Job::open(config).await.unwrap();
    let ended = job.run(Workers::threads(1), move |graph| {
        graph.source("given", &source).stream().map(change).sink("rows", &sink);
    });
    ended.await.unwrap();
}

fn start(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "job::child", "--nocapture"]).env(FOLDER, folder).spawn().unwrap()
}

async fn newest(place: &Place) -> i128 {
    place.query("SELECT coalesce(max(value), -1) FROM log").await[0][0].int()
}

/// No row is lost, none is older than it must be, and none that was deleted is there.
async fn ends_as_if_nothing_had_happened(place: Place) {
    let seed =
        std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("TIDELOCK_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    place.make_table().await;
    let folder = TempDir::new().unwrap();
    for name in ["in", "log"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let lines: String = (0..ROWS).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    std::fs::write(folder.path().join("in/rows.jsonl"), lines).unwrap();
    let settings = (serde_json::to_string(&place.config).unwrap(), place.config.password.expose());
    std::fs::write(folder.path().join("database.json"), serde_json::to_string(&settings).unwrap()).unwrap();

    let mut killed = 0;
    for _ in 0..KILLS {
        let mut child = start(folder.path());
        let enough = newest(&place).await + random.random_range(200..i128::from(ROWS) / 10);
        let deadline = Instant::now() + PATIENCE;
        // The end of the job may come first.
        while newest(&place).await < enough && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "no row comes");
            sleep(Duration::from_millis(2)).await;
        }
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 1, "the input is long enough for kills");
    let ended = tokio::task::spawn_blocking({
        let folder = folder.path().to_owned();
        move || start(&folder).wait().unwrap()
    });
    assert!(ended.await.unwrap().success());
    let rows = place.rows("\"key\"").await;
    assert!(rows == expected(), "{} rows, expected {}", rows.len(), expected().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_killed_again_and_again_ends_as_if_nothing_had_happened() {
    Box::pin(ends_as_if_nothing_had_happened(on_sqlite())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_that_is_killed_again_and_again_on_a_server_ends_as_if_nothing_had_happened() {
    for database in Database::there() {
        let place = on_shared(database).await.unwrap();
        Box::pin(ends_as_if_nothing_had_happened(place)).await;
    }
}
