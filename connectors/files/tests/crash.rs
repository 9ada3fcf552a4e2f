//! Processes that die, disks that are full: what was prepared is committed, and nothing twice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Row, attempt, first_run, permit, prepare, row, start, visible, visible_ids};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::{
    Epoch, ErrorKind, Pending, Position, Retry, Sink, SinkWriter, Source, SplitReader, Stored, WriterId,
};
use tidelock_files::{FileCommittable, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig};
use tidelock_files::{SinkFormat, SourceFormat};
use tidelock_testkit::SmallDisk;

const ROWS: u64 = 20_000;
const KILLS: usize = 15;

/// Tells the test that is a child what to work on, and with `STOP_AFTER_SNAPSHOT` where to stop.
const FOLDER: &str = "TIDELOCK_FILES_TEST_FOLDER";
const STOP_AFTER_SNAPSHOT: &str = "TIDELOCK_FILES_TEST_STOP";

/// What the child keeps, replaced as one: the place of a log.
#[derive(Default, Serialize, Deserialize)]
struct Snapshot {
    attempt: u64,
    epoch: u64,
    split: Option<Stored>,
    pending: Vec<(u64, u64, Stored)>,
}

impl Snapshot {
    fn load(folder: &Path) -> Self {
        fs::read(folder.join("snapshot"))
            .map_or_else(|_| Self::default(), |json| serde_json::from_slice(&json).unwrap())
    }

    fn save(&self, folder: &Path) {
        fs::write(folder.join("snapshot.new"), serde_json::to_vec(self).unwrap()).unwrap();
        fs::rename(folder.join("snapshot.new"), folder.join("snapshot")).unwrap();
    }

    fn pending(&self) -> Vec<Pending<FileCommittable>> {
        let pending = self.pending.iter().map(|(attempt, epoch, stored)| Pending {
            epoch: Epoch(*epoch),
            attempt: Position(*attempt),
            writer: WriterId(0),
            committable: stored.decode().unwrap(),
        });
        pending.collect()
    }
}

fn sink(folder: &Path) -> FilesSink<Row> {
    FilesSink::new(FilesSinkConfig::new(folder.join("out").to_str().unwrap(), SinkFormat::JsonLines)).unwrap()
}

/// A whole job in one loop: it copies rows from `in` to `out`, a batch an epoch. Does nothing unless it
/// was started by [`Job::start`].
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let mut config = FilesSourceConfig::new(folder.join("in").to_str().unwrap(), SourceFormat::JsonLines);
    config.batch_records_max = 64;
    let source: FilesSource<Row> = FilesSource::new(config).unwrap();
    let sink = sink(&folder);

    let mut snapshot = Snapshot::load(&folder);
    snapshot.attempt += 1;
    snapshot.save(&folder);
    let number = snapshot.attempt;
    sink.recover(&attempt(number), &snapshot.pending()).await.unwrap();
    sink.commit(&permit(snapshot.epoch), snapshot.pending()).await.unwrap();
    snapshot.pending.clear();
    snapshot.save(&folder);

    let mut writer = sink.open(&attempt(number), WriterId(0)).await.unwrap();
    let split = match &snapshot.split {
        Some(split) => split.decode().unwrap(),
        None => source.discover(&first_run()).await.unwrap().new.remove(0),
    };
    let mut reader = source.open(split).await.unwrap();
    while let Some(batch) = reader.next().await.unwrap() {
        snapshot.epoch += 1;
        let prepared = prepare(&mut writer, number, snapshot.epoch, batch.records).await.unwrap();
        let stored =
            prepared.iter().map(|file| (number, file.epoch.0, Stored::encode(&file.committable).unwrap()));
        snapshot.pending = stored.collect();
        snapshot.split = Some(Stored::encode(&batch.resume).unwrap());
        snapshot.save(&folder);
        if std::env::var(STOP_AFTER_SNAPSHOT).is_ok() {
            println!("epoch");
            std::thread::sleep(Duration::from_secs(600));
        }
        sink.commit(&permit(snapshot.epoch), prepared).await.unwrap();
        println!("epoch");
    }
    println!("done");
}

/// The job as a process of its own.
struct Job {
    process: Child,
    says: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Job {
    fn start(folder: &Path, stop_after_snapshot: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(FOLDER, folder).stdout(Stdio::piped());
        if stop_after_snapshot {
            command.env(STOP_AFTER_SNAPSHOT, "1");
        }
        let mut process = command.spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, says }
    }

    /// Waits for a line; false where the job ended before.
    fn wait_for(&mut self, word: &str) -> bool {
        self.says.any(|line| line.unwrap().trim_end().ends_with(word))
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn input(folder: &Path) {
    fs::create_dir(folder.join("in")).unwrap();
    let lines: String = (0..ROWS).map(|id| serde_json::to_string(&row(id)).unwrap() + "\n").collect();
    fs::write(folder.join("in/rows.jsonl"), lines).unwrap();
}

#[tokio::test]
async fn a_process_killed_between_snapshot_and_commit_is_completed_by_another() {
    let folder = TempDir::new().unwrap();
    input(folder.path());
    let mut job = Job::start(folder.path(), true);
    assert!(job.wait_for("epoch"));
    job.kill();
    let out = folder.path().join("out");
    assert!(visible(&out).is_empty());
    let snapshot = Snapshot::load(folder.path());
    let sink = sink(folder.path());
    sink.recover(&attempt(2), &snapshot.pending()).await.unwrap();
    sink.commit(&permit(1), snapshot.pending()).await.unwrap();
    assert_eq!(visible_ids(&out), (0..64).collect::<Vec<_>>());
}

#[test]
fn kills_at_random_moments_lose_and_double_nothing_and_no_visible_file_ever_changes() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    input(folder.path());
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut epoch = 0;
    for _ in 0..KILLS {
        let mut job = Job::start(folder.path(), false);
        for _ in 0..random.random_range(1..12) {
            assert!(job.wait_for("epoch"), "the input is long enough for all kills");
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..3000)));
        job.kill();
        let now = visible(&out);
        assert!(seen.iter().all(|(name, content)| now.get(name) == Some(content)), "a visible file changed");
        assert!(now.len() > seen.len());
        seen = now;
        let restored = Snapshot::load(folder.path()).epoch;
        assert!(restored > epoch, "every attempt goes on from a later epoch");
        epoch = restored;
    }
    let mut job = Job::start(folder.path(), false);
    assert!(job.wait_for("done"));
    job.process.wait().unwrap();
    assert_eq!(visible_ids(&out), (0..ROWS).collect::<Vec<_>>());
    let now = visible(&out);
    assert!(seen.iter().all(|(name, content)| now.get(name) == Some(content)), "a visible file changed");
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_names_the_file_and_nothing_is_lost_once_there_is_space() {
    let folder = TempDir::new().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path(), 1024) else { return };
    let out = folder.path().join("out");
    let sink = sink(folder.path());
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 1, (0..100).map(row).collect()).await.unwrap();
    // More than the disk in one epoch: once in the middle of writing, once when the file is closed.
    for count in [100_000, 15_000] {
        let mut writer = sink.open(&attempt(1), WriterId(count)).await.unwrap();
        let written = writer.write(&mut (0..u64::from(count)).map(row).collect()).await;
        let error = match written {
            Err(error) => error,
            Ok(()) => writer.prepare(Epoch(2)).await.unwrap_err(),
        };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error}");
        assert!(error.to_string().contains(&format!(".tidelock/orders.out.1.{count}/")), "{error}");
    }
    // Another attempt removes what did not fit, commits what was prepared, and goes on.
    sink.recover(&attempt(2), &pending).await.unwrap();
    sink.commit(&permit(1), pending).await.unwrap();
    let mut writer = sink.open(&attempt(2), WriterId(0)).await.unwrap();
    let pending = prepare(&mut writer, 2, 2, (100..200).map(row).collect()).await.unwrap();
    sink.commit(&permit(2), pending).await.unwrap();
    assert_eq!(visible_ids(&out), (0..200).collect::<Vec<_>>());
}
