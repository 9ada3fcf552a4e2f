//! What must hold on servers where others are at work, and where connections are lost.

use tidelock::{Epoch, ErrorKind, Result, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_sql::{Change, DatabaseKind, Mode, SqlSink};
use tidelock_testkit::harness::Row;

use super::Place;
use super::cut::Cut;
use super::scenes::{attempt, commit, prepare};
use super::session::Session;

fn row(key: &str, value: u64) -> Row {
    Row::new(key, value)
}

fn inserts(count: u64) -> Vec<Change<Row>> {
    (0..count).map(|at| Change::Insert(row(&format!("k{at}"), at))).collect()
}

/// Each has a row that the other one wants. We are turned away, and what we do again ends as if nothing had been.
/// <https://github.com/confluentinc/kafka-connect-jdbc/issues/385>
pub(crate) async fn a_deadlock_with_somebody_else_ends_well(place: Place) {
    place.make_table().await;
    place.run("INSERT INTO log VALUES ('a', 0), ('b', 0)").await;
    place.run("CREATE TABLE heavy (id BIGINT PRIMARY KEY)").await;
    let mut other = Session::open(&place).await;
    // PostgreSQL turns away whoever looks first: that is we, when both wait. MySQL and MariaDB turn away whoever changed less.
    if place.kind() == DatabaseKind::Postgres {
        let ours = format!("ALTER DATABASE {} SET deadlock_timeout = '5s'", place.config.name);
        other.run(&ours).await.unwrap();
        other.run("SET deadlock_timeout = '1h'").await.unwrap();
    }
    let sink = SqlSink::new(place.sink_config()).unwrap();
    sink.recover(&attempt("job", 1), &[]).await.unwrap();
    let values: Vec<String> = (0..2_000).map(|id| format!("({id})")).collect();
    other.run("BEGIN").await.unwrap();
    other.run(&format!("INSERT INTO heavy VALUES {}", values.join(", "))).await.unwrap();
    other.run("UPDATE log SET value = 7 WHERE \"key\" = 'b'").await.unwrap();

    let upserts = || vec![Change::Upsert(row("a", 1)), Change::Upsert(row("b", 1))];
    let mut pending = Vec::new();
    let ours = async {
        pending = prepare(&sink, &attempt("job", 1), 1, upserts()).await?;
        commit(&sink, 1, &pending).await
    };
    let theirs = async {
        place.until_somebody_waits().await;
        other.run("UPDATE log SET value = 7 WHERE \"key\" = 'a'").await
    };
    let (ours, theirs) = tokio::join!(ours, theirs);
    theirs.expect("we are turned away");
    other.run("COMMIT").await.unwrap();
    let error = ours.expect_err("a deadlock");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let rows = place.rows("\"key\"").await;
    assert_eq!(rows, [row("a", 7), row("b", 7)], "nothing of ours");
    if place.mode == Mode::Ledger {
        // What is pending is applied once more.
        assert_eq!(error.retry(), Retry::Retry, "{error:?}");
        commit(&sink, 1, &pending).await.unwrap();
    } else {
        // Nothing was prepared: the next attempt writes it again.
        assert_eq!(error.retry(), Retry::Restart, "{error:?}");
        assert!(error.to_string().contains("remedy="), "{error}");
        let two = attempt("job", 2);
        sink.recover(&two, &[]).await.unwrap();
        let pending = prepare(&sink, &two, 1, upserts()).await.unwrap();
        commit(&sink, 1, &pending).await.unwrap();
    }
    assert_eq!(place.rows("\"key\"").await, [row("a", 1), row("b", 1)]);
}

/// An epoch of several statements fails in the middle. <https://github.com/turbolytics/sql-flow/pull/221>
pub(crate) async fn an_epoch_that_is_tried_again_is_not_sent_twice(place: Place) {
    const ROWS: u64 = 300;
    let values: Vec<String> = (0..ROWS).map(|id| format!("({id})")).collect();
    place.run("CREATE TABLE parent (id BIGINT PRIMARY KEY)").await;
    place.run(&format!("INSERT INTO parent VALUES {}", values.join(", "))).await;
    // Nothing tells two equal rows apart.
    place.make_log().await;
    place.run("ALTER TABLE log ADD FOREIGN KEY (value) REFERENCES parent (id)").await;
    let mut config = place.sink_config();
    config.database.statement_timeout_ms = 1_000;
    let sink = SqlSink::new(config).unwrap();
    sink.recover(&attempt("job", 1), &[]).await.unwrap();
    let pending = prepare(&sink, &attempt("job", 1), 1, inserts(ROWS)).await.unwrap();
    let mut other = Session::open(&place).await;
    other.run("BEGIN").await.unwrap();
    // The first 256 rows are one statement.
    other.run("SELECT id FROM parent WHERE id = 290 FOR UPDATE").await.unwrap();
    for _ in 0..2 {
        let error = commit(&sink, 1, &pending).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Retry), "{error:?}");
    }
    other.run("ROLLBACK").await.unwrap();
    for _ in 0..2 {
        commit(&sink, 1, &pending).await.unwrap();
    }
    let expected: Vec<_> = (0..ROWS).map(|at| row(&format!("k{at}"), at)).collect();
    assert_eq!(place.rows("id").await, expected);
}

/// What a writer has when it ends without a prepare is nothing. <https://github.com/apache/seatunnel/issues/11890>
pub(crate) async fn a_writer_that_failed_or_was_given_up_leaves_nothing(place: Place) {
    const ROWS: u64 = 3_000;
    place.make_log().await;
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let one = attempt("job", 1);
    sink.recover(&one, &[]).await.unwrap();
    let mut failed = sink.open(&one, WriterId(0)).await.unwrap();
    failed.write(&mut inserts(ROWS)).await.unwrap();
    let error = failed.write(&mut vec![Change::Insert(row("large", u64::MAX))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    let mut given_up = sink.open(&one, WriterId(1)).await.unwrap();
    given_up.write(&mut inserts(ROWS)).await.unwrap();
    drop((failed, given_up));
    assert_eq!(place.rows("id").await, []);
    assert_eq!(place.prepared().await, Vec::<String>::new());
    let two = attempt("job", 2);
    sink.recover(&two, &[]).await.unwrap();
    let pending = prepare(&sink, &two, 1, inserts(2)).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await, [row("k0", 0), row("k1", 1)]);
}

/// A connection that is lost is not a table that is not there, wherever it happens.
/// <https://github.com/debezium/debezium/pull/6754>
pub(crate) async fn a_connection_that_is_lost_while_tables_are_looked_at_is_an_error_that_may_pass(
    place: Place,
) {
    place.make_log().await;
    let mut cuts = 0;
    for nth in 1..200 {
        let cut = Cut::at(&place, nth, nth % 2 == 0).await;
        let sink = SqlSink::<Row>::new(cut.place.sink_config()).unwrap();
        let one = attempt("job", 1);
        match look_and_open(&sink, &one).await {
            Ok(()) if !cut.is_done() => break,
            // Nobody waited for that answer.
            Ok(()) => {}
            Err(error) => {
                let told = (error.kind(), error.retry());
                assert_eq!(told, (ErrorKind::Unavailable, Retry::Retry), "at {nth}: {error:?}");
                assert!(cut.is_done(), "at {nth}: {error:?}");
                cuts += 1;
            }
        }
        look_and_open(&sink, &one).await.unwrap_or_else(|error| panic!("at {nth}: {error:?}"));
    }
    assert!((10..190).contains(&cuts), "{cuts} cuts");
    let sink = SqlSink::new(place.sink_config()).unwrap();
    sink.recover(&attempt("job", 2), &[]).await.unwrap();
    let pending = prepare(&sink, &attempt("job", 2), 1, inserts(2)).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(place.rows("id").await.len(), 2);
}

async fn look_and_open(sink: &SqlSink<Row>, attempt: &tidelock::SinkAttempt) -> Result<()> {
    sink.recover(attempt, &[]).await?;
    let mut writer = sink.open(attempt, WriterId(0)).await?;
    // An epoch without rows.
    writer.prepare(Epoch(1)).await.map(drop)
}
