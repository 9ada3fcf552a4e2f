//! A commit whose marker its broker forgot. Kafka 4.3.1 (the newest that was tried) takes a partition
//! without a leader for a deleted one, and calls a transaction complete without having written its
//! marker there.

use std::time::Duration;

use tidelock::{Epoch, Pending, Result, Sink, SinkAttempt, SinkWriter, WriterId};
use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_kafka::{KafkaCommittable, KafkaSink, ProducerRecord, TransactionState, Transactions};
use tokio::task::JoinHandle;

use super::{address_of, coordinator, create_topic_with_one_replica, leaders, pending, permit, properties};

/// So many records are in the transaction.
pub(crate) const RECORDS: u64 = 10;

/// Three brokers of which a silent one is soon given up.
pub(crate) fn cluster() -> KafkaOptions {
    let options = KafkaOptions::default().with_brokers(3).with_setting("min.insync.replicas", 1);
    let options = options.with_setting("broker.session.timeout.ms", 2_000);
    options.with_setting("broker.heartbeat.interval.ms", 500)
}

pub(crate) struct Forgotten {
    /// The partition that holds the transaction open.
    pub(crate) partition: usize,
    pub(crate) listed: Vec<Pending<KafkaCommittable>>,
    /// The commit, which went on while the partition's broker was paused.
    pub(crate) commit: JoinHandle<Result<()>>,
}

/// Prepares a transaction in a fresh topic, and commits it while the leader of its partition is paused. Returns
/// when the leader is awake again.
pub(crate) async fn commit(kafka: &Kafka, sink: KafkaSink, attempt: &SinkAttempt, topic: &str) -> Forgotten {
    let all = kafka.brokers();
    let mut writer = sink.open(attempt, WriterId(0)).await.expect("open");

    // A partition on a broker that does not coordinate the transaction.
    create_topic_with_one_replica(&all, topic, 3).await;
    let leaders = leaders(&all, topic);
    let id = format!("{}.0", attempt.target_name(WriterId(0)));
    let coordinator = coordinator(&all, &id);
    let partition = leaders.iter().position(|leader| *leader != coordinator).expect("one of three");
    let record = |value: u64| {
        let mut record = ProducerRecord::new(topic, value.to_string());
        record.partition = i32::try_from(partition).ok();
        record
    };
    let mut records: Vec<_> = (0..RECORDS).map(record).collect();
    writer.write(&mut records).await.expect("written");
    let committable = writer.prepare(Epoch(1)).await.expect("prepared").remove(0).committable;
    assert_eq!(committable.transactional_id, id);

    // Whoever is asked first must be awake.
    let transactions = Transactions::connect(&properties(&address_of(&all, coordinator))).await;
    let transactions = transactions.expect("connected");
    let broker = kafka.broker(leaders[partition]).expect("a broker");
    broker.pause().await.expect("paused");
    let listed = vec![pending(attempt, 1, committable)];
    let ours = listed.clone();
    let commit = tokio::spawn(async move { sink.commit(&permit(1), ours).await.map(drop) });
    let state = async || transactions.describe(&id).await.expect("known").expect("known").state;
    while state().await != TransactionState::CompleteCommit {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!commit.is_finished(), "called complete, and not visible yet");
    broker.unpause().await.expect("awake");
    Forgotten { partition, listed, commit }
}
