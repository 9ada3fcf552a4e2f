//! Rows from a Kafka topic into a table of a database or of HBase: what `compare --target` measures.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{JobId, Result};
use tidelock_hbase::{Column, HbaseConfig, HbaseSink, HbaseSinkConfig, RowMutation};
use tidelock_kafka::{
    KafkaRecord, KafkaSource, KafkaSourceConfig, Properties, RecordPolicy, Stop, Subscription,
};
use tidelock_runtime::{Job, Workers};
use tidelock_sql::{Change, Mode, SqlConfig, SqlSink, SqlSinkConfig};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// As the example `copy` of the Kafka connector has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Copies the load of `compare` into a table, until it is killed.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    from: String,
    /// The table.
    #[arg(long)]
    to: String,
    /// A URL; for HBase `hbase://GATEWAY:PORT`.
    #[arg(long)]
    database: String,
    #[arg(long)]
    checkpoints: String,
    #[arg(long, value_parser = humantime::parse_duration)]
    interval: Duration,
    #[arg(long)]
    job_id: String,
    /// Write into transactions that are prepared, and not through the job's log.
    #[arg(long)]
    prepared: bool,
    /// Write to HBase through the job's log, and not at once.
    #[arg(long)]
    ledger: bool,
}

/// A record of the load, as a row.
#[derive(Serialize, Deserialize)]
struct Row {
    number: u64,
    due: u64,
    filler: String,
}

fn row(record: &KafkaRecord) -> std::result::Result<Row, &'static str> {
    let value = record.value.as_deref().unwrap_or_default();
    let (number, rest) = value.split_first_chunk().ok_or("it is too short")?;
    let (due, filler) = rest.split_first_chunk().ok_or("it is too short")?;
    let filler = String::from_utf8(filler.to_vec()).map_err(|_| "it is no text")?;
    Ok(Row { number: u64::from_le_bytes(*number), due: u64::from_le_bytes(*due), filler })
}

/// Makes a row of HBase of a record, with its number as the key.
fn mutation() -> Result<impl Fn(&KafkaRecord) -> std::result::Result<RowMutation, &'static str>> {
    let (due, filler) = (Column::parse("f:due")?, Column::parse("f:filler")?);
    Ok(move |record: &KafkaRecord| {
        let value = record.value.clone().unwrap_or_default();
        let (number, rest) = value.split_first_chunk().ok_or("it is too short")?;
        if rest.len() < 8 {
            return Err("it is too short");
        }
        let key = u64::from_le_bytes(*number).to_be_bytes().to_vec();
        Ok(RowMutation::put(key, [(due.clone(), value.slice(8..16)), (filler.clone(), value.slice(16..))]))
    })
}

/// The gateway, where the URL is one of HBase.
fn gateway(url: &str) -> Option<&str> {
    url.strip_prefix("hbase://")?.split('?').next()
}

#[tokio::main]
async fn main() -> Result<()> {
    let log = Targets::new().with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let Arguments { brokers, from, to, database, checkpoints, interval, job_id, prepared, ledger } =
        Arguments::parse();
    let mut config = JobConfig::new(JobId::new(&job_id)?, &checkpoints);
    config.settings.interval = interval;
    let reading = KafkaSourceConfig::new(Properties::new(brokers), Subscription::Topics(vec![from]));
    let source = KafkaSource::connect(reading.with_stop(Stop::Never)).await?;
    let job = Job::open(config).await?;
    let ended = if let Some(gateway) = gateway(&database) {
        let source = Arc::new(source.decode(mutation()?, RecordPolicy::Fail));
        let mut writing = HbaseSinkConfig::new(HbaseConfig::new([gateway]), to);
        if ledger {
            writing.mode = tidelock_hbase::Mode::Ledger;
        }
        let sink = Arc::new(HbaseSink::new(writing)?);
        let ended = job.run(Workers::threads(1), move |graph| {
            graph.source("records", &source).stream().sink("rows", &sink);
        });
        ended.await?
    } else {
        let source = Arc::new(source.decode(row, RecordPolicy::Fail));
        let mut writing = SqlSinkConfig::new(SqlConfig::from_url(&database)?, to);
        if prepared {
            writing.mode = Mode::Prepared;
        }
        let sink = Arc::new(SqlSink::new(writing)?);
        let ended = job.run(Workers::threads(1), move |graph| {
            graph.source("records", &source).stream().map(Change::Insert).sink("rows", &sink);
        });
        ended.await?
    };
    println!("{ended}");
    Ok(())
}
