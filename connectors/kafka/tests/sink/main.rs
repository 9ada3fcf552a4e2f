//! The sink on a real broker: crashes of real processes, loss, names, placement.

#[path = "../support/mod.rs"]
mod support;

mod left;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{attempt, forgotten, pending, permit};
use tidelock::{Epoch, ErrorKind, Retry, Sink, SinkWriter, WriterId};
use tidelock_containers::Kafka;
use tidelock_kafka::{
    Guarantee, KafkaCommittable, KafkaSink, KafkaSinkConfig, KafkaWriter, ProducerRecord, Properties,
    RecordPolicy, TransactionState, Transactions, Verdict,
};

async fn sink(brokers: &str) -> KafkaSink {
    sink_with(support::properties(brokers)).await
}

async fn sink_with(properties: Properties) -> KafkaSink {
    KafkaSink::connect(KafkaSinkConfig::new(properties)).await.expect("connected")
}

fn records(topic: &str, values: impl IntoIterator<Item = u64>) -> Vec<ProducerRecord> {
    values.into_iter().map(|value| ProducerRecord::new(topic, value.to_string())).collect()
}

async fn write(writer: &mut KafkaWriter, mut records: Vec<ProducerRecord>) {
    writer.write(&mut records).await.expect("written");
    assert!(records.is_empty(), "the writer has a free place");
}

async fn prepare(writer: &mut KafkaWriter, epoch: u64) -> KafkaCommittable {
    let mut prepared = writer.prepare(Epoch(epoch)).await.expect("prepared");
    assert_eq!(prepared.len(), 1);
    prepared.remove(0).committable
}

fn values(seen: &[support::Seen]) -> Vec<u64> {
    let mut values: Vec<u64> = seen.iter().map(|one| one.text().parse().expect("a number")).collect();
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn many_epochs_rotate_over_few_ids_and_every_record_is_visible_once() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let attempt = attempt(&support::fresh("rotation"), 1);
    let sink = sink(&brokers).await;
    sink.recover(&attempt, &[]).await.expect("recovered");
    let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
    let mut ids = std::collections::BTreeSet::new();
    for epoch in 1..=50 {
        write(&mut writer, records(&topic, epoch * 10..epoch * 10 + 10)).await;
        let committable = prepare(&mut writer, epoch).await;
        ids.insert(committable.transactional_id.clone());
        let committed = sink.commit(&permit(epoch), vec![pending(&attempt, epoch, committable)]).await;
        assert!(committed.expect("committed").reinit.is_empty());
        // An epoch is settled when a later entry is durable: the one after it.
        writer.settled(Epoch(epoch - 1), false).await.expect("told");
    }
    assert!(ids.len() <= 4, "{ids:?}");
    let seen = support::read_until(&brokers, &topic, 1, 500).await;
    assert_eq!(values(&seen), (10..510).collect::<Vec<_>>());
    let in_order: Vec<u64> = seen.iter().map(|one| one.text().parse().expect("a number")).collect();
    assert!(in_order.is_sorted(), "order is kept in the partition");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_barrier_ends_the_linger_of_what_was_written() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let attempt = attempt(&support::fresh("linger"), 1);
    // Four minutes, of which the test waits for none.
    let properties = support::properties(&brokers);
    let properties = properties.with("linger.ms", "240000").with("message.timeout.ms", "300000");
    let sink = sink_with(properties).await;
    let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
    for epoch in 1..=3 {
        write(&mut writer, records(&topic, [epoch])).await;
        let prepared = tokio::time::timeout(Duration::from_secs(60), prepare(&mut writer, epoch)).await;
        let committable = prepared.expect("not waited for the linger");
        sink.commit(&permit(epoch), vec![pending(&attempt, epoch, committable)]).await.expect("committed");
    }
    assert_eq!(values(&support::read_until(&brokers, &topic, 1, 3).await), vec![1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_writer_has_four_ids_and_goes_on_after_as_many_failures_as_a_job_tolerates() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let attempt = attempt(&support::fresh("narrow"), 1);
    let sink = sink(&brokers).await;
    let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
    let mut ids = std::collections::BTreeSet::new();
    // Three checkpoints fail, and the fourth succeeds: it commits all that was prepared.
    let failures = u64::from(tidelock::job::Settings::default().tolerable_failures);
    for round in 0..5 {
        let first = round * (failures + 1) + 1;
        let last = first + failures;
        let mut prepared = Vec::new();
        for epoch in first..=last {
            write(&mut writer, records(&topic, [epoch])).await;
            let committable = prepare(&mut writer, epoch).await;
            ids.insert(committable.transactional_id.clone());
            prepared.push(pending(&attempt, epoch, committable));
        }
        let mut refused = records(&topic, [last + 1]);
        writer.write(&mut refused).await.expect("given back");
        assert_eq!(refused.len(), 1, "nothing is free, and nothing is waited for");
        sink.commit(&permit(last), prepared).await.expect("committed");
        writer.settled(Epoch(last), false).await.expect("told");
    }
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(values(&support::read_until(&brokers, &topic, 1, 20).await), (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_fresh_identity_after_reinit_raises_the_producer_epoch() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let attempt = attempt(&support::fresh("reinit"), 1);
    let sink = sink(&brokers).await;
    let mut config = KafkaSinkConfig::new(support::properties(&brokers));
    (config.slots_max, config.slots_ready) = (2, 1);
    let narrow = KafkaSink::connect(config).await.expect("connected");
    let mut writer = narrow.open(&attempt, WriterId(0)).await.expect("open");
    let mut first = Vec::new();
    for epoch in 1..=2 {
        write(&mut writer, records(&topic, [epoch])).await;
        first.push(prepare(&mut writer, epoch).await);
    }
    // Both places are taken: what does not fit is given back, without waiting.
    let mut refused = records(&topic, [9]);
    writer.write(&mut refused).await.expect("given back");
    assert_eq!(refused.len(), 1);
    for (epoch, one) in (1..).zip(&first) {
        sink.commit(&permit(epoch), vec![pending(&attempt, epoch, one.clone())]).await.expect("committed");
    }
    writer.settled(Epoch(2), true).await.expect("told");
    for epoch in 3..=4 {
        write(&mut writer, records(&topic, [epoch])).await;
        let later = prepare(&mut writer, epoch).await;
        let before =
            first.iter().find(|one| one.transactional_id == later.transactional_id).expect("one of two");
        assert!(later.producer_epoch > before.producer_epoch, "{before:?} {later:?}");
        sink.commit(&permit(epoch), vec![pending(&attempt, epoch, later)]).await.expect("committed");
    }
    assert_eq!(values(&support::read_until(&brokers, &topic, 1, 4).await), [1, 2, 3, 4]);
}

/// A process that writes an epoch, prepares it, says so, and waits to be killed.
struct Victim {
    child: Child,
    committable: KafkaCommittable,
}

impl Victim {
    fn start(brokers: &str, job: &str, number: u64, topic: &str, first: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["victim", "--exact", "--ignored", "--nocapture"])
            .env("TIDELOCK_KAFKA", brokers)
            .env("VICTIM", format!("{job} {number} {topic} {first}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines
            .map(|line| line.expect("text"))
            .find_map(|line| line.split_once("PREPARED ").map(|(_, rest)| rest.to_owned()))
            .expect("the victim prepares");
        Self { child, committable: serde_json::from_str(&line).expect("a committable") }
    }

    fn kill(mut self) -> KafkaCommittable {
        self.child.kill().expect("killed with signal 9");
        self.child.wait().expect("ended");
        self.committable
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing unless another test starts it as a process of its own"]
async fn victim() {
    let (Ok(brokers), Ok(role)) = (std::env::var("TIDELOCK_KAFKA"), std::env::var("VICTIM")) else { return };
    let role: Vec<&str> = role.split(' ').collect();
    let number = role[1].parse().expect("a number");
    let first: u64 = role[3].parse().expect("a number");
    let attempt = attempt(role[0], number);
    let sink = sink(&brokers).await;
    let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
    write(&mut writer, records(role[2], first..first + 100)).await;
    let committable = prepare(&mut writer, 1).await;
    // What is written after the barrier must vanish with the process.
    write(&mut writer, records(role[2], 900_000..900_010)).await;
    println!("PREPARED {}", serde_json::to_string(&committable).expect("storable"));
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_a_killed_process_prepared_is_committed_by_another_exactly_once() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("killed");
    for round in 0..2 {
        let number = round * 2 + 1;
        let committable = Victim::start(&brokers, &job, number, &topic, round * 100).kill();
        let before = support::read(&brokers, &topic, 1).len() as u64;
        assert_eq!(before, round * 100, "prepared is not visible");

        let (old, new) = (attempt(&job, number), attempt(&job, number + 1));
        let listed = [pending(&old, 1, committable)];
        let fresh = sink(&brokers).await;
        fresh.recover(&new, &listed).await.expect("all can be committed");
        fresh.commit(&permit(1), listed.to_vec()).await.expect("committed");
        // A recovery that crashed after its commit is repeated by the next one.
        fresh.recover(&new, &listed).await.expect("committed already is fine");
        fresh.commit(&permit(1), listed.to_vec()).await.expect("again");

        let count = (round as usize + 1) * 100;
        let seen = support::read_until(&brokers, &topic, 1, count).await;
        assert_eq!(
            values(&seen),
            (0..count as u64).collect::<Vec<_>>(),
            "also no longer pinned by the leftover"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_transaction_that_timed_out_halts_with_its_evidence_and_nothing_is_committed() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("timeout");
    let old = attempt(&job, 1);
    let properties = support::properties(&brokers).with("transaction.timeout.ms", "1000");
    let short = sink_with(properties).await;
    let mut writer = short.open(&old, WriterId(0)).await.expect("open");
    write(&mut writer, records(&topic, 0..5)).await;
    let prepared = writer.prepare(Epoch(1)).await.expect("prepared").remove(0);
    assert!(prepared.expires_in.expect("a deadline") <= Duration::from_secs(1));
    // A second one that is still open must not be committed before the halt.
    let long = sink(&brokers).await;
    let mut other = long.open(&old, WriterId(1)).await.expect("open");
    write(&mut other, records(&topic, 5..9)).await;
    let good = prepare(&mut other, 1).await;

    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    let id = &prepared.committable.transactional_id;
    while transactions
        .describe(id)
        .await
        .expect("described")
        .is_some_and(|one| one.state == TransactionState::Ongoing)
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let listed = [pending(&old, 1, prepared.committable.clone()), pending(&old, 1, good.clone())];
    let error = long.recover(&attempt(&job, 2), &listed).await.expect_err("lost");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error:?}");
    for part in [id.as_str(), "timeout_ms=1000", "producer_id=", "producer_epoch=", "age_ms=", "remedy="] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let error = long.commit(&permit(1), listed[..1].to_vec()).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Expired, "{error:?}");
    assert_eq!(transactions.examine(&good).await.expect("examined").verdict, Verdict::Open, "untouched");
    assert!(support::read(&brokers, &topic, 1).is_empty());
    transactions.fence(&good.transactional_id).await.expect("tidied up");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_transaction_that_was_aborted_in_one_partition_halts_although_its_coordinator_says_ongoing() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 2).await;
    let job = support::fresh("offset");
    let old = attempt(&job, 1);
    let sink = sink(&brokers).await;
    let mut writer = sink.open(&old, WriterId(0)).await.expect("open");
    let mut both = records(&topic, 0..4);
    for (record, partition) in both.iter_mut().zip([0, 1, 0, 1]) {
        record.partition = Some(partition);
    }
    write(&mut writer, both).await;
    let committable = prepare(&mut writer, 1).await;
    support::wire::abort_in_partition(&brokers, support::wire::producer(&committable), &topic, 1);

    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    let found = transactions.examine(&committable).await.expect("examined");
    assert_eq!(found.described.expect("known").state, TransactionState::Ongoing);
    assert_eq!(found.not_open_in, Some((topic.clone(), 1)));
    let listed = [pending(&old, 1, committable.clone())];
    let error = sink.recover(&attempt(&job, 2), &listed).await.expect_err("torn");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("partition 1 of"), "{error}");
    assert!(support::read(&brokers, &topic, 2).is_empty(), "nothing of it was committed");
    transactions.fence(&committable.transactional_id).await.expect("tidied up");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn an_epoch_that_was_aborted_in_its_middle_is_not_prepared() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let running = attempt(&support::fresh("middle"), 1);
    let sink = sink(&brokers).await;
    let mut writer = sink.open(&running, WriterId(0)).await.expect("open");
    write(&mut writer, records(&topic, 0..10)).await;
    // All of them: one that is on its way meets the abort at the broker, which then refuses it by itself.
    while support::end_offset(&brokers, &topic) < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whom an operator sees at the partition, while the epoch goes on.
    let id = format!("{}.0", running.target_name(WriterId(0)));
    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    let seen = transactions.describe(&id).await.expect("an answer").expect("known");
    support::wire::abort_in_partition(&brokers, (seen.producer_id, seen.producer_epoch), &topic, 0);
    write(&mut writer, records(&topic, 10..20)).await;
    let error = writer.prepare(Epoch(1)).await.expect_err("half of it is gone");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Restart), "{error:?}");
    assert!(error.to_string().contains("open_since="), "{error}");
    let found = transactions.describe(&id).await.expect("an answer").expect("known");
    assert_eq!(found.state, TransactionState::Ongoing, "its coordinator heard of nothing");
    transactions.fence(&id).await.expect("tidied up");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_transaction_that_was_committed_by_hand_is_fine() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("hand");
    let committable = Victim::start(&brokers, &job, 1, &topic, 0).kill();
    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    transactions.commit(&committable).await.expect("committed by hand");
    let listed = [pending(&attempt(&job, 1), 1, committable)];
    let fresh = sink(&brokers).await;
    fresh.recover(&attempt(&job, 2), &listed).await.expect("fine");
    fresh.commit(&permit(1), listed.to_vec()).await.expect("fine");
    assert_eq!(support::read_until(&brokers, &topic, 1, 100).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_commit_whose_marker_the_broker_forgot_is_finished() {
    let kafka = Kafka::start(forgotten::cluster()).await.expect("started");
    let (all, topic) = (kafka.brokers(), support::fresh("t"));
    let attempt = attempt(&support::fresh("forgotten"), 1);
    let forgotten = forgotten::commit(&kafka, sink(&all).await, &attempt, &topic).await;
    forgotten.commit.await.expect("no panic").expect("committed");
    let seen = support::read(&all, &topic, 3);
    assert_eq!(values(&seen), (0..forgotten::RECORDS).collect::<Vec<_>>(), "visible when the commit returns");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn keys_go_where_javas_default_partitioner_sends_them() {
    let brokers = support::brokers().await;
    // Computed by Java: toPositive(murmur2(key)) % 7.
    let table = [
        ("a", 5),
        ("21", 3),
        ("foobar", 0),
        ("a-little-bit-long-string", 1),
        ("a-little-bit-longer-string", 0),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 3),
        ("flight-EWR-2013", 6),
    ];
    let topic = support::fresh_topic(&brokers, 7).await;
    let config = KafkaSinkConfig::new(support::properties(&brokers)).with_guarantee(Guarantee::AtLeastOnce);
    let sink = KafkaSink::connect(config).await.expect("connected");
    let mut writer = sink.open(&attempt("placement", 1), WriterId(0)).await.expect("open");
    let mut written: Vec<_> =
        table.iter().map(|(key, _)| ProducerRecord::new(topic.as_str(), "v").with_key(*key)).collect();
    // Beside them: an explicit partition, a tombstone, headers, a timestamp.
    let mut full =
        ProducerRecord::new(topic.as_str(), "").with_key("full").with_header("h", "1").with_header("h", "2");
    (full.partition, full.value, full.timestamp) = (Some(4), None, Some(1_357_034_400_000));
    written.push(full);
    writer.write(&mut written).await.expect("written");
    assert!(writer.prepare(Epoch(1)).await.expect("prepared").is_empty(), "nothing waits for a commit");

    let seen = support::read_until(&brokers, &topic, 7, 8).await;
    for (key, partition) in table {
        let found = seen.iter().find(|one| one.key.as_deref() == Some(key.as_bytes())).expect("visible");
        assert_eq!(found.partition, partition, "{key}");
    }
    let full = seen.iter().find(|one| one.key.as_deref() == Some(b"full")).expect("visible");
    assert_eq!((full.partition, &full.value, full.headers), (4, &None, 2));
    assert_eq!(full.timestamp, Some(1_357_034_400_000));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_transaction_spans_the_topics_that_its_records_name_and_any_compression() {
    let brokers = support::brokers().await;
    let topics = [support::fresh_topic(&brokers, 1).await, support::fresh_topic(&brokers, 2).await];
    for (epoch, compression) in (1..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let properties = support::properties(&brokers).with("compression.type", compression);
        let sink = sink_with(properties).await;
        let attempt = attempt(&support::fresh("topics"), 1);
        let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
        let written = topics.iter().flat_map(|topic| records(topic, [epoch]));
        write(&mut writer, written.collect()).await;
        let committable = prepare(&mut writer, epoch).await;
        let found: Vec<_> = committable.partitions.keys().collect();
        assert_eq!(found.len(), 2, "{found:?}");
        sink.commit(&permit(epoch), vec![pending(&attempt, epoch, committable)]).await.expect(compression);
    }
    for (topic, partitions) in topics.iter().zip([1, 2]) {
        let seen = support::read_until(&brokers, topic, partitions, 5).await;
        assert_eq!(values(&seen), [1, 2, 3, 4, 5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_record_that_is_too_large_follows_the_policy() {
    let brokers = support::brokers().await;
    let (topic, dead) = (support::fresh_topic(&brokers, 1).await, support::fresh_topic(&brokers, 1).await);
    for (policy, survives, letters) in [
        (RecordPolicy::Fail, false, 0),
        (RecordPolicy::Skip, true, 0),
        (RecordPolicy::DeadLetter(dead.clone()), true, 1),
    ] {
        let mut config = KafkaSinkConfig::new(support::properties(&brokers));
        config.on_unwritable = policy;
        let sink = KafkaSink::connect(config).await.expect("connected");
        let attempt = attempt(&support::fresh("large"), 1);
        let mut writer = sink.open(&attempt, WriterId(0)).await.expect("open");
        let mut written = vec![
            ProducerRecord::new(topic.as_str(), "1"),
            ProducerRecord::new(topic.as_str(), vec![b'x'; 2_000_000]),
        ];
        let outcome = writer.write(&mut written).await;
        if !survives {
            let error = outcome.expect_err("refused");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
            continue;
        }
        outcome.expect("written");
        let committable = prepare(&mut writer, 1).await;
        sink.commit(&permit(1), vec![pending(&attempt, 1, committable)]).await.expect("committed");
        assert_eq!(support::read_until(&brokers, &dead, 1, letters).await.len(), letters);
    }
    assert_eq!(values(&support::read_until(&brokers, &topic, 1, 2).await), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_timeout_above_what_the_brokers_allow_and_a_wrong_address_are_refused_at_start() {
    let brokers = support::brokers().await;
    let properties = support::properties(&brokers).with("sasl.kerberos.keytab", "x");
    let error = KafkaSink::connect(KafkaSinkConfig::new(properties)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
}
