//! TLS and SASL on real listeners. `TIDELOCK_KAFKA_SECURE` has the settings of librdkafka that reach one
//! listener, as `name=value` with `;` between them, and `|` between listeners. Skipped, with a line that
//! says so, without it.

mod support;

use support::{attempt, pending, permit, uid};
use tidelock::{Epoch, ErrorKind, Known, Sink, SinkWriter, Source, SplitReader, WriterId};
use tidelock_kafka::{
    KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, Properties, Stop,
    Subscription, Transactions,
};

fn listeners() -> Vec<Properties> {
    let Ok(text) = std::env::var("TIDELOCK_KAFKA_SECURE") else {
        println!("secure listeners: skipped: TIDELOCK_KAFKA_SECURE names none");
        return Vec::new();
    };
    let of_listener = |text: &str| {
        let settings = text.split(';').map(|one| one.split_once('=').expect("name=value"));
        settings.fold(Properties::default(), |all, (name, value)| all.with(name, value))
    };
    text.split('|').map(of_listener).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_prepares_another_commits_and_a_third_reads_over_every_secure_listener() {
    for properties in listeners() {
        println!("{properties:?}");
        let topic = support::fresh("secure");
        support::create_topic_with(&properties, &topic, 1).await;
        let old = attempt(&support::fresh("secure"), 1);
        let config = || KafkaSinkConfig::new(properties.clone());
        let sink = KafkaSink::connect(uid("out"), config()).await.expect("connected");
        let mut writer = sink.open(&old, WriterId(0)).await.expect("open");
        let mut records =
            vec![ProducerRecord::new(topic.as_str(), "1"), ProducerRecord::new(topic.as_str(), "2")];
        writer.write(&mut records).await.expect("written");
        let committable = writer.prepare(Epoch(1)).await.expect("prepared").remove(0).committable;
        drop((writer, sink));

        let listed = vec![pending(&old, 1, committable)];
        let fresh = KafkaSink::connect(uid("out"), config()).await.expect("connected");
        fresh.recover(&attempt(old.job.as_str(), 2), &listed).await.expect("recovered");
        fresh.commit(&permit(1), listed).await.expect("committed");

        let topics = Subscription::Topics(vec![topic.clone()]);
        let config = KafkaSourceConfig::new(properties.clone(), topics).with_stop(Stop::Latest);
        let source = KafkaSource::connect(config).await.expect("connected");
        let mut count = 0;
        while count < 2 {
            // Markers are written a moment after the commit was answered: until then the end is earlier.
            let known = Known { active: vec![], finished: vec![], first_run: true };
            let split = source.discover(&known).await.expect("discovered").new.remove(0);
            let mut reader = source.open(split).await.expect("open");
            count = 0;
            while let Some(batch) = reader.next().await.expect("read") {
                count += batch.records.len();
            }
        }
        assert_eq!(count, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_an_error_at_start_that_does_not_print_it() {
    for properties in listeners() {
        if properties.get("sasl.password").is_none() {
            continue;
        }
        let wrong = properties.with("sasl.password", "wr0ng-secret");
        let error = Transactions::connect(&wrong).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(!format!("{error:?}").contains("wr0ng-secret"), "{error:?}");
    }
}
