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
