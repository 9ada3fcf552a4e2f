//! Writes the latest flight of each origin to a table of HBase, where it is right however often this is killed and started again:
//!
//! ```text
//! $ hbase shell
//! > create 'latest', 'f'
//! $ hbase thrift start
//! $ cargo run -p tidelock-hbase --example latest -- docs/examples/flights/data CHECKPOINTS localhost:9090
//! $ hbase shell
//! > scan 'latest'
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_hbase::{Column, HbaseConfig, HbaseSink, HbaseSinkConfig, RowMutation};
use tidelock_runtime::{Job, Workers};
use tracing_subscriber::filter::LevelFilter;

/// Some of the columns of the input; the others are passed over.
#[derive(Deserialize)]
struct Flight {
    carrier: String,
    flight: u32,
    origin: String,
    time_hour: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    // What is waited for is told, such as gateways that do not answer.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(LevelFilter::WARN).init();
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, checkpoints) = (argument("data"), argument("checkpoints"));
    let gateways = HbaseConfig::new(argument("localhost:9090").split(','));

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let flights = Arc::new(FilesSource::<Flight>::new(reading)?);
    let latest = Arc::new(HbaseSink::new(HbaseSinkConfig::new(gateways, "latest"))?);
    let (number, time) = (Column::parse("f:number")?, Column::parse("f:time")?);

    let mut config = JobConfig::new("latest".parse()?, checkpoints);
    config.settings.interval = Duration::from_millis(100);
    // SIGTERM or Ctrl-C ends it with a checkpoint.
    let ended = Job::open(config).await?.stop_on_signals().run(Workers::threads(1), move |graph| {
        let flights = graph.source("flights", &flights).stream();
        let (number, time) = (number.clone(), time.clone());
        let row = move |Flight { carrier, flight, origin, time_hour }: Flight| {
            RowMutation::put(
                origin,
                [(number.clone(), format!("{carrier}{flight}")), (time.clone(), time_hour)],
            )
        };
        // All changes of a row must come to one writer. With one worker there is only one; with more, or several files at once, exchange by the
        // row's key in front of the sink: `.key_by("by origin", ..)`.
        flights.map(row).sink("latest", &latest);
    });
    println!("{:?}", ended.await?);
    Ok(())
}
