//! The example between two topics: loaded, counted, and killed on the way.

#![allow(clippy::panic, reason = "a test fails by it")]

use std::time::Duration;

use flights::answer::{self, Row};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tidelock_containers::Kafka;
use tidelock_e2e::{World, killed_again_and_again, seed};

const RATE: &str = "4500";

/// Every value of a topic's only partition that a reader with `read_committed` sees now.
fn committed(brokers: &str, topic: &str) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("assigned");
    let mut values = Vec::new();
    loop {
        match consumer.poll(Duration::from_secs(60)).expect("an answer in time") {
            Ok(message) => values.push(message.payload().expect("a value").to_vec()),
            Err(KafkaError::PartitionEOF(_)) => return values,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The rows of a topic, once there are this many: a broker needs a moment to show what was committed.
fn rows(brokers: &str, topic: &str, count: usize) -> Vec<Row> {
    for _ in 0..200 {
        let values = committed(brokers, topic);
        if values.len() >= count {
            return values.iter().map(|value| serde_json::from_slice(value).expect("a row")).collect();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} rows, not {count}", committed(brokers, topic).len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn flights_between_two_topics_are_exact_however_often_loading_and_counting_are_killed() {
    let brokers = Kafka::shared().await.expect("a broker").brokers();
    let tested = tokio::task::spawn_blocking(move || {
        let world = World::with_files(2);
        let expected = world.expected();
        let mut random = StdRng::seed_from_u64(seed());
        let (flights, counted) = (format!("{brokers}/flights"), format!("{brokers}/rows"));
        let load = ["--load", &flights, "--rate", RATE];
        let loaded = killed_again_and_again(&world, &expected, &mut random, "load", &load);
        let count = ["--from-kafka", &flights, "--to-kafka", &counted, "--rate", RATE, "--workers", "2"];
        let epochs = killed_again_and_again(&world, &expected, &mut random, "count", &count);
        for epochs in [loaded, epochs] {
            assert!(epochs.len() > 1, "none was killed");
            assert!(epochs.is_sorted_by(|before, after| before < after), "an attempt went back: {epochs:?}");
        }
        let seen = rows(&brokers, "rows", expected.len());
        let difference = answer::compare(&expected, &seen);
        assert!(difference.is_none(), "{} rows: {difference:?}", seen.len());
    });
    tested.await.expect("no panic");
}
