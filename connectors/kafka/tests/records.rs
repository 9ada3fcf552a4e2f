//! Records on a real broker: what is read is what stands there, and what is copied is what was read; what cannot be is for a
//! policy to decide.

mod support;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidelock::{ErrorKind, Known, Result, Retry, Sink, SinkWriter, Source, SplitReader, WriterId};
use tidelock_kafka::{
    Guarantee, KafkaRecord, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, KafkaSplit,
    ProducerRecord, RecordPolicy, Stop, Subscription,
};
use tokio::time::timeout;

fn config(brokers: &str, topic: &str) -> KafkaSourceConfig {
    let topics = Subscription::Topics(vec![topic.to_owned()]);
    KafkaSourceConfig::new(support::properties(brokers), topics).with_stop(Stop::Latest)
}

async fn connect(config: KafkaSourceConfig) -> KafkaSource {
    KafkaSource::connect(config).await.expect("connected")
}

async fn first_split<S: Source<Split = KafkaSplit>>(source: &S) -> KafkaSplit {
    let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
    source.discover(&known).await.expect("discovered").new.remove(0)
}

/// Reads a topic of one partition to its end; a reader that hangs fails the test.
async fn read_all<S: Source<Split = KafkaSplit>>(source: &S) -> Result<Vec<S::Record>> {
    let read = async {
        let mut reader = source.open(first_split(source).await).await?;
        let mut records = Vec::new();
        while let Some(batch) = reader.next().await? {
            records.extend(batch.records);
        }
        Ok(records)
    };
    timeout(Duration::from_secs(60), read).await.expect("the reader ends")
}

fn produce(brokers: &str, records: Vec<BaseRecord<'_, str, str>>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer");
    for record in records {
        producer.send(record).map_err(|(error, _)| error).expect("sent");
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");
}

/// Writes records without a transaction.
async fn write(brokers: &str, policy: RecordPolicy, mut records: Vec<ProducerRecord>) -> Result<()> {
    let mut config =
        KafkaSinkConfig::new(support::properties(brokers)).with_guarantee(Guarantee::AtLeastOnce);
    config.on_unwritable = policy;
    let sink = KafkaSink::connect(config).await?;
    let attempt = support::attempt(&support::fresh("values"), 1);
    let mut writer = sink.open(&attempt, WriterId(0)).await?;
    writer.write(&mut records).await?;
    writer.prepare(tidelock::Epoch(1)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_record_is_copied_as_it_is_or_refused_by_name() {
    let brokers = support::brokers().await;
    let from = support::fresh("any-time");
    support::create_topic_of_any_time(&brokers, &from).await;
    let to = support::fresh("any-time");
    support::create_topic_of_any_time(&brokers, &to).await;
    let times = [Some(-1), Some(1), Some(-2), Some(i64::MIN), Some(1_357_034_400_000), Some(i64::MAX)];
    let long = "x".repeat(900_000);
    let values = [None, Some(""), Some("\0"), Some("schön"), Some(long.as_str()), Some("1")];
    for (time, value) in times.into_iter().zip(values) {
        let record = ProducerRecord {
            topic: from.as_str().into(),
            partition: Some(0),
            timestamp: time,
            key: value.map(|value| value[..value.len().min(10)].to_owned().into()),
            value: value.map(|value| value.to_owned().into()),
            headers: vec![
                tidelock_kafka::Header { name: "".into(), value: None },
                tidelock_kafka::Header { name: "schön".into(), value: Some("".into()) },
                tidelock_kafka::Header { name: "schön".into(), value: Some("\0".into()) },
            ],
        };
        write(&brokers, RecordPolicy::Fail, vec![record]).await.expect("written");
    }
    let read = read_all(&connect(config(&brokers, &from)).await).await.expect("read");
    let found: Vec<_> = read.iter().map(|record| record.timestamp).collect();
    assert_eq!(found, times.map(|time| time.filter(|time| *time != -1)));

    let copies = read.iter().cloned().map(|record| ProducerRecord::copy_of(record, to.as_str())).collect();
    write(&brokers, RecordPolicy::Fail, copies).await.expect("copied");
    let copied = read_all(&connect(config(&brokers, &to)).await).await.expect("read");
    let same = |record: &KafkaRecord| KafkaRecord { topic: to.as_str().into(), ..record.clone() };
    assert_eq!(copied, read.iter().map(same).collect::<Vec<_>>());

    // The one time that librdkafka cannot write: 0 stands for now.
    let zero = || ProducerRecord { timestamp: Some(0), ..ProducerRecord::new(to.as_str(), "0") };
    let error = write(&brokers, RecordPolicy::Fail, vec![zero()]).await.expect_err("refused");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    write(&brokers, RecordPolicy::Skip, vec![zero()]).await.expect("left out");
    let dead = support::fresh_topic(&brokers, 1).await;
    write(&brokers, RecordPolicy::DeadLetter(dead.clone()), vec![zero()]).await.expect("set aside");
    assert_eq!(support::read(&brokers, &dead, 1)[0].text(), "0");
    // The remedy that the error names.
    let remedied = ProducerRecord { timestamp: Some(-1), ..zero() };
    write(&brokers, RecordPolicy::Fail, vec![remedied]).await.expect("written");
    let copied = read_all(&connect(config(&brokers, &to)).await).await.expect("read");
    assert_eq!((copied.len(), copied[6].timestamp), (7, None));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_time_that_the_broker_refuses_halts_and_names_the_topic() {
    let brokers = support::brokers().await;
    // A broker takes times of an hour ahead, where nobody said otherwise.
    let topic = support::fresh_topic(&brokers, 1).await;
    let far = ProducerRecord { timestamp: Some(i64::MAX), ..ProducerRecord::new(topic.as_str(), "1") };
    let error = write(&brokers, RecordPolicy::Fail, vec![far]).await.expect_err("refused");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains(&topic), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_header_whose_name_is_no_text_is_for_the_policy_to_decide() {
    let brokers = support::brokers().await;
    for (name, shown) in [(&b"caf\xe9"[..], "caf\\xe9"), (&b"a\0b"[..], "after \"a\"")] {
        let (topic, dead) =
            (support::fresh_topic(&brokers, 1).await, support::fresh_topic(&brokers, 1).await);
        support::produce(&brokers, &topic, 0, ["1".to_owned()]);
        support::wire::produce_with_header(&brokers, &topic, name, "2");
        support::produce(&brokers, &topic, 0, ["3".to_owned()]);
        let text = |record: &KafkaRecord| {
            String::from_utf8_lossy(record.value.as_deref().unwrap_or(b"")).into_owned()
        };

        let error = read_all(&connect(config(&brokers, &topic)).await).await.expect_err("refused");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        let told = format!("{error:?}");
        for part in [&format!("topic={topic}"), "offset=1", shown, "on_unreadable"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let mut lenient = config(&brokers, &topic);
        lenient.on_unreadable = RecordPolicy::Skip;
        let read = read_all(&connect(lenient.clone()).await).await.expect("read");
        assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["1", "3"]);
        lenient.on_unreadable = RecordPolicy::DeadLetter(dead.clone());
        let read = read_all(&connect(lenient).await).await.expect("read");
        assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["1", "3"]);
        let letters = read_all(&connect(config(&brokers, &dead)).await).await.expect("read");
        assert_eq!(letters.iter().map(text).collect::<Vec<_>>(), ["2"]);
        let why =
            letters[0].headers.iter().find(|header| &*header.name == "tidelock.error").expect("a header");
        assert!(String::from_utf8_lossy(why.value.as_deref().unwrap_or(b"")).contains(shown), "{why:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_record_that_is_larger_than_what_is_fetched_at_once_is_read() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, ["1".to_owned(), "x".repeat(700_000), "3".to_owned()]);
    let mut small = config(&brokers, &topic);
    small.properties = small.properties.with("max.partition.fetch.bytes", "1000");
    small.properties = small.properties.with("queued.max.messages.kbytes", "1");
    let read = read_all(&connect(small).await).await.expect("read");
    let lengths: Vec<_> = read.iter().map(|one| one.value.as_deref().map_or(0, <[u8]>::len)).collect();
    assert_eq!(lengths, [1, 700_000, 1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_topic_that_is_read_is_not_made_by_being_read() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    support::produce(&brokers, &topic, 0, ["1".to_owned()]);
    let mut config = config(&brokers, &topic).with_stop(Stop::Never);
    config.on_data_loss = tidelock_kafka::OnDataLoss::Ignore;
    let source = connect(config).await;
    let mut reader = source.open(first_split(&source).await).await.expect("open");
    support::delete_topic(&brokers, &topic).await;
    let ended = async { while reader.next().await.expect("read").is_some() {} };
    timeout(Duration::from_secs(60), ended).await.expect("it ends");
    assert!(!support::exists(&brokers, &topic), "the broker makes topics for those who ask so");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn records_keep_key_headers_timestamp_and_tombstone() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let headers = OwnedHeaders::new()
        .insert(Header { key: "h", value: Some("1") })
        .insert(Header { key: "h", value: None::<&str> });
    let record = BaseRecord::to(&topic).key("k").timestamp(1_357_034_400_000).headers(headers);
    produce(&brokers, vec![record]);

    let record = read_all(&connect(config(&brokers, &topic)).await).await.expect("read").remove(0);
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
    let bounded = || config(&brokers, &topic);
    let source = connect(bounded()).await.decode(decode, RecordPolicy::DeadLetter(dead.clone()));
    let split = first_split(&source).await;
    assert_eq!(read_all(&source).await.expect("read"), [1, 3]);
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
