//! Readers on a real broker, from inside: consumers that stop, records that vanish under a reader.

use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidelock::{Known, Retry, Source};
use tidelock_containers::Kafka;

use super::*;
use crate::config::{KafkaSourceConfig, Start, Subscription};
use crate::properties::Properties;
use crate::source::KafkaSource;

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes one record to the first partition of a topic, which is made where it is missing.
pub(crate) fn produce(brokers: &str, topic: &str, value: &str) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer");
    producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(value)).expect("sent");
    producer.flush(PATIENCE).expect("delivered");
}

/// A source of these topics, each with one record, and what it finds in them.
async fn found(brokers: &str, topics: &[String], value: &str) -> (KafkaSource, Vec<KafkaSplit>) {
    topics.iter().for_each(|topic| produce(brokers, topic, value));
    let config = KafkaSourceConfig::new(Properties::new(brokers), Subscription::Topics(topics.to_vec()));
    let source = KafkaSource::connect(config.with_start(Start::Earliest)).await.expect("connected");
    let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
    let splits = source.discover(&known).await.expect("discovered").new;
    (source, splits)
}

/// A topic of its own, and a reader that has read the one record there.
struct Opened {
    brokers: String,
    topic: String,
    source: KafkaSource,
    split: KafkaSplit,
    reader: KafkaReader,
}

async fn opened(name: &str, value: &str) -> Opened {
    let brokers = Kafka::shared().await.expect("a broker").brokers();
    let topic = format!("{name}-{:016x}", rand::random::<u64>());
    let (source, mut splits) = found(&brokers, std::slice::from_ref(&topic), value).await;
    let split = splits.remove(0);
    let mut reader = source.open(split.clone()).await.expect("open");
    assert_eq!(read_one(&mut reader).await.expect("read"), value);
    Opened { brokers, topic, source, split, reader }
}

fn consumer_of(reader: &KafkaReader) -> Arc<Consumer> {
    Arc::clone(&reader.fetched.as_ref().expect("fetched").assigned.consumer)
}

async fn read_one(reader: &mut KafkaReader) -> Result<Bytes> {
    let batch = timeout(PATIENCE, reader.next()).await.expect("it does not hang")?.expect("a batch");
    Ok(batch.records[0].value.clone().expect("a value"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_consumer_that_reads_nothing_any_more_is_found_out() {
    let Opened { brokers, topic, mut reader, source: _held, .. } = opened("stuck", "1").await;
    // Not assigned any more, behind the reader's back: nothing is fetched, and nobody is told.
    let wedge = |reader: &KafkaReader| consumer_of(reader).detach(&topic, 0);

    wedge(&reader);
    let first = consumer_of(&reader);
    produce(&brokers, &topic, "2");
    assert_eq!(read_one(&mut reader).await.expect("read"), "2");
    assert_eq!(reader.stuck_at, Some(1), "only because it was fetched anew");
    assert!(!Arc::ptr_eq(&first, &consumer_of(&reader)), "by another consumer");

    // Where that did not help before, the attempt ends.
    reader.stuck_at = Some(2);
    wedge(&reader);
    produce(&brokers, &topic, "3");
    let error = read_one(&mut reader).await.expect_err("stuck");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error:?}");
    assert!(error.to_string().contains(&topic), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn partitions_share_a_consumer_and_the_next_attempt_has_another_one() {
    let brokers = Kafka::shared().await.expect("a broker").brokers();
    let topics = [0, 1].map(|_| format!("shared-{:016x}", rand::random::<u64>()));
    let (source, splits) = found(&brokers, &topics, "1").await;
    let open = async || {
        let mut readers = Vec::new();
        for split in &splits {
            let mut reader = source.open(split.clone()).await.expect("open");
            assert_eq!(read_one(&mut reader).await.expect("read"), "1");
            readers.push(reader);
        }
        let consumers: Vec<_> = readers.iter().map(consumer_of).collect();
        assert!(Arc::ptr_eq(&consumers[0], &consumers[1]));
        Arc::clone(&consumers[0])
    };
    // Held, as by the end of a reader that is late.
    let first = open().await;
    assert!(!Arc::ptr_eq(&first, &open().await));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_quiet_reader_whose_records_are_gone_learns_of_it() {
    let Opened { brokers, topic, mut reader, source: _held, .. } = opened("quiet", "1").await;
    // Nothing is fetched any more, and nobody is told; meanwhile what was to be read comes and goes.
    consumer_of(&reader).detach(&topic, 0);
    for value in ["2", "3", "4"] {
        produce(&brokers, &topic, value);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(3)).expect("a partition");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("an admin client");
    admin.delete_records(&list, &AdminOptions::new()).await.expect("deleted");
    let error = read_one(&mut reader).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Expired, "{error:?}");
    assert!(error.to_string().contains("lost_records=2"), "{error}");
}

/// Begins a call, and drops it in the middle.
async fn give_up_after(reader: &mut KafkaReader, polls: usize) {
    let mut next = pin!(reader.next());
    for _ in 0..polls {
        assert!(futures::poll!(next.as_mut()).is_pending(), "there is no record");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_call_that_is_dropped_in_the_middle_leaves_nothing_undone() {
    let Opened { brokers, topic, mut reader, source: _held, .. } = opened("dropped", "0").await;
    for polls in 1..12 {
        reader.met = if polls % 2 == 0 { Met::NoSuchOffset } else { Met::NoSuchTopic };
        give_up_after(&mut reader, polls).await;
        produce(&brokers, &topic, &polls.to_string());
        assert_eq!(read_one(&mut reader).await.expect("read"), polls.to_string());
        assert_eq!(reader.stuck_at, None, "fetched at once, and not when it was found stuck: {polls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_reader_that_is_dropped_while_it_detaches_leaves_its_consumer_to_nobody() {
    let Opened { source, split, mut reader, .. } = opened("detached", "1").await;
    let first = consumer_of(&reader);
    reader.met = Met::NoSuchOffset;
    give_up_after(&mut reader, 1).await;
    assert!(reader.fetched.is_none(), "in the middle");
    drop(reader);
    // The thread that detaches may take the partition away at any time from whoever has that consumer.
    let mut next = source.open(split).await.expect("open");
    assert!(!Arc::ptr_eq(&first, &consumer_of(&next)));
    assert_eq!(read_one(&mut next).await.expect("read"), "1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn records_behind_a_letter_come_also_where_the_call_that_wrote_it_is_dropped() {
    let Opened { topic, mut reader, source: _held, .. } = opened("letters", "1").await;
    let dead = format!("{topic}-dead");
    let record = KafkaRecord {
        topic: topic.as_str().into(),
        partition: 0,
        offset: 1,
        timestamp: None,
        key: None,
        value: Some("2".into()),
        headers: vec![],
    };
    let letters = vec![ProducerRecord::new(dead.as_str(), "unreadable")];
    reader.taken = Some(Taken { records: vec![record], letters, bytes: 1 });
    give_up_after(&mut reader, 1).await;
    assert_eq!(read_one(&mut reader).await.expect("read"), "2");
}
