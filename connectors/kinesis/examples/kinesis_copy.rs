//! The smallest useful job: every record of one stream into another, with its key.
//!
//! ```text
//! cargo run --release -p tidelock-kinesis --example kinesis_copy -- \
//!     --from STREAM --to STREAM --checkpoints DIR --interval 100ms
//! ```
//!
//! Region and credentials come from where AWS's own tools look for them. Kill it as often as you like and start it again with the same arguments: who reads the
//! target with Tidelock's own source sees every record once, with one worker in the order of its key, also while both streams are resharded. Other readers find a header before
//! the data, and what a kill made it put again a second time; `--plain` puts the data alone, and then everybody does.
//!
//! Exit codes: 0 done, or stopped as asked; 1 an error, which is named; 3 fenced: a newer run of the same job took over.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tidelock::job::{JobConfig, StartFrom};
use tidelock::log::RequestId;
use tidelock::{Error, ErrorKind, JobId, Result};
use tidelock_kinesis::{
    AwsConfig, FanOutConfig, KinesisPut, KinesisRecord, KinesisSink, KinesisSinkConfig, KinesisStream,
    KinesisStreamConfig, Mode, StreamStart, StreamStop,
};
use tidelock_runtime::{Handle, Job, Workers};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// A newer run of the job took over: nothing is wrong with this one, and starting it again would be.
const FENCED: u8 = 3;

/// Copies a stream into another one.
///
/// SIGINT and SIGTERM stop it with everything committed; SIGUSR1 takes the savepoint of --savepoint, and it goes on.
#[derive(Debug, Parser)]
struct Arguments {
    /// The stream that is read, by its name or ARN.
    #[arg(long)]
    from: String,
    /// The stream that is written, by its name or ARN.
    #[arg(long)]
    to: String,
    /// Another address than AWS's own, of both, as http://127.0.0.1:4568.
    #[arg(long)]
    endpoint: Option<String>,
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
    #[arg(long, default_value = "kinesis-copy")]
    job_id: String,
    /// Read by enhanced fan-out, as the consumer of this name, which is registered where it is missing. Two jobs never share one.
    #[arg(long, value_name = "CONSUMER")]
    fan_out: Option<String>,
    /// Begin with what is put from now on, and not with the oldest record. Obeyed in the first run alone.
    #[arg(long)]
    latest: bool,
    /// Put the data without a header, and at once: visible before its checkpoint, and again after a failure.
    #[arg(long)]
    plain: bool,
    /// Start from this savepoint, or from LOG#POSITION: a rollback where the job has checkpoints of its own, a fork under a new --job-id. Obeyed once.
    #[arg(long)]
    from_savepoint: Option<String>,
    /// A name for the request of --from-savepoint, to go back to the same savepoint a second time.
    #[arg(long, requires = "from_savepoint")]
    request: Option<String>,
    /// Where a signal leaves a savepoint: a new folder, or a URL.
    #[arg(long)]
    savepoint: Option<String>,
    /// Finish with what was there when the job first started.
    #[arg(long)]
    stop_at_end: bool,
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
    let mut kinesis = AwsConfig::new();
    kinesis.endpoint = arguments.endpoint.clone();

    let mut reading = KinesisStreamConfig::new(kinesis.clone(), [&arguments.from]);
    reading.start = if arguments.latest { StreamStart::Latest } else { StreamStart::Horizon };
    reading.stop = if arguments.stop_at_end { StreamStop::Latest } else { StreamStop::Never };
    reading.fan_out = arguments.fan_out.as_ref().map(FanOutConfig::new);
    let source = Arc::new(KinesisStream::connect(reading).await?);
    let mut writing = KinesisSinkConfig::new(kinesis, &arguments.to);
    writing.mode = if arguments.plain { Mode::Direct } else { Mode::Numbered };
    let sink = Arc::new(KinesisSink::new(writing)?);

    let handle = job.handle();
    let running = Box::pin(job.run(Workers::threads(arguments.workers), move |graph| {
        graph.source("records", &source).stream().map(copy_of).sink("copied", &sink);
    }));
    let ended = tokio::select! {
        ended = running => ended?,
        failed = obey_signals(&handle, arguments.savepoint.as_deref()) => match failed? {},
    };
    println!("{ended}");
    Ok(())
}

/// What was put together in an aggregate is put by itself, for the shard that has its key.
fn copy_of(record: KinesisRecord) -> KinesisPut {
    let put = KinesisPut::new(record.partition_key, record.data);
    KinesisPut { explicit_hash_key: record.explicit_hash_key, ..put }
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
