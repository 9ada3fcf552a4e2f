//! Flights and rows in Kafka: a record for each, as JSON, with the airport as its key.
//!
//! Records keep Kafka's own time, which is that of their writing. With that of the flight a broker would
//! throw them away at once: it deletes by the age of records, and these are from 2013.

mod create;
mod topic;

use std::sync::Arc;

use serde::Serialize;
use tidelock::{Error, ErrorKind, Result};
use tidelock_kafka::{
    KafkaRecord, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, RecordPolicy,
    Stop, Subscription,
};

pub(crate) use self::topic::Topic;
use crate::ends::{Flights, Flow, Rows, timed};
use crate::files;
use crate::flight::Flight;
use crate::options::Options;
use crate::pace::{Pace, Paced};

/// One for each airport. Any other number does as well: a key is in one partition.
const FLIGHTS_PARTITIONS: i32 = 3;
const ROWS_PARTITIONS: i32 = 1;

/// Reads flights from a topic, up to the end that it had when the job first started.
pub(crate) async fn flights(options: &Options, topic: &Topic, pace: Arc<Pace>) -> Result<Flights> {
    let topics = Subscription::Topics(vec![topic.name().to_owned()]);
    let mut reading = KafkaSourceConfig::new(topic.properties(), topics).with_stop(Stop::Latest);
    reading.batch_records = pace.batch_records();
    let decode =
        |record: &KafkaRecord| serde_json::from_slice::<Flight>(record.value.as_deref().unwrap_or_default());
    let source = KafkaSource::connect(reading).await?.decode(decode, RecordPolicy::Fail);
    let source = Arc::new(Paced::new(source, pace));
    let out_of_orderness = options.out_of_orderness;
    // All partitions are read at once, and the one that is behind tells the time.
    Ok(Box::new(move |graph| timed(graph, &source, out_of_orderness).stream()))
}

/// Writes rows to a topic. Readers with `isolation.level=read_committed` see each once.
pub(crate) async fn rows(topic: &Topic) -> Result<Rows> {
    let sink = sink(topic, ROWS_PARTITIONS).await?;
    let name: Arc<str> = topic.name().into();
    Ok(Box::new(move |rows| {
        let name = Arc::clone(&name);
        rows.try_map(move |row| record(&name, row.origin(), &row)).sink("rows", &sink);
    }))
}

/// Copies the flights from their files to a topic. On one worker files are read one after the other,
/// and a key is in one partition: so in each partition flights are in the order of their files.
pub(crate) async fn load(topic: &Topic, data: &str, pace: Arc<Pace>) -> Result<Flow> {
    let flights = files::source(data, pace)?;
    let sink = sink(topic, FLIGHTS_PARTITIONS).await?;
    let name: Arc<str> = topic.name().into();
    Ok(Box::new(move |graph| {
        let name = Arc::clone(&name);
        let flights = graph.source("flights", &flights).in_order_of_names().stream();
        flights.try_map(move |flight| record(&name, &flight.origin, &flight)).sink("loaded", &sink);
    }))
}

async fn sink(topic: &Topic, partitions: i32) -> Result<Arc<KafkaSink>> {
    create::if_missing(topic, partitions).await?;
    Ok(Arc::new(KafkaSink::connect(KafkaSinkConfig::new(topic.properties())).await?))
}

fn record(topic: &Arc<str>, key: &str, value: &impl Serialize) -> Result<ProducerRecord> {
    let value = serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Bug, "write to Kafka", "no JSON").because(error))?;
    Ok(ProducerRecord::new(Arc::clone(topic), value).with_key(key.to_owned()))
}
