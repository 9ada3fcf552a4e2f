//! Over listeners with TLS: with SASL on a broker with the older transactions, and with certificates of clients.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_processes::{count, seed};

use crate::killed::kill;
use crate::world::World;

/// Kills a job that reaches its broker by this listener with these settings; all others go by the plain one.
async fn killed(name: &str, kafka: &Kafka, listener: &str, settings: &[(&'static str, String)]) {
    let mut random = StdRng::seed_from_u64(seed(name));
    let world = World::new(&kafka.brokers(), 2).await.with_option("--brokers", listener);
    let mut world = settings.iter().fold(world, |world, (name, value)| world.with_property(name, value));
    let kills = count(4, 40);
    let with_open = kill(&world, &mut random, kills, Duration::from_millis(10)).await;
    let last = world.start(&[]);
    world.finish(last).await;
    let recoveries = world.log().await.recoveries().await;
    println!("{name}: {kills} kills, {with_open} left a listed transaction open; {recoveries:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kills_over_tls_and_scram_with_the_older_transactions_lose_and_double_nothing() {
    let options = KafkaOptions::default().with_secured_listener().with_transaction_version(1);
    let kafka = Kafka::start(options).await.expect("started");
    assert_eq!(kafka.feature_level("transaction.version").await.expect("an answer"), 1);
    let secured = kafka.secured().expect("asked for");
    let settings = secured.client_settings("SCRAM-SHA-512");
    killed("TLS and SCRAM, transaction.version 1", &kafka, secured.brokers(), &settings).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kills_over_mutual_tls_lose_and_double_nothing() {
    let kafka = Kafka::start(KafkaOptions::default().with_secured_listener()).await.expect("started");
    let mut settings = kafka.secured().expect("asked for").mutual_tls_settings();
    let (_, listener) = settings.remove(0);
    killed("mutual TLS", &kafka, &listener, &settings).await;
}
