//! What attempts leave in the cluster, whoever they were, and targets that somebody deleted.

use std::process::Command;

use tidelock::{Epoch, ErrorKind, Retry, Sink, SinkAttempt, SinkWriter, WriterId};
use tidelock_kafka::{
    Guarantee, KafkaCommittable, KafkaSink, KafkaSinkConfig, KafkaWriter, Transactions, Verdict,
};

use crate::support::{self, attempt, pending, permit};
use crate::{prepare, records, sink, values, write};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn leftovers_of_this_job_are_aborted_and_those_of_similar_names_are_not() {
    let brokers = support::brokers().await;
    let job = support::fresh("a");
    let other_job = format!("{job}-b");
    let mut open = Vec::new();
    for name in [&job, &other_job] {
        let topic = support::fresh_topic(&brokers, 1).await;
        let sink = sink(&brokers).await;
        let mut writer = sink.open(&attempt(name, 1), WriterId(0)).await.expect("open");
        write(&mut writer, records(&topic, 0..3)).await;
        open.push(prepare(&mut writer, 1).await);
    }
    sink(&brokers).await.recover(&attempt(&job, 2), &[]).await.expect("recovered");
    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    let verdict = async |one: &KafkaCommittable| transactions.examine(one).await.expect("examined").verdict;
    assert_eq!(verdict(&open[0]).await, Verdict::Lost, "its own leftover is aborted");
    assert_eq!(verdict(&open[1]).await, Verdict::Open, "another job's is not");
    transactions.fence(&open[1].transactional_id).await.expect("tidied up");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_an_older_attempt_begins_after_it_was_swept_does_not_hide_what_is_committed() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("late");
    let (old, new) = (attempt(&job, 1), attempt(&job, 2));
    let asleep = sink(&brokers).await;
    let newer = sink(&brokers).await;
    newer.recover(&new, &[]).await.expect("recovered");
    // It wakes up, and makes an id that no sweep has seen. What it prepares no log will list.
    let mut late = asleep.open(&old, WriterId(0)).await.expect("open");
    write(&mut late, records(&topic, 900..910)).await;
    prepare(&mut late, 1).await;

    let mut writer = newer.open(&new, WriterId(0)).await.expect("open");
    write(&mut writer, records(&topic, 0..10)).await;
    let committable = prepare(&mut writer, 1).await;
    newer.commit(&permit(1), vec![pending(&new, 1, committable)]).await.expect("committed");
    assert!(support::read(&brokers, &topic, 1).is_empty(), "hidden by the one that woke up");
    // It would be hidden for as long as the other one's transaction lasts: a quarter of an hour.
    let mut seen = Vec::new();
    for _ in 0..3 {
        if seen.is_empty() {
            seen = support::read_until(&brokers, &topic, 1, 10).await;
        }
    }
    assert_eq!(values(&seen), (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn recovery_and_commits_that_are_repeated_leave_one_task_at_most() {
    let brokers = support::brokers().await;
    let attempt = attempt(&support::fresh("again"), 1);
    let sink = sink(&brokers).await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    sink.recover(&attempt, &[]).await.expect("recovered");
    let before = alive();
    for _ in 0..40 {
        sink.recover(&attempt, &[]).await.expect("recovered");
    }
    assert_eq!(alive(), before, "a recovery leaves nothing running");
    for epoch in 1..=40 {
        sink.commit(&permit(epoch), vec![]).await.expect("committed");
    }
    assert!(alive() <= before + 1, "{} tasks, {before} before", alive());
}

/// Opens a transaction of an attempt, which nothing lists.
async fn leave_open(brokers: &str, attempt: &SinkAttempt, topic: &str) -> (KafkaWriter, KafkaCommittable) {
    let mut writer = sink(brokers).await.open(attempt, WriterId(0)).await.expect("open");
    write(&mut writer, records(topic, 0..3)).await;
    let committable = prepare(&mut writer, 1).await;
    (writer, committable)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_whose_log_is_another_one_halts_before_it_writes_and_its_remedy_helps() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("lost-log");
    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    // Attempt 7 of the log that is lost; the new log begins with attempt 1, and another one's name is taken too.
    for number in [7, 1] {
        let (_writer, left) = leave_open(&brokers, &attempt(&job, number), &topic).await;
        let new = sink(&brokers).await;
        let error = new.recover(&attempt(&job, 1), &[]).await.expect_err("not ours");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        let id = &left.transactional_id;
        for part in [id.as_str(), &format!("{topic}/0"), &format!("its_attempt={number}"), "our_attempt=1"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert!(error.to_string().contains("transactions abort --force ID"), "{error}");
        assert_eq!(transactions.examine(&left).await.expect("examined").verdict, Verdict::Open, "untouched");

        let ran = Command::new(env!("CARGO_BIN_EXE_tidelock-kafka"))
            .args(["transactions", "abort", "--brokers", &brokers, "--force", id])
            .status();
        assert!(ran.expect("it runs").success());
        new.recover(&attempt(&job, 1), &[]).await.expect("recovered");
    }
    let new = sink(&brokers).await;
    new.recover(&attempt(&job, 1), &[]).await.expect("recovered");
    let mut writer = new.open(&attempt(&job, 1), WriterId(0)).await.expect("open");
    write(&mut writer, records(&topic, 0..10)).await;
    let listed = vec![pending(&attempt(&job, 1), 1, prepare(&mut writer, 1).await)];
    new.commit(&permit(1), listed).await.expect("committed");
    assert_eq!(support::read_until(&brokers, &topic, 1, 10).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_commit_that_another_owner_of_the_job_hides_is_not_called_done() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("two-logs");
    let ours = attempt(&job, 1);
    let running = sink(&brokers).await;
    running.recover(&ours, &[]).await.expect("recovered");
    let mut writer = running.open(&ours, WriterId(0)).await.expect("open");
    // The same job on another log, which has come further.
    let (_writer, theirs) = leave_open(&brokers, &attempt(&job, 7), &topic).await;
    write(&mut writer, records(&topic, 0..10)).await;
    let listed = vec![pending(&ours, 1, prepare(&mut writer, 1).await)];
    let error = running.recover(&ours, &[]).await.expect_err("seen by the next sweep");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let error = running.commit(&permit(1), listed.clone()).await.expect_err("nobody would see it");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    for one in [&theirs, &listed[0].committable] {
        assert_eq!(transactions.examine(one).await.expect("examined").verdict, Verdict::Open, "untouched");
        transactions.fence(&one.transactional_id).await.expect("tidied up");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_an_exact_attempt_left_is_aborted_by_one_that_writes_at_least_once() {
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let job = support::fresh("changed");
    let (_writer, left) = leave_open(&brokers, &attempt(&job, 1), &topic).await;
    let config = KafkaSinkConfig::new(support::properties(&brokers)).with_guarantee(Guarantee::AtLeastOnce);
    let changed = KafkaSink::connect(config).await.expect("connected");
    changed.recover(&attempt(&job, 2), &[]).await.expect("recovered");
    let mut writer = changed.open(&attempt(&job, 2), WriterId(0)).await.expect("open");
    writer.write(&mut records(&topic, 10..20)).await.expect("written");
    writer.prepare(Epoch(1)).await.expect("prepared");
    let seen = support::read_until(&brokers, &topic, 1, 10).await;
    assert_eq!(values(&seen), (10..20).collect::<Vec<_>>(), "no reader waits for what was left");
    let transactions = Transactions::connect(&support::properties(&brokers)).await.expect("connected");
    assert_eq!(transactions.examine(&left).await.expect("examined").verdict, Verdict::Lost);
}

/// Prepares an epoch in two topics, and deletes the second one: before the commit, or between it and its
/// confirmation.
async fn delete_one_of_two(
    brokers: &str,
    job: &str,
    is_committed: bool,
) -> (String, String, KafkaCommittable) {
    let kept = support::fresh_topic(brokers, 1).await;
    let deleted = support::fresh_topic(brokers, 1).await;
    let mut writer = sink(brokers).await.open(&attempt(job, 1), WriterId(0)).await.expect("open");
    write(&mut writer, [records(&kept, 0..5), records(&deleted, 0..5)].concat()).await;
    let committable = prepare(&mut writer, 1).await;
    if is_committed {
        let transactions = Transactions::connect(&support::properties(brokers)).await.expect("connected");
        transactions.commit(&committable).await.expect("committed");
    }
    support::delete_topic(brokers, &deleted).await;
    (kept, deleted, committable)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_target_that_was_deleted_after_the_commit_holds_no_job_up() {
    let brokers = support::brokers().await;
    let job = support::fresh("deleted");
    let (kept, _, committable) = delete_one_of_two(&brokers, &job, true).await;
    let fresh = sink(&brokers).await;
    let listed = vec![pending(&attempt(&job, 1), 1, committable)];
    fresh.recover(&attempt(&job, 2), &listed).await.expect("it was committed");
    fresh.commit(&permit(1), listed).await.expect("nothing is open");
    assert_eq!(support::read_until(&brokers, &kept, 1, 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_target_that_was_deleted_before_the_commit_halts_the_job_and_its_remedy_helps() {
    let brokers = support::brokers().await;
    let job = support::fresh("deleted");
    let (kept, deleted, committable) = delete_one_of_two(&brokers, &job, false).await;
    let fresh = sink(&brokers).await;
    let listed = vec![pending(&attempt(&job, 1), 1, committable.clone())];
    let error = fresh.recover(&attempt(&job, 2), &listed).await.expect_err("a part of it is gone");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt), "{error:?}");
    for part in [deleted.as_str(), "was deleted", "transactions commit"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    // The remedy; the test of the command has a log, which here is left out.
    let ran = Command::new(env!("CARGO_BIN_EXE_tidelock-kafka"))
        .args(["transactions", "commit", "--brokers", &brokers, "--force", &committable.transactional_id])
        .status();
    assert!(ran.expect("it runs").success());
    fresh.recover(&attempt(&job, 3), &listed).await.expect("the rest is committed");
    fresh.commit(&permit(1), listed).await.expect("done");
    assert_eq!(support::read_until(&brokers, &kept, 1, 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_partition_that_knows_tens_of_thousands_of_idle_producers_is_written_to_and_recovered() {
    const CROWD: i64 = 20_000;
    let brokers = support::brokers().await;
    let topic = support::fresh_topic(&brokers, 1).await;
    let begun = tokio::time::Instant::now();
    let (broker, crowded) = (brokers.clone(), topic.clone());
    let crowd = move || support::wire::produce_as_many(&broker, &crowded, CROWD);
    tokio::task::spawn_blocking(crowd).await.expect("a crowd");
    println!("{CROWD} producers after {:?}", begun.elapsed());
    let job = support::fresh("crowd");
    let first = sink(&brokers).await;
    let mut writer = first.open(&attempt(&job, 1), WriterId(0)).await.expect("open");
    for epoch in 1..4 {
        write(&mut writer, records(&topic, 0..1)).await;
        let committable = prepare(&mut writer, epoch).await;
        let pending = vec![pending(&attempt(&job, 1), epoch, committable)];
        let begun = tokio::time::Instant::now();
        if epoch == 3 {
            sink(&brokers).await.recover(&attempt(&job, 2), &pending).await.expect("recovered");
        }
        first.commit(&permit(epoch), pending).await.expect("committed");
        println!("epoch {epoch} after {:?}", begun.elapsed());
    }
    let seen = support::read(&brokers, &topic, 1);
    assert_eq!(seen.len(), usize::try_from(CROWD).expect("positive") + 3);
}
