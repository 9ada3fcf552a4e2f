//! Enriches the flights of CSV files with the seats of their planes, which are in a table of DynamoDB:
//!
//! ```text
//! $ aws dynamodb create-table --table-name planes --billing-mode PAY_PER_REQUEST \
//!       --attribute-definitions AttributeName=tail,AttributeType=S --key-schema AttributeName=tail,KeyType=HASH
//! $ aws dynamodb put-item --table-name planes --item '{"tail": {"S": "N14228"}, "seats": {"N": "149"}}'
//! $ cargo run -p tidelock-dynamodb --example dynamodb_enrich -- docs/examples/flights/data OUT CHECKPOINTS
//! ```
//!
//! Region and credentials come from the environment. A fourth argument is the address of another server, such as `http://localhost:8000`.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_dynamodb::{AwsConfig, DynamoLookup, DynamoLookupConfig, Item, Value};
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_runtime::{Job, Lookups, Workers};

/// Some of the columns of the input; the others are passed over.
#[derive(Deserialize)]
struct Flight {
    tailnum: Option<String>,
    origin: String,
    time_hour: String,
}

#[derive(Serialize)]
struct Row {
    origin: String,
    time_hour: String,
    seats: Option<u32>,
}

fn seats(plane: &Item) -> Option<u32> {
    match plane.get("seats")? {
        Value::N(number) => number.parse().ok(),
        _ => None,
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, output, checkpoints) = (argument("data"), argument("out"), argument("checkpoints"));
    let mut dynamodb = AwsConfig::new();
    dynamodb.endpoint = Some(argument("")).filter(|endpoint| !endpoint.is_empty());

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let flights = Arc::new(FilesSource::<Flight>::new(reading)?);
    let rows = Arc::new(FilesSink::<Row>::new(FilesSinkConfig::new(output, SinkFormat::JsonLines))?);
    let mut planes = DynamoLookupConfig::new(dynamodb, "planes");
    planes.attributes = vec!["seats".into()];
    let planes = Arc::new(DynamoLookup::<String>::open_by_value(planes).await?);

    let mut config = JobConfig::new("enrich".parse()?, checkpoints);
    config.settings.interval = Duration::from_millis(100);
    let job = Job::open(config).await?;
    let ended = job.run(Workers::threads(1), move |graph| {
        let flights = graph.source("flights", &flights).stream();
        let tailnum = |flight: &Flight| flight.tailnum.clone();
        let join = |Flight { origin, time_hour, .. }, plane: Option<&Item>| {
            let seats = plane.and_then(seats);
            Row { origin, time_hour, seats }
        };
        // A request has a hundred keys at most.
        let how = Lookups::ordered().keys_per_request_max(100);
        flights.lookup("planes", &planes, how, tailnum, join).sink("rows", &rows);
    });
    println!("{}", ended.await?);
    Ok(())
}
