//! What becomes of an epoch whose requests and answers meet faults.

use tidelock::{ErrorKind, Retry, Sink as _};
use tidelock_testkit::{Fault, HttpFaults};

use super::place::{Place, WRITES, attempt, cancelled, commit, counted, counts, opened, prepared, refused};

/// Faults after which a request is made again.
fn passing() -> Vec<Fault> {
    vec![
        Fault::Cut,
        Fault::Lost,
        Fault::Half,
        Fault::Doubled,
        Fault::Slow,
        refused(500, "InternalServerError"),
        refused(400, "ThrottlingException"),
        refused(400, "ProvisionedThroughputExceededException"),
        refused(400, "TransactionInProgressException"),
        refused(400, "TransactionConflictException"),
    ]
}

/// The same of transactions alone.
fn passing_reasons() -> Vec<Fault> {
    let reasons = [
        ["TransactionConflict", "None"],
        ["None", "TransactionConflict"],
        ["None", "ThrottlingError"],
        ["ProvisionedThroughputExceeded", "None"],
        ["TransactionConflict", "ThrottlingError"],
    ];
    reasons.map(|reasons| cancelled(&reasons)).to_vec()
}

async fn applied_once(place: &Place, faults: &HttpFaults, counters: usize, all: Vec<Fault>) {
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    for (epoch, fault) in (1..).zip(all) {
        let listed = prepared(&mut writer, &attempt(1), epoch, counts(counters, 1)).await;
        // With several lanes it is a transaction, and the one that begins the epoch.
        faults.plan(&fault, 3);
        commit(&sink, epoch, &listed).await.unwrap();
        faults.heal();
        assert_eq!(place.seen().await, counted(counters, i64::try_from(epoch).unwrap()), "{fault:?}");
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_request_it_is_applied_once() {
    for counters in [40, 400] {
        let mut place = Place::new().await;
        let faults = place.behind_faults(WRITES).await;
        applied_once(&place, &faults, counters, passing()).await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_cancelled_for_what_passes_is_made_again() {
    for counters in [40, 400] {
        let mut place = Place::new().await;
        let faults = place.behind_faults(&["TransactWriteItems"]).await;
        applied_once(&place, &faults, counters, passing_reasons()).await;
    }
}

/// That of data is no news of the ledger: an epoch must not be taken for applied by it.
#[tokio::test]
async fn a_condition_that_fails_and_is_not_the_ledgers_halts() {
    let mut place = Place::new().await;
    let faults = place.behind_faults(WRITES).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let listed = prepared(&mut writer, &attempt(1), 1, counts(3, 1)).await;
    for (fault, kind, retry, said) in [
        (cancelled(&["None", "ConditionalCheckFailed"]), ErrorKind::Bug, Retry::Halt, "key=c0000"),
        (cancelled(&["None", "None", "ValidationError"]), ErrorKind::Data, Retry::Halt, "key=c0001"),
        (cancelled(&["None", "ItemCollectionSizeLimitExceeded"]), ErrorKind::Data, Retry::Halt, "10 GB"),
        (cancelled(&["None", "SomethingNew"]), ErrorKind::Other, Retry::Restart, "SomethingNew"),
        (refused(400, "AccessDeniedException"), ErrorKind::Auth, Retry::Halt, "ledger_table="),
        (refused(400, "ValidationException"), ErrorKind::Data, Retry::Halt, "first_key=c0000"),
    ] {
        faults.plan(&fault, 1);
        let error = commit(&sink, 1, &listed).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{fault:?}: {error:?}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(place.seen().await.is_empty());
    }
    // The ledger's own says nothing by itself: the ledger is looked at.
    faults.plan(&cancelled(&["ConditionalCheckFailed", "None"]), 1);
    commit(&sink, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await, counted(3, 1));
}

#[tokio::test]
async fn a_replay_of_an_epoch_that_was_applied_in_part_applies_the_rest_with_whatever_lanes_are_set() {
    for (lanes, lanes_after) in [(3, 8), (8, 1), (1, 4)] {
        for applied in [0, 1, 5] {
            let direct = Place::new().await;
            let mut place = direct.clone();
            place.config.lanes_max = lanes;
            let faults = place.behind_faults(WRITES).await;
            let sink = place.sink();
            let mut writer = opened(&sink, &attempt(1)).await;
            let listed = prepared(&mut writer, &attempt(1), 1, counts(800, 1)).await;
            // Making the lanes and beginning the epoch are requests, too.
            faults.plan(&Fault::Slow, lanes as usize + 1 + applied);
            faults.plan(&refused(400, "AccessDeniedException"), 100);
            commit(&sink, 1, &listed).await.unwrap_err();
            let seen = direct.seen().await.len();
            assert!(seen < 800 && (lanes > 1 || seen == 99 * applied), "{seen} of it are applied");
            let mut changed = direct.clone();
            changed.config.lanes_max = lanes_after;
            let newer = changed.sink();
            newer.recover(&attempt(2), &listed).await.unwrap();
            commit(&newer, 1, &listed).await.unwrap();
            assert_eq!(direct.seen().await, counted(800, 1), "{lanes} lanes and then {lanes_after}");
            let mut next = newer.open(&attempt(2), tidelock::WriterId(0)).await.unwrap();
            let second = prepared(&mut next, &attempt(2), 2, counts(800, 1)).await;
            commit(&newer, 2, &second).await.unwrap();
            assert_eq!(direct.seen().await, counted(800, 2));
        }
    }
}
