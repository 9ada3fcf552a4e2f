//! A broker for tests. Topics get random names, so that one broker serves all tests at once.
#![allow(dead_code, clippy::panic)]

pub(crate) mod forgotten;
pub(crate) mod wire;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tidelock::{CommitPermit, Epoch, Generation, JobId, Pending, Position, SinkAttempt, Uid, WriterId};
use tidelock_containers::Kafka;
use tidelock_kafka::{KafkaCommittable, Properties};

/// The brokers that `TIDELOCK_KAFKA` names; otherwise one in a container, which all tests of the process
/// share.
pub(crate) async fn brokers() -> String {
    match std::env::var("TIDELOCK_KAFKA") {
        Ok(brokers) => brokers,
        Err(_) => Kafka::shared().await.expect("a broker").brokers(),
    }
}

/// The settings that reach the test's brokers.
pub(crate) fn properties(brokers: &str) -> Properties {
    Properties::new(brokers)
}

/// A name that nothing else has.
pub(crate) fn fresh(what: &str) -> String {
    format!("{what}-{:016x}", rand::random::<u64>())
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    config(brokers).create().expect("an admin client")
}

async fn create(brokers: &str, topic: NewTopic<'_>) {
    let made = admin(brokers).create_topics(&[topic], &AdminOptions::new()).await.expect("an answer");
    made.into_iter().for_each(|one| drop(one.expect("a topic")));
}

/// Makes a topic.
pub(crate) async fn create_topic(brokers: &str, name: &str, partitions: i32) {
    // As many replicas as is usual in this cluster. Kept for ever: records of tests have old timestamps.
    create(brokers, NewTopic::new(name, partitions, TopicReplication::Fixed(-1)).set("retention.ms", "-1"))
        .await;
}

/// Makes a topic of one partition that takes records of any time.
pub(crate) async fn create_topic_of_any_time(brokers: &str, name: &str) {
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1))
        .set("retention.ms", "-1")
        .set("message.timestamp.after.max.ms", "9223372036854775807");
    create(brokers, topic).await;
}

/// Whether a topic exists. Does not make it.
pub(crate) fn exists(brokers: &str, topic: &str) -> bool {
    let client: BaseConsumer = config(brokers).create().expect("a client");
    let all = client.fetch_metadata(None, Duration::from_secs(60)).expect("an answer");
    all.topics().iter().any(|one| one.name() == topic)
}

/// Makes a topic whose partitions are on one broker each.
pub(crate) async fn create_topic_with_one_replica(brokers: &str, name: &str, partitions: i32) {
    create(brokers, NewTopic::new(name, partitions, TopicReplication::Fixed(1))).await;
}

fn metadata(brokers: &str, topic: &str) -> Metadata {
    let client: BaseConsumer = config(brokers).create().expect("a client");
    client.fetch_metadata(Some(topic), Duration::from_secs(60)).expect("an answer")
}

/// Who leads each partition of a topic.
pub(crate) fn leaders(brokers: &str, topic: &str) -> Vec<i32> {
    let metadata = metadata(brokers, topic);
    let mut leaders: Vec<_> =
        metadata.topics()[0].partitions().iter().map(|one| (one.id(), one.leader())).collect();
    leaders.sort_unstable();
    leaders.into_iter().map(|(_, leader)| leader).collect()
}

/// The broker that coordinates a transactional id: the leader of its partition of the transaction log.
pub(crate) fn coordinator(brokers: &str, id: &str) -> i32 {
    // As Kafka spreads ids: the hash of a Java string, its sign dropped.
    let hash = id.bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    let leaders = leaders(brokers, "__transaction_state");
    leaders[usize::try_from(hash & i32::MAX).expect("positive") % leaders.len()]
}

/// Where one broker of several listens.
pub(crate) fn address_of(brokers: &str, id: i32) -> String {
    let metadata = metadata(brokers, "__transaction_state");
    let broker = metadata.brokers().iter().find(|one| one.id() == id).expect("one of them");
    format!("{}:{}", broker.host(), broker.port())
}

/// Makes a topic with a random name.
pub(crate) async fn fresh_topic(brokers: &str, partitions: i32) -> String {
    let name = fresh("t");
    create_topic(brokers, &name, partitions).await;
    name
}

/// Adds partitions to a topic.
pub(crate) async fn grow_topic(brokers: &str, name: &str, partitions: usize) {
    let more = NewPartitions::new(name, partitions);
    let grown = admin(brokers).create_partitions(&[more], &AdminOptions::new()).await.expect("an answer");
    grown.into_iter().for_each(|one| drop(one.expect("more partitions")));
}

/// Deletes a topic and waits until it is gone.
pub(crate) async fn delete_topic(brokers: &str, name: &str) {
    let gone = admin(brokers).delete_topics(&[name], &AdminOptions::new()).await.expect("an answer");
    gone.into_iter().for_each(|one| drop(one.expect("deleted")));
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Drops the records of a partition that come before `offset`.
pub(crate) async fn delete_records(brokers: &str, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("a partition");
    admin(brokers).delete_records(&list, &AdminOptions::new()).await.expect("deleted");
}

/// Writes records outside of any transaction.
pub(crate) fn produce(brokers: &str, topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    let producer: BaseProducer = config(brokers).set("linger.ms", "0").create().expect("a producer");
    for value in values {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(partition).payload(&value);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");
}

/// Writes records with times that are so many milliseconds from now. Returns what now is.
pub(crate) fn produce_at(brokers: &str, topic: &str, partition: i32, records: &[(i64, &str)]) -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let now = i64::try_from(since.as_millis()).expect("not for long");
    let producer: BaseProducer = config(brokers).set("linger.ms", "0").create().expect("a producer");
    for (time, value) in records {
        let record: BaseRecord<'_, (), str> =
            BaseRecord::to(topic).partition(partition).payload(*value).timestamp(now + time);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");
    now
}

/// Makes a topic of one partition that is compacted as soon as anything can be.
pub(crate) async fn create_compacted_topic(brokers: &str, name: &str) {
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("segment.ms", "100")
        .set("min.cleanable.dirty.ratio", "0.001");
    create(brokers, topic).await;
}

/// Writes records with these keys to the first partition.
pub(crate) fn produce_keyed(brokers: &str, topic: &str, keys: &[&str]) {
    let producer: BaseProducer = config(brokers).set("linger.ms", "0").create().expect("a producer");
    for key in keys {
        let record = BaseRecord::to(topic).partition(0).key(*key).payload("v");
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");
}

/// The offset of the first record that the first partition still has.
pub(crate) fn first_offset(brokers: &str, topic: &str) -> i64 {
    let consumer: BaseConsumer = config(brokers).set("group.id", "test").create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("assigned");
    let first = consumer.poll(Duration::from_secs(30)).expect("an answer in time");
    first.expect("a record").offset()
}

/// The end of the first partition, whatever of it is visible.
pub(crate) fn end_offset(brokers: &str, topic: &str) -> i64 {
    let mut all = watermarks(brokers, topic, 1, "read_uncommitted", Duration::from_secs(30));
    all.remove(0).expect("an answer in time").1
}

/// The beginning and the end of each partition for readers with this isolation level; each answer may take
/// `longest`.
pub(crate) fn watermarks(
    brokers: &str,
    topic: &str,
    partitions: i32,
    isolation: &str,
    longest: Duration,
) -> Vec<KafkaResult<(i64, i64)>> {
    let client: BaseConsumer = config(brokers).set("isolation.level", isolation).create().expect("a client");
    (0..partitions).map(|partition| client.fetch_watermarks(topic, partition, longest)).collect()
}

/// A transaction that another program began: dropped, it stays open.
pub(crate) fn begin_transaction(brokers: &str, id: &str, topic: &str, values: &[&str]) -> BaseProducer {
    let mut config = config(brokers);
    let producer: BaseProducer = config
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "60000")
        .set("linger.ms", "0")
        .create()
        .expect("a producer");
    producer.init_transactions(Duration::from_secs(30)).expect("initialised");
    producer.begin_transaction().expect("begun");
    for value in values {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).partition(0).payload(*value);
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");
    producer
}

/// A record as a stranger reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: usize,
    pub(crate) timestamp: Option<i64>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.value.clone().unwrap_or_default()).expect("text")
    }
}

/// Everything that a `read_committed` reader sees of a topic now, partition by partition.
pub(crate) fn read(brokers: &str, topic: &str, partitions: i32) -> Vec<Seen> {
    let consumer: BaseConsumer = config(brokers)
        .set("group.id", "test")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "20")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("assigned");
    let mut seen = Vec::new();
    let mut ends = 0;
    while ends < partitions {
        match consumer.poll(Duration::from_secs(20)).expect("an answer within 20 s") {
            Ok(message) => seen.push(Seen {
                partition: message.partition(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map_or(0, rdkafka::message::Headers::count),
                timestamp: message.timestamp().to_millis(),
            }),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

/// Reads until as many records are visible: after a commit the broker needs a moment.
pub(crate) async fn read_until(brokers: &str, topic: &str, partitions: i32, count: usize) -> Vec<Seen> {
    for _ in 0..100 {
        let seen = read(brokers, topic, partitions);
        if seen.len() >= count {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read(brokers, topic, partitions)
}

/// What a consumer group committed for a partition.
pub(crate) fn group_offset(brokers: &str, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let consumer: BaseConsumer = config(brokers).set("group.id", group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let committed = consumer.committed_offsets(list, Duration::from_secs(30)).expect("an answer");
    match committed.find_partition(topic, partition).expect("the partition").offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

pub(crate) fn uid(name: &str) -> Uid {
    Uid::new(name).expect("a uid")
}

pub(crate) fn attempt(job: &str, number: u64) -> SinkAttempt {
    let job = JobId::new(job).expect("a job id");
    SinkAttempt { job, uid: uid("out"), number: Position(number), generation: Generation(1), chunks: None }
}

pub(crate) fn pending(
    attempt: &SinkAttempt,
    epoch: u64,
    committable: KafkaCommittable,
) -> Pending<KafkaCommittable> {
    Pending { epoch: Epoch(epoch), attempt: attempt.number, writer: WriterId(0), committable }
}

pub(crate) fn permit(epoch: u64) -> CommitPermit {
    CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid("out"), Epoch(epoch))
}
