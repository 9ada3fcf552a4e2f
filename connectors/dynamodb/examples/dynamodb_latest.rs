//! Writes the latest flight of each plane to a table of DynamoDB, where it is right however often this is killed and started again:
//!
//! ```text
//! $ cargo run -p tidelock-dynamodb --example dynamodb_latest -- docs/examples/flights/data CHECKPOINTS
//! $ aws dynamodb get-item --table-name latest_flights --key '{"tail": {"S": "N14228"}}'
//! ```
//!
//! Region and credentials come from the environment. A third argument is the address of another server, such as `http://localhost:8000`. The table is made
//! where it is not there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_dynamodb::{
    AwsConfig, DynamoSink, DynamoSinkConfig, ItemChange, KeyKind, Versions, item_of, make_table,
};
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_runtime::{Job, Workers};
use tracing_subscriber::filter::LevelFilter;

const TABLE: &str = "latest_flights";

/// Some of the columns of the input; the others are passed over.
#[derive(Deserialize)]
struct Flight {
    tailnum: Option<String>,
    carrier: String,
    flight: u32,
    origin: String,
    /// When it was to leave, in two parts.
    time_hour: Timestamp,
    minute: u8,
}

/// An item of the table, whose key is `tail`.
#[derive(Serialize)]
struct Latest {
    tail: String,
    flight: String,
    origin: String,
    time: u64,
}

/// The change that a flight makes, where its plane is known.
fn change(flight: Flight) -> Option<Result<ItemChange>> {
    let Flight { tailnum, carrier, flight, origin, time_hour, minute } = flight;
    let time = u64::try_from(time_hour.as_second()).ok()? + 60 * u64::from(minute);
    let latest = Latest { tail: tailnum?, flight: format!("{carrier}{flight}"), origin, time };
    // The latest one wins, in whatever order files are read.
    Some(item_of(&latest).map(|item| ItemChange::put(item).with_version(time)))
}

#[tokio::main]
async fn main() -> Result<()> {
    // What is waited for is told, such as a service that does not answer.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(LevelFilter::WARN).init();
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, checkpoints) = (argument("data"), argument("checkpoints"));
    let mut dynamodb = AwsConfig::new();
    dynamodb.endpoint = Some(argument("")).filter(|endpoint| !endpoint.is_empty());
    make_table(&dynamodb, TABLE, ("tail", KeyKind::S), None).await?;

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let flights = Arc::new(FilesSource::<Flight>::new(reading)?);
    let mut writing = DynamoSinkConfig::new(dynamodb, TABLE);
    writing.versions = Versions::Record;
    let latest = Arc::new(DynamoSink::new(writing)?);

    let mut config = JobConfig::new("latest".parse()?, checkpoints);
    config.settings.interval = Duration::from_millis(100);
    // SIGTERM or Ctrl-C ends it with a checkpoint.
    let ended = Job::open(config).await?.stop_on_signals().run(Workers::threads(2), move |graph| {
        let flights = graph.source("flights", &flights).stream();
        let changes = flights.flat_map(change).try_map(|change| change);
        // All changes of an item come to one writer.
        changes.route(|change| change.key(&["tail"])).sink("latest", &latest);
    });
    println!("{}", ended.await?);
    Ok(())
}
