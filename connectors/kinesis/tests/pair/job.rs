//! The jobs, as processes of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{JobId, Result};
use tidelock_files::{FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat};
use tidelock_kinesis::{
    KinesisPut, KinesisRecord, KinesisSink, KinesisSinkConfig, KinesisStream, KinesisStreamConfig,
};
use tidelock_processes::{Pace, given};
use tidelock_runtime::{Job, Restarts, Workers};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// How many keys each file has. A file has one reader, whose worker's writer has all records of its keys.
const KEYS: u64 = 7;

/// The jobs give up after any error that a restart does not mend, and never after others.
const RESTARTS: Restarts = Restarts {
    attempts_max: 10_000,
    wait_first: Duration::from_millis(50),
    wait_max: Duration::from_millis(500),
    good_after: Duration::from_secs(60),
};

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) job: String,
    pub(crate) checkpoints: String,
    pub(crate) interval_ms: u64,
    pub(crate) workers: usize,
    /// How long each record takes.
    pub(crate) pace: Pace,
    pub(crate) part: Part,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Part {
    /// From files into the stream. Credentials are in the environment.
    Puts { input: String, sink: Box<KinesisSinkConfig> },
    /// From the stream into files.
    Reads { source: Box<KinesisStreamConfig>, output: String },
}

/// A line of the input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) file: u64,
    pub(crate) id: u64,
}

impl Given {
    /// Its key, and which one it is of that key.
    pub(crate) fn place(self) -> (String, u64) {
        (format!("{}-{}", self.file, self.id % KEYS), self.id / KEYS)
    }

    fn put(self) -> KinesisPut {
        let (key, number) = self.place();
        KinesisPut::new(key, number.to_string())
    }
}

/// A line of the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) number: u64,
    /// Whether it came after those of the same key that this attempt saw.
    pub(crate) in_order: bool,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn running() {
    let Some(task) = given::<Task>() else { return };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(LevelFilter::WARN)).init();
    if let Err(error) = run(task).await {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

async fn run(task: Task) -> Result<()> {
    let mut config = JobConfig::new(JobId::new(&task.job)?, &task.checkpoints);
    config.settings.interval = Duration::from_millis(task.interval_ms);
    config.discovery_interval = Duration::from_millis(50);
    let job = Job::open(config).await?.restarts(RESTARTS).stop_on_signals();
    let (workers, pace) = (Workers::threads(task.workers), task.pace);
    let ended = match task.part {
        Part::Puts { input, sink } => {
            let mut reading = FilesSourceConfig::new(&input, SourceFormat::JsonLines);
            if !pace.is_full() {
                // A barrier waits for the batch before it.
                reading.batch_records_max = 3;
            }
            let source = Arc::new(FilesSource::<Given>::new(reading)?);
            let sink = Arc::new(KinesisSink::new(*sink)?);
            let puts = job.run(workers, move |graph| {
                let pace = pace.clone();
                let slowly = move |given: Given| {
                    pace.take();
                    given.put()
                };
                graph.source("input", &source).stream().map(slowly).sink("records", &sink);
            });
            Box::pin(puts).await?
        }
        Part::Reads { source, output } => {
            let source = Arc::new(KinesisStream::connect(*source).await?);
            let sink = FilesSinkConfig::new(&output, SinkFormat::JsonLines);
            let sink = Arc::new(FilesSink::<Line>::new(sink)?);
            let reads = job.run(workers, move |graph| {
                let (pace, mut last) = (pace.clone(), HashMap::new());
                let line = move |record: KinesisRecord| {
                    pace.take();
                    line_of(&mut last, record)
                };
                graph.source("records", &source).stream().map(line).sink("lines", &sink);
            });
            Box::pin(reads).await?
        }
    };
    println!("{ended}");
    Ok(())
}

fn line_of(last: &mut HashMap<String, u64>, record: KinesisRecord) -> Line {
    let number: u64 = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
    let before = last.insert(record.partition_key.clone(), number);
    Line { key: record.partition_key, number, in_order: before.is_none_or(|before| before < number) }
}
