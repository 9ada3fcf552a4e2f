//! The promises of the contract, tried on PostgreSQL, MariaDB and MySQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;
#[path = "servers/course.rs"]
mod course;
#[path = "servers/early.rs"]
mod early;

use std::collections::BTreeMap;
use std::time::Duration;

use common::sources::{Followed, Scanned};
use common::{Place, Rows, Values, boot_on, rivals, scenes};
use course::commit_at_last;
use tidelock::{Result, Sink as _};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{Change, Mode, SqlSink};
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
                    boot_on(Database::$database, Mode::Ledger, Rows::log).await
                }

                conformance::sink!(#[ignore = "needs a container"] boot, without [expiry, leftovers]);
                conformance::rejecting!(#[ignore = "needs a container"] boot);
            }

            mod upserts {
                use super::*;

                async fn boot() -> Result<Option<Rows>> {
                    boot_on(Database::$database, Mode::Ledger, Rows::table).await
                }

                conformance::sink!(#[ignore = "needs a container"] boot, without [expiry, leftovers]);
            }

            mod scans {
                use super::*;

                async fn boot() -> Result<Option<Scanned>> {
                    boot_on(Database::$database, Mode::Ledger, Scanned::new).await
                }

                conformance::source!(#[ignore = "needs a container"] boot, without [growth, newcomers, latest, retention]);
            }

            mod incremental {
                use super::*;

                async fn boot() -> Result<Option<Followed>> {
                    boot_on(Database::$database, Mode::Ledger, async |place| Followed::new(place)).await
                }

                conformance::source!(#[ignore = "needs a container"] boot, without [endings, latest, retention]);
            }

            async fn boot() -> Result<Option<Values>> {
                boot_on(Database::$database, Mode::Ledger, Values::new).await
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
    ($($scene:ident)*) => {
        scenes! { $(scenes::$scene)* }
    };
    ($($module:ident::$scene:ident)*) => {
        $(#[tokio::test]
        #[ignore = "needs a container"]
        async fn $scene() {
            Database::each(async |database| $module::$scene(Place::on_shared(database).await).await).await;
        })*
    };
}

scenes::on_every_database!(scenes);

scenes! {
    scenes::a_wrong_port_is_told_and_the_password_is_not
    rivals::a_deadlock_with_somebody_else_ends_well
    rivals::an_epoch_that_is_tried_again_is_not_sent_twice
    rivals::a_writer_that_failed_or_was_given_up_leaves_nothing
    rivals::a_connection_that_is_lost_while_tables_are_looked_at_is_an_error_that_may_pass
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_server_that_is_killed_or_closes_idle_connections_costs_nothing() {
    Database::each(async |database| {
        let server = SqlServer::start(common::that_is_soon_tired(database)).await.unwrap();
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
    })
    .await;
}

/// Records of all sets of eight columns: each set is a statement of its own.
/// <https://github.com/launchbadge/sqlx/issues/4337>
#[tokio::test]
#[ignore = "needs a container"]
async fn the_statements_that_a_sink_has_prepared_do_not_become_more() {
    Database::each(async |database| {
        // Where the server counts those of everybody, it is a server of our own.
        let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
        let place = Place::on(&server).await;
        let columns: Vec<String> = (0..8).map(|at| format!("c{at} BIGINT")).collect();
        place.run(&format!("CREATE TABLE log (id BIGINT PRIMARY KEY, {})", columns.join(", "))).await;
        if database == Database::Postgres {
            let counting = "CREATE TABLE counted (statements BIGINT); \
                 CREATE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO counted SELECT count(*) FROM pg_prepared_statements; RETURN NULL; END'; \
                 CREATE TRIGGER counting AFTER INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION count_them()";
            server.run(&place.config.name, counting).await.unwrap();
        }
        let mut config = place.sink_config();
        config.database.connections_max = 1;
        let sink = SqlSink::new(config).unwrap();
        sink.recover(&scenes::attempt("job", 1), &[]).await.unwrap();
        let record = |id: i64| {
            let columns = (0..8).filter(|at| id & (1 << at) != 0).map(|at| (format!("c{at}"), id));
            Change::Insert(columns.chain([("id".to_owned(), id)]).collect::<BTreeMap<_, _>>())
        };
        for epoch in 1..=2 {
            let first = 256 * (i64::try_from(epoch).unwrap() - 1);
            let changes = (first..first + 256).map(record).collect();
            let pending = scenes::prepare(&sink, &scenes::attempt("job", 1), epoch, changes).await.unwrap();
            scenes::commit(&sink, epoch, &pending).await.unwrap();
        }
        let most = if database == Database::Postgres {
            place.query("SELECT max(statements) FROM counted").await[0][0].int()
        } else {
            let told = server.run("mysql", "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").await.unwrap();
            told.split_whitespace().last().unwrap().parse().unwrap()
        };
        assert!((16..=64).contains(&most), "{database:?}: {most} statements");
        assert_eq!(place.query("SELECT count(*) FROM log").await[0][0].int(), 512);
    })
    .await;
}

/// Somebody's transaction holds the ledger's row, of which there is one in the database.
async fn is_begun(place: &Place) -> bool {
    place.query("SELECT job FROM tidelock_ledger FOR UPDATE SKIP LOCKED").await.is_empty()
}

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
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let (sink, pending) = begun(&place).await;
        scenes::commit(&sink, 1, &pending).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
        until_begun(&place, false).await;
        // As it is committed again where an answer is lost.
        scenes::commit(&sink, 1, &pending).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn what_was_begun_and_is_not_what_is_committed_is_rolled_back() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
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
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn rows_of_other_processes_are_not_left_out_of_what_was_begun() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
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
    })
    .await;
}

/// The older attempt is alive, and does nothing: as one that is paused.
#[tokio::test]
#[ignore = "needs a container"]
async fn what_a_paused_attempt_has_begun_keeps_no_newer_one_waiting_for_long() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let (paused, pending) = begun(&place).await;
        let newer = SqlSink::new(place.sink_config()).unwrap();
        newer.recover(&scenes::attempt("job", 5), &pending).await.unwrap();
        commit_at_last(&newer, 1, &pending).await;
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
        // It wakes up late.
        scenes::commit(&paused, 1, &pending).await.unwrap();
        assert_eq!(place.rows("id").await.len(), 100, "{database:?}");
    })
    .await;
}
