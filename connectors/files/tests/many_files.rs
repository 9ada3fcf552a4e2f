//! More files than a process may open: a job of them, in a child with few handles.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::{Row, row, visible_ids};
use tempfile::TempDir;
use tidelock::Source;
use tidelock::job::JobConfig;
use tidelock_files::{FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat};
use tidelock_runtime::{Job, Workers};

/// Tells the test that is a child what to work on.
const FOLDER: &str = "TIDELOCK_FILES_TEST_MANY";

const FILES: u64 = 1_500;

#[tokio::test]
async fn the_job_of_many_files() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let path = |name: &str| format!("{folder}/{name}");
    let reading = FilesSourceConfig::new(path("in"), SourceFormat::JsonLines);
    let source = Arc::new(FilesSource::<Row>::new(reading).unwrap());
    let writing = FilesSinkConfig::new(path("out"), SinkFormat::JsonLines);
    let sink = Arc::new(FilesSink::<Row>::new(writing).unwrap());
    let mut config = JobConfig::new("many".parse().unwrap(), path("log"));
    config.settings.interval = Duration::from_millis(200);
    let job = Job::open(config).await.unwrap();
    job.run(Workers::threads(1), move |graph| graph.source("in", &source).stream().sink("out", &sink))
        .await
        .unwrap();
}

#[test]
fn more_files_than_a_process_may_open_are_read_a_few_at_a_time() {
    const { assert!(FilesSource::<Row>::OPEN_SPLITS_MAX <= 16) };
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    for id in 0..FILES {
        let json = serde_json::to_vec(&row(id)).unwrap();
        fs::write(folder.path().join(format!("in/{id:05}.jsonl")), json).unwrap();
    }
    let limited = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" the_job_of_many_files --exact --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
    let mut ids = visible_ids(&folder.path().join("out"));
    ids.sort_unstable();
    assert_eq!(ids, (0..FILES).collect::<Vec<_>>());
}
