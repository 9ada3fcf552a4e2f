//! The promises of the contract, tried on PostgreSQL, MariaDB and MySQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::time::Duration;

use common::sources::{Followed, Scanned};
use common::{Place, Rows, Values, scenes};
use tidelock::{Result, Retry, Sink as _};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{Change, SqlSink};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::Row;

/// The suites on one kind of server.
macro_rules! suites {
    ($($module:ident: $database:ident;)*) => {
        $(mod $module {
            use super::*;

            mod inserts {
                use super::*;

                async fn boot() -> Result<Option<Rows>> {
                    let Some(place) = Place::on_shared(Database::$database).await else { return Ok(None) };
                    Ok(Some(Rows::log(place).await))
                }

                conformance::sink!(#[ignore = "needs a container"] boot, without [expiry, leftovers]);
                conformance::rejecting!(#[ignore = "needs a container"] boot);
            }

            mod upserts {
                use super::*;

                async fn boot() -> Result<Option<Rows>> {
                    let Some(place) = Place::on_shared(Database::$database).await else { return Ok(None) };
                    Ok(Some(Rows::table(place).await))
                }

                conformance::sink!(#[ignore = "needs a container"] boot, without [expiry, leftovers]);
            }

            mod scans {
                use super::*;

                async fn boot() -> Result<Option<Scanned>> {
                    let Some(place) = Place::on_shared(Database::$database).await else { return Ok(None) };
                    Ok(Some(Scanned::new(place).await))
                }

                conformance::source!(#[ignore = "needs a container"] boot, without [growth, newcomers, latest, retention]);
            }

            mod incremental {
                use super::*;

                async fn boot() -> Result<Option<Followed>> {
                    let Some(place) = Place::on_shared(Database::$database).await else { return Ok(None) };
                    Ok(Some(Followed::new(place)))
                }

                conformance::source!(#[ignore = "needs a container"] boot, without [endings, latest, retention]);
            }

            async fn boot() -> Result<Option<Values>> {
                let Some(place) = Place::on_shared(Database::$database).await else { return Ok(None) };
                Ok(Some(Values::new(place).await))
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

/// The same on every kind of server, one after the other.
macro_rules! scenes {
    ($($scene:ident)*) => {
        $(#[tokio::test]
        #[ignore = "needs a container"]
        async fn $scene() {
            for database in Database::there() {
                let place = Place::on_shared(database).await.unwrap();
                Box::pin(scenes::$scene(place)).await;
            }
        })*
    };
}

scenes::on_every_database!(scenes);

scenes! {
    a_wrong_port_is_told_and_the_password_is_not
}

/// Commits until it succeeds, as the coordinator does: every error on the way must say that trying again helps.
async fn commit_at_last(sink: &SqlSink<Row>, epoch: u64, pending: &[scenes::PendingRows]) {
    for _ in 0..600 {
        match scenes::commit(sink, epoch, pending).await {
            Ok(()) => return,
            Err(error) => assert_eq!(error.retry(), Retry::Retry, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("epoch {epoch} was never applied");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_server_that_is_killed_or_closes_idle_connections_costs_nothing() {
    for database in Database::there() {
        let mut options = SqlOptions::new(database);
        if database != Database::Postgres {
            options = options.with_setting("wait_timeout", 1);
        }
        let server = SqlServer::start(options).await.unwrap();
        let place = Place::on(&server).await;
        place.make_log().await;
        let sink = SqlSink::new(place.sink_config()).unwrap();
        let attempt = scenes::attempt("job", 1);
        sink.recover(&attempt, &[]).await.unwrap();
        let mut written = Vec::new();
        for epoch in 1..=6 {
            let rows: Vec<_> = (0..50).map(|at| Row::new(format!("e{epoch}"), at)).collect();
            let changes = rows.iter().cloned().map(Change::Insert).collect();
            let pending = scenes::prepare(&sink, &attempt, epoch, changes).await.unwrap();
            match epoch {
                // Idle for longer than the server allows.
                2 => tokio::time::sleep(Duration::from_secs(3)).await,
                4 => {
                    server.kill().await.unwrap();
                    tokio::join!(commit_at_last(&sink, epoch, &pending), async {
                        server.start_again().await.unwrap()
                    });
                }
                // Somewhere in the middle.
                5 => {
                    let killed = async {
                        server.kill().await.unwrap();
                        server.start_again().await.unwrap();
                    };
                    tokio::join!(commit_at_last(&sink, epoch, &pending), killed);
                }
                _ => {}
            }
            commit_at_last(&sink, epoch, &pending).await;
            written.extend(rows);
        }
        assert_eq!(place.rows("id").await, written, "{database:?}");
    }
}

/// A row of the log is written, and its transaction is open.
async fn is_begun(place: &Place) -> bool {
    let open = place.of(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()",
        "SELECT count(*) FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p \
         ON p.ID = t.trx_mysql_thread_id WHERE p.DB = DATABASE() AND t.trx_rows_modified > 1 AND p.COMMAND = 'Sleep'",
        "",
    );
    place.query(open).await[0][0].int() > 0
}

/// Waits, because what InnoDB says of its transactions is a little old.
async fn until_begun(place: &Place, wanted: bool) {
    for _ in 0..500 {
        if is_begun(place).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}: is an epoch begun before its commit, and no other one? Not {wanted}", place.kind());
}

fn log_rows(key: &str) -> Vec<Change<Row>> {
    (0..100).map(|at| Change::Insert(Row::new(key, at))).collect()
}

/// A sink with an epoch that is prepared, and begun in its database.
async fn begun(place: &Place) -> (SqlSink<Row>, Vec<scenes::PendingRows>) {
    place.make_log().await;
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let attempt = scenes::attempt("job", 1);
    sink.recover(&attempt, &[]).await.unwrap();
    let pending = scenes::prepare(&sink, &attempt, 1, log_rows("a")).await.unwrap();
    until_begun(place, true).await;
    assert_eq!(place.rows("id").await, [], "nothing is visible before the commit");
    (sink, pending)
}

#[tokio::test]
#[ignore = "needs a container"]
async fn an_epoch_is_begun_beside_its_entry_and_visible_by_its_commit_alone() {
    for database in Database::there() {
        let place = Place::on_shared(database).await.unwrap();
        let (sink, pending) = begun(&place).await;
        scenes::commit(&sink, 1, &pending).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
        until_begun(&place, false).await;
        // As it is committed again where an answer is lost.
        scenes::commit(&sink, 1, &pending).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn what_was_begun_and_is_not_what_is_committed_is_rolled_back() {
    for database in Database::there() {
        let place = Place::on_shared(database).await.unwrap();
        // One that is committed is another epoch's.
        let (sink, first) = begun(&place).await;
        let attempt = scenes::attempt("job", 1);
        let second = scenes::prepare(&sink, &attempt, 2, log_rows("b")).await.unwrap();
        let both: Vec<_> = first.iter().chain(&second).cloned().collect();
        scenes::commit(&sink, 2, &both).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 200, "{database:?}");
        // One that was prepared is listed by nobody: its attempt ended, and the next one says so.
        let third = scenes::prepare(&sink, &attempt, 3, log_rows("c")).await.unwrap();
        until_begun(&place, true).await;
        sink.recover(&scenes::attempt("job", 9), &[]).await.unwrap();
        let fourth = scenes::prepare(&sink, &scenes::attempt("job", 9), 3, log_rows("d")).await.unwrap();
        scenes::commit(&sink, 3, &fourth).await.unwrap();
        drop(third);
        let rows = place.rows("id").await;
        assert_eq!(rows.len(), 300, "{database:?}");
        assert!(rows.iter().all(|row| row.key != "c"), "{database:?}");
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn rows_of_other_processes_are_not_left_out_of_what_was_begun() {
    for database in Database::there() {
        let place = Place::on_shared(database).await.unwrap();
        place.make_log().await;
        let (here, there) =
            (SqlSink::new(place.sink_config()).unwrap(), SqlSink::new(place.sink_config()).unwrap());
        let attempt = scenes::attempt("job", 1);
        here.recover(&attempt, &[]).await.unwrap();
        for epoch in 1..=3 {
            let mut pending = scenes::prepare(&here, &attempt, epoch, log_rows("a")).await.unwrap();
            let mut other = scenes::prepare(&there, &attempt, epoch, log_rows("b")).await.unwrap();
            other.iter_mut().for_each(|one| one.writer = tidelock::WriterId(1));
            pending.extend(other);
            scenes::commit(&here, epoch, &pending).await.unwrap();
            assert_eq!(place.rows("id").await.len() as u64, 200 * epoch, "{database:?}");
        }
    }
}

/// The older attempt is alive, and does nothing: as one that is paused.
#[tokio::test]
#[ignore = "needs a container"]
async fn what_a_paused_attempt_has_begun_keeps_no_newer_one_waiting_for_long() {
    for database in Database::there() {
        let place = Place::on_shared(database).await.unwrap();
        let (paused, pending) = begun(&place).await;
        let newer = SqlSink::new(place.sink_config()).unwrap();
        newer.recover(&scenes::attempt("job", 5), &pending).await.unwrap();
        commit_at_last(&newer, 1, &pending).await;
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
        // It wakes up late.
        scenes::commit(&paused, 1, &pending).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
    }
}
