//! The source on a real broker: ends that nobody sees, loss, topics that change.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::producer::Producer;
use tidelock::{ErrorKind, Known, Source, SplitReader};
use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_kafka::{
    KafkaRecord, KafkaSource, KafkaSourceConfig, KafkaSplit, OnDataLoss, RecordPolicy, Start, Stop,
    Subscription,
};
use tokio::time::timeout;

fn config(brokers: &str, topic: &str) -> KafkaSourceConfig {
    KafkaSourceConfig::new(support::properties(brokers), Subscription::Topics(vec![topic.to_owned()]))
}

async fn connect(config: KafkaSourceConfig) -> KafkaSource {
    KafkaSource::connect(config).await.expect("connected")
}

fn known(active: &[KafkaSplit], first_run: bool) -> Known<KafkaSplit> {
    Known { active: active.to_vec(), finished: vec![], ended: vec![], first_run }
}

async fn first_splits(source: &KafkaSource) -> Vec<KafkaSplit> {
    source.discover(&known(&[], true)).await.expect("discovered").new
}

/// Reads a bounded split to its end; a reader that hangs fails the test.
async fn read_all(source: &KafkaSource, split: KafkaSplit) -> Vec<KafkaRecord> {
    let read = async {
        let mut reader = source.open(split).await.expect("open");
        let mut records = Vec::new();
        while let Some(batch) = reader.next().await.expect("read") {
            records.extend(batch.records);
        }
        records
    };
    timeout(Duration::from_secs(60), read).await.expect("the reader ends")
}

fn texts(records: &[KafkaRecord]) -> Vec<String> {
    let text =
        |one: &KafkaRecord| String::from_utf8(one.value.as_deref().expect("a value").to_vec()).expect("text");
    records.iter().map(text).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|one| one.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_bounded_reader_ends_although_nothing_visible_comes_before_its_stop() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..3));
    let aborted = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["never", "seen"]);
    aborted.abort_transaction(Duration::from_secs(30)).expect("aborted");
    let committed = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["3"]);
    committed.commit_transaction(Duration::from_secs(30)).expect("committed");
    support::read_until(&brokers, &topic, 1, 4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    let source = connect(config(&brokers, &topic).with_stop(Stop::Latest)).await;
    let found = source.discover(&known(&[], true)).await.expect("discovered");
    assert!(found.complete, "bounded");
    let split = found.new[0].clone();
    assert_eq!(split.stop, Some(8), "four records, two aborted ones, two markers");
    // What comes later is not read.
    support::produce(&brokers, &topic, 0, numbers(100..103));
    assert_eq!(texts(&read_all(&source, split.clone()).await), numbers(0..4));

    let again = source.discover(&known(&[split], false)).await.expect("discovered");
    assert!(again.complete && again.new.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_bounded_reader_ends_in_an_idle_partition_that_ends_with_a_marker() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let committed = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["0", "1"]);
    committed.commit_transaction(Duration::from_secs(30)).expect("committed");
    support::read_until(&brokers, &topic, 1, 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let source = connect(config(&brokers, &topic).with_stop(Stop::Latest)).await;
    let split = first_splits(&source).await.remove(0);
    assert_eq!(texts(&read_all(&source, split.clone()).await), numbers(0..2));
    // The same from a position behind the last record: nothing is left, and that is found out.
    let rest = KafkaSplit { offset: 2, ..split };
    assert_eq!(read_all(&source, rest).await, []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn an_open_transaction_holds_a_reader_back_until_it_is_decided() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..2));
    let open = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["2"]);
    let offsets = BTreeMap::from([(topic.clone(), BTreeMap::from([(0, 3)]))]);
    let source = connect(config(&brokers, &topic).with_stop(Stop::Offsets(offsets))).await;
    let split = first_splits(&source).await.remove(0);
    let mut reader = source.open(split).await.expect("open");
    let first = reader.next().await.expect("read").expect("a batch");
    assert_eq!(texts(&first.records), numbers(0..2));
    assert!(timeout(Duration::from_millis(700), reader.next()).await.is_err(), "undecided: not the end");
    open.commit_transaction(Duration::from_secs(30)).expect("committed");
    let last = reader.next().await.expect("read").expect("a batch");
    assert_eq!(texts(&last.records), numbers(2..3));
    assert!(reader.next().await.expect("read").is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn starts_and_stops_are_resolved_to_offsets_once() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 2).await;
    support::produce(&brokers, &topic, 0, numbers(0..10));
    let offsets = async |start: Start| -> Vec<i64> {
        let source = connect(config(&brokers, &topic).with_start(start)).await;
        first_splits(&source).await.iter().map(|split| split.offset).collect()
    };
    assert_eq!(offsets(Start::Earliest).await, [0, 0]);
    assert_eq!(offsets(Start::Latest).await, [10, 0]);
    assert_eq!(offsets(Start::Timestamp(0)).await, [0, 0]);
    assert_eq!(offsets(Start::Timestamp(4_000_000_000_000)).await, [10, 0]);
    let given = BTreeMap::from([(topic.clone(), BTreeMap::from([(0, 4)]))]);
    assert_eq!(offsets(Start::Offsets(given.clone())).await, [4, 0]);

    let stops = async |stop: Stop| -> Vec<(i32, Option<i64>)> {
        let source = connect(config(&brokers, &topic).with_stop(stop)).await;
        first_splits(&source).await.iter().map(|split| (split.partition, split.stop)).collect()
    };
    assert_eq!(stops(Stop::Never).await, [(0, None), (1, None)]);
    assert_eq!(stops(Stop::Latest).await, [(0, Some(10)), (1, Some(0))]);
    assert_eq!(stops(Stop::Offsets(given)).await, [(0, Some(4))], "nothing is to be read of the other");

    // Positions that are exported to a group are what `Start::Group` of another job finds.
    let group = support::fresh("group");
    assert_eq!(offsets(Start::Group(group.clone())).await, [0, 0]);
    let mut exporting = config(&brokers, &topic);
    exporting.export_to_group = Some(group.clone());
    let source = connect(exporting).await;
    let mut split = first_splits(&source).await.remove(0);
    split.offset = 7;
    source.acknowledge(&[split]).await.expect("told");
    assert_eq!(offsets(Start::Group(group)).await, [7, 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn times_are_resolved_to_the_first_record_that_is_as_late() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 2).await;
    let now = support::produce_at(&brokers, &topic, 0, &[(-3_000, "0"), (-2_000, "1"), (-1_000, "2")]);
    let between = config(&brokers, &topic)
        .with_start(Start::Timestamp(now - 2_500))
        .with_stop(Stop::Timestamp(now - 1_500));
    let source = connect(between).await;
    let splits = first_splits(&source).await;
    let found: Vec<_> = splits.iter().map(|split| (split.offset, split.stop)).collect();
    assert_eq!(found, [(1, Some(2)), (0, Some(0))]);
    assert_eq!(texts(&read_all(&source, splits[0].clone()).await), numbers(1..2));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn records_of_aborted_transactions_are_read_only_where_that_is_asked_for() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let aborted = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["0"]);
    aborted.abort_transaction(Duration::from_secs(30)).expect("aborted");
    support::produce(&brokers, &topic, 0, numbers(1..2));
    let bounded = config(&brokers, &topic).with_stop(Stop::Latest);
    for (read_uncommitted, expected) in [(false, numbers(1..2)), (true, numbers(0..2))] {
        let mut config = bounded.clone();
        config.read_uncommitted = read_uncommitted;
        let source = connect(config).await;
        let split = first_splits(&source).await.remove(0);
        assert_eq!(texts(&read_all(&source, split).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_bounded_reader_ends_where_compaction_or_deletion_took_everything_before_its_stop() {
    // Its cleaner looks all the time; a usual one looks every 15 s.
    let options = KafkaOptions::default().with_setting("log.cleaner.backoff.ms", 100);
    let kafka = Kafka::start(options).await.expect("started");
    let brokers = kafka.brokers();
    let topic = support::fresh("compacted");
    support::create_compacted_topic(&brokers, &topic).await;
    support::produce_keyed(&brokers, &topic, &["a", "b", "c"]);
    let source = connect(config(&brokers, &topic).with_stop(Stop::Latest)).await;
    let split = first_splits(&source).await.remove(0);
    assert_eq!((split.offset, split.stop), (0, Some(3)));
    // Newer records with the same keys, until the first three are compacted away.
    let mut first = 0;
    for _ in 0..300 {
        support::produce_keyed(&brokers, &topic, &["a", "b", "c"]);
        first = support::first_offset(&brokers, &topic);
        if first >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(first >= 3, "the broker does not compact");
    assert_eq!(read_all(&source, split).await, []);

    let emptied = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &emptied, 0, numbers(0..3));
    support::delete_records(&brokers, &emptied, 0, 3).await;
    let source = connect(config(&brokers, &emptied).with_stop(Stop::Latest)).await;
    let split = first_splits(&source).await.remove(0);
    assert_eq!((split.offset, split.stop), (3, Some(3)));
    assert_eq!(read_all(&source, split).await, []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn partitions_that_are_added_later_are_read_from_their_beginning() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..5));
    let source = connect(config(&brokers, &topic).with_start(Start::Latest)).await;
    let first = first_splits(&source).await;
    assert_eq!(first[0].offset, 5);
    support::grow_topic(&brokers, &topic, 3).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    support::produce(&brokers, &topic, 2, numbers(10..12));
    let found = source.discover(&known(&first, false)).await.expect("discovered");
    let later: Vec<_> = found.new.iter().map(|split| (split.partition, split.offset)).collect();
    assert_eq!(later, [(1, 0), (2, 0)]);
    let mut reader = source.open(found.new[1].clone()).await.expect("open");
    assert_eq!(texts(&reader.next().await.expect("read").expect("a batch").records), numbers(10..12));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn lost_records_are_counted_and_the_policy_decides() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..20));
    let source = connect(config(&brokers, &topic)).await;
    let split = KafkaSplit { offset: 3, ..first_splits(&source).await.remove(0) };
    support::delete_records(&brokers, &topic, 0, 12).await;

    let error = source.open(split.clone()).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Expired, "{error:?}");
    assert!(error.to_string().contains("lost_records=9"), "{error}");

    for policy in [OnDataLoss::Warn, OnDataLoss::Ignore] {
        let mut lenient = config(&brokers, &topic);
        lenient.on_data_loss = policy;
        let lenient = connect(lenient).await;
        let mut reader = lenient.open(split.clone()).await.expect("open");
        assert_eq!(texts(&reader.next().await.expect("read").expect("a batch").records), numbers(12..20));
    }

    let beyond = KafkaSplit { offset: 21, ..split };
    let error = source.open(beyond).await.expect_err("beyond the end");
    assert!(error.to_string().contains("end_offset=20"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_topic_that_was_made_again_is_noticed_by_its_id() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..5));
    let source = connect(config(&brokers, &topic)).await;
    let split = KafkaSplit { offset: 2, ..first_splits(&source).await.remove(0) };
    support::delete_topic(&brokers, &topic).await;
    support::create_topic(&brokers, &topic, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..5));
    let error = source.open(split.clone()).await.expect_err("another topic");
    assert!(error.to_string().contains("made again"), "{error}");
    let error =
        source.discover(&known(std::slice::from_ref(&split), false)).await.expect_err("another topic");
    assert!(error.to_string().contains("made again"), "{error}");

    let mut lenient = config(&brokers, &topic);
    lenient.on_data_loss = OnDataLoss::Warn;
    let mut reader = connect(lenient).await.open(split).await.expect("open");
    assert_eq!(texts(&reader.next().await.expect("read").expect("a batch").records), numbers(0..5));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_is_subscribed_to_must_exist_and_patterns_find_new_topics() {
    let brokers = support::brokers().await;
    let nowhere = support::fresh("nowhere");
    let error =
        connect(config(&brokers, &nowhere)).await.discover(&known(&[], true)).await.expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains(&nowhere), "{error}");

    let one = support::fresh_topic(&brokers, 2).await;
    let partitions = Subscription::Partitions(BTreeMap::from([(one.clone(), vec![1])]));
    let source = connect(KafkaSourceConfig::new(support::properties(&brokers), partitions)).await;
    let found: Vec<_> = first_splits(&source).await.iter().map(|split| split.partition).collect();
    assert_eq!(found, [1]);

    let prefix = support::fresh("family");
    let pattern = Subscription::Pattern(format!("{prefix}-[ab]"));
    let config = KafkaSourceConfig::new(support::properties(&brokers), pattern).with_start(Start::Latest);
    let source = connect(config).await;
    assert_eq!(first_splits(&source).await, []);
    for name in ["a", "b", "c", "ab"] {
        let topic = format!("{prefix}-{name}");
        support::create_topic(&brokers, &topic, 1).await;
        support::produce(&brokers, &topic, 0, numbers(0..1));
    }
    let found = source.discover(&known(&[], false)).await.expect("discovered").new;
    let mut found: Vec<_> = found.into_iter().map(|split| (split.topic, split.offset)).collect();
    found.sort();
    // A topic that appears later is read whole, whatever the start of the first run was.
    assert_eq!(found, [(format!("{prefix}-a"), 0), (format!("{prefix}-b"), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn records_keep_key_headers_timestamp_and_tombstone() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let producer: rdkafka::producer::BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("a producer");
    let headers = rdkafka::message::OwnedHeaders::new()
        .insert(rdkafka::message::Header { key: "h", value: Some("1") })
        .insert(rdkafka::message::Header { key: "h", value: None::<&str> });
    let record: rdkafka::producer::BaseRecord<'_, str, str> =
        rdkafka::producer::BaseRecord::to(&topic).key("k").timestamp(1_357_034_400_000).headers(headers);
    producer.send(record).map_err(|(error, _)| error).expect("sent");
    producer.flush(Duration::from_secs(30)).expect("delivered");

    let source = connect(config(&brokers, &topic).with_stop(Stop::Latest)).await;
    let split = first_splits(&source).await.remove(0);
    let record = read_all(&source, split).await.remove(0);
    assert_eq!((&*record.topic, record.partition, record.offset), (topic.as_str(), 0, 0));
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"k"[..]), None));
    assert_eq!(record.timestamp, Some(1_357_034_400_000));
    let headers: Vec<_> = record.headers.iter().map(|one| (&*one.name, one.value.as_deref())).collect();
    assert_eq!(headers, [("h", Some(&b"1"[..])), ("h", None)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_record_that_cannot_be_decoded_becomes_a_dead_letter_and_the_others_are_read() {
    let brokers = support::brokers().await;
    let (topic, dead) = (support::fresh_topic(&brokers, 1).await, support::fresh_topic(&brokers, 1).await);
    support::produce(&brokers, &topic, 0, ["1", "two", "3"].map(str::to_owned));
    let decode = |record: &KafkaRecord| {
        std::str::from_utf8(record.value.as_deref().unwrap_or_default()).unwrap_or_default().parse::<u64>()
    };
    let bounded = || config(&brokers, &topic).with_stop(Stop::Latest);
    let source = connect(bounded()).await.decode(decode, RecordPolicy::DeadLetter(dead.clone()));
    let split = source.discover(&known(&[], true)).await.expect("discovered").new.remove(0);
    let mut reader = source.open(split.clone()).await.expect("open");
    let mut read = Vec::new();
    while let Some(batch) = reader.next().await.expect("read") {
        read.extend(batch.records);
    }
    assert_eq!(read, [1, 3]);
    let letters = support::read(&brokers, &dead, 1);
    assert_eq!((letters.len(), letters[0].text().as_str(), letters[0].headers), (1, "two", 4));

    let source = connect(bounded()).await.decode(decode, RecordPolicy::Skip);
    let mut reader = source.open(split.clone()).await.expect("open");
    let batch = reader.next().await.expect("read").expect("a batch");
    assert_eq!((batch.records, batch.resume.offset), (vec![1, 3], 3));

    let source = connect(bounded()).await.decode(decode, RecordPolicy::Fail);
    let error = source.open(split).await.expect("open").next().await.expect_err("refused");
    for part in [format!("topic={topic}"), "partition=0".to_owned(), "offset=1".to_owned()] {
        assert!(error.to_string().contains(&part), "{error}");
    }
}
