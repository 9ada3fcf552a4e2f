//! What the ledger promises, tried on SQLite; `servers.rs` tries the same on servers.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{Place, scenes};
use tidelock::{ErrorKind, Retry, Sink as _};
use tidelock_sql::{Change, SqlSink};
use tidelock_testkit::harness::Row;

macro_rules! scenes {
    ($($scene:ident)*) => {
        $(#[tokio::test]
        async fn $scene() {
            Box::pin(scenes::$scene(Place::sqlite())).await;
        })*
    };
}

scenes::on_every_database!(scenes);

#[tokio::test]
async fn a_file_that_somebody_else_writes_is_waited_for_and_then_tried_again() {
    let place = Place::sqlite();
    place.make_log().await;
    let mut config = place.sink_config();
    config.database.statement_timeout_ms = 50;
    let sink = SqlSink::new(config).unwrap();
    let attempt = scenes::attempt("job", 1);
    sink.recover(&attempt, &[]).await.unwrap();
    let row = Row::new("a", 1);
    let pending = scenes::prepare(&sink, &attempt, 1, vec![Change::Insert(row.clone())]).await.unwrap();
    let other = place.sqlite_connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = scenes::commit(&sink, 1, &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Retry), "{error:?}");
    other.execute_batch("COMMIT").unwrap();
    scenes::commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await, [row]);
}

#[tokio::test]
async fn a_file_that_is_no_database_halts() {
    let place = Place::sqlite();
    std::fs::write(&place.config.name, vec![b'x'; 4096]).unwrap();
    let sink = SqlSink::<Row>::new(place.sink_config()).unwrap();
    let error = sink.recover(&scenes::attempt("job", 1), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Corrupt, Retry::Halt), "{error:?}");
}
