//! Epochs that are applied when their checkpoint is complete.

use tidelock::{ErrorKind, Retry, Sink as _, WriterId};
use tidelock_hbase::Mode;

use super::place::{Clock, Place, attempt, attempt_of, commit, gone, opened, prepared, put, write};

const MINUTES: i64 = 150_000;

#[tokio::test]
#[ignore = "needs a container"]
async fn an_epoch_is_visible_by_its_commit_alone_and_repeating_it_changes_no_cell() {
    let place = Place::ledger().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, vec![put("a", 1), put("b", 1)]).await;
    assert!(place.seen().await.is_empty());
    commit(&sink, 1, &first).await.unwrap();
    let cells = place.server.raw_cells(place.table()).await.unwrap();
    commit(&sink, 1, &first).await.unwrap();
    commit(&place.sink(), 1, &first).await.unwrap();
    assert_eq!(
        place.server.raw_cells(place.table()).await.unwrap(),
        cells,
        "the same cells with the same times"
    );
    let second = prepared(&mut writer, &attempt(1), 2, vec![put("a", 2), gone("b")]).await;
    commit(&sink, 2, &second).await.unwrap();
    commit(&place.sink(), 1, &first).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(2), None));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_paused_older_attempt_that_commits_late_changes_nothing_whatever_its_clock_says() {
    let place = Place::ledger().await;
    let older = place.sink_at(&Clock::off_by(MINUTES));
    let mut writer = opened(&older, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, vec![put("a", 1)]).await;
    let newer = place.sink_at(&Clock::off_by(-MINUTES));
    newer.recover(&attempt(2), &first).await.unwrap();
    commit(&newer, 1, &first).await.unwrap();
    let mut next = newer.open(&attempt(2), WriterId(0)).await.unwrap();
    let second = prepared(&mut next, &attempt(2), 2, vec![put("a", 2)]).await;
    commit(&newer, 2, &second).await.unwrap();
    commit(&older, 1, &first).await.unwrap();
    assert_eq!(place.value("a").await, Some(2));
    // What only the older one has ever heard of is not begun.
    let own = prepared(&mut writer, &attempt(1), 3, vec![put("a", 3)]).await;
    let error = commit(&older, 3, &own).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert_eq!(place.value("a").await, Some(2));
    // Nor where it is started again with it: it is told before anything is applied.
    let error = place.sink().recover(&attempt(1), &own).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_rollback_wins_and_what_the_rolled_back_run_commits_late_changes_nothing() {
    let place = Place::ledger().await;
    let run = place.sink_at(&Clock::off_by(MINUTES));
    let mut writer = opened(&run, &attempt_of("job", 1, 1)).await;
    let ninth = prepared(&mut writer, &attempt_of("job", 1, 1), 9, vec![put("a", 9), put("b", 9)]).await;
    commit(&run, 9, &ninth).await.unwrap();
    let back = place.sink();
    back.recover(&attempt_of("job", 1, 2), &[]).await.unwrap();
    let mut replay = back.open(&attempt_of("job", 2, 2), WriterId(0)).await.unwrap();
    let tenth = prepared(&mut replay, &attempt_of("job", 2, 2), 10, vec![put("a", 2), gone("b")]).await;
    commit(&back, 10, &tenth).await.unwrap();
    commit(&run, 9, &ninth).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(2), None));
    // A log of the older history cannot write.
    let error = run.open(&attempt_of("job", 1, 3), WriterId(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_cell_that_is_in_several_batches_of_an_epoch_ends_with_the_last() {
    let place = Place::ledger().await;
    let sink = place.sink();
    let attempt = attempt(1);
    sink.recover(&attempt, &[]).await.unwrap();
    let mut listed = Vec::new();
    // Two writers have the same row here, which makes two batches, and the second one is later.
    for (number, value) in [(0, 1), (1, 2)] {
        let mut writer = sink.open(&attempt, WriterId(number)).await.unwrap();
        let mut of_writer = prepared(&mut writer, &attempt, 1, vec![put("a", value)]).await;
        of_writer.iter_mut().for_each(|one| one.writer = WriterId(number));
        listed.extend(of_writer);
    }
    commit(&sink, 1, &listed).await.unwrap();
    let timestamps = place.timestamps().await;
    assert_eq!(place.value("a").await, Some(2), "{timestamps:?}");
    // A request of the first batch comes once more.
    let first = timestamps.into_iter().max().unwrap() - 3;
    place.late_put("a", 1, first).await;
    assert_eq!(place.value("a").await, Some(2));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn the_mode_may_change_while_something_is_pending_and_the_later_mode_wins() {
    let mut place = Place::ledger().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let pending = prepared(&mut writer, &attempt(1), 1, vec![put("a", 1)]).await;
    place.config.mode = Mode::Upsert;
    let sink = place.sink();
    sink.recover(&attempt(2), &pending).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.value("a").await, Some(1));
    let mut writer = sink.open(&attempt(2), WriterId(0)).await.unwrap();
    for value in 2..5 {
        write(&mut writer, vec![put("a", value)]).await.unwrap();
        assert_eq!(place.value("a").await, Some(value));
    }
    place.config.mode = Mode::Ledger;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(3)).await;
    let listed = prepared(&mut writer, &attempt(3), 2, vec![put("a", 9)]).await;
    commit(&sink, 2, &listed).await.unwrap();
    assert_eq!(place.value("a").await, Some(9));
}
