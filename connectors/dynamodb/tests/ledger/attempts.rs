//! Older attempts that wake up, and histories that are left.

use std::time::Duration;

use tidelock::{Epoch, ErrorKind, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_dynamodb::DynamoSink;
use tidelock_processes::PATIENCE;
use tidelock_testkit::{Fault, HttpFaults};

use super::place::{
    Listed, Place, WRITES, add, attempt, attempt_of, commit, counted, counts, opened, prepared, put,
};

/// Longer than any request may be late here.
const FOR_EVER: u32 = 1_000_000;

/// Commits until so many requests met a fault, and then no more: its process is paused, or gone.
async fn pause_in_commit(
    faults: &HttpFaults,
    sink: &DynamoSink,
    epoch: u64,
    listed: &[Listed],
    requests: u64,
) {
    let before = faults.count();
    let met = async {
        while faults.count() < before + requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let paused = async {
        tokio::select! {
            done = commit(sink, epoch, listed) => panic!("it is not done: {done:?}"),
            () = met => {}
        }
    };
    tokio::time::timeout(PATIENCE, paused).await.unwrap();
}

#[tokio::test]
async fn an_older_attempt_that_wakes_up_in_the_middle_of_an_epoch_applies_nothing_twice() {
    for (counters, lanes) in [(50, 1), (900, 1), (900, 4)] {
        let direct = Place::new().await;
        let mut place = direct.clone();
        place.config.lanes_max = lanes;
        let faults = place.behind_faults(WRITES).await;
        let older = place.sink();
        let mut writer = opened(&older, &attempt(1)).await;
        let first = prepared(&mut writer, &attempt(1), 1, counts(counters, 1)).await;
        // The server learns of some of its requests after everything else.
        if counters > 99 {
            faults.plan(&Fault::Slow, 4);
        }
        faults.plan(&Fault::Late(FOR_EVER), 100);
        pause_in_commit(&faults, &older, 1, &first, if counters > 99 { 6 } else { 1 }).await;
        let newer = direct.sink();
        newer.recover(&attempt(2), &first).await.unwrap();
        commit(&newer, 1, &first).await.unwrap();
        assert_eq!(direct.seen().await, counted(counters, 1));
        let mut next = newer.open(&attempt(2), WriterId(0)).await.unwrap();
        let second = prepared(&mut next, &attempt(2), 2, counts(counters, 1)).await;
        commit(&newer, 2, &second).await.unwrap();
        assert!(faults.deliver_late().await.unwrap() > 0);
        assert_eq!(direct.seen().await, counted(counters, 2), "what comes late changes nothing");
        faults.heal();
        // It goes on where it was: all of it is applied, as the ledger says.
        commit(&older, 1, &first).await.unwrap();
        // What only it has ever heard of is not begun.
        let own = prepared(&mut writer, &attempt(1), 3, counts(counters, 5)).await;
        let error = commit(&older, 3, &own).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("newer attempt"), "{error}");
        assert_eq!(direct.seen().await, counted(counters, 2));
        // Nor where it is started again with it: it is told before anything is applied.
        let error = direct.sink().recover(&attempt(1), &own).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        let error = direct.sink().open(&attempt(1), WriterId(0)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    }
}

#[tokio::test]
async fn an_older_attempt_is_fenced_in_the_middle_of_an_epoch_that_the_newer_one_has_not_gone_on_with() {
    let direct = Place::new().await;
    let mut place = direct.clone();
    place.config.lanes_max = 2;
    let faults = place.behind_faults(WRITES).await;
    let older = place.sink();
    let mut writer = opened(&older, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, counts(900, 1)).await;
    // Two lanes are made, the epoch is begun, and some chunks are applied.
    faults.plan(&Fault::Slow, 5);
    faults.plan(&Fault::Cut, 1_000);
    pause_in_commit(&faults, &older, 1, &first, 6).await;
    faults.heal();
    let newer = direct.sink();
    newer.recover(&attempt(2), &first).await.unwrap();
    let error = commit(&older, 1, &first).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    commit(&newer, 1, &first).await.unwrap();
    assert_eq!(direct.seen().await, counted(900, 1));
    // And then it has nothing to do.
    commit(&older, 1, &first).await.unwrap();
    assert_eq!(direct.seen().await, counted(900, 1));
}

#[tokio::test]
async fn a_rollback_counts_on_from_what_is_there_and_the_older_history_is_told() {
    let place = Place::new().await;
    let run = place.sink();
    let mut writer = opened(&run, &attempt_of("job", 1, 1)).await;
    let ninth = prepared(&mut writer, &attempt_of("job", 1, 1), 9, vec![put("a", 9), add("n", 9)]).await;
    commit(&run, 9, &ninth).await.unwrap();
    let back = place.sink();
    back.recover(&attempt_of("job", 1, 2), &[]).await.unwrap();
    let mut replay = back.open(&attempt_of("job", 2, 2), WriterId(0)).await.unwrap();
    let tenth = prepared(&mut replay, &attempt_of("job", 2, 2), 10, vec![put("a", 2), add("n", 1)]).await;
    commit(&back, 10, &tenth).await.unwrap();
    assert_eq!((place.value("a").await, place.value("n").await), (Some(2), Some(10)));
    // The run itself knows that it is applied, and changes nothing.
    commit(&run, 9, &ninth).await.unwrap();
    let error = commit(&place.sink(), 9, &ninth).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("newer history"), "{error}");
    assert_eq!((place.value("a").await, place.value("n").await), (Some(2), Some(10)));
    // A log of the older history cannot write.
    let error = run.open(&attempt_of("job", 1, 3), WriterId(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
}

/// Its attempts and epochs go on with numbers that were given before, and what they write is not what was written then.
#[tokio::test]
async fn a_log_that_was_restored_from_a_backup_is_told_and_its_epochs_are_not_taken_for_applied() {
    let place = Place::new().await;
    let run = place.sink();
    let mut writer = opened(&run, &attempt(1)).await;
    for epoch in 1..=5 {
        let listed = prepared(&mut writer, &attempt(1), epoch, vec![add("n", 1)]).await;
        commit(&run, epoch, &listed).await.unwrap();
    }
    // The backup is from epoch 2, and the entries after it are gone.
    let restored = place.sink();
    let mut writer = opened(&restored, &attempt(3)).await;
    writer.write(&mut vec![add("n", 100)]).await.unwrap();
    let error = writer.prepare(Epoch(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("newest_in_target=1/5") && said.contains("backup") && said.contains("remedy="),
        "{said}"
    );
    // The remedy: a new history.
    let back = attempt_of("job", 2, 4);
    let again = place.sink();
    let mut writer = opened(&again, &back).await;
    let listed = prepared(&mut writer, &back, 3, vec![add("n", 100)]).await;
    commit(&again, 3, &listed).await.unwrap();
    assert_eq!(place.value("n").await, Some(105));
}

#[tokio::test]
async fn a_fork_touches_nothing_of_the_first_job() {
    let place = Place::new().await;
    let first = place.sink();
    let mut writer = opened(&first, &attempt(1)).await;
    let listed = prepared(&mut writer, &attempt(1), 1, counts(300, 1)).await;
    let forked = place.sink();
    let of_fork = attempt_of("fork", 2, 1);
    let mut other = opened(&forked, &of_fork).await;
    let of_other = prepared(&mut other, &of_fork, 1, counts(300, 1)).await;
    commit(&forked, 1, &of_other).await.unwrap();
    commit(&first, 1, &listed).await.unwrap();
    let second = prepared(&mut writer, &attempt(1), 2, counts(300, 1)).await;
    commit(&first, 2, &second).await.unwrap();
    commit(&forked, 1, &of_other).await.unwrap();
    assert_eq!(place.seen().await, counted(300, 3));
}
