//! The source on a real broker: ends that nobody sees, loss, topics that change.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::producer::Producer;
use tidelock::{ErrorKind, Known, Source, Split, SplitReader};
use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_kafka::{
    KafkaReader, KafkaRecord, KafkaSource, KafkaSourceConfig, KafkaSplit, OnDataLoss, Start, Stop,
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

/// A split was read to its end, and that is in the snapshot.
fn known_ended(split: &KafkaSplit) -> Known<KafkaSplit> {
    Known { finished: vec![split.id()], ended: vec![split.clone()], ..known(&[], false) }
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

/// Reads on until the next error, or the end; a reader that hangs fails the test.
async fn read_on(reader: &mut KafkaReader) -> (Vec<String>, tidelock::Result<()>) {
    let mut read = Vec::new();
    loop {
        match timeout(Duration::from_secs(60), reader.next()).await.expect("it does not hang") {
            Ok(Some(batch)) => read.extend(texts(&batch.records)),
            Ok(None) => return (read, Ok(())),
            Err(error) => return (read, Err(error)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_loss_that_is_met_behind_records_is_not_forgotten() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let large = |digit: &str| digit.repeat(600);
    let first = [large("0"), large("1"), "2".to_owned(), "3".to_owned()];
    support::produce(&brokers, &topic, 0, first.clone());
    let mut config = config(&brokers, &topic);
    // A kilobyte is fetched ahead, so that the loss is met while two small records still wait; and a large record is a
    // batch by itself, so that the loss is taken off the queue together with those two.
    config.properties = config.properties.with("queued.max.messages.kbytes", "1");
    config.batch_bytes = 500;
    let source = connect(config).await;
    let mut reader = source.open(first_splits(&source).await.remove(0)).await.expect("open");
    tokio::time::sleep(Duration::from_secs(2)).await;
    support::produce(&brokers, &topic, 0, numbers(4..12));
    support::delete_records(&brokers, &topic, 0, 10).await;
    let mut read = Vec::new();
    for _ in 0..2 {
        let batch = reader.next().await.expect("read").expect("a batch");
        read.extend(texts(&batch.records));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (rest, ended) = read_on(&mut reader).await;
    read.extend(rest);
    assert_eq!(read, first, "what was fetched before is handed over");
    let error = ended.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Expired, "{error:?}");
    assert!(error.to_string().contains("lost_records=6"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_position_passes_what_no_reader_sees_before_retention_takes_it() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let committed = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["0", "1"]);
    committed.commit_transaction(Duration::from_secs(30)).expect("committed");
    let source = connect(config(&brokers, &topic)).await;
    let mut reader = source.open(first_splits(&source).await.remove(0)).await.expect("open");
    let mut read = Vec::new();
    let mut read_to = async |end: i64| {
        let reading = async {
            loop {
                let batch = reader.next().await.expect("read").expect("a batch");
                read.extend(texts(&batch.records));
                if batch.resume.offset == end {
                    return batch.resume;
                }
            }
        };
        timeout(Duration::from_secs(60), reading).await.expect("the position moves on")
    };
    let passed = read_to(3).await;
    // What is aborted later moves it, too, and nothing of it is seen.
    let aborted = support::begin_transaction(&brokers, &support::fresh("id"), &topic, &["never", "seen"]);
    aborted.abort_transaction(Duration::from_secs(30)).expect("aborted");
    let passed_more = read_to(6).await;
    assert_eq!(read, numbers(0..2));

    // Retention empties the partition: all was read, and nothing is lost.
    let later = connect(config(&brokers, &topic)).await;
    support::delete_records(&brokers, &topic, 0, 3).await;
    later.open(passed.clone()).await.expect("nothing is lost");
    support::delete_records(&brokers, &topic, 0, 6).await;
    later.open(passed_more).await.expect("nothing is lost");
    let error = later.open(passed).await.expect_err("nobody can tell any more what was there");
    assert!(error.to_string().contains("lost_records=3"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_topic_that_is_gone_is_for_the_policy_to_decide_and_its_split_is_forgotten() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..3));
    let pattern = Subscription::Pattern(format!("{topic}.*"));
    let strict = KafkaSourceConfig::new(support::properties(&brokers), pattern);
    let mut lenient = strict.clone();
    lenient.on_data_loss = OnDataLoss::Ignore;
    let (strict_source, source) = (connect(strict.clone()).await, connect(lenient).await);
    let split = first_splits(&source).await.remove(0);
    let mut strict_reader = strict_source.open(split.clone()).await.expect("open");
    let mut reader = source.open(split.clone()).await.expect("open");
    support::delete_topic(&brokers, &topic).await;

    let (_, ended) = read_on(&mut strict_reader).await;
    let error = ended.expect_err("gone").to_string();
    assert!(error.contains("does not exist any more") && error.contains("drop_splits"), "{error}");
    let (_, ended) = read_on(&mut reader).await;
    ended.expect("it ends, and the job goes on");
    // The same where the topic was gone before the job came back.
    let error = strict_source.open(split.clone()).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let (_, ended) = read_on(&mut source.open(split.clone()).await.expect("open")).await;
    ended.expect("it ends");

    // It is forgotten, and a topic under its name that is made later is read from its beginning.
    let found = source.discover(&known_ended(&split)).await.expect("discovered");
    assert_eq!((found.forget, found.new), (vec![split.id()], vec![]));
    support::create_topic(&brokers, &topic, 1).await;
    let found = source.discover(&known(&[], false)).await.expect("discovered").new;
    assert_eq!((found.len(), found[0].offset), (1, 0));
    assert_ne!(found[0].topic_id, split.topic_id);
    // The same where that was before it was forgotten.
    let found = source.discover(&known_ended(&split)).await.expect("discovered");
    assert_eq!((found.forget, found.new), (vec![split.id()], vec![]));

    // The remedy that the errors name.
    let mut dropping = strict;
    dropping.drop_splits.insert(topic.clone());
    let dropping = connect(dropping).await;
    let (read, done) = read_on(&mut dropping.open(split.clone()).await.expect("open")).await;
    done.expect("it ends");
    assert!(read.is_empty());
    let found = dropping.discover(&known_ended(&split)).await.expect("discovered");
    assert_eq!((found.forget, found.new), (vec![split.id()], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_partition_that_was_read_to_its_stop_is_not_read_again_where_the_stop_is_taken_away() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..3));
    let bounded = connect(config(&brokers, &topic).with_stop(Stop::Latest)).await;
    let split = KafkaSplit { offset: 3, ..first_splits(&bounded).await.remove(0) };
    let unbounded = config(&brokers, &topic);
    let error = connect(unbounded.clone()).await.discover(&known_ended(&split)).await.expect_err("in doubt");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains(&format!("{topic}/0")), "{error}");
    // The remedy that it names.
    let mut dropping = unbounded;
    dropping.subscription = Subscription::Pattern(topic);
    dropping.drop_splits.insert(split.id().as_str().to_owned());
    let found = connect(dropping).await.discover(&known_ended(&split)).await.expect("discovered");
    assert_eq!(found.forget, [split.id()]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_topic_that_is_no_longer_subscribed_to_leaves_the_snapshot_by_name_alone() {
    let brokers = support::brokers().await;
    let (kept, left) = (support::fresh_topic(&brokers, 1).await, support::fresh_topic(&brokers, 1).await);
    let both = Subscription::Topics(vec![kept.clone(), left.clone()]);
    let both = connect(KafkaSourceConfig::new(support::properties(&brokers), both)).await;
    let splits = first_splits(&both).await;
    let error = connect(config(&brokers, &kept)).await.discover(&known(&splits, false)).await;
    let error = error.expect_err("not subscribed to").to_string();
    assert!(error.contains(&left) && error.contains("drop_splits"), "{error}");

    let mut dropping = config(&brokers, &kept);
    dropping.drop_splits.insert(left.clone());
    let dropping = connect(dropping).await;
    assert_eq!(dropping.discover(&known(&splits, false)).await.expect("discovered").new, []);
    let split = splits.into_iter().find(|split| split.topic == left).expect("found");
    let (_, ended) = read_on(&mut dropping.open(split.clone()).await.expect("open")).await;
    ended.expect("it ends");
    assert_eq!(dropping.discover(&known_ended(&split)).await.expect("discovered").forget, [split.id()]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_topic_that_is_made_again_under_a_reader_is_not_read_at_the_old_position_without_a_word() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..5));
    let mut warned = config(&brokers, &topic);
    warned.on_data_loss = OnDataLoss::Warn;
    let (strict, source) = (connect(config(&brokers, &topic)).await, connect(warned).await);
    let split = first_splits(&source).await.remove(0);
    let mut strict_reader = strict.open(split.clone()).await.expect("open");
    let mut reader = source.open(split).await.expect("open");
    for reader in [&mut strict_reader, &mut reader] {
        assert_eq!(texts(&reader.next().await.expect("read").expect("a batch").records), numbers(0..5));
    }
    // The new one is longer: no offset is out of range.
    support::delete_topic(&brokers, &topic).await;
    support::create_topic(&brokers, &topic, 1).await;
    support::produce(&brokers, &topic, 0, numbers(100..110));
    let (_, ended) = read_on(&mut strict_reader).await;
    let error = ended.expect_err("another topic").to_string();
    assert!(error.contains("made again"), "{error}");
    let mut read = Vec::new();
    while !read.ends_with(&numbers(100..110)) {
        let batch = timeout(Duration::from_secs(60), reader.next()).await.expect("it does not hang");
        read.extend(texts(&batch.expect("read").expect("a batch").records));
    }
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
async fn a_bounded_reader_ends_where_its_topic_was_made_again_with_less_in_it() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..20));
    let mut lenient = config(&brokers, &topic).with_stop(Stop::Latest);
    lenient.on_data_loss = OnDataLoss::Warn;
    let source = connect(lenient).await;
    let split = first_splits(&source).await.remove(0);
    assert_eq!(split.stop, Some(20));
    support::delete_topic(&brokers, &topic).await;
    support::create_topic(&brokers, &topic, 1).await;
    support::produce(&brokers, &topic, 0, numbers(100..103));
    let rest = KafkaSplit { offset: 5, ..split };
    assert_eq!(texts(&read_all(&source, rest).await), numbers(100..103));
}

/// A partition does not lose its end at will, so the stop is one that it never had.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_stop_behind_the_end_of_its_partition_is_a_loss_unless_it_was_given() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, numbers(0..3));
    let mut bounded = config(&brokers, &topic).with_stop(Stop::Latest);
    let split = KafkaSplit { stop: Some(7), ..first_splits(&connect(bounded.clone()).await).await.remove(0) };
    let error = connect(bounded.clone()).await.open(split.clone()).await.expect_err("its end was lost");
    assert_eq!(error.kind(), ErrorKind::Expired);
    let text = error.to_string();
    assert!(["stop=7", "end_offset=3", "on_data_loss"].iter().all(|part| text.contains(part)), "{text}");
    // The remedy.
    bounded.on_data_loss = OnDataLoss::Warn;
    assert_eq!(texts(&read_all(&connect(bounded.clone()).await, split.clone()).await), numbers(0..3));
    // An offset that was given may be yet to come.
    bounded.stop = Stop::Offsets([(topic.clone(), [(0, 7)].into())].into());
    let source = connect(bounded).await;
    let mut waiting = source.open(split).await.expect("open");
    assert_eq!(texts(&waiting.next().await.expect("read").expect("a batch").records), numbers(0..3));
    support::produce(&brokers, &topic, 0, numbers(3..7));
    let (read, ended) = read_on(&mut waiting).await;
    ended.expect("the end");
    assert_eq!(read, numbers(3..7));
}
