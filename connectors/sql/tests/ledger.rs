//! What the ledger promises, tried on SQLite; `servers.rs` tries the same on servers.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{Place, scenes};
use tidelock::{ErrorKind, Retry, Sink as _};
use tidelock_sql::{Change, RecordPolicy, SqlSink, SqlSinkConfig};
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

/// It was applied, and the process died before that was confirmed. Meanwhile the ledger is another one.
#[tokio::test]
async fn what_is_pending_is_not_applied_by_a_ledger_that_never_heard_of_the_job() {
    let place = Place::sqlite();
    place.make_log().await;
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let attempt = |number| scenes::attempt("job", number);
    sink.recover(&attempt(1), &[]).await.unwrap();
    let row = Row::new("a", 1);
    let pending = scenes::prepare(&sink, &attempt(1), 7, vec![Change::Insert(row.clone())]).await.unwrap();
    scenes::commit(&sink, 7, &pending).await.unwrap();
    let mut other = place.sink_config();
    other.ledger_table = "other_ledger".into();
    let other = SqlSink::<Row>::new(other).unwrap();
    let error = other.recover(&attempt(9), &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("table=other_ledger") && told.contains("remedy="), "{told}");
    // The first one is still right, and what it was asked to do before is done.
    let again = SqlSink::<Row>::new(place.sink_config()).unwrap();
    again.recover(&attempt(11), &pending).await.unwrap();
    scenes::commit(&again, 7, &pending).await.unwrap();
    assert_eq!(place.rows("id").await, [row]);
}

/// The ledger is of the job and the sink, and says nothing of the table.
#[tokio::test]
async fn what_is_pending_goes_to_no_other_table_or_database_than_it_was_written_for() {
    let (place, elsewhere) = (Place::sqlite(), Place::sqlite());
    place.make_log().await;
    place.run("CREATE TABLE other (\"key\" VARCHAR(64) NOT NULL, value BIGINT NOT NULL)").await;
    elsewhere.make_log().await;
    let attempt = |number| scenes::attempt("job", number);
    let prepared = async |config: SqlSinkConfig, number: u64, key: &str| {
        let sink = SqlSink::new(config).unwrap();
        sink.recover(&attempt(number), &[]).await.unwrap();
        let rows = vec![Change::Insert(Row::new(key, number))];
        scenes::prepare(&sink, &attempt(number), number, rows).await.unwrap()
    };
    // The job has been everywhere before.
    for (number, config) in (1..).zip([elsewhere.sink_config(), place.sink_config_of("other")]) {
        let pending = prepared(config.clone(), number, "before").await;
        scenes::commit(&SqlSink::<Row>::new(config).unwrap(), number, &pending).await.unwrap();
    }
    let pending = prepared(place.sink_config(), 3, "a").await;
    for config in [elsewhere.sink_config(), place.sink_config_of("other")] {
        let table = format!("configured=table {} of database", config.table);
        let changed = SqlSink::<Row>::new(config).unwrap();
        for error in [
            changed.recover(&attempt(4), &pending).await.unwrap_err(),
            scenes::commit(&changed, 3, &pending).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
            let told = error.to_string();
            assert!(told.contains("pending_for=table log of database") && told.contains(&table), "{told}");
        }
    }
    let others = place.query("SELECT \"key\" FROM other").await;
    assert_eq!((others.len(), elsewhere.rows("id").await), (1, vec![Row::new("before", 1)]));
    // The remedy: where it was written for it is applied, and then the table may be another one.
    let back = SqlSink::<Row>::new(place.sink_config()).unwrap();
    back.recover(&attempt(5), &pending).await.unwrap();
    scenes::commit(&back, 3, &pending).await.unwrap();
    assert_eq!(place.rows("id").await, [Row::new("a", 3)]);
    let next = prepared(place.sink_config_of("other"), 6, "next").await;
    let changed = SqlSink::<Row>::new(place.sink_config_of("other")).unwrap();
    scenes::commit(&changed, 6, &next).await.unwrap();
    assert_eq!(place.query("SELECT \"key\" FROM other").await.len(), 2);
}

/// The first of two epochs was applied, and the process died before that was confirmed. Then the ledger was dropped.
#[tokio::test]
async fn who_follows_what_is_said_of_a_lost_ledger_has_each_row_once() {
    for applied in [0, 4, 5] {
        let place = Place::sqlite();
        place.make_log().await;
        let sink = SqlSink::new(place.sink_config()).unwrap();
        let attempt = |number| scenes::attempt("job", number);
        sink.recover(&attempt(1), &[]).await.unwrap();
        let mut pending = Vec::new();
        for (epoch, key) in [(4, "a"), (5, "b")] {
            let rows = vec![Change::Insert(Row::new(key, epoch))];
            let prepared = scenes::prepare(&sink, &attempt(1), epoch, rows).await.unwrap();
            if epoch <= applied {
                scenes::commit(&sink, epoch, &prepared).await.unwrap();
            }
            pending.extend(prepared);
        }
        place.run("DROP TABLE tidelock_ledger").await;
        let next = SqlSink::<Row>::new(place.sink_config()).unwrap();
        let error = next.recover(&attempt(9), &pending).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("epoch 4 of generation 1, epoch 5 of generation 1"), "{told}");
        let insert = told.split("INSERT INTO").nth(1).unwrap().split(';').next().unwrap();
        let insert = match applied {
            0 => insert.replace("1, <EPOCH>", "0, 0"),
            last => insert.replace("<EPOCH>", &last.to_string()),
        };
        place.run(&format!("INSERT INTO{insert}")).await;
        next.recover(&attempt(9), &pending).await.unwrap();
        scenes::commit(&next, 5, &pending).await.unwrap();
        assert_eq!(place.rows("id").await, [Row::new("a", 4), Row::new("b", 5)], "{applied} was applied");
    }
}

/// Two deployments with one name and logs of their own: the second one is of a newer generation.
#[tokio::test]
async fn an_epoch_of_an_older_history_is_not_taken_for_applied() {
    let place = Place::sqlite();
    place.make_log().await;
    let of_generation = |generation| {
        let attempt = scenes::attempt("job", 3);
        tidelock::SinkAttempt { generation: tidelock::Generation(generation), ..attempt }
    };
    let rows = |key: &str| vec![Change::Insert(Row::new(key, 1))];
    let first = SqlSink::new(place.sink_config()).unwrap();
    first.recover(&of_generation(1), &[]).await.unwrap();
    let of_first = scenes::prepare(&first, &of_generation(1), 9, rows("first")).await.unwrap();
    let second = SqlSink::new(place.sink_config()).unwrap();
    second.recover(&of_generation(2), &[]).await.unwrap();
    let of_second = scenes::prepare(&second, &of_generation(2), 1, rows("second")).await.unwrap();
    scenes::commit(&second, 1, &of_second).await.unwrap();
    let error = scenes::commit(&first, 9, &of_first).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("version=1/9") && told.contains("newest_in_ledger=2/1"), "{told}");
    scenes::commit(&second, 1, &of_second).await.unwrap();
    assert_eq!(place.rows("id").await, [Row::new("second", 1)]);
}

/// Its definition says so, and SQLite says nothing when it happens.
#[tokio::test]
async fn a_row_that_the_table_leaves_out_is_refused_and_not_lost() {
    let place = Place::sqlite();
    place.run("CREATE TABLE log (\"key\" TEXT PRIMARY KEY, value INTEGER UNIQUE ON CONFLICT IGNORE)").await;
    let rows = || vec![Change::Insert(Row::new("a", 1)), Change::Insert(Row::new("b", 1))];
    let error = scenes::epochs(&place, place.sink_config(), vec![rows()]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("key=key=\"b\""), "{error}");
    assert_eq!(place.rows("\"key\"").await, []);
    let mut skipping = place.sink_config();
    (skipping.on_refused, skipping.ledger_table) = (RecordPolicy::Skip, "skipping".into());
    scenes::epochs(&place, skipping, vec![rows()]).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [Row::new("a", 1)]);
}

#[tokio::test]
async fn a_trigger_that_takes_the_whole_transaction_back_halts_as_a_violation_and_leaves_nothing() {
    let place = Place::sqlite();
    place.make_table().await;
    place
        .run("CREATE TRIGGER t BEFORE INSERT ON log WHEN NEW.value = 7 BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
        .await;
    let rows = vec![Change::Insert(Row::new("a", 1)), Change::Insert(Row::new("b", 7))];
    let mut config = place.sink_config();
    config.on_refused = RecordPolicy::Skip;
    let error = scenes::epochs(&place, config, vec![rows]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("remedy="), "{error}");
    assert_eq!(place.rows("\"key\"").await, []);
}

/// A column is dropped when its rows are durable.
#[tokio::test]
async fn an_epoch_that_the_table_has_no_column_for_any_more_halts_and_says_what_to_do() {
    let place = Place::sqlite();
    place.run("CREATE TABLE log (\"key\" TEXT PRIMARY KEY, value INTEGER)").await;
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let attempt = scenes::attempt("job", 1);
    sink.recover(&attempt, &[]).await.unwrap();
    let rows = vec![Change::Insert(Row::new("a", 1))];
    let pending = scenes::prepare(&sink, &attempt, 1, rows).await.unwrap();
    place.run("ALTER TABLE log DROP COLUMN value").await;
    let error = scenes::commit(&sink, 1, &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("remedy=") && error.to_string().contains("abandon"), "{error}");
    place.run("ALTER TABLE log ADD COLUMN value INTEGER").await;
    scenes::commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [Row::new("a", 1)]);
}
