//! Settings that change while something is pending.

use tidelock::{ErrorKind, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_dynamodb::Mode;

use super::common::NewTable;
use super::place::{Place, attempt, commit, counted, counts, opened, prepared, put};

#[tokio::test]
async fn another_table_is_told_while_an_epoch_is_pending_and_is_taken_when_none_is() {
    let place = Place::new().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let listed = prepared(&mut writer, &attempt(1), 1, counts(10, 1)).await;
    let mut changed = place.clone();
    changed.config.table = NewTable::fresh().make(&place.client).await;
    let error = changed.sink().recover(&attempt(2), &listed).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("setting=table") && said.contains(&format!("pending_for={}", place.config.table)),
        "{said}"
    );
    assert!(changed.seen().await.is_empty());
    // With the table of before it goes on, and then another one is as good.
    let again = place.sink();
    again.recover(&attempt(3), &listed).await.unwrap();
    commit(&again, 1, &listed).await.unwrap();
    let sink = changed.sink();
    let mut writer = opened(&sink, &attempt(4)).await;
    let second = prepared(&mut writer, &attempt(4), 2, counts(10, 5)).await;
    commit(&sink, 2, &second).await.unwrap();
    assert_eq!((place.seen().await, changed.seen().await), (counted(10, 1), counted(10, 5)));
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_told_while_an_epoch_is_pending() {
    let place = Place::new().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let listed = prepared(&mut writer, &attempt(1), 1, counts(10, 1)).await;
    place.drop_table(&place.config.table).await;
    let again = NewTable { name: place.config.table.clone(), ..NewTable::fresh() };
    again.make(&place.client).await;
    let error = place.sink().recover(&attempt(2), &listed).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("made anew"), "{error}");
    assert!(place.seen().await.is_empty());
    // With nothing pending it is a table like any other.
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(3)).await;
    let listed = prepared(&mut writer, &attempt(3), 2, counts(10, 1)).await;
    commit(&sink, 2, &listed).await.unwrap();
    assert_eq!(place.seen().await, counted(10, 1));
}

#[tokio::test]
async fn the_mode_may_change_while_something_is_pending() {
    let mut place = Place::new().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let pending = prepared(&mut writer, &attempt(1), 1, counts(250, 1)).await;
    place.config.mode = Mode::Batched;
    let sink = place.sink();
    sink.recover(&attempt(2), &pending).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.seen().await, counted(250, 1));
    let mut writer = sink.open(&attempt(2), WriterId(0)).await.unwrap();
    writer.write(&mut vec![put("c0000", 7)]).await.unwrap();
    assert!(writer.prepare(tidelock::Epoch(2)).await.unwrap().is_empty());
    assert_eq!(place.value("c0000").await, Some(7));
    place.config.mode = Mode::Ledger;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(3)).await;
    let listed = prepared(&mut writer, &attempt(3), 3, counts(1, 1)).await;
    commit(&sink, 3, &listed).await.unwrap();
    assert_eq!(place.value("c0000").await, Some(8));
}

#[tokio::test]
async fn a_table_that_is_no_ledger_is_refused_by_its_setting() {
    let mut place = Place::new().await;
    place.config.ledger_table = NewTable::fresh().make(&place.client).await;
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("setting=ledger_table"), "{error}");
}
