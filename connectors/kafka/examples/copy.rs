//! The smallest useful job: every record of one topic into another, with key, value, headers and
//! timestamp, partition kept.
//!
//! ```text
//! cargo run --release -p tidelock-kafka --example copy -- \
//!     --brokers HOST:PORT --from TOPIC --to TOPIC --checkpoints DIR --interval 10ms
//! ```
//!
//! Kill it as often as you like and start it again with the same arguments: readers of the target with
//! `isolation.level=read_committed` see every record once, in the order of its partition.
//!
//! Exit codes: 0 done, or stopped as asked; 1 an error, which is named; 3 fenced: a newer run of the same
//! job took over.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tidelock::job::{JobConfig, StartFrom};
use tidelock::log::RequestId;
use tidelock::{Error, ErrorKind, JobId, Result};
use tidelock_kafka::{
    Guarantee, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, Properties, Stop,
    Subscription,
};
use tidelock_runtime::{Handle, Job, Workers};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// For Rust and librdkafka alike. With the one of glibc the job's memory grows by a megabyte a minute for a
/// long time, none of it in use: each thread keeps what its busiest moment took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A newer run of the job took over: nothing is wrong with this one, and starting it again would be.
const FENCED: u8 = 3;

/// Copies a topic into another one, exactly once.
///
/// SIGINT and SIGTERM stop it with everything committed; SIGUSR1 takes the savepoint of --savepoint, and
/// it goes on.
#[derive(Debug, Parser)]
struct Arguments {
    /// The brokers, as host:port, more of them with commas.
    #[arg(long)]
    brokers: String,
    /// The topic that is read.
    #[arg(long)]
    from: String,
    /// The topic that is written: with at least as many partitions.
    #[arg(long)]
    to: String,
    /// Where the job keeps its snapshots: a folder, or a URL.
    #[arg(long)]
    checkpoints: String,
    /// The time between two checkpoints, and so until records become visible.
    #[arg(long, default_value = "100ms", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The job's name. Two jobs never share one.
    #[arg(long, default_value = "copy")]
    job_id: String,
    /// Start from this savepoint, or from LOG#POSITION: a rollback where the job has checkpoints of its
    /// own, a fork under a new --job-id. Obeyed once.
    #[arg(long)]
    from_savepoint: Option<String>,
    /// A name for the request of --from-savepoint, to go back to the same savepoint a second time.
    #[arg(long, requires = "from_savepoint")]
    request: Option<String>,
    /// Where a signal leaves a savepoint: a new folder, or a URL.
    #[arg(long)]
    savepoint: Option<String>,
    /// Write without transactions: visible at once, and again after a failure.
    #[arg(long)]
    at_least_once: bool,
    /// Finish at the offsets that were the end when the job first started.
    #[arg(long)]
    stop_at_end: bool,
    /// A further setting of librdkafka for both sides, as name=value. May be repeated.
    #[arg(long = "property", value_parser = name_and_value)]
    properties: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let log = std::env::var("RUST_LOG").ok().and_then(|log| log.parse().ok());
    let log = log.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            if error.kind() == ErrorKind::Fenced { ExitCode::from(FENCED) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let job = Job::open(config(&arguments)?).await?;
    match job.restored() {
        Some(restored) => println!("restored from epoch {} of {}", restored.id.epoch, restored.created_at),
        None => println!("first run"),
    }
    let Arguments { brokers, from, to, workers, savepoint, .. } = arguments;
    let further = arguments.properties.into_iter();
    let properties = further.fold(Properties::new(brokers), |all, (name, value)| all.with(name, value));

    let stop = if arguments.stop_at_end { Stop::Latest } else { Stop::Never };
    let source = KafkaSourceConfig::new(properties.clone(), Subscription::Topics(vec![from])).with_stop(stop);
    let source = Arc::new(KafkaSource::connect(source).await?);
    let guarantee = if arguments.at_least_once { Guarantee::AtLeastOnce } else { Guarantee::ExactlyOnce };
    let sink = KafkaSinkConfig::new(properties).with_guarantee(guarantee);
    let sink = Arc::new(KafkaSink::connect(sink).await?);

    let to: Arc<str> = to.into();
    let handle = job.handle();
    let running = Box::pin(job.run(Workers::threads(workers), move |graph| {
        let to = Arc::clone(&to);
        let records = graph.source("records", &source).stream();
        records.map(move |record| ProducerRecord::copy_of(record, Arc::clone(&to))).sink("copied", &sink);
    }));
    let ended = tokio::select! {
        ended = running => ended?,
        failed = obey_signals(&handle, savepoint.as_deref()) => match failed? {},
    };
    println!("{ended}");
    Ok(())
}

fn config(arguments: &Arguments) -> Result<JobConfig> {
    let mut config = JobConfig::new(JobId::new(&arguments.job_id)?, &arguments.checkpoints);
    config.settings.interval = arguments.interval;
    if let Some(url) = &arguments.from_savepoint {
        let request = arguments.request.clone().map(RequestId);
        config.start_from = StartFrom::Snapshot { url: url.clone(), request };
    }
    Ok(config)
}

/// Stops the job, or takes a savepoint, when a signal says so. Returns only with an error.
async fn obey_signals(handle: &Handle, mut savepoint: Option<&str>) -> Result<Infallible> {
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut terminated = listen(SignalKind::terminate())?;
    let mut asked = listen(SignalKind::user_defined1())?;
    loop {
        let stop = tokio::select! {
            _ = interrupted.recv() => true,
            _ = terminated.recv() => true,
            _ = asked.recv() => false,
        };
        match (stop, savepoint) {
            (true, _) => handle.stop(savepoint).await?,
            (false, Some(url)) => {
                println!("savepoint of {} in {url}", handle.savepoint(url).await?);
                // A folder takes one.
                savepoint = None;
            }
            (false, None) => println!("no savepoint: --savepoint does not say where, or it is taken"),
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::new(ErrorKind::Other, "listen to signals", error.to_string()))
}
