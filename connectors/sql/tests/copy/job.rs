//! The job, as a process of its own.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::job::{JobConfig, StartFrom};
use tidelock::{ErrorKind, JobId, Result, Sink, Source};
use tidelock_processes::{Broken, Defect, given};
use tidelock_runtime::{Handle, Job, Restarts, Workers};
use tidelock_sql::{
    Change, Mode, SqlConfig, SqlIncremental, SqlIncrementalConfig, SqlScan, SqlScanConfig, SqlSink,
    SqlSinkConfig,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

/// A newer run of the job took over.
pub(crate) const FENCED: i32 = 3;

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
    /// The database whose table `input` is read.
    pub(crate) from: String,
    /// Its rows as they come, or those that are there.
    pub(crate) endless: bool,
    /// The database that is written to.
    pub(crate) to: String,
    pub(crate) table: String,
    pub(crate) mode: Mode,
    pub(crate) job: String,
    pub(crate) checkpoints: String,
    pub(crate) interval_ms: u64,
    pub(crate) workers: usize,
    /// Where SIGUSR1 leaves a savepoint.
    pub(crate) savepoint: Option<String>,
    /// A snapshot to roll back to, or to fork from.
    pub(crate) start_from: Option<String>,
    pub(crate) defect: Option<Defect>,
}

/// A row of the input.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    id: u64,
    word: String,
}

/// A row of the table that is written.
#[derive(Debug, Serialize)]
pub(crate) struct Copied {
    number: u64,
    word: String,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn copying() {
    let Some(task) = given::<Task>() else { return };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(LevelFilter::WARN)).init();
    let code = match run(task).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error:?}");
            if error.kind() == ErrorKind::Fenced { FENCED } else { 1 }
        }
    };
    std::process::exit(code);
}

async fn run(task: Task) -> Result<()> {
    let from = SqlConfig::from_url(&task.from)?;
    if task.endless {
        let mut reading = SqlIncrementalConfig::new(from, "input", "id");
        reading.poll_interval_ms = 5;
        let source = SqlIncremental::<Given>::connect(reading).await?;
        return with_source(task, Arc::new(source)).await;
    }
    let mut reading = SqlScanConfig::table(from, "input");
    reading.page_rows = 50;
    with_source(task, Arc::new(SqlScan::<Given>::connect(reading).await?)).await
}

async fn with_source<S: Source<Record = Given>>(task: Task, source: Arc<S>) -> Result<()> {
    let mut writing = SqlSinkConfig::new(SqlConfig::from_url(&task.to)?, &task.table);
    writing.mode = task.mode;
    let sink = SqlSink::<Copied>::new(writing)?;
    match task.defect {
        None => copy(task, source, Arc::new(sink)).await,
        Some(defect) => copy(task, source, Arc::new(Broken::new(sink, defect))).await,
    }
}

async fn copy<S, K>(task: Task, source: Arc<S>, sink: Arc<K>) -> Result<()>
where
    S: Source<Record = Given>,
    K: Sink<Record = Change<Copied>>,
{
    let mut config = JobConfig::new(JobId::new(&task.job)?, &task.checkpoints);
    config.settings.interval = Duration::from_millis(task.interval_ms);
    config.discovery_interval = Duration::from_millis(200);
    if let Some(url) = task.start_from {
        config.start_from = StartFrom::Snapshot { url, request: None };
    }
    let job = Job::open(config).await?.restarts(RESTARTS).stop_on_signals();
    if let Some(url) = task.savepoint {
        tokio::spawn(take_savepoint(job.handle(), url));
    }
    let ended = job.run(Workers::threads(task.workers), move |graph| {
        let rows = graph.source("input", &source).stream().rebalance();
        rows.map(|Given { id, word }| Change::Insert(Copied { number: id, word })).sink("copied", &sink);
    });
    println!("{}", Box::pin(ended).await?);
    Ok(())
}

async fn take_savepoint(handle: Handle, url: String) {
    let mut asked = signal(SignalKind::user_defined1()).unwrap();
    asked.recv().await;
    println!("savepoint of {}", handle.savepoint(&url).await.unwrap());
}
