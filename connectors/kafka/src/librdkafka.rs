//! The producer side on librdkafka.
//!
//! Deliveries are reported by events, which a thread of its own takes off as they come. It sleeps in
//! librdkafka's queue, and a flush in librdkafka, so that a barrier waits for the last report and not for a
//! timer. Everything of librdkafka that blocks runs on threads that may.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as RdHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, Message};
use tidelock::{Error, Result};
use tokio::time::{Instant, sleep};

use crate::blocking::blocking;
use crate::bootstrap::Bootstrap;
use crate::error::kafka_error;
use crate::events::{EVENT_WAIT, EventThread};
use crate::native::flush;
use crate::record::{Header, ProducerRecord};
use crate::told::told;
use crate::wire::{Begin, Recycled, Wire};

/// How long a flush sleeps at most before it looks whether it is still needed.
const FLUSH_WAIT: Duration = Duration::from_millis(100);

/// Pause before a record is offered again to a full buffer.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// Initialising may have to wait for a coordinator that moves or for an older transaction's end.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);

/// librdkafka's own end of a transaction that has ended already.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long librdkafka waits before it repeats a request. Nobody else may set it: [`SURELY_NOT_REPEATED`] follows from it.
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// A request that was answered within this time of the call that sent it was sent once.
///
/// librdkafka sends a request to end a transaction again only when the first copy has failed, and not before
/// `retry.backoff.ms` less a fifth of it, its jitter, has passed since then (`rd_kafka_broker_buf_retry`, the only way
/// there, in 2.12.1). The first copy fails after the call has begun. So a second copy leaves 80 ms after that at the
/// earliest, and a call that returned before was answered by its only copy. Half of the backoff leaves room for clocks
/// that are rounded.
const SURELY_NOT_REPEATED: Duration = RETRY_BACKOFF.checked_div(2).expect("invariant: two is not zero");

/// Makes sure that librdkafka repeats nothing sooner than the proof of [`SURELY_NOT_REPEATED`] needs, whatever its
/// defaults become.
pub(crate) fn set_backoff(config: &mut ClientConfig) {
    let backoff = RETRY_BACKOFF.as_millis();
    config.set("retry.backoff.ms", backoff.to_string());
    // It caps the other one.
    config.set("retry.backoff.max.ms", (10 * backoff).to_string());
}

/// What librdkafka reports beside the calls. Shared with its event thread.
struct Events {
    /// The first delivery that failed.
    failure: Mutex<Option<Error>>,
    /// The first delivery to each partition. Few: searched from the start.
    begins: Mutex<Vec<Begin>>,
    bootstrap: Bootstrap,
}

impl Events {
    fn new(config: &ClientConfig) -> Self {
        let (failure, begins) = (Mutex::new(None), Mutex::default());
        Self { failure, begins, bootstrap: Bootstrap::new(config) }
    }

    fn begins(&self) -> std::sync::MutexGuard<'_, Vec<Begin>> {
        self.begins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deliveries of one partition are reported in their order.
    fn delivered(&self, topic: &str, partition: i32, offset: i64) {
        let mut begins = self.begins();
        if !begins.iter().any(|begin| begin.partition == partition && begin.topic == topic) {
            let offset = (offset >= 0).then_some(offset);
            begins.push(Begin { topic: topic.to_owned(), partition, offset });
        }
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::logging::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.bootstrap.note(&error);
        // The same trouble comes as a line of its log.
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Events {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        match result {
            Ok(message) => self.delivered(message.topic(), message.partition(), message.offset()),
            Err((error, message)) => {
                let failure = kafka_error("write to Kafka", error.clone())
                    .with("topic", message.topic())
                    .with("partition", message.partition());
                self.failure().get_or_insert(failure);
            }
        }
    }
}

/// A producer of librdkafka.
pub(crate) struct Librdkafka {
    producer: Arc<BaseProducer<Events>>,
    events: Arc<Events>,
    config: Arc<ClientConfig>,
    _thread: EventThread,
}

impl Librdkafka {
    /// Makes a producer. With a `transactional.id` in `config` the id is initialised, which aborts
    /// whatever is open under it and fences its producer, and the next transaction is begun locally:
    /// the broker learns of it with the first record.
    pub(crate) async fn start(config: Arc<ClientConfig>) -> Result<Self> {
        let made = blocking(move || Self::start_blocking(config));
        told("a Kafka producer is made ready", INIT_TIMEOUT, made).await
    }

    fn start_blocking(config: Arc<ClientConfig>) -> Result<Self> {
        let refused = |error| kafka_error("open a Kafka producer", error);
        let producer =
            BaseProducer::from_config_and_context(&config, Events::new(&config)).map_err(refused)?;
        let producer = Arc::new(producer);
        let events = Arc::clone(producer.client().context());
        let served = Arc::clone(&producer);
        let thread = EventThread::start("open a Kafka producer", move || {
            served.poll(EVENT_WAIT);
            served.context().bootstrap.serve(served.client());
        })?;
        if config.get("transactional.id").is_some() {
            producer.init_transactions(INIT_TIMEOUT).map_err(refused)?;
            producer.begin_transaction().map_err(refused)?;
        }
        Ok(Self { producer, events, config, _thread: thread })
    }

    /// How long a record may wait for its delivery.
    fn delivery_max(&self) -> Duration {
        /// librdkafka's own choice.
        const UNTOLD_MS: u64 = 300_000;
        let given =
            ["message.timeout.ms", "delivery.timeout.ms"].iter().find_map(|name| self.config.get(name));
        Duration::from_millis(given.and_then(|text| text.parse().ok()).unwrap_or(UNTOLD_MS))
    }

    /// A delivery that failed spoils everything that was sent with it.
    fn check(&self) -> Result<()> {
        match self.events.failure().take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Offers one record. `Ok(false)`: the buffer is full.
    fn offer(&self, record: &ProducerRecord) -> Result<bool> {
        let mut outgoing: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&record.topic);
        outgoing.partition = record.partition;
        outgoing.timestamp = record.timestamp;
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for Header { name, value } in &record.headers {
                headers = headers.insert(RdHeader { key: name, value: value.as_deref() });
            }
            outgoing = outgoing.headers(headers);
        }
        match self.producer.send(outgoing) {
            Ok(()) => Ok(true),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => Ok(false),
            Err((error, _)) => {
                // The reason for a producer that takes nothing any more is the delivery that failed.
                self.check()?;
                Err(kafka_error("write to Kafka", error).with("topic", &record.topic))
            }
        }
    }

    /// librdkafka's own end of a transaction that was ended by the control client. It finds the
    /// transaction committed, and is then ready for the next one. `Ok(false)`: nothing is wrong, but a
    /// second copy of its request may be under way.
    fn settle(&self) -> Result<bool, KafkaError> {
        let begun = Instant::now();
        self.producer.commit_transaction(SETTLE_TIMEOUT)?;
        let was_sent_once = begun.elapsed() < SURELY_NOT_REPEATED;
        if was_sent_once {
            self.producer.begin_transaction()?;
        }
        Ok(was_sent_once)
    }
}

#[async_trait]
impl Wire for Librdkafka {
    async fn send(&mut self, records: &mut Vec<ProducerRecord>) -> Result<()> {
        self.check()?;
        let mut taken = 0;
        let offered = async {
            while let Some(record) = records.get(taken) {
                if self.offer(record)? {
                    taken += 1;
                } else {
                    sleep(FULL_PAUSE).await;
                    self.check()?;
                }
            }
            Ok(())
        };
        let outcome = told("Kafka takes records too slowly", self.delivery_max(), offered).await;
        records.drain(..taken);
        outcome
    }

    async fn flush(&mut self) -> Result<()> {
        // Every record is reported, at the latest after `message.timeout.ms`. In pieces: nobody waits for the
        // thread of a flush that was given up, and it must end.
        let flushed = async {
            loop {
                let producer = Arc::clone(&self.producer);
                if blocking(move || Ok(flush(&producer, FLUSH_WAIT))).await? {
                    return self.check();
                }
            }
        };
        told("records are delivered to Kafka", self.delivery_max(), flushed).await
    }

    fn take_begins(&mut self) -> Vec<Begin> {
        std::mem::take(&mut *self.events.begins())
    }

    async fn recycle(self: Box<Self>, fresh: bool) -> Result<Recycled> {
        let config = Arc::clone(&self.config);
        if !fresh {
            let settled = blocking(move || Ok(self.settle().map(|clean| (self, clean)))).await?;
            match settled {
                Ok((wire, true)) => return Ok(Recycled { wire, is_new: false }),
                Ok((_, false)) => tracing::debug!("a producer was slow to settle: it is replaced"),
                // The transaction is committed: only this producer is of no use any more.
                Err(error) => tracing::warn!(%error, "a producer did not settle: it is replaced"),
            }
        }
        // A higher producer epoch, so that a request that arrives late cannot end the next transaction.
        let wire = Self::start(config).await?;
        Ok(Recycled { wire: Box::new(wire), is_new: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_sent_once_is_answered_before_the_earliest_second_copy() {
        let mut config = ClientConfig::new();
        set_backoff(&mut config);
        let given = |name: &str| config.get(name).and_then(|text| text.parse::<u32>().ok()).expect("given");
        // librdkafka's jitter takes a fifth at most, and the other setting is a cap.
        let earliest = (given("retry.backoff.ms") * 4 / 5).min(given("retry.backoff.max.ms"));
        assert!(SURELY_NOT_REPEATED < Duration::from_millis(earliest.into()));
    }
}
