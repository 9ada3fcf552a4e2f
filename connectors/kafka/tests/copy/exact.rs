//! Killed at exact moments: between "the entry is durable" and "committed", and between "committed" and
//! "confirmed". A proxy holds back the request that commits, or its answer.

use tidelock_kafka::Verdict;
use tidelock_processes::{Defect, Fate, Process, Side, count};

use crate::held::Held;

/// The answer that let its entry pass may have been on its way when the holding began.
const TRIES_MAX: usize = 5;

async fn held() -> Held {
    Held::new(("--interval", "10ms")).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn killed_between_durable_and_committed_the_next_run_commits_it() {
    let mut held = held().await;
    let rounds = count(4, 50);
    for round in 1..=rounds {
        let mut process = held.start().await;
        held.stop_between_durable_and_committed(&mut process).await;
        process.kill();
        assert!(!held.pending_that_are(Verdict::Open).await.is_empty(), "round {round}");
        held.release(Fate::Lost);
    }
    let last = held.world.start(&[]);
    held.world.finish(last).await;
    let recoveries = held.log.recoveries().await;
    println!("killed between durable and committed, {rounds} times: {recoveries:?}");
    assert_eq!(recoveries.with_pending, rounds);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn killed_between_committed_and_confirmed_the_next_run_doubles_nothing() {
    let mut held = held().await;
    let rounds = count(4, 50);
    for round in 1..=rounds {
        let mut process = held.start().await;
        held.stop_between_committed_and_confirmed(&mut process).await;
        process.kill();
        assert!(!held.pending_that_are(Verdict::Done).await.is_empty(), "round {round}");
        held.release(Fate::Lost);
    }
    let last = held.world.start(&[]);
    held.world.finish(last).await;
    let recoveries = held.log.recoveries().await;
    println!("killed between committed and confirmed, {rounds} times: {recoveries:?}");
    assert_eq!(recoveries.with_pending, rounds);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_commit_that_arrives_after_the_next_run_recovered_changes_nothing() {
    let mut held = held().await;
    for _ in 0..count(2, 20) {
        let mut process = held.start().await;
        held.stop_between_durable_and_committed(&mut process).await;
        let before = held.log.position().await;
        process.kill();
        // The next one goes around the proxy: what the dead one sent is still on its way.
        let direct = ["--brokers", held.world.brokers()];
        let mut next = held.world.start(&direct);
        held.world.wait_for_attempt(&mut next, before).await;
        held.world.wait_for_records(&mut next, 1).await;
        assert!(held.held() > 0);
        held.release(Fate::Delivered);
        held.world.wait_for_records(&mut next, 100).await;
        next.kill();
    }
    let last = held.world.start(&[]);
    held.world.finish(last).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_commit_that_was_given_up_and_arrives_late_ends_no_other_transaction() {
    let mut held = held().await;
    for side in [Side::Requests, Side::Answers] {
        let mut process = held.start().await;
        // One alone: the control client gives it up after some time, asks again, and gets through.
        held.hold(side, 1);
        process.wait_until("a commit is held back", async |_| held.held() > 0).await;
        held.world.wait_for_records(&mut process, 1_000).await;
        held.release(Fate::Delivered);
        held.world.wait_for_records(&mut process, 1_000).await;
        process.kill();
    }
    let last = held.world.start(&[]);
    held.world.finish(last).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_commits_before_the_entry_is_durable_is_found_out_at_an_exact_moment() {
    let held = held().await;
    for _ in 0..TRIES_MAX {
        let before = held.log.position().await;
        let mut process = held.world.start_broken(Defect::CommitsBeforeDurable);
        held.world.wait_for_attempt(&mut process, before).await;
        // Committed when prepared, and held up between that and its entry: killed, it is written again.
        held.hold(Side::Answers, usize::MAX);
        let uncovered = async |_: &Process| {
            let visible = held.world.reader().next();
            held.held() > 0
                && held.log.positions().await.iter().zip(&visible).any(|(covered, seen)| seen > covered)
        };
        process.wait_until("records are visible that no entry covers", uncovered).await;
        process.kill();
        held.release(Fate::Lost);
        let mut next = held.world.start_broken(Defect::CommitsBeforeDurable);
        let end: Vec<u64> = held.world.reader().next().iter().map(|next| next + 200).collect();
        let found = async |_: &Process| {
            !held.world.wrong().is_empty()
                || held.world.reader().next().iter().zip(&end).all(|(now, end)| now > end)
        };
        next.wait_until("it is found out, or went on", found).await;
        next.kill();
        if let Some(wrong) = held.world.wrong().first() {
            assert!(wrong.starts_with("doubled"), "{wrong}");
            return;
        }
    }
    panic!("not found out in {TRIES_MAX} tries");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_forgets_what_is_pending_is_found_out_at_an_exact_moment() {
    let held = held().await;
    let mut process = held.world.start_broken(Defect::ForgetsPending);
    held.world.wait_for_records(&mut process, 1).await;
    held.stop_between_durable_and_committed(&mut process).await;
    process.kill();
    held.release(Fate::Lost);
    is_found_out(&held, held.world.start_broken(Defect::ForgetsPending), "lost").await;
}

async fn is_found_out(held: &Held, mut process: Process, what: &str) {
    process.wait_until("it is found out", async |_: &Process| !held.world.wrong().is_empty()).await;
    assert!(held.world.wrong()[0].starts_with(what), "{:?}", held.world.wrong());
}
