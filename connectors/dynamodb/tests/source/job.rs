//! A job that copies into files, as a process of its own.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidelock::job::{JobConfig, StartFrom};
use tidelock::{JobId, Result, Source};
use tidelock_aws::AwsConfig;
use tidelock_dynamodb::{DynamoScan, DynamoScanConfig, DynamoStream, DynamoStreamConfig, Value};
use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};
use tidelock_processes::{Evidence, Pace, Process, given, itself};
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

/// How many segments a scan has.
pub(crate) const SEGMENTS: u32 = 4;

/// What is copied.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum What {
    Scan,
    Stream,
}

/// What the process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Task {
    service: AwsConfig,
    table: String,
    what: What,
    job: String,
    output: String,
    checkpoints: String,
    /// A snapshot to fork from.
    start_from: Option<String>,
    workers: usize,
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
    let ended = match task.what {
        What::Scan => {
            let mut config = DynamoScanConfig::new(task.service.clone(), &task.table);
            (config.batch_items, config.segments) = (3, SEGMENTS);
            let scan = DynamoScan::connect(config).await.unwrap();
            copy(task, scan, |item| Some((item["pk"].clone(), item["number"].clone()))).await
        }
        What::Stream => {
            let mut config = DynamoStreamConfig::new(task.service.clone(), &task.table);
            (config.batch_records, config.idle_wait_ms) = (3, 5);
            let changes = DynamoStream::connect(config).await.unwrap();
            copy(task, changes, |event| Some((event.keys["pk"].clone(), event.new?["number"].clone()))).await
        }
    };
    if let Err(error) = ended {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

async fn copy<S: Source>(
    task: Task,
    source: S,
    of: impl Fn(S::Record) -> Option<(Value, Value)> + Clone + Send + Sync + 'static,
) -> Result<()> {
    let source = Arc::new(source);
    let sink = Arc::new(FilesSink::<Line>::new(FilesSinkConfig::new(&task.output, SinkFormat::JsonLines))?);
    let mut config = JobConfig::new(JobId::new(&task.job)?, &task.checkpoints);
    config.settings.interval = Duration::from_millis(task.interval_ms);
    if let Some(url) = task.start_from {
        config.start_from = StartFrom::Snapshot { url, request: None };
    }
    config.discovery_interval = Duration::from_millis(50);
    let job = Job::open(config).await?.restarts(RESTARTS).stop_on_signals();
    let pace = task.pace;
    let ended = job.run(Workers::threads(task.workers), move |graph| {
        let (of, pace) = (of.clone(), pace.clone());
        let mut last = HashMap::new();
        let line = move |record| {
            pace.take();
            let Some((Value::S(key), Value::N(number))) = of(record) else {
                panic!("it is not what was written")
            };
            let number: u64 = number.parse().unwrap();
            let before: Option<u64> = last.insert(key.clone(), number);
            Line { key, number, in_order: before.is_none_or(|before| before < number) }
        };
        graph.source("changes", &source).stream().map(line).sink("lines", &sink);
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
    pub(crate) fn new(service: AwsConfig, table: &str, what: What) -> Self {
        let folder = TempDir::new().unwrap();
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let task = Task {
            service,
            table: table.to_owned(),
            what,
            job: "copy".into(),
            output: text("out"),
            checkpoints: text("checkpoints"),
            start_from: None,
            workers: 1,
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

    /// From now on it has so many workers.
    pub(crate) fn workers(&mut self, workers: usize) {
        self.task.workers = workers;
    }

    /// Another job, which begins with the newest snapshot of this one and leaves it alone.
    pub(crate) async fn fork(&self) -> Self {
        let position = self.log().await.position().await;
        let mut fork = Self::new(self.task.service.clone(), &self.task.table, self.task.what);
        fork.task.job = "fork".into();
        fork.task.start_from = Some(format!("{}#{position}", self.task.checkpoints));
        fork
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
        self.check_from(&BTreeMap::new(), changes);
    }

    /// The same without those that were there when it began.
    pub(crate) fn check_from(&self, before: &BTreeMap<String, u64>, changes: &BTreeMap<String, u64>) {
        let visible = self.visible();
        let disorder: Vec<&Line> = visible.iter().filter(|line| !line.in_order).take(10).collect();
        assert!(disorder.is_empty(), "{disorder:?}");
        let all = |(key, count): (&String, &u64)| {
            let (key, first) = (key.clone(), before.get(key).copied().unwrap_or(0));
            (first..*count).map(move |number| Line { key: key.clone(), number, in_order: true })
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
