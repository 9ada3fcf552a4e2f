//! What a person gives up or deletes.

use std::collections::BTreeSet;

use super::flawed::{Flaw, Flawed};
use super::*;
use crate::ErrorKind;

fn now() -> jiff::Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

async fn unsettled() -> Log {
    let log = memory();
    small_log(&log).await;
    let mut checkpoint = entry(5, EntryKind::Checkpoint, 1, 2);
    let mut state = state(vec![], vec![pending(2, 1, 0), pending(2, 1, 1)]);
    state.sinks.insert(uid("other"), vec![pending(2, 1, 0)]);
    checkpoint.state = Some(state);
    append(&log, &checkpoint).await;
    log
}

#[tokio::test]
async fn abandoning_fences_the_job_and_names_what_was_lost() {
    let log = unsettled().await;
    let job = JobId::new("orders").unwrap();
    let done = log.abandon(&job, None, now()).await.unwrap().unwrap();
    assert_eq!((done.claim, done.entry), (Position(6), Position(7)));
    assert_eq!(done.lost.values().map(Vec::len).sum::<usize>(), 3);

    let below = log.read(Position(5)).await.unwrap().unwrap();
    let claim = log.read(Position(6)).await.unwrap().unwrap();
    assert_eq!((claim.kind, claim.attempt, &claim.state), (EntryKind::Claim, Position(6), &below.state));
    let newest = log.newest().await.unwrap().unwrap();
    assert_eq!((newest.kind, newest.attempt, newest.epoch), (EntryKind::Start, Position(6), Epoch(2)));
    assert_eq!(newest.abandoned, done.lost);
    let state = newest.state.unwrap();
    assert!(state.is_settled());
    assert_eq!(state.sources, below.state.unwrap().sources);
    assert_eq!(state.sinks.len(), 2, "every sink is named");

    // The attempt that ran finds its next position taken, and nothing is abandoned twice.
    assert!(matches!(log.create(&entry(6, EntryKind::Checkpoint, 1, 3)).await.unwrap(), Created::Taken));
    assert_eq!(log.abandon(&job, None, now()).await.unwrap(), None);
    assert_eq!(log.newest().await.unwrap().unwrap().position, Position(7));
    let error = Snapshot::load_from(log, Some(Position(5))).await.expect_err("never settled");
    assert_eq!(error.kind(), ErrorKind::Expired);
}

#[tokio::test]
async fn one_sink_is_abandoned_and_the_others_stay_listed() {
    let log = unsettled().await;
    let job = JobId::new("orders").unwrap();
    let only = BTreeSet::from([uid("other")]);
    let done = log.abandon(&job, Some(&only), now()).await.unwrap().unwrap();
    assert_eq!(done.lost.keys().collect::<Vec<_>>(), [&uid("other")]);
    let newest = log.newest().await.unwrap().unwrap();
    assert_eq!(newest.kind, EntryKind::Confirmation);
    assert_eq!(newest.state.unwrap().sinks[&uid("out")].len(), 2);
}

#[tokio::test]
async fn abandoning_for_the_wrong_job_or_sink_changes_nothing() {
    let log = unsettled().await;
    let error = log.abandon(&JobId::new("other").unwrap(), None, now()).await.expect_err("another job");
    assert_eq!(error.kind(), ErrorKind::Config);
    let only = BTreeSet::from([uid("typo")]);
    let error =
        log.abandon(&JobId::new("orders").unwrap(), Some(&only), now()).await.expect_err("no such sink");
    assert!(error.to_string().contains("uid=typo"), "{error}");
    assert_eq!(log.newest().await.unwrap().unwrap().position, Position(5));
}

#[tokio::test]
async fn deleting_refuses_what_must_stay_and_keeps_what_is_shared() {
    let log = memory();
    small_log(&log).await;
    for (position, kind, epoch) in
        [(5, EntryKind::Claim, 1), (6, EntryKind::Start, 1), (7, EntryKind::Checkpoint, 2)]
    {
        let mut entry = entry(position, kind, 5, epoch);
        entry.state = log.read(Position(4)).await.unwrap().unwrap().state;
        if position == 7 {
            entry.state = Some(state(vec![], vec![]));
        }
        append(&log, &entry).await;
    }
    for (position, why) in [
        (1, "a claim keeps"),
        (4, "directly below a claim"),
        (5, "a claim keeps"),
        (7, "the newest"),
        (8, "no such entry"),
    ] {
        let error = log.plan_deletion(&[Position(2), Position(position)].into()).await.expect_err(why);
        assert!(error.to_string().contains(why), "{error}");
    }
    let deletion = log.plan_deletion(&[Position(2), Position(3)].into()).await.unwrap();
    assert_eq!((deletion.work.chunks.len(), deletion.shared), (0, 1));
    log.prune(&deletion.work).await.unwrap();
    assert_eq!(log.positions().await.unwrap(), [1, 4, 5, 6, 7].map(Position));
    assert_eq!(log.stored_chunks().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_savepoint_is_gone() {
    let log = memory();
    small_log(&log).await;
    let newest = log.newest().await.unwrap().unwrap();
    let to = Log::on(Arc::new(InMemory::new()), Path::from("savepoint"));
    log.export_to(&newest, newest.state.as_ref().unwrap(), &to).await.unwrap();
    let snapshot = Snapshot::load_from(to.clone(), None).await.unwrap();
    assert_eq!(to.stored_chunks().await.unwrap().len(), 1);
    snapshot.delete_savepoint().await.unwrap();
    assert!(to.stored_chunks().await.unwrap().is_empty());
    Snapshot::load_from(to, None).await.expect_err("it is gone");
}

#[tokio::test]
async fn a_claim_in_a_gap_that_pruning_left_does_not_count() {
    // While we look at position 5, the running attempt appends up to 8 and prunes 6 and 7.
    let log = Flawed::log(Flaw::ListedBefore(5));
    for (position, epoch) in [(5, 5), (8, 8)] {
        let mut checkpoint = entry(position, EntryKind::Checkpoint, 1, epoch);
        checkpoint.state = Some(state(vec![], vec![pending(epoch, 1, 0)]));
        append(&log, &checkpoint).await;
    }
    let done = log.abandon(&JobId::new("orders").unwrap(), None, now()).await.unwrap().unwrap();
    assert_eq!((done.claim, done.entry), (Position(9), Position(10)));
    let epochs: Vec<u64> = done.lost[&uid("out")].iter().map(|lost| lost.epoch.0).collect();
    assert_eq!(epochs, [8], "what the newest entry lists, not what we saw first");
}
