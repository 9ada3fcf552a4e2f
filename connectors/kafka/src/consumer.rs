//! One consumer of librdkafka for all partitions that a process reads.
//!
//! Partitions are added and removed one by one. Each has a queue of its own, which wakes its reader; the
//! consumer's main queue has only what concerns all of them, and is served by a thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tidelock::{Error, ErrorKind, Result};
use tokio::sync::Notify;

use crate::blocking::blocking;
use crate::bootstrap::Bootstrap;
use crate::config::KafkaSourceConfig;
use crate::defaults;
use crate::error::kafka_error;
use crate::events::{EVENT_WAIT, EventThread};
use crate::native::queue::PartitionQueue;
use crate::split::KafkaSplit;

/// What concerns the consumer as a whole.
pub(crate) struct Context {
    failure: Mutex<Option<Error>>,
    bootstrap: Bootstrap,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::logging::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.bootstrap.note(&error);
        // The same trouble comes as a line of its log.
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {}

/// The queue of one partition.
pub(crate) type Queue = PartitionQueue<Context>;

/// The consumer that is shared now.
///
/// It lives as long as anybody reads with it, so the next attempt has another one: whatever went wrong
/// inside of librdkafka is not inherited.
#[derive(Default)]
pub(crate) struct SharedConsumer(tokio::sync::Mutex<Weak<Consumer>>);

impl SharedConsumer {
    /// The consumer to read another partition with; a new one where there is none, or none to be shared.
    pub(crate) async fn get(&self, config: &KafkaSourceConfig) -> Result<Arc<Consumer>> {
        let mut current = self.0.lock().await;
        if let Some(consumer) = current.upgrade().filter(|consumer| !consumer.is_retired()) {
            return Ok(consumer);
        }
        let config = config.clone();
        let consumer = Arc::new(blocking(move || Consumer::start(&config)).await?);
        *current = Arc::downgrade(&consumer);
        Ok(consumer)
    }
}

/// A consumer. Those who read with it hold it.
pub(crate) struct Consumer {
    inner: Arc<BaseConsumer<Context>>,
    retired: AtomicBool,
    _thread: EventThread,
}

impl Consumer {
    /// Makes the consumer. Blocks.
    pub(crate) fn start(config: &KafkaSourceConfig) -> Result<Self> {
        let refused = |error| kafka_error("open a Kafka consumer", error);
        let config = client_config(config);
        let context = Context { failure: Mutex::new(None), bootstrap: Bootstrap::new(&config) };
        let inner = Arc::new(BaseConsumer::from_config_and_context(&config, context).map_err(refused)?);
        let served = Arc::clone(&inner);
        let serve = move || {
            if let Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) = served.poll(EVENT_WAIT) {
                let failure = kafka_error("read from Kafka", error);
                let mut slot = served.context().failure.lock().unwrap_or_else(PoisonError::into_inner);
                slot.get_or_insert(failure);
            }
            served.context().bootstrap.serve(served.client());
        };
        let thread = EventThread::start("open a Kafka consumer", serve)?;
        Ok(Self { inner, retired: AtomicBool::new(false), _thread: thread })
    }

    /// No further partition is read with it: it failed, reads nothing any more, or lost a reader, whose late
    /// end could take the partition from its successor.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// What ended the consumer as a whole, if anything did.
    pub(crate) fn check(&self) -> Result<()> {
        let mut failure = self.inner.context().failure.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failure) = failure.take() else { return Ok(()) };
        self.retire();
        Err(failure)
    }

    /// Begins to fetch a partition. Blocks for a moment.
    pub(crate) fn attach(&self, split: &KafkaSplit, wake: Arc<Notify>) -> Result<Queue> {
        // The queue before the assignment, or the first records would go to the main queue.
        let consumer = Arc::clone(&self.inner);
        let queue = PartitionQueue::open(consumer, &split.topic, split.partition, wake).ok_or_else(|| {
            Error::new(ErrorKind::Other, "read from Kafka", "the partition has no queue")
                .with("topic", &split.topic)
        })?;
        let list = list_of(&split.topic, split.partition, Some(split.offset))?;
        self.inner.incremental_assign(&list).map_err(|error| kafka_error("read from Kafka", error))?;
        Ok(queue)
    }

    /// Ends to fetch a partition. Blocks for a moment.
    pub(crate) fn detach(&self, topic: &str, partition: i32) {
        let detached = list_of(topic, partition, None).and_then(|list| {
            self.inner.incremental_unassign(&list).map_err(|error| kafka_error("detach", error))
        });
        if let Err(error) = detached {
            tracing::debug!(%error, "a partition was not detached");
        }
    }
}

fn list_of(topic: &str, partition: i32, offset: Option<i64>) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    let offset = offset.map_or(Offset::Invalid, Offset::Offset);
    list.add_partition_offset(topic, partition, offset)
        .map_err(|error| kafka_error("read from Kafka", error))?;
    Ok(list)
}

/// librdkafka's settings: ours where the user gives none.
fn client_config(config: &KafkaSourceConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    defaults::apply(defaults::CONSUMER, &mut client);
    client
        // librdkafka asks for a group; nothing joins it and nothing is committed through it.
        .set("group.id", config.export_to_group.as_deref().unwrap_or("tidelock"))
        .set("isolation.level", if config.read_uncommitted { "read_uncommitted" } else { "read_committed" });
    defaults::replace(config.properties.iter(), &mut client);
    client
}
