//! The bare loop: consume, produce, send offsets, commit. What a careful user writes without a framework.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::Failure;
use crate::args::RawLoop;
use crate::clock::Clock;
use crate::load::offer;

/// Any request of a healthy broker is answered long before.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Between two looks whether all records arrived: `flush` of the crate sleeps too long.
const PAUSE: Duration = Duration::from_micros(50);

/// Runs until it is killed.
pub(crate) fn run(arguments: &RawLoop) -> Result<(), Failure> {
    copy(arguments).map_err(|error| Failure::new("copy", error))
}

fn copy(arguments: &RawLoop) -> Result<(), KafkaError> {
    let RawLoop { brokers, from, to, interval } = arguments;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", to)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .create()?;
    consumer.subscribe(&[from])?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", to)
        .set("linger.ms", "0")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    producer.init_transactions(ANSWER_MAX)?;
    producer.begin_transaction()?;
    let clock = Clock::start();
    let mut due = *interval;
    let mut offsets = TopicPartitionList::new();
    loop {
        let left = due.saturating_sub(clock.elapsed());
        if left.is_zero() {
            due = (due + *interval).max(clock.elapsed());
            commit(&consumer, &producer, &mut offsets)?;
            continue;
        }
        if let Some(message) = consumer.poll(left.min(Duration::from_millis(1))) {
            let message = message?;
            forward(&producer, to, &message)?;
            let next = Offset::Offset(message.offset() + 1);
            match offsets.find_partition(message.topic(), message.partition()) {
                Some(mut known) => known.set_offset(next)?,
                None => offsets.add_partition_offset(message.topic(), message.partition(), next)?,
            }
        }
        producer.poll(Duration::ZERO);
    }
}

fn forward(producer: &BaseProducer, to: &str, message: &impl Message) -> Result<(), KafkaError> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(to).partition(message.partition());
    record.key = message.key();
    record.payload = message.payload();
    offer(producer, record)
}

fn commit(
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    offsets: &mut TopicPartitionList,
) -> Result<(), KafkaError> {
    if offsets.count() == 0 {
        return Ok(());
    }
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::ZERO);
        std::thread::sleep(PAUSE);
    }
    let Some(group) = consumer.group_metadata() else { return Ok(()) };
    producer.send_offsets_to_transaction(offsets, &group, ANSWER_MAX)?;
    producer.commit_transaction(ANSWER_MAX)?;
    producer.begin_transaction()?;
    *offsets = TopicPartitionList::new();
    Ok(())
}
