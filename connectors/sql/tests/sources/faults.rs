//! Servers that die, hang or stay away while they are read.

use std::time::Duration;

use tidelock::{ErrorKind, Retry, Source as _, Split as _, SplitReader as _};
use tidelock_containers::{Database, SqlServer};
use tidelock_sql::SqlScan;
use tokio::time::timeout;

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_is_killed_or_paused_while_it_is_read_costs_nothing() {
    Database::each(async |database| {
        let server = SqlServer::start(tidelock_containers::SqlOptions::new(database)).await.unwrap();
        let mut place = Place::on(&server).await;
        (place.config.statement_timeout_ms, place.config.connect_timeout_ms) = (2_000, 3_000);
        place.run("CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
        let values: Vec<String> = (0..3_000).map(|id| format!("({id})")).collect();
        place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        let scan = SqlScan::<Numbered>::connect(scan_of(&place, 3, 50)).await.unwrap();
        let mut read = Vec::new();
        for (number, split) in splits_of(&scan).await.into_iter().enumerate() {
            let mut reader = scan.open(split).await.unwrap();
            for page in 0.. {
                let next = async { timeout(2 * PATIENCE, reader.next()).await.expect("an answer").unwrap() };
                let batch = match (number, page) {
                    // Between two pages, and in the middle of one.
                    (0, 5) => {
                        server.kill().await.unwrap();
                        let (batch, started) = tokio::join!(next, server.start_again());
                        started.unwrap();
                        batch
                    }
                    (1, 5) => {
                        let killed = async {
                            server.kill().await.unwrap();
                            server.start_again().await.unwrap();
                        };
                        tokio::join!(next, killed).0
                    }
                    (2, 5) => {
                        server.pause().await.unwrap();
                        let unpaused = async {
                            tokio::time::sleep(Duration::from_secs(5)).await;
                            server.unpause().await.unwrap();
                        };
                        tokio::join!(next, unpaused).0
                    }
                    _ => next.await,
                };
                let Some(batch) = batch else { break };
                read.extend(batch.records.iter().map(|row| row.id));
            }
        }
        assert_eq!(read, (0..3_000).collect::<Vec<_>>(), "{database:?}");
    })
    .await;
}

/// What does not come back ends the attempt, and not the job: its last checkpoint has the position.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_stays_away_is_an_error_that_restarts() {
    let database = Database::there().into_iter().next().unwrap();
    let server = SqlServer::start(tidelock_containers::SqlOptions::new(database)).await.unwrap();
    let place = Place::on(&server).await;
    place.run("CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    place.run("INSERT INTO t VALUES (1), (2), (3)").await;
    let mut config = scan_of(&place, 1, 1);
    config.retry_for_ms = 500;
    let scan = SqlScan::<Numbered>::connect(config).await.unwrap();
    let mut reader = scan.open(splits_of(&scan).await.remove(0)).await.unwrap();
    let mut split = reader.next().await.unwrap().expect("a row").resume;
    server.kill().await.unwrap();
    let error = timeout(PATIENCE, reader.next()).await.expect("an answer").expect_err("nobody there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error}");
    server.start_again().await.unwrap();
    let mut rest = Vec::new();
    loop {
        let mut reader = scan.open(stored(&split)).await.unwrap();
        let Some(batch) = reader.next().await.unwrap() else { break };
        rest.extend(batch.records.iter().map(|row| row.id));
        split = batch.resume;
    }
    assert_eq!((rest, split.id().as_str()), (vec![2, 3], "000000"));
}
