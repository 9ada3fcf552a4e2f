//! Enriches the flights of CSV files with the seats of their planes, which are in a table of HBase:
//!
//! ```text
//! $ hbase shell
//! > create 'planes', 'info'
//! > put 'planes', 'N14228', 'info:seats', '149'
//! $ hbase thrift start
//! $ cargo run -p tidelock-hbase --example hbase_enrich -- docs/examples/flights/data OUT CHECKPOINTS localhost:9090
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_hbase::{HbaseConfig, HbaseLookup, HbaseLookupConfig, HbaseRow};
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

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, output, checkpoints) = (argument("data"), argument("out"), argument("checkpoints"));
    let gateways = argument("localhost:9090");

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let flights = Arc::new(FilesSource::<Flight>::new(reading)?);
    let rows = Arc::new(FilesSink::<Row>::new(FilesSinkConfig::new(output, SinkFormat::JsonLines))?);
    let mut planes = HbaseLookupConfig::new(HbaseConfig::new(gateways.split(',')), "planes");
    planes.columns = vec!["info:seats".into()];
    let planes = Arc::new(HbaseLookup::<String>::open_by_bytes(planes).await?);

    let mut config = JobConfig::new("enrich".parse()?, checkpoints);
    config.settings.interval = Duration::from_millis(100);
    let job = Job::open(config).await?;
    let ended = job.run(Workers::threads(1), move |graph| {
        let flights = graph.source("flights", &flights).stream();
        let tailnum = |flight: &Flight| flight.tailnum.clone();
        let join = |Flight { origin, time_hour, .. }, plane: Option<&HbaseRow>| {
            let seats = plane.and_then(|plane| plane.text("info:seats")?.parse().ok());
            Row { origin, time_hour, seats }
        };
        flights.lookup("planes", &planes, Lookups::ordered(), tailnum, join).sink("rows", &rows);
    });
    println!("{:?}", ended.await?);
    Ok(())
}
