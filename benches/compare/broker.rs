//! The broker, and topics on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tidelock_containers::{Kafka, KafkaOptions};
use tokio::runtime::Runtime;

use crate::Failure;
use crate::clock::Clock;

/// A heap as brokers in production have. With the 1 GiB of the start script they collect garbage every second or
/// two, for some 25 ms here, and the 99th percentile of every system is that pause.
const JAVA: &str = "-Xms4g -Xmx4g -Xmn2g -XX:+UseG1GC -XX:InitiatingHeapOccupancyPercent=35 \
                    -XX:+ExplicitGCInvokesConcurrent";

/// A new topic is there after this time, or the broker is ill.
const TOPIC_MAX: Duration = Duration::from_secs(30);

const TOPIC_LOOK: Duration = Duration::from_millis(20);

/// What a load made longer ago was read by everybody. Half an hour of it would fill the memory.
pub(crate) const RETENTION: Duration = Duration::from_secs(120);

/// Only whole segments are deleted.
const SEGMENT_BYTES: &str = "67108864";

/// Whole names of topics never come again, so that a late deletion cannot hit a new one.
static TOPICS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Broker {
    pub(crate) address: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: Runtime,
    run: String,
    _container: Option<Kafka>,
}

impl Broker {
    /// The broker at `address`, or one of our own.
    pub(crate) fn start(address: Option<String>, seed: u64) -> Result<Self, Failure> {
        let runtime = Runtime::new().map_err(|error| Failure::new("start threads", error))?;
        let (address, container) = match address {
            Some(address) => (address, None),
            None => {
                eprintln!("starting a broker");
                // On one disk with the job's checkpoints the broker would pay for their fsyncs, and they for its
                // page cache: the 99th percentile of Tidelock was twice as high.
                let options = KafkaOptions::default().with_java(JAVA).with_data_in_memory();
                let kafka = runtime.block_on(Kafka::start(options));
                let kafka = kafka.map_err(|error| Failure::new("start the broker", error))?;
                (kafka.brokers(), Some(kafka))
            }
        };
        let admin: Result<AdminClient<_>, _> =
            ClientConfig::new().set("bootstrap.servers", &address).create();
        let admin = admin.map_err(|error| Failure::new("connect to the broker", error))?;
        Ok(Self { address, admin, runtime, run: format!("compare-{seed:x}"), _container: container })
    }

    /// Makes an empty topic whose records may be deleted after `kept`, or never.
    pub(crate) fn make_topic(
        &self,
        what: &str,
        partitions: u32,
        kept: Option<Duration>,
    ) -> Result<String, Failure> {
        let name = format!("{}-{}-{what}", self.run, TOPICS.fetch_add(1, Ordering::Relaxed));
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        // Not after a minute: what is deleted fills the memory until then.
        let topic = topic.set("file.delete.delay.ms", "1000").set("segment.bytes", SEGMENT_BYTES);
        let kept = kept.map_or("-1".to_owned(), |kept| kept.as_millis().to_string());
        let topic = topic.set("retention.ms", &kept);
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = self.runtime.block_on(self.admin.create_topics([&topic], &options));
        match made.map_err(|error| Failure::new("make a topic", error))?.into_iter().next() {
            Some(Err((_, code))) => Err(Failure::new("make a topic", code)),
            _ => self.wait_for_topic(name, partitions),
        }
    }

    /// The controller has answered, and the broker may hear of the topic later.
    fn wait_for_topic(&self, name: String, partitions: i32) -> Result<String, Failure> {
        let client = self.admin.inner();
        let ask = || {
            // librdkafka remembers a topic that was not there, until it is asked for by name.
            client.fetch_metadata(Some(&name), TOPIC_MAX)?;
            (0..partitions).try_for_each(|one| client.fetch_watermarks(&name, one, TOPIC_MAX).map(drop))
        };
        let clock = Clock::start();
        while let Err(error) = ask() {
            if clock.elapsed() > TOPIC_MAX {
                return Err(Failure::new(format!("find the new topic {name}"), error));
            }
            sleep(TOPIC_LOOK);
        }
        Ok(name)
    }

    /// Deletes topics: a disk is not without end.
    pub(crate) fn delete_topics(&self, names: &[&str]) {
        let deleted = self.runtime.block_on(self.admin.delete_topics(names, &AdminOptions::new()));
        if let Err(error) = deleted {
            eprintln!("topics were not deleted: {error}");
        }
    }
}
