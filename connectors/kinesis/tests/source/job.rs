//! A job that copies into files, as a process of its own.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::{JobConfig, StartFrom};
use tidelock::{JobId, Result};
use tidelock_aws::AwsConfig;
use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};
use tidelock_kinesis::{FanOutConfig, KinesisRecord, KinesisStream, KinesisStreamConfig};
use tidelock_processes::{Evidence, Pace, Port, Process, given, itself};
use tidelock_runtime::{Job, Restarts, Workers};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// The job gives up after any error that a restart does not mend, and never after others.
const RESTARTS: Restarts = Restarts {
    attempts_max: 10_000,
    wait_first: Duration::from_millis(50),
    wait_max: Duration::from_millis(500),
    good_after: Duration::from_secs(60),
};

/// What the process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Task {
    job: String,
    service: AwsConfig,
    stream: String,
    fan_out: Option<FanOutConfig>,
    workers: usize,
    /// Where there are several: which one this is, and where all of them are.
    process: usize,
    addresses: Vec<String>,
    start_from: Option<String>,
    /// How many snapshots are kept.
    retained: u32,
    output: String,
    checkpoints: String,
    interval_ms: u64,
    /// How long each record takes.
    pace: Pace,
}

/// A line of the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The key.
    pub(crate) key: String,
    /// Which change of the key it is.
    pub(crate) number: u64,
    /// Whether it came after those of the same key that this attempt saw.
    pub(crate) in_order: bool,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn copying() {
    let Some(task) = given::<Task>() else { return };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(LevelFilter::WARN)).init();
    let mut config = KinesisStreamConfig::new(task.service.clone(), [&task.stream]);
    (config.batch_records, config.calls_per_second) = (20, 500);
    (config.idle_wait_ms, config.idle_wait_max_ms) = (5, 20);
    config.fan_out = task.fan_out.clone();
    let records = KinesisStream::connect(config).await.unwrap();
    let ended = copy(task, records).await;
    if let Err(error) = ended {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

async fn copy(task: Task, source: KinesisStream) -> Result<()> {
    let source = Arc::new(source);
    let sink = Arc::new(FilesSink::<Line>::new(FilesSinkConfig::new(&task.output, SinkFormat::JsonLines))?);
    let mut config = JobConfig::new(JobId::new(&task.job)?, &task.checkpoints);
    config.settings.interval = Duration::from_millis(task.interval_ms);
    config.retained = task.retained;
    config.discovery_interval = Duration::from_millis(50);
    if let Some(url) = task.start_from {
        config.start_from = StartFrom::Snapshot { url, request: None };
    }
    let job = Job::open(config).await?.restarts(RESTARTS).stop_on_signals();
    let workers = if task.addresses.is_empty() {
        Workers::threads(task.workers)
    } else {
        Workers::processes(task.process, task.addresses, task.workers)?
    };
    let pace = task.pace;
    let ended = job.run(workers, move |graph| {
        let pace = pace.clone();
        let mut last = HashMap::new();
        let line = move |record: KinesisRecord| {
            pace.take();
            let text = std::str::from_utf8(&record.data).unwrap();
            let number: u64 = text.rsplit_once(':').unwrap().1.parse().unwrap();
            let key = record.partition_key;
            let before: Option<u64> = last.insert(key.clone(), number);
            Line { key, number, in_order: before.is_none_or(|before| before < number) }
        };
        graph.source("records", &source).stream().map(line).sink("lines", &sink);
    });
    println!("{}", Box::pin(ended).await?);
    Ok(())
}

/// A job with its folders.
pub(crate) struct World {
    folder: TempDir,
    task: Task,
    starts: usize,
}

impl World {
    pub(crate) fn new(service: AwsConfig, stream: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let task = Task {
            job: "copy".into(),
            service,
            stream: stream.to_owned(),
            fan_out: None,
            workers: 1,
            process: 0,
            addresses: Vec::new(),
            start_from: None,
            retained: 3,
            output: text("out"),
            checkpoints: text("checkpoints"),
            interval_ms: 20,
            pace: Pace::even(Duration::from_millis(1)),
        };
        Self { folder, task, starts: 0 }
    }

    pub(crate) async fn log(&self) -> Evidence {
        Evidence::of(Path::new(&self.task.checkpoints)).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(&mut self) -> Process {
        let mut command = itself("job::copying", &self.task);
        // Settings never have them.
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
        self.starts += 1;
        Process::start(&mut command, &self.path(&format!("start-{}", self.starts)))
    }

    /// From now on it reads by enhanced fan-out.
    #[allow(dead_code, reason = "not all do")]
    pub(crate) fn fan_out(&mut self, fan_out: FanOutConfig) {
        self.task.fan_out = Some(fan_out);
    }

    /// From now on it has so many workers.
    pub(crate) fn workers(&mut self, workers: usize) {
        self.task.workers = workers;
    }

    /// The next start goes back to a snapshot.
    pub(crate) fn go_back_to(&mut self, snapshot: Option<String>) {
        self.task.start_from = snapshot;
    }

    /// Another job, with an output of its own, that begins where this one's log was then.
    pub(crate) fn fork(&self, snapshot: String) -> Self {
        let mut fork = Self::new(self.task.service.clone(), &self.task.stream);
        fork.task.job = "fork".into();
        fork.task.start_from = Some(snapshot);
        fork
    }

    /// Snapshots are there for as long as the test.
    pub(crate) fn keep_snapshots(&mut self) {
        self.task.retained = 100_000;
    }

    pub(crate) fn checkpoints(&self) -> &str {
        &self.task.checkpoints
    }

    /// Starts two processes that are one job. They find each other as long as the ports are reserved.
    pub(crate) fn start_pair(&mut self) -> ([Process; 2], [Port; 2]) {
        let ports = [Port::reserve(), Port::reserve()];
        self.task.addresses = ports.iter().map(|port| format!("127.0.0.1:{}", port.number())).collect();
        let pair = [0, 1].map(|process| {
            self.task.process = process;
            self.start()
        });
        (self.task.process, self.task.addresses) = (0, Vec::new());
        (pair, ports)
    }

    /// From now on it goes at this pace.
    pub(crate) fn pace(&mut self, pace: Pace) {
        self.task.pace = pace;
    }

    /// What a reader sees.
    pub(crate) fn visible(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        read(Path::new(&self.task.output), &mut lines);
        lines.sort_unstable();
        lines
    }

    /// Waits until so many lines are visible.
    pub(crate) async fn sees(&self, process: &mut Process, count: usize) {
        process.wait_until("everything is visible", async |_| self.visible().len() >= count).await;
    }

    /// Stops the job, when it runs: a process that has not come so far dies of the signal.
    pub(crate) async fn stop(&self, mut process: Process) {
        self.log().await.wait_for_entry(&mut process, 2).await;
        process.stop().await.assert_success();
    }

    /// Every change of every key once, and in its order.
    pub(crate) fn check(&self, changes: &BTreeMap<String, u64>) {
        let visible = self.visible();
        let disorder: Vec<&Line> = visible.iter().filter(|line| !line.in_order).take(10).collect();
        assert!(disorder.is_empty(), "{disorder:?}");
        let all = |(key, count): (&String, &u64)| {
            let key = key.clone();
            (0..*count).map(move |number| Line { key: key.clone(), number, in_order: true })
        };
        let expected: Vec<Line> = changes.iter().flat_map(all).collect();
        let missing: Vec<&Line> =
            expected.iter().filter(|line| visible.binary_search(line).is_err()).take(10).collect();
        assert!(missing.is_empty(), "{} of {}, without {missing:?}", visible.len(), expected.len());
        assert_eq!(visible.len(), expected.len(), "some are there twice");
    }
}

fn read(folder: &Path, lines: &mut Vec<Line>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            read(&path, lines);
            continue;
        }
        // One that was just renamed is read the next time.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        lines.extend(text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap()));
    }
}
