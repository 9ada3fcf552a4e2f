//! Rows from a Kafka topic into a table of a database, of HBase or of DynamoDB: what `compare --target` measures.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{JobId, Result};
use tidelock_dynamodb::{AwsConfig, DynamoSink, DynamoSinkConfig, ItemChange, Value};
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
    /// A URL; for HBase `hbase://GATEWAY:PORT`, and for DynamoDB `dynamodb://HOST:PORT`.
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
    /// Write to HBase or DynamoDB through the job's log, and not at once.
    #[arg(long)]
    ledger: bool,
    /// HBase's setting `linger_ms`.
    #[arg(long, default_value_t = 0)]
    linger_ms: u64,
    /// Write to DynamoDB many items in a request, at least once.
    #[arg(long)]
    at_least_once: bool,
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

/// Makes an item of DynamoDB of a record: all are in one partition, sorted by their numbers.
fn put(record: &KafkaRecord) -> std::result::Result<ItemChange, &'static str> {
    let Row { number, due, filler } = row(record)?;
    let attributes = [
        ("part", Value::from("all")),
        ("number", Value::from(number)),
        ("due", Value::from(due)),
        ("filler", Value::from(filler)),
    ];
    Ok(ItemChange::put(attributes.map(|(name, value)| (name.to_owned(), value)).into()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let log = Targets::new().with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let arguments = Arguments::parse();
    let Arguments { brokers, from, checkpoints, interval, job_id, .. } = &arguments;
    let mut config = JobConfig::new(JobId::new(job_id)?, checkpoints);
    config.settings.interval = *interval;
    let topics = Subscription::Topics(vec![from.clone()]);
    let reading = KafkaSourceConfig::new(Properties::new(brokers), topics);
    let source = KafkaSource::connect(reading.with_stop(Stop::Never)).await?;
    let job = Job::open(config).await?;
    let ended = match arguments.database.split_once("://") {
        Some(("hbase", place)) => {
            let gateway = place.split('?').next().unwrap_or(place);
            let source = Arc::new(source.decode(mutation()?, RecordPolicy::Fail));
            let sink = Arc::new(hbase(&arguments, gateway)?);
            job.run(Workers::threads(1), move |graph| {
                graph.source("records", &source).stream().sink("rows", &sink);
            })
            .await?
        }
        Some(("dynamodb", address)) => {
            let source = Arc::new(source.decode(put, RecordPolicy::Fail));
            let sink = Arc::new(dynamodb(&arguments, address)?);
            job.run(Workers::threads(1), move |graph| {
                graph.source("records", &source).stream().sink("rows", &sink);
            })
            .await?
        }
        _ => {
            let source = Arc::new(source.decode(row, RecordPolicy::Fail));
            let sink = Arc::new(sql(&arguments)?);
            job.run(Workers::threads(1), move |graph| {
                graph.source("records", &source).stream().map(Change::Insert).sink("rows", &sink);
            })
            .await?
        }
    };
    println!("{ended}");
    Ok(())
}

fn hbase(arguments: &Arguments, gateway: &str) -> Result<HbaseSink> {
    let mut writing = HbaseSinkConfig::new(HbaseConfig::new([gateway]), &arguments.to);
    writing.linger_ms = arguments.linger_ms;
    if arguments.ledger {
        writing.mode = tidelock_hbase::Mode::Ledger;
    }
    HbaseSink::new(writing)
}

/// Region and credentials are in the environment.
fn dynamodb(arguments: &Arguments, address: &str) -> Result<DynamoSink> {
    let mut aws = AwsConfig::new();
    aws.endpoint = Some(format!("http://{address}"));
    let mut writing = DynamoSinkConfig::new(aws, &arguments.to);
    if arguments.ledger {
        writing.mode = tidelock_dynamodb::Mode::Ledger;
    } else if arguments.at_least_once {
        writing.mode = tidelock_dynamodb::Mode::Batched;
    }
    DynamoSink::new(writing)
}

fn sql(arguments: &Arguments) -> Result<SqlSink<Row>> {
    let mut writing = SqlSinkConfig::new(SqlConfig::from_url(&arguments.database)?, &arguments.to);
    if arguments.prepared {
        writing.mode = Mode::Prepared;
    }
    SqlSink::new(writing)
}
