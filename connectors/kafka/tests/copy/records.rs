//! The records that are fed: numbered in each partition, so that a reader knows what must come next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidelock_processes::PATIENCE;

/// The timestamp of the first record.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// What is fed to each partition at once, and how often: some records for every epoch, and no more than a
/// small machine with several jobs, brokers and readers on it can carry.
const FED_AT_ONCE: u64 = 15;
const PAUSE: Duration = Duration::from_millis(10);

/// A record, by its place in the input. Everything else follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) partition: i32,
    pub(crate) number: u64,
}

impl Numbered {
    fn key(self) -> String {
        format!("k{}", self.number % 97)
    }

    fn value(self) -> String {
        let padding = usize::try_from(self.number % 60).expect("small");
        format!("{} {} {}", self.partition, self.number, ".".repeat(padding))
    }

    fn timestamp(self) -> i64 {
        BEGINNING_MS + i64::try_from(self.number).expect("small")
    }

    fn headers(self) -> OwnedHeaders {
        let number = self.number.to_string();
        let headers = OwnedHeaders::new().insert(Header { key: "number", value: Some(&number) });
        headers.insert(Header { key: "empty", value: None::<&str> })
    }

    /// Which record a message is. An error where any part of it is not as it was fed.
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Result<Self, String> {
        let text = message.payload().and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let number = text.split(' ').nth(1).and_then(|number| number.parse().ok());
        let found = number.map(|number| Self { partition: message.partition(), number });
        let strange =
            || format!("offset {} of partition {}: {text:?}", message.offset(), message.partition());
        let one = found.ok_or_else(strange)?;
        let wanted = one.headers();
        let same_headers = message.headers().is_some_and(|headers| headers.iter().eq(wanted.iter()));
        let same = text == one.value()
            && message.key() == Some(one.key().as_bytes())
            && message.timestamp().to_millis() == Some(one.timestamp())
            && same_headers;
        if same { Ok(one) } else { Err(strange()) }
    }
}

/// Feeds all partitions of a topic until it is stopped.
#[derive(Debug)]
pub(crate) struct Feeder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Feeder {
    pub(crate) fn start(brokers: &str, topic: &str, partitions: i32) -> Self {
        // Idempotent and never giving up: what it numbers is in the topic once, whatever the brokers suffer.
        let producer: BaseProducer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic) = (Arc::clone(&stop), topic.to_owned());
        let feed = move || {
            let mut fed = 0;
            while !stopped.load(Ordering::SeqCst) {
                for number in fed..fed + FED_AT_ONCE {
                    for partition in 0..partitions {
                        send(&producer, &topic, Numbered { partition, number });
                    }
                }
                fed += FED_AT_ONCE;
                producer.poll(Duration::ZERO);
                std::thread::sleep(PAUSE);
            }
            producer.flush(PATIENCE).expect("delivered");
            fed
        };
        Self { stop, thread: Some(std::thread::spawn(feed)) }
    }

    /// Stops, and returns how many records each partition has.
    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().and_then(|thread| thread.join().ok()).expect("everything is delivered")
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn send(producer: &BaseProducer, topic: &str, one: Numbered) {
    let (key, value) = (one.key(), one.value());
    loop {
        let record = BaseRecord::to(topic).partition(one.partition).key(&key).payload(&value);
        match producer.send(record.headers(one.headers()).timestamp(one.timestamp())) {
            Ok(()) => return,
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}
