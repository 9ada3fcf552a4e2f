//! TLS and SASL, on a broker with the older transactions: librdkafka and the control client take the same
//! settings, and recovery and reading work over the same listener as writing.

mod support;

use support::{attempt, pending, permit};
use tidelock::{Epoch, ErrorKind, Known, Sink, SinkWriter, Source, SplitReader, WriterId};
use tidelock_containers::{Kafka, KafkaOptions, Secured};
use tidelock_kafka::{
    KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, Properties, Stop,
    Subscription, Transactions,
};

const MECHANISMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];

fn properties(secured: &Secured, mechanism: &str) -> Properties {
    let settings = secured.client_settings(mechanism).into_iter();
    settings.fold(Properties::new(secured.brokers()), |all, (name, value)| all.with(name, value))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_one_process_prepares_another_commits_and_a_third_reads_over_a_secured_listener() {
    let options = KafkaOptions::default().with_secured_listener().with_transaction_version(1);
    let kafka = Kafka::start(options).await.expect("started");
    let secured = kafka.secured().expect("asked for");
    let over = |settings: Vec<(&'static str, String)>| {
        let settings = settings.into_iter();
        settings.fold(Properties::default(), |all, (name, value)| all.with(name, value))
    };
    let sasl = MECHANISMS.map(|mechanism| (mechanism, properties(secured, mechanism)));
    let tls = [("TLS", over(secured.tls_settings())), ("mutual TLS", over(secured.mutual_tls_settings()))];
    for (way, properties) in sasl.into_iter().chain(tls) {
        let topic = support::fresh_topic(&kafka.brokers(), 1).await;
        let old = attempt(&support::fresh("secure"), 1);
        let config = || KafkaSinkConfig::new(properties.clone());
        let sink = KafkaSink::connect(config()).await.expect(way);
        let mut writer = sink.open(&old, WriterId(0)).await.expect("open");
        let mut records =
            vec![ProducerRecord::new(topic.as_str(), "1"), ProducerRecord::new(topic.as_str(), "2")];
        writer.write(&mut records).await.expect("written");
        let committable = writer.prepare(Epoch(1)).await.expect("prepared").remove(0).committable;
        drop((writer, sink));

        let listed = vec![pending(&old, 1, committable)];
        let fresh = KafkaSink::connect(config()).await.expect("connected");
        fresh.recover(&attempt(old.job.as_str(), 2), &listed).await.expect("recovered");
        fresh.commit(&permit(1), listed).await.expect("committed");

        // Markers are written a moment after the commit was answered: until then the end is earlier.
        assert_eq!(support::read_until(&kafka.brokers(), &topic, 1, 2).await.len(), 2);
        assert_eq!(count(&properties, &topic).await, 2, "{way}");
    }
    let wrong = properties(secured, "SCRAM-SHA-512").with("sasl.password", "wr0ng-secret");
    let error = Transactions::connect(&wrong).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    assert!(!format!("{error:?}").contains("wr0ng-secret"), "{error:?}");
}

/// How many records the source reads from a topic with one partition.
async fn count(properties: &Properties, topic: &str) -> usize {
    let topics = Subscription::Topics(vec![topic.to_owned()]);
    let config = KafkaSourceConfig::new(properties.clone(), topics).with_stop(Stop::Latest);
    let source = KafkaSource::connect(config).await.expect("connected");
    let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
    let split = source.discover(&known).await.expect("discovered").new.remove(0);
    let mut reader = source.open(split).await.expect("open");
    let mut count = 0;
    while let Some(batch) = reader.next().await.expect("read") {
        count += batch.records.len();
    }
    count
}
