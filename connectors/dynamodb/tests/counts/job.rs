//! The job, as a process of its own.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{JobId, Result, Sink};
use tidelock_dynamodb::{DynamoSink, DynamoSinkConfig, ItemChange};
use tidelock_files::{FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_processes::{Broken, Defect, Pace, given};
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
    pub(crate) sink: DynamoSinkConfig,
    pub(crate) defect: Option<Defect>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn copying() {
    let Some(task) = given::<Task>() else { return };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(LevelFilter::WARN)).init();
    let sink = DynamoSink::new(task.sink.clone()).unwrap();
    let ended = match task.defect {
        None => copy(task, Arc::new(sink)).await,
        Some(defect) => copy(task, Arc::new(Broken::new(sink, defect))).await,
    };
    if let Err(error) = ended {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

async fn copy<K: Sink<Record = ItemChange>>(task: Task, sink: Arc<K>) -> Result<()> {
    let mut reading = FilesSourceConfig::new(&task.input, SourceFormat::JsonLines);
    if !task.pace.is_full() {
        // A barrier waits for the batch before it.
        reading.batch_records_max = 3;
    }
    let source = Arc::new(FilesSource::<Given>::new(reading)?);
    let mut config = JobConfig::new(JobId::new("copy")?, &task.checkpoints);
    config.settings.interval = Duration::from_millis(task.interval_ms);
    let job = Job::open(config).await?.restarts(RESTARTS).stop_on_signals();
    let pace = task.pace;
    let ended = job.run(Workers::threads(task.workers), move |graph| {
        let pace = pace.clone();
        let slowly = move |given: Given| {
            pace.take();
            given.change()
        };
        graph.source("input", &source).stream().map(slowly).sink("copied", &sink);
    });
    println!("{}", Box::pin(ended).await?);
    Ok(())
}
