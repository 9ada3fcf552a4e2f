//! Access control: what the README's table of rights says is enough, and what is missing is found at start.

mod support;

use std::time::Duration;

use support::wire::{Named, Resource, Right, Rule, add_rules};
use support::{attempt, forgotten, pending, permit};
use tidelock::{Epoch, ErrorKind, Known, Retry, Sink, SinkWriter, Source, SplitReader, WriterId};
use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_kafka::{
    KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, Properties, Stop,
    Subscription,
};

/// A cluster in which the plain listener may do everything, and the user of the secured one nothing.
async fn strict() -> Kafka {
    strict_with(KafkaOptions::default()).await
}

async fn strict_with(options: KafkaOptions) -> Kafka {
    let options = options
        .with_secured_listener()
        .with_setting("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .with_setting("super.users", "User:ANONYMOUS");
    Kafka::start(options).await.expect("started")
}

fn properties(kafka: &Kafka) -> Properties {
    let secured = kafka.secured().expect("asked for");
    let settings = secured.client_settings("SCRAM-SHA-512").into_iter();
    settings.fold(Properties::new(secured.brokers()), |all, (name, value)| all.with(name, value))
}

/// Gives or denies rights to the user of the secured listener.
fn rule(kafka: &Kafka, allowed: bool, resource: (Resource, Named, &str), rights: &[Right]) {
    let principal = kafka.secured().expect("asked for").principal();
    let rule = |right: &Right| Rule { principal: &principal, resource, right: *right, allowed };
    let all = kafka.brokers();
    add_rules(all.split(',').next().expect("one"), &rights.iter().map(rule).collect::<Vec<_>>());
}

async fn sink(kafka: &Kafka) -> KafkaSink {
    KafkaSink::connect(KafkaSinkConfig::new(properties(kafka))).await.expect("connected")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_rights_of_the_table_are_enough_to_write_to_recover_and_to_read() {
    let kafka = strict().await;
    let (to, from) =
        (support::fresh_topic(&kafka.brokers(), 1).await, support::fresh_topic(&kafka.brokers(), 1).await);
    let (id, topic) = (Resource::TransactionalId, Resource::Topic);
    rule(&kafka, true, (id, Named::Beginning, "j."), &[Right::Describe, Right::Write]);
    rule(&kafka, true, (topic, Named::Exactly, &to), &[Right::Write, Right::Describe, Right::Read]);
    rule(&kafka, true, (topic, Named::Exactly, &from), &[Right::Read, Right::Describe]);
    rule(&kafka, true, (Resource::Group, Named::Exactly, "monitored"), &[Right::Read]);

    let first = sink(&kafka).await;
    let old = attempt("j", 1);
    first.recover(&old, &[]).await.expect("nothing to recover");
    let mut writer = first.open(&old, WriterId(0)).await.expect("open");
    let mut records = vec![ProducerRecord::new(to.as_str(), "1")];
    writer.write(&mut records).await.expect("written");
    let committable = writer.prepare(Epoch(1)).await.expect("prepared").remove(0).committable;
    drop((writer, first));
    let listed = vec![pending(&old, 1, committable)];
    let fresh = sink(&kafka).await;
    fresh.recover(&attempt("j", 2), &listed).await.expect("recovered");
    fresh.commit(&permit(1), listed).await.expect("committed");
    assert_eq!(support::read_until(&kafka.brokers(), &to, 1, 1).await.len(), 1);

    support::produce(&kafka.brokers(), &from, 0, ["a".to_owned(), "b".to_owned()]);
    // Without a group to export to no right to any group is needed.
    for group in [None, Some("monitored".to_owned())] {
        let mut config = KafkaSourceConfig::new(properties(&kafka), Subscription::Topics(vec![from.clone()]))
            .with_stop(Stop::Latest);
        config.export_to_group = group;
        let source = KafkaSource::connect(config).await.expect("connected");
        let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
        let split = source.discover(&known).await.expect("discovered").new.remove(0);
        let mut reader = source.open(split).await.expect("open");
        let mut count = 0;
        while let Some(batch) = reader.next().await.expect("read") {
            count += batch.records.len();
            source.acknowledge(&[batch.resume]).await.expect("told");
        }
        assert_eq!(count, 2);
    }
    assert_eq!(support::group_offset(&kafka.brokers(), "monitored", &from, 0), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_that_may_not_describe_its_ids_or_look_into_its_topic_is_refused_before_it_writes() {
    let kafka = strict().await;
    let to = support::fresh_topic(&kafka.brokers(), 1).await;
    let id = Resource::TransactionalId;
    rule(&kafka, true, (id, Named::Beginning, "w."), &[Right::Write]);
    rule(&kafka, false, (id, Named::Beginning, "w."), &[Right::Describe]);
    rule(&kafka, true, (id, Named::Beginning, "j."), &[Right::Describe, Right::Write]);
    rule(&kafka, true, (Resource::Topic, Named::Exactly, &to), &[Right::Write, Right::Describe]);
    let sink = sink(&kafka).await;
    for job in ["none", "w"] {
        let error = sink.recover(&attempt(job, 1), &[]).await.expect_err("refused");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains(&format!("transactional_id={job}.out.1.0.0")), "{error}");
    }
    // Recovery asks partitions for their producers, which needs the right to read.
    let attempt = attempt("j", 1);
    sink.recover(&attempt, &[]).await.expect("nothing to recover");
    let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
    let mut records = vec![ProducerRecord::new(to.as_str(), "1")];
    let error = writer.write(&mut records).await.expect_err("refused");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains(&format!("topic={to}")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_forgotten_marker_halts_a_job_that_may_not_write_it_and_is_written_by_one_that_may() {
    let kafka = strict_with(forgotten::cluster()).await;
    let (all, topic) = (kafka.brokers(), support::fresh("t"));
    let (id, target) = (Resource::TransactionalId, (Resource::Topic, Named::Exactly, topic.as_str()));
    rule(&kafka, true, (id, Named::Beginning, "j."), &[Right::Describe, Right::Write]);
    rule(&kafka, true, target, &[Right::Write, Right::Describe, Right::Read]);
    let forgotten = forgotten::commit(&kafka, sink(&kafka).await, &attempt("j", 1), &topic).await;
    let error = forgotten.commit.await.expect("no panic").expect_err("no right to the marker");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error:?}");
    let named = error.to_string();
    for part in [topic.as_str(), &format!("partition={}", forgotten.partition), "ClusterAction"] {
        assert!(named.contains(part), "{part} is not in: {named}");
    }
    assert!(support::read(&all, &topic, 3).is_empty(), "readers wait");

    rule(&kafka, true, (Resource::Cluster, Named::Exactly, "kafka-cluster"), &[Right::ClusterAction]);
    let fresh = sink(&kafka).await;
    let committed = async {
        // Each broker learns of the right by itself, a moment later.
        while let Err(error) = fresh.commit(&permit(1), forgotten.listed.clone()).await {
            assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), committed).await.expect("committed");
    assert_eq!(support::read(&all, &topic, 3).len() as u64, forgotten::RECORDS);
}
