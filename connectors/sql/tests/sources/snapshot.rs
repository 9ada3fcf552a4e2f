//! Scans of one moment, on PostgreSQL.

use serde::Deserialize;
use tidelock::{ErrorKind, Result, Source as _, SplitReader as _};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{OnLostSnapshot, SqlCut, SqlScan, SqlScanConfig, SqlSplit};
use tokio::time::timeout;

use super::*;

#[derive(Debug, Clone, PartialEq, PartialOrd, Deserialize)]
struct Valued {
    id: i64,
    v: String,
}

/// Even ids, so that there is room between them.
async fn make_valued(place: &Place) -> Vec<Valued> {
    place.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT NOT NULL)").await;
    let rows: Vec<Valued> = (1..=200).map(|id| Valued { id: 2 * id, v: "old".into() }).collect();
    let values: Vec<String> = rows.iter().map(|row| format!("({}, '{}')", row.id, row.v)).collect();
    place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    rows
}

fn of_a_moment(place: &Place, on_lost: OnLostSnapshot) -> SqlScanConfig {
    let mut config = scan_of(place, 4, 10);
    config.cut = SqlCut::Snapshot { on_lost };
    config.retry_for_ms = 30_000;
    config
}

async fn connected(config: SqlScanConfig) -> SqlScan<Valued> {
    SqlScan::connect(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn every_row_is_of_the_moment_in_which_the_job_began() {
    let place = Place::on_shared(Database::Postgres).await;
    let rows = make_valued(&place).await;
    let coordinator = connected(of_a_moment(&place, OnLostSnapshot::Halt)).await;
    let splits = splits_of(&coordinator).await;
    // The same source under a second uid.
    assert_eq!(splits_of(&coordinator).await.len(), splits.len());
    for statement in [
        "DELETE FROM t WHERE id % 3 = 0",
        "UPDATE t SET v = 'new' WHERE id % 5 = 0",
        "UPDATE t SET id = id + 1001 WHERE id % 7 = 0",
        "INSERT INTO t SELECT n, 'new' FROM generate_series(1, 399, 2) n",
        "DELETE FROM t WHERE id BETWEEN 100 AND 200",
    ] {
        place.run(statement).await;
    }
    // A rewritten table would be empty for a snapshot that is older.
    let truncate = "DO $$ BEGIN SET LOCAL lock_timeout = '200ms'; TRUNCATE t; RAISE 'truncated'; \
         EXCEPTION WHEN lock_not_available THEN NULL; END $$";
    place.run(truncate).await;
    // Another process, which knows nothing but the splits.
    let reader = connected(of_a_moment(&place, OnLostSnapshot::Halt)).await;
    let mut read = Vec::new();
    for split in splits {
        read.extend(read_split(&reader, split).await.unwrap());
    }
    assert_eq!(read, rows);
    drop(coordinator);
}

/// Reads on from a split until it is told that the snapshot is gone: the session ends when the server has noticed.
async fn lost_at_last(scan: &SqlScan<Valued>, split: &SqlSplit) -> Error {
    let asking = async {
        loop {
            match scan.open(stored(split)).await.unwrap().next().await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => break error,
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("it is noticed")
}

async fn read_on(scan: &SqlScan<Valued>, splits: Vec<SqlSplit>) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    for split in splits {
        ids.extend(read_split(scan, split).await?.iter().map(|row| row.id));
    }
    Ok(ids)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_snapshot_that_is_lost_halts_the_job_or_the_rest_is_read_as_it_is_by_choice() {
    let place = Place::on_shared(Database::Postgres).await;
    make_valued(&place).await;
    let coordinator = connected(of_a_moment(&place, OnLostSnapshot::Halt)).await;
    let mut splits = splits_of(&coordinator).await;
    let first = coordinator.open(splits[0].clone()).await.unwrap().next().await.unwrap().expect("a page");
    splits[0] = first.resume;
    place.run("DELETE FROM t WHERE id = 400").await;
    // With the process that began the job the session ends.
    drop(coordinator);
    let halting = connected(of_a_moment(&place, OnLostSnapshot::Halt)).await;
    let error = lost_at_last(&halting, &splits[1]).await;
    told(&error, ErrorKind::Expired, &["snapshot", "on_lost", "each_page"]);
    let going_on = connected(of_a_moment(&place, OnLostSnapshot::EachPage)).await;
    let rest = read_on(&going_on, splits).await.unwrap();
    let expected: Vec<i64> = (11..=199).map(|id| 2 * id).collect();
    assert_eq!(rest, expected, "the page that was read, and the row that was deleted, are not there");
}

/// The first sessions of a server have the names that those of its last start had.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_snapshot_of_the_same_name_after_a_restart_of_the_server_is_not_taken_for_it() {
    let server = SqlServer::start(SqlOptions::new(Database::Postgres)).await.unwrap();
    let place = Place::on(&server).await;
    make_valued(&place).await;
    let coordinator = connected(of_a_moment(&place, OnLostSnapshot::Halt)).await;
    let splits = splits_of(&coordinator).await;
    assert!(read_split(&coordinator, splits[0].clone()).await.is_ok());
    server.kill().await.unwrap();
    server.start_again().await.unwrap();
    place.run("INSERT INTO t VALUES (1, 'new')").await;
    let other = connected(of_a_moment(&place, OnLostSnapshot::Halt)).await;
    let theirs = splits_of(&other).await;
    told(&lost_at_last(&other, &splits[1]).await, ErrorKind::Expired, &["snapshot"]);
    let name = |split: &SqlSplit| {
        let json: serde_json::Value =
            serde_json::from_str(Stored::encode(split).unwrap().json.get()).unwrap();
        json["snapshot"]["name"].as_str().unwrap().to_owned()
    };
    let stored = serde_json::to_string(&Stored::encode(&splits[1]).unwrap()).unwrap();
    let renamed = stored.replace(&name(&splits[1]), &name(&theirs[0]));
    let renamed: SqlSplit = serde_json::from_str::<Stored>(&renamed).unwrap().decode().unwrap();
    told(&lost_at_last(&other, &renamed).await, ErrorKind::Expired, &["snapshot"]);
    assert!(read_split(&other, theirs[1].clone()).await.is_ok(), "their own is there");
}
