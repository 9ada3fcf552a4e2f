//! The job, as a process of its own.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{JobId, Result};
use tidelock_dynamodb::{DynamoSink, DynamoSinkConfig};
use tidelock_files::{FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_processes::{Pace, given};
use tidelock_runtime::{Job, Restarts, Workers};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use crate::given::Given;

/// The job gives up after any error that a restart does not mend, and never after others.
const RESTARTS: Restarts = Restarts {
    attempts_max: 10_000,
    wait_first: Duration::from_millis(50),
    wait_max: Duration::from_millis(500),
    good_after: Duration::from_secs(60),
};

/// What the process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) input: String,
    pub(crate) checkpoints: String,
    pub(crate) interval_ms: u64,
    pub(crate) workers: usize,
    /// How long each line takes.
    pub(crate) pace: Pace,
    /// Without credentials, which are in the environment.
    pub(crate) sink: DynamoSinkConfig,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn copying() {
    let Some(task) = given::<Task>() else { return };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(LevelFilter::WARN)).init();
    if let Err(error) = copy(task).await {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

async fn copy(task: Task) -> Result<()> {
    let mut reading = FilesSourceConfig::new(&task.input, SourceFormat::JsonLines);
    if !task.pace.is_full() {
        // A barrier waits for the batch before it.
        reading.batch_records_max = 3;
    }
    let source = Arc::new(FilesSource::<Given>::new(reading)?);
    let mode = task.sink.mode;
    let sink = Arc::new(DynamoSink::new(task.sink)?);
    let mut config = JobConfig::new(JobId::new("copy")?, &task.checkpoints);
    config.settings.interval = Duration::from_millis(task.interval_ms);
    let job = Job::open(config).await?.restarts(RESTARTS).stop_on_signals();
    let pace = task.pace;
    let ended = job.run(Workers::threads(task.workers), move |graph| {
        let pace = pace.clone();
        let slowly = move |given: Given| {
            pace.take();
            given.change(mode)
        };
        graph.source("input", &source).stream().map(slowly).sink("copied", &sink);
    });
    println!("{}", Box::pin(ended).await?);
    Ok(())
}
