//! Epochs that are applied when their checkpoint is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidelock::{ErrorKind, Retry, Sink as _, WriterId};
use tidelock_dynamodb::{ItemChange, ItemUpdate, Value};

use super::common;
use super::place::{
    Expected, Place, WRITES, add, attempt, commit, counted, counts, gone, key, opened, prepared, put,
};

#[tokio::test]
async fn an_epoch_is_visible_by_its_commit_alone_and_repeating_it_changes_nothing() {
    for counters in [1, 60, 500] {
        let place = Place::new().await;
        let sink = place.sink();
        let mut writer = opened(&sink, &attempt(1)).await;
        let first = prepared(&mut writer, &attempt(1), 1, counts(counters, 3)).await;
        assert!(place.seen().await.is_empty());
        commit(&sink, 1, &first).await.unwrap();
        assert_eq!(place.seen().await, counted(counters, 3));
        commit(&sink, 1, &first).await.unwrap();
        commit(&place.sink(), 1, &first).await.unwrap();
        let second = prepared(&mut writer, &attempt(1), 2, counts(counters, 4)).await;
        commit(&sink, 2, &second).await.unwrap();
        commit(&place.sink(), 1, &first).await.unwrap();
        commit(&place.sink(), 2, &second).await.unwrap();
        assert_eq!(place.seen().await, counted(counters, 7));
    }
}

#[tokio::test]
async fn an_epoch_that_fits_into_one_chunk_is_visible_as_a_whole_or_not_at_all() {
    let place = Place::new().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    // A number cannot be added to a text.
    let text = [("value".to_owned(), Value::from("text"))];
    common::put(&place.client, &place.config.table, key("c0050").into_iter().chain(text).collect()).await;
    let listed = prepared(&mut writer, &attempt(1), 1, counts(99, 1)).await;
    let error = commit(&sink, 1, &listed).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains(", key=c0050") && said.contains("remedy=the epoch is kept: mend the item"),
        "{said}"
    );
    assert_eq!(place.seen().await.len(), 1, "nothing of it is applied");
    // A person mends the item.
    common::put(&place.client, &place.config.table, put_item("c0050", 0)).await;
    let newer = place.sink();
    newer.recover(&attempt(2), &listed).await.unwrap();
    commit(&newer, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await, counted(99, 1));
    assert_eq!(place.ledger().await.len(), 1, "it needs no lanes");
}

fn put_item(of: &str, value: i64) -> tidelock_dynamodb::Item {
    let value = [("value".to_owned(), value.into())];
    key(of).into_iter().chain(value).collect()
}

#[tokio::test]
async fn an_epoch_of_many_chunks_that_halts_in_the_middle_goes_on_where_it_was() {
    let place = Place::new().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let text = [("value".to_owned(), Value::from("text"))];
    common::put(&place.client, &place.config.table, key("c0350").into_iter().chain(text).collect()).await;
    let listed = prepared(&mut writer, &attempt(1), 1, counts(700, 1)).await;
    for _ in 0..3 {
        let error = commit(&sink, 1, &listed).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("key=c0350"), "{error}");
    }
    common::put(&place.client, &place.config.table, put_item("c0350", 0)).await;
    let newer = place.sink();
    newer.recover(&attempt(2), &listed).await.unwrap();
    commit(&newer, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await, counted(700, 1));
}

#[tokio::test]
async fn the_changes_of_an_item_are_applied_in_their_order_whatever_they_are() {
    let place = Place::new().await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let mut expected = Expected::default();
    let set = |of: &str, value: i64| ItemChange::update(ItemUpdate::of(key(of)).set("value", value));
    let remove = |of: &str| ItemChange::update(ItemUpdate::of(key(of)).set("other", 1).remove("value"));
    let rounds = [
        vec![put("a", 1), gone("a"), add("a", 5), set("b", 1), add("b", 2), remove("b"), add("b", 7)],
        vec![add("a", -2), put("a", 10), add("a", 1), gone("b"), set("b", 3), put("c", 1), gone("c")],
        vec![remove("a"), add("a", 1), add("d", 1), add("d", 1), gone("d"), add("d", 1), gone("b")],
    ];
    for (epoch, records) in (1..).zip(rounds) {
        expected.take(&records);
        let listed = prepared(&mut writer, &attempt(1), epoch, records).await;
        commit(&sink, epoch, &listed).await.unwrap();
        expected.check(&place, "after an epoch").await;
    }
}

#[tokio::test]
async fn the_ledger_does_not_grow_with_time_and_small_epochs_cost_one_request() {
    let mut place = Place::new().await;
    let (faults, requests) = (place.behind_faults(WRITES).await, Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&requests);
    faults.hook(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        None
    });
    place.config.lanes_max = 3;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    for epoch in 1..30 {
        let counters = if epoch % 3 == 0 { 400 } else { 5 };
        let listed = prepared(&mut writer, &attempt(1), epoch, counts(counters, 1)).await;
        requests.store(0, Ordering::SeqCst);
        commit(&sink, epoch, &listed).await.unwrap();
        // A transaction, and nothing beside it; or the lanes at first, the head, and five chunks.
        let expected = if counters == 5 { 1..=1 } else { 6..=20 };
        assert!(expected.contains(&requests.load(Ordering::SeqCst)), "{requests:?} for {counters}");
    }
    assert_eq!(
        place.ledger().await.keys().collect::<Vec<_>>(),
        ["job.out", "job.out.0", "job.out.1", "job.out.2"]
    );
}

#[tokio::test]
async fn all_writers_of_an_epoch_are_applied_and_sinks_of_one_table_have_ledgers_of_their_own() {
    let place = Place::new().await;
    let sink = place.sink();
    sink.recover(&attempt(1), &[]).await.unwrap();
    let mut listed = Vec::new();
    for number in 0..3 {
        let mut writer = sink.open(&attempt(1), WriterId(number)).await.unwrap();
        let mut of_writer = prepared(&mut writer, &attempt(1), 1, counts(80, 1)).await;
        of_writer.iter_mut().for_each(|one| one.writer = WriterId(number));
        listed.extend(of_writer);
    }
    commit(&sink, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await, counted(80, 3));
    let other = super::place::attempt_of("another-job", 1, 1);
    let second = place.sink();
    let mut writer = opened(&second, &other).await;
    let of_other = prepared(&mut writer, &other, 1, counts(80, 1)).await;
    commit(&second, 1, &of_other).await.unwrap();
    commit(&sink, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await, counted(80, 4));
}
