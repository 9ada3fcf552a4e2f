//! What DynamoDB never takes must not get into the job's log: there it would halt the job with every start.

use aws_sdk_dynamodb::types::ScalarAttributeType;
use tidelock::{ErrorKind, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_dynamodb::{Item, ItemChange, ItemUpdate, Value};

use super::common::NewTable;
use super::place::{Place, attempt, commit, key, opened, prepared};

fn put(of: &str, name: &str, value: impl Into<Value>) -> ItemChange {
    ItemChange::put(key(of).into_iter().chain([(name.to_owned(), value.into())]).collect())
}

fn update(of: &str) -> ItemUpdate {
    ItemUpdate::of(key(of))
}

/// Of a table with an index by the text `day`.
fn never_taken() -> Vec<(&'static str, ItemChange)> {
    let nested = || Value::L(vec![Value::M([(String::new(), 1.into())].into())]);
    let zero = || Value::N("0e126".into());
    vec![
        ("an empty name within a map", put("a", "value", nested())),
        ("the same in an update", ItemChange::update(update("a").set("value", nested()))),
        ("zero with too large a power", ItemChange::update(update("a").add("value", zero()))),
        ("the same within a list", put("a", "value", Value::L(vec![zero()]))),
        ("the key of an index of another kind", put("a", "day", 7)),
        ("the same in an update", ItemChange::update(update("a").set("day", 7))),
        ("an addition to the key of an index", ItemChange::update(update("a").add("day", 7))),
        ("the key of an index that is empty", put("a", "day", "")),
        ("the same in an update", ItemChange::update(update("a").set("day", ""))),
    ]
}

#[tokio::test]
async fn what_the_server_never_takes_is_refused_before_it_is_stored_and_everything_else_is_applied() {
    let mut place = Place::new().await;
    let table = NewTable::fresh().indexed_by("day", ScalarAttributeType::S);
    place.config.table = table.make(&place.client).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    for (what, record) in never_taken() {
        let error = writer.write(&mut vec![record]).await.expect_err(what);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{what}: {error:?}");
        assert!(error.to_string().contains("key=a"), "{what}: {error}");
    }
    let good = vec![
        put("sparse", "value", Value::N("-0.0e125".into())),
        put("indexed", "day", "monday"),
        ItemChange::update(update("updated").set("day", "monday").remove("value")),
        ItemChange::update(update("removed").remove("day").add("value", 1)),
    ];
    let listed = prepared(&mut writer, &attempt(1), 1, good).await;
    commit(&sink, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await.len(), 4);
}

/// An item that is six times as long on its way as where it is stored: DynamoDB counts a byte for each of these letters.
fn long_on_its_way(of: &str) -> Item {
    key(of).into_iter().chain([("value".to_owned(), "\u{1}".repeat(390_000).into())]).collect()
}

/// A request has 16 MB at most, whatever it counts as where it is stored.
#[tokio::test]
async fn values_that_are_long_on_their_way_fit_into_their_requests() {
    let place = Place::new().await;
    let sink = place.sink();
    sink.recover(&attempt(1), &[]).await.unwrap();
    let mut listed = Vec::new();
    for number in 0..2 {
        let mut writer = sink.open(&attempt(1), WriterId(number)).await.unwrap();
        let records = (0..4).map(|at| ItemChange::put(long_on_its_way(&format!("{number}-{at}")))).collect();
        let mut of_writer = prepared(&mut writer, &attempt(1), 1, records).await;
        of_writer.iter_mut().for_each(|one| one.writer = WriterId(number));
        listed.extend(of_writer);
    }
    commit(&sink, 1, &listed).await.unwrap();
    assert_eq!(place.seen().await.len(), 8);
}
