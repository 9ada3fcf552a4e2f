//! A whole job in a process of its own, which is killed again and again.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::JobConfig;
use tidelock_files::{FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_processes::Pace;
use tidelock_runtime::{Job, Workers};
use tidelock_sql::{Change, Mode, SqlConfig, SqlSink, SqlSinkConfig};
use tokio::time::{Instant, sleep};

use super::Place;

const KILLS: usize = 5;

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(180);

/// Tells the test that is a child where its folder is.
const FOLDER: &str = "TIDELOCK_SQL_TEST_FOLDER";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) id: u64,
}

/// What the child is told: the password is no part of settings.
#[derive(Serialize, Deserialize)]
struct Told {
    database: SqlConfig,
    password: String,
    mode: Mode,
    /// How many records a process has as its share, before it is killed.
    share: u64,
}

/// The job, to its end. Each record takes `time` at least, so that the input is many epochs long. Does nothing where the test is not a
/// child: the test that calls this is named to [`runs_to_its_end`].
pub(crate) async fn child<T: Serialize + Send + 'static>(
    config: fn(&Place) -> SqlSinkConfig,
    change: fn(Given) -> Change<T>,
    time: Duration,
) {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let path = |name: &str| format!("{folder}/{name}");
    let told = std::fs::read_to_string(path("told.json")).unwrap();
    let Told { mut database, password, mode, share } = serde_json::from_str(&told).unwrap();
    database.password = password.into();
    let place = Place { config: database, mode, _folder: None };
    let mut reading = FilesSourceConfig::new(path("in"), SourceFormat::JsonLines);
    // A barrier waits for the batches that a source hands over in one turn.
    reading.batch_records_max = 3;
    let source = Arc::new(FilesSource::<Given>::new(reading).unwrap());
    let sink = Arc::new(SqlSink::<T>::new(config(&place)).unwrap());
    let mut config = JobConfig::new("rows".parse().unwrap(), path("log"));
    config.settings.interval = Duration::from_millis(20);
    let job = Job::open(config).await.unwrap();
    let pace = Pace::new(time, share);
    let ended = job.run(Workers::threads(1), move |graph| {
        let pace = pace.clone();
        let slowly = move |given| {
            pace.take();
            change(given)
        };
        graph.source("given", &source).stream().map(slowly).sink("rows", &sink);
    });
    ended.await.unwrap();
}

fn start(test: &str, folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder).spawn().unwrap()
}

/// Runs a job of so many records in the process of a test, kills it again and again, and lets it end. `progress` is a query whose
/// number grows with the records that are visible, up to about their number.
pub(crate) async fn runs_to_its_end(place: &Place, test: &str, records: u64, progress: &str) {
    let given = std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("TIDELOCK_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = TempDir::new().unwrap();
    for name in ["in", "log"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let lines: String = (0..records).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    std::fs::write(folder.path().join("in/rows.jsonl"), lines).unwrap();
    let password = place.config.password.expose().to_owned();
    let share = records / (KILLS as u64 + 2);
    let mut told = Told { database: place.config.clone(), password, mode: place.mode, share };
    let tell = |told: &Told| {
        std::fs::write(folder.path().join("told.json"), serde_json::to_string(told).unwrap()).unwrap();
    };
    tell(&told);

    let newest = async || place.query(progress).await[0][0].int();
    for _ in 0..KILLS {
        let mut child = start(test, folder.path());
        let enough = newest().await + random.random_range(1..i128::from(records) / 10);
        let deadline = Instant::now() + PATIENCE;
        while newest().await < enough {
            assert!(child.try_wait().unwrap().is_none(), "the input is long enough for kills");
            assert!(Instant::now() < deadline, "no row comes");
            sleep(Duration::from_millis(2)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    told.share = u64::MAX;
    tell(&told);
    let (test, path) = (test.to_owned(), folder.path().to_owned());
    let ended = tokio::task::spawn_blocking(move || start(&test, &path).wait().unwrap());
    assert!(ended.await.unwrap().success());
}
