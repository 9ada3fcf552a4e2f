//! The pipeline of `compare --pipeline`: events of a Kafka topic are enriched from a table of MySQL, summed by key and hour, and
//! each is written as a row of HBase with the sum that it made. With no keys there is no state, and checkpoints hold positions alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{JobId, Result};
use tidelock_hbase::{Column, HbaseConfig, HbaseSink, HbaseSinkConfig, RowMutation};
use tidelock_kafka::{
    KafkaRecord, KafkaSource, KafkaSourceConfig, Properties, RecordPolicy, Stop, Subscription,
};
use tidelock_runtime::{Job, Lookups, Workers};
use tidelock_sql::{SqlConfig, SqlLookup, SqlLookupConfig};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// As the example `copy` of the Kafka connector has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// In nanoseconds, as times are here.
const HOUR: u64 = 3_600_000_000_000;

/// An event with this bit in its number comes before the load, gives its key a state, and makes no row.
const FIRST: u64 = 1 << 63;

/// The numbers of the load go over the keys in a mixed order, each once in a round.
const STEP: u64 = 2_654_435_761;

/// How many rows the table of routes has.
const ROUTES: u64 = 1_000;

/// Enriches, sums and writes the load of `compare`, until it is killed.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    from: String,
    /// The table of HBase.
    #[arg(long)]
    to: String,
    /// `hbase://GATEWAY:PORT`.
    #[arg(long)]
    database: String,
    /// Where the table `routes` is.
    #[arg(long)]
    lookup: String,
    /// How many keys have a state. 0: none has, and there is no such operator.
    #[arg(long)]
    keys: u64,
    #[arg(long)]
    checkpoints: String,
    #[arg(long, value_parser = humantime::parse_duration)]
    interval: Duration,
    #[arg(long)]
    job_id: String,
    /// The sink's setting.
    #[arg(long, default_value_t = 0)]
    linger_ms: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Event {
    number: u64,
    due: u64,
    filler: Bytes,
}

impl Event {
    fn read(record: &KafkaRecord) -> std::result::Result<Self, &'static str> {
        let value = record.value.clone().unwrap_or_default();
        let (number, rest) = value.split_first_chunk().ok_or("it is too short")?;
        let (due, _) = rest.split_first_chunk().ok_or("it is too short")?;
        let (number, due) = (u64::from_le_bytes(*number), u64::from_le_bytes(*due));
        Ok(Self { number, due, filler: value.slice(16..) })
    }

    fn key(&self, keys: u64) -> u64 {
        if self.number >= FIRST { self.number - FIRST } else { self.number.wrapping_mul(STEP) % keys }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Route {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Enriched {
    event: Event,
    route: Option<Route>,
}

/// What is known of a key.
#[derive(Default, Serialize, Deserialize)]
struct Sum {
    hour: u64,
    events: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, event: &Event) {
        let hour = event.due / HOUR;
        if self.hour != hour {
            *self = Self { hour, ..Self::default() };
        }
        self.events += 1;
        self.bytes += event.filler.len() as u64;
    }
}

/// The columns of a row.
struct Columns {
    due: Column,
    filler: Column,
    route: Column,
    sum: Column,
}

impl Columns {
    fn new() -> Result<Self> {
        Ok(Self {
            due: Column::parse("f:due")?,
            filler: Column::parse("f:filler")?,
            route: Column::parse("f:route")?,
            sum: Column::parse("f:sum")?,
        })
    }

    fn row(&self, Enriched { event, route }: Enriched, sum: u64) -> RowMutation {
        let route = route.map(|route| route.name).unwrap_or_default();
        RowMutation::put(
            event.number.to_be_bytes().to_vec(),
            [
                (self.due.clone(), Bytes::copy_from_slice(&event.due.to_le_bytes())),
                (self.filler.clone(), event.filler),
                (self.route.clone(), Bytes::from(route)),
                (self.sum.clone(), Bytes::copy_from_slice(&sum.to_be_bytes())),
            ],
        )
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let log = Targets::new().with_default(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let Arguments { brokers, from, to, database, lookup, keys, checkpoints, interval, job_id, linger_ms } =
        Arguments::parse();
    let gateway = database.trim_start_matches("hbase://").split('?').next().unwrap_or_default().to_owned();
    let mut config = JobConfig::new(JobId::new(&job_id)?, &checkpoints);
    config.settings.interval = interval;
    let reading = KafkaSourceConfig::new(Properties::new(brokers), Subscription::Topics(vec![from]));
    let source = KafkaSource::connect(reading.with_stop(Stop::Never)).await?;
    let source = Arc::new(source.decode(Event::read, RecordPolicy::Fail));
    let routes = SqlLookupConfig::new(SqlConfig::from_url(&lookup)?, "routes", ["id"]);
    let routes = Arc::new(SqlLookup::<u64, Route>::open(routes).await?);
    let mut writing = HbaseSinkConfig::new(HbaseConfig::new([gateway]), to);
    writing.linger_ms = linger_ms;
    let sink = Arc::new(HbaseSink::new(writing)?);
    let columns = Arc::new(Columns::new()?);
    let job = Job::open(config).await?;
    let ended = job.run(Workers::threads(1), move |graph| {
        let columns = Arc::clone(&columns);
        let enriched = graph.source("events", &source).stream().lookup(
            "routes",
            &routes,
            Lookups::ordered(),
            |event: &Event| Some(event.number % ROUTES),
            |event, route| Enriched { event, route: route.cloned() },
        );
        if keys == 0 {
            enriched.map(move |enriched| columns.row(enriched, 0)).sink("rows", &sink);
            return;
        }
        enriched
            .key_by(move |enriched| enriched.event.key(keys))
            .stateful("sums", move |_, sum, enriched: Enriched, context| {
                let sum = sum.get_or_insert_with(Sum::default);
                sum.add(&enriched.event);
                if enriched.event.number < FIRST {
                    context.emit(columns.row(enriched, sum.bytes));
                }
                Ok(())
            })
            .sink("rows", &sink);
    });
    println!("{}", ended.await?);
    Ok(())
}
