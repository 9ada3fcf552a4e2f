//! The load: records that are due at a fixed rate and carry that time, whether they could be sent then or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Failure;
use crate::clock::Clock;
use crate::reader::Stamp;

/// Between two looks at the clock: a record is sent at most so late by the load itself.
const TICK: Duration = Duration::from_millis(1);

/// Before the system is seen to work, records come one by one: it must not begin with a mountain of them.
const TRICKLE: Duration = Duration::from_millis(20);

pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), KafkaError>>>,
}

#[derive(Default)]
struct Shared {
    full: AtomicBool,
    stop: AtomicBool,
    sent: AtomicU64,
}

/// A producer for records that are there to be copied.
pub(crate) fn producer(brokers: &str) -> Result<BaseProducer, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all").set("linger.ms", "1");
    config.set("queue.buffering.max.messages", "2000000").set("queue.buffering.max.kbytes", "1000000");
    config.create().map_err(|error| Failure::new("make a producer", error))
}

/// An event with this bit in its number gives its key a state, and makes no row.
const FIRST: u64 = 1 << 63;

/// How long the broker may take for the last of many records.
const FLUSH_MAX: Duration = Duration::from_secs(180);

/// Sends an event for each of so many keys: all have a state before the load.
pub(crate) fn give_state(brokers: &str, topic: &str, keys: u64) -> Result<(), Failure> {
    let failed = |error| Failure::new("give the keys a state", error);
    let producer = producer(brokers)?;
    let mut value = [0; 16];
    for key in 0..keys {
        Stamp { number: FIRST | key, due: 0 }.write(&mut value);
        send(&producer, topic, 0, &value).map_err(failed)?;
    }
    producer.flush(FLUSH_MAX).map_err(failed)
}

/// Sends one record of the load.
pub(crate) fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: u64,
    value: &[u8],
) -> Result<(), KafkaError> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(value);
    record.partition = i32::try_from(partition).ok();
    offer(producer, record)
}

/// Hands over one record, and waits where the buffer is full.
pub(crate) fn offer(
    producer: &BaseProducer,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), KafkaError> {
    while let Err((error, back)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error);
        }
        producer.poll(Duration::from_millis(1));
        record = back;
    }
    Ok(())
}

impl Load {
    pub(crate) fn start(
        brokers: &str,
        topic: String,
        partitions: u32,
        size: u64,
        rate: u64,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let producer = producer(brokers)?;
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let run = move || {
            let value = vec![b'x'; usize::try_from(size).unwrap_or(usize::MAX)];
            Sender { producer, topic, partitions: u64::from(partitions), value, clock, state }.run(rate)
        };
        Ok(Self { shared, thread: Some(spawn(run)) })
    }

    /// From here on at the full rate.
    pub(crate) fn open(&self) {
        self.shared.full.store(true, Ordering::Relaxed);
    }

    /// The number of records so far, which is the number of the next one.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(Err(error))) => Err(Failure::new("send the load", error)),
            Some(Err(_)) => Err(Failure::new("send the load", "its thread panicked")),
            _ => Ok(()),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

struct Sender {
    producer: BaseProducer,
    topic: String,
    partitions: u64,
    value: Vec<u8>,
    clock: Clock,
    state: Arc<Shared>,
}

impl Sender {
    fn run(mut self, rate: u64) -> Result<(), KafkaError> {
        while !self.state.full.load(Ordering::Relaxed) && !self.state.stop.load(Ordering::Relaxed) {
            self.send(self.clock.nanos())?;
            self.producer.poll(Duration::ZERO);
            sleep(TRICKLE);
        }
        let (origin, first) = (self.clock.nanos(), self.state.sent.load(Ordering::Relaxed));
        let due_at = |number: u64| {
            let nanos = u128::from(number - first) * 1_000_000_000 / u128::from(rate);
            origin + u64::try_from(nanos).unwrap_or(u64::MAX)
        };
        let mut next = first;
        while !self.state.stop.load(Ordering::Relaxed) {
            let now = self.clock.nanos();
            while due_at(next) <= now {
                self.send(due_at(next))?;
                next += 1;
            }
            self.producer.poll(Duration::ZERO);
            sleep(TICK);
        }
        self.producer.flush(Duration::from_secs(10))
    }

    fn send(&mut self, due: u64) -> Result<(), KafkaError> {
        let number = self.state.sent.load(Ordering::Relaxed);
        Stamp { number, due }.write(&mut self.value);
        send(&self.producer, &self.topic, number % self.partitions, &self.value)?;
        self.state.sent.store(number + 1, Ordering::Relaxed);
        Ok(())
    }
}
