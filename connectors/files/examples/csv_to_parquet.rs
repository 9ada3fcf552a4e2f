//! Copies the flights of CSV files to Parquet, exactly once, a folder for each airport:
//!
//! ```text
//! cargo run -p tidelock-files --features parquet --example csv_to_parquet -- IN OUT CHECKPOINTS
//! ```
//!
//! The columns follow from the record type. Each checkpoint closes the files, so the interval decides how large
//! they are: a minute here.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_runtime::{Job, Workers};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Some of the columns of the input; the others are passed over.
#[derive(Deserialize, Serialize)]
struct Flight {
    carrier: String,
    flight: u32,
    origin: String,
    dest: String,
    dep_delay: Option<i32>,
    time_hour: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Restarts and long waits are warnings: they are seen, and RUST_LOG chooses otherwise.
    let log = std::env::var("RUST_LOG").ok().and_then(|log| log.parse().ok());
    let log = log.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, output, checkpoints) = (argument("data"), argument("out"), argument("checkpoints"));

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let flights = Arc::new(FilesSource::<Flight>::new(reading)?);
    let writing = FilesSinkConfig::new(output, SinkFormat::parquet::<Flight>()?);
    let by_origin = |flight: &Flight, folder: &mut String| {
        folder.push_str("origin=");
        folder.push_str(&flight.origin);
    };
    let rows = Arc::new(FilesSink::new(writing)?.with_bucket(by_origin));

    let mut config = JobConfig::new("csv-to-parquet".parse()?, checkpoints);
    config.settings.interval = Duration::from_secs(60);
    let job = Job::open(config).await?;
    let ended = job
        .stop_on_signals()
        .run(Workers::threads(1), move |graph| graph.source("flights", &flights).stream().sink("rows", &rows))
        .await?;
    println!("{ended}");
    Ok(())
}
