//! The mode `prepared` on PostgreSQL, MariaDB and MySQL: the promises of the contract, and the traps of each server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod job;
mod on_each;

use std::time::Duration;

use common::scenes::{PendingRows, attempt, commit, prepare};
use common::{Place, Rows, Values, boot_on, rivals, scenes};
use mysql_async::prelude::Queryable as _;
use tidelock::{
    Epoch, ErrorKind, Pending, Rejecting as _, Rejects, Result, Retry, Sink as _, SinkAttempt,
    SinkWriter as _, WriterId,
};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{
    Change, DatabaseKind, Mode, Outcome, RecordPolicy, SqlCommittable, SqlSink, SqlWriter, TransactionName,
    Transactions,
};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::Row;

async fn on_shared(database: Database) -> Place {
    Place::on_shared(database).await.in_mode(Mode::Prepared)
}

/// The suites on one kind of server.
macro_rules! suites {
    ($($module:ident: $database:ident;)*) => {
        $(mod $module {
            use super::*;

            mod inserts {
                use super::*;

                async fn boot() -> Result<Option<Rows>> {
                    boot_on(Database::$database, Mode::Prepared, Rows::log).await
                }

                conformance::sink!(#[ignore = "needs a container"] boot);
                conformance::rejecting!(#[ignore = "needs a container"] boot);
            }

            mod upserts {
                use super::*;

                async fn boot() -> Result<Option<Rows>> {
                    boot_on(Database::$database, Mode::Prepared, Rows::table).await
                }

                conformance::sink!(#[ignore = "needs a container"] boot);
            }

            async fn boot() -> Result<Option<Values>> {
                boot_on(Database::$database, Mode::Prepared, Values::new).await
            }

            conformance::values!(#[ignore = "needs a container"] boot);
        })*
    };
}

suites! {
    postgres: Postgres;
    mariadb: Mariadb;
    mysql: Mysql;
}

/// The same on every kind of server.
macro_rules! scenes {
    ($($module:ident::$scene:ident)*) => {
        $(#[tokio::test]
        #[ignore = "needs a container"]
        async fn $scene() {
            Database::each(async |database| $module::$scene(on_shared(database).await).await).await;
        })*
    };
}

scenes! {
    scenes::changes_are_done_in_their_order
    scenes::names_are_compared_letter_by_letter
    scenes::a_reader_never_sees_a_part_of_an_epoch
    scenes::every_type_of_column_takes_its_value
    rivals::a_deadlock_with_somebody_else_ends_well
    rivals::a_writer_that_failed_or_was_given_up_leaves_nothing
    rivals::a_connection_that_is_lost_while_tables_are_looked_at_is_an_error_that_may_pass
    on_each::what_an_operator_committed_is_done_and_what_he_rolled_back_halts
    on_each::names_of_others_are_neither_read_nor_touched
    on_each::jobs_of_one_name_on_two_databases_are_apart
    on_each::an_attempt_that_is_not_older_stops_recovery_before_anything_is_touched
    on_each::two_processes_of_one_attempt_write_nothing_twice
    on_each::an_epoch_that_lost_its_beginning_is_not_prepared
    on_each::what_a_paused_attempt_holds_is_free_after_recovery
    on_each::a_late_commit_of_an_older_attempt_is_no_loss
    on_each::a_writer_never_waits_for_its_own_rows
    on_each::a_row_that_cannot_be_is_dealt_with_when_it_is_written
    on_each::what_is_checked_at_the_end_alone_halts_and_leaves_nothing
    on_each::rows_of_what_was_committed_are_deleted
    on_each::a_mode_may_change_while_something_is_pending
    on_each::an_epoch_of_many_rows_is_written_as_it_comes
    on_each::an_attempt_that_rolled_back_knows_its_own
    on_each::what_is_pending_is_committed_to_its_own_table_whatever_is_configured
}

fn row(key: &str, value: u64) -> Row {
    Row::new(key, value)
}

fn inserts(name: &str, count: u64) -> Vec<Change<Row>> {
    (0..count).map(|at| Change::Insert(row(&format!("{name}-{at}"), at))).collect()
}

fn name_of(pending: &PendingRows) -> TransactionName {
    pending.committable.transaction().unwrap().clone()
}

/// Another process of the sink.
fn sink(place: &Place) -> SqlSink<Row> {
    SqlSink::new(place.sink_config()).unwrap()
}

async fn ready(place: &Place, attempt: &SinkAttempt) -> SqlSink<Row> {
    let sink = sink(place);
    sink.recover(attempt, &[]).await.unwrap();
    sink
}

async fn fill(
    writer: &mut SqlWriter<Row>,
    attempt: &SinkAttempt,
    epoch: u64,
    mut changes: Vec<Change<Row>>,
) -> Result<Vec<PendingRows>> {
    writer.write(&mut changes).await?;
    assert!(changes.is_empty(), "there is a free place");
    let prepared = writer.prepare(Epoch(epoch)).await?;
    let pending = |one: tidelock::Prepared<_>| Pending {
        epoch: Epoch(epoch),
        attempt: attempt.number,
        writer: WriterId(0),
        committable: one.committable,
    };
    Ok(prepared.into_iter().map(pending).collect())
}

/// Nothing is prepared, and nobody holds a row or the table.
async fn nothing_is_locked(place: &Place) {
    assert_eq!(place.prepared().await, Vec::<String>::new());
    tokio::time::timeout(Duration::from_secs(20), place.run("DROP TABLE log")).await.expect("nobody has it");
}

/// MariaDB lets nobody end a transaction while the connection that prepared it is open, and says what it says of one that
/// never was.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_transaction_whose_connection_is_open_is_not_taken_for_one_that_is_gone() {
    Database::each_of([Database::Mariadb, Database::Mysql], async |database| {
        let place = on_shared(database).await;
        place.make_log().await;
        let sink = ready(&place, &attempt("job", 1)).await;
        let pending = prepare(&sink, &attempt("job", 1), 1, inserts("a", 1)).await.unwrap();
        // Another writer's process was stopped between the end of XA PREPARE and that of its connection.
        let name = name_of(&pending[0]).to_string().replace(":1.0.1:", ":1.1.1:");
        let literal = place.literal(&name);
        let mut attached = place.mysql_connection().await;
        for statement in [
            format!("XA START {literal}"),
            "INSERT INTO log (`key`, value) VALUES ('attached', 1)".to_owned(),
            "INSERT INTO tidelock_transactions VALUES ('job.out.1.1.1', 1, 1)".to_owned(),
            format!("XA END {literal}"),
            format!("XA PREPARE {literal}"),
        ] {
            attached.query_drop(statement).await.unwrap();
        }
        let stored = format!(r#"{{"prepared":{{"v":1,"json":{{"transaction":"{name}","changes":1}}}}}}"#);
        let committable: SqlCommittable = serde_json::from_str(&stored).unwrap();
        let held = Pending { writer: WriterId(1), committable, ..pending[0].clone() };
        sink.recover(&attempt("job", 2), &[pending[0].clone(), held.clone()]).await.unwrap();
        if database == Database::Mariadb {
            let error = commit(&sink, 1, &[pending[0].clone(), held.clone()]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Retry), "{error:?}");
            assert!(error.to_string().contains(&name), "{error}");
        }
        attached.disconnect().await.unwrap();
        // An answer is not believed where the row of the transaction is not there.
        let bare = name.replace(":1.1.1:", ":1.1.2:");
        let literal = place.literal(&bare);
        let mut other = place.mysql_connection().await;
        for statement in [
            format!("XA START {literal}"),
            "INSERT INTO log (`key`, value) VALUES ('bare', 1)".to_owned(),
            format!("XA END {literal}"),
            format!("XA PREPARE {literal}"),
        ] {
            other.query_drop(statement).await.unwrap();
        }
        other.disconnect().await.unwrap();
        let stored = stored.replace(&name, &bare);
        let committable: SqlCommittable = serde_json::from_str(&stored).unwrap();
        let unseen = Pending { writer: WriterId(1), committable, ..pending[0].clone() };
        sink.recover(&attempt("job", 3), &[pending[0].clone(), held.clone(), unseen.clone()]).await.unwrap();
        let error = commit(&sink, 1, &[unseen]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("start the server again"), "{error}");
        let mut done = commit(&sink, 1, &[pending[0].clone(), held.clone()]).await;
        for _ in 0..200 {
            if done.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            done = commit(&sink, 1, &[pending[0].clone(), held.clone()]).await;
        }
        done.unwrap();
        assert_eq!(place.rows("id").await.len(), 3, "{database:?}");
        nothing_is_locked(&place).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_server_that_is_killed_between_prepare_and_commit_loses_nothing_and_holds_nothing() {
    Database::each(async |database| {
        let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
        let place = Place::on(&server).await.in_mode(Mode::Prepared);
        place.make_log().await;
        let first = ready(&place, &attempt("job", 1)).await;
        let mut writers = Vec::new();
        let mut pending = Vec::new();
        for writer in 0..3 {
            let mut open = first.open(&attempt("job", 1), WriterId(writer)).await.unwrap();
            let changes = inserts(&format!("w{writer}"), 3_000);
            let of_writer = fill(&mut open, &attempt("job", 1), 1, changes).await.unwrap();
            pending.extend(of_writer.into_iter().map(|one| Pending { writer: WriterId(writer), ..one }));
            writers.push(open);
        }
        // A leftover, and one that is only written.
        let _left = fill(&mut writers[0], &attempt("job", 1), 2, inserts("left", 10)).await.unwrap();
        writers[1].write(&mut inserts("open", 3_000)).await.unwrap();
        server.kill().await.unwrap();
        let error = commit(&first, 1, &pending).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Retry, "{error:?}");
        server.start_again().await.unwrap();
        drop((first, writers));
        assert_eq!(place.prepared().await.len(), 4, "{database:?}");
        let second = sink(&place);
        second.recover(&attempt("job", 2), &pending).await.unwrap();
        assert_eq!(place.prepared().await.len(), 3, "the leftover is gone");
        // Killed again, with one of them committed.
        commit(&second, 1, &pending[..1]).await.unwrap();
        server.kill().await.unwrap();
        server.start_again().await.unwrap();
        let third = sink(&place);
        third.recover(&attempt("job", 3), &pending).await.unwrap();
        commit(&third, 1, &pending).await.unwrap();
        let mut rows = place.rows("id").await;
        rows.sort();
        rows.dedup();
        assert_eq!((rows.len(), place.rows("id").await.len()), (9_000, 9_000), "{database:?}");
        nothing_is_locked(&place).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn what_a_server_must_allow_is_told_with_what_to_do() {
    for (places, told_at_open) in [(0, false), (4, true)] {
        let options = SqlOptions::new(Database::Postgres).with_setting("max_prepared_transactions", places);
        let server = SqlServer::start(options).await.unwrap();
        let place = Place::on(&server).await.in_mode(Mode::Prepared);
        place.make_log().await;
        let sink = sink(&place);
        let recovered = sink.recover(&attempt("job", 1), &[]).await;
        let error = match recovered {
            Err(error) if !told_at_open => error,
            // There is room for one writer, and the second one is told.
            Ok(()) if told_at_open => sink.open(&attempt("job", 1), WriterId(1)).await.map(drop).unwrap_err(),
            other => panic!("{other:?}"),
        };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        let told = error.to_string();
        assert!(
            told.contains(&format!("max_prepared_transactions={places}"))
                && told.contains(&format!("{} or more", places + 4)),
            "{told}"
        );
    }
    Database::each_of([Database::Mariadb, Database::Mysql], async |database| {
        let right = if database == Database::Mariadb { "PROCESS" } else { "XA_RECOVER_ADMIN" };
        let server = SqlServer::shared(database).await.unwrap();
        let mut place = Place::on(server).await.in_mode(Mode::Prepared);
        place.make_log().await;
        let name = place.config.name.clone();
        place.config.user = format!("u{}", &name[5..]);
        place.config.password = "w0rd".into();
        let user = format!("'{}'@'%'", place.config.user);
        let made = format!("CREATE USER {user} IDENTIFIED BY 'w0rd'; GRANT ALL ON {name}.* TO {user}");
        server.run(&name, &made).await.unwrap();
        let error = sink(&place).recover(&attempt("job", 1), &[]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains(&format!("GRANT {right} ON *.*")), "{error}");
        // The remedy was followed.
        server.run(&name, &format!("GRANT {right} ON *.* TO {user}")).await.unwrap();
        let allowed = ready(&place, &attempt("job", 1)).await;
        let pending = prepare(&allowed, &attempt("job", 1), 1, inserts("a", 1)).await.unwrap();
        commit(&allowed, 1, &pending).await.unwrap();
    })
    .await;
}

/// Another job's, of another role; and a right on the table itself is taken away when rows of an epoch are durable.
#[tokio::test]
#[ignore = "needs a container"]
async fn another_mode_needs_no_right_on_the_table_of_transactions_and_one_that_is_missing_is_told() {
    let owner = on_shared(Database::Postgres).await;
    owner.make_log().await;
    ready(&owner, &attempt("other", 1)).await;
    let mut place = owner.again().in_mode(Mode::Ledger);
    place.config.user = format!("u_{}", place.config.name);
    place.config.password = "w0rd".into();
    let user = place.config.user.clone();
    owner.run(&format!("CREATE ROLE \"{user}\" LOGIN PASSWORD 'w0rd'")).await;
    owner.run(&format!("GRANT CREATE, USAGE ON SCHEMA public TO \"{user}\"")).await;
    let sink = ready(&place, &attempt("job", 1)).await;
    let pending = prepare(&sink, &attempt("job", 1), 1, inserts("a", 3)).await.unwrap();
    let error = commit(&sink, 1, &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("GRANT SELECT, INSERT") && !told.contains("on_refused"), "{told}");
    owner.run(&format!("GRANT INSERT ON log TO \"{user}\"")).await;
    let next = self::sink(&place);
    next.recover(&attempt("job", 2), &pending).await.unwrap();
    commit(&next, 1, &pending).await.unwrap();
    assert_eq!(owner.rows("id").await.len(), 3);
}

/// The writer's connection, and those of the pool, are closed meanwhile. <https://github.com/apache/flink/pull/12427>
#[tokio::test]
#[ignore = "needs a container"]
async fn a_writer_that_was_idle_for_longer_than_the_server_allows_goes_on() {
    Database::each(async |database| {
        let server = SqlServer::start(common::that_is_soon_tired(database)).await.unwrap();
        let mut place = Place::on(&server).await.in_mode(Mode::Prepared);
        // Less than the server allows, as it must be.
        place.config.idle_max_ms = 500;
        place.make_log().await;
        let (one, sink) = (attempt("job", 1), ready(&place, &attempt("job", 1)).await);
        let mut writer = sink.open(&one, WriterId(0)).await.unwrap();
        for epoch in 1..=3 {
            let pending = fill(&mut writer, &one, epoch, inserts(&format!("e{epoch}"), 10)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            commit(&sink, epoch, &pending).await.unwrap();
            writer.settled(Epoch(epoch), false).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        assert_eq!(place.rows("id").await.len(), 30);
        nothing_is_locked(&place).await;
    })
    .await;
}

/// A server that keeps a prepared transaction to its connection until that ends.
#[tokio::test]
#[ignore = "needs a container"]
async fn mysql_that_does_not_detach_is_as_good() {
    if !Database::there().contains(&Database::Mysql) {
        return;
    }
    let options = SqlOptions::new(Database::Mysql).with_setting("xa_detach_on_prepare", "OFF");
    let server = SqlServer::start(options).await.unwrap();
    let place = Place::on(&server).await.in_mode(Mode::Prepared);
    place.make_log().await;
    let (one, sink) = (attempt("job", 1), ready(&place, &attempt("job", 1)).await);
    let mut writer = sink.open(&one, WriterId(0)).await.unwrap();
    for epoch in 1..=5 {
        let pending = fill(&mut writer, &one, epoch, inserts(&format!("e{epoch}"), 10)).await.unwrap();
        commit(&sink, epoch, &pending).await.unwrap();
        writer.settled(Epoch(epoch), false).await.unwrap();
    }
    assert_eq!(place.rows("id").await.len(), 50);
}

/// What the tool's library says of each.
#[tokio::test]
#[ignore = "needs a container"]
async fn the_outcome_of_a_transaction_is_told_whoever_ended_it() {
    Database::each(async |database| {
        let place = on_shared(database).await;
        place.make_log().await;
        let tool = Transactions::new(place.config.clone(), "tidelock_transactions").unwrap();
        let unknown = TransactionName::parse("tidelock:job.out:1.0.1:00000000").unwrap();
        assert_eq!(tool.examine(&unknown).await.unwrap(), Outcome::Unknown);
        let (one, sink) = (attempt("job", 1), ready(&place, &attempt("job", 1)).await);
        let mut writer = sink.open(&one, WriterId(0)).await.unwrap();
        let mut names = Vec::new();
        for epoch in 1..=3 {
            let pending = fill(&mut writer, &one, epoch, inserts(&format!("e{epoch}"), 1)).await.unwrap();
            names.push(name_of(&pending[0]));
        }
        assert_eq!(tool.examine(&names[0]).await.unwrap(), Outcome::Open);
        drop(writer);
        tool.commit(&names[0]).await.unwrap();
        tool.commit(&names[0]).await.unwrap();
        tool.roll_back(&names[1]).await.unwrap();
        tool.roll_back(&names[1]).await.unwrap();
        assert_eq!(tool.examine(&names[0]).await.unwrap(), Outcome::Committed);
        assert_eq!(tool.examine(&names[1]).await.unwrap(), Outcome::RolledBack);
        assert!(tool.roll_back(&names[0]).await.is_err() && tool.commit(&names[1]).await.is_err());
        tool.commit(&names[2]).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 2);
        nothing_is_locked(&place).await;
    })
    .await;
}
