//! Sources on real databases: every row once, however it is cut, and named errors where that cannot be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod edges;
mod faults;
mod incremental;
mod late;
mod refused;
mod scan;
mod snapshot;

use std::time::Duration;

use common::Place;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Known, Result, Retry, Source, SplitReader as _, Stored};
use tidelock_containers::Database;
use tidelock_sql::{SqlIncremental, SqlScan, SqlScanConfig, SqlSplit};
use tokio::time::timeout;

/// What a busy machine may need for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes two tests of each function: on SQLite, which needs nothing, and on the servers.
macro_rules! on_every_database {
    ($($test:ident)*) => {
        mod on_sqlite {
            use super::super::Place;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                Box::pin(super::$test(Place::sqlite())).await;
            })*
        }

        mod on_servers {
            use super::super::{Database, Place};

            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs a container"]
            async fn $test() {
                Database::each(async |database| super::$test(Place::on_shared(database).await).await).await;
            })*
        }
    };
}

use on_every_database;

fn first_run() -> Known<SqlSplit> {
    Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true }
}

async fn splits_of<S: Source<Split = SqlSplit>>(source: &S) -> Vec<SqlSplit> {
    source.discover(&first_run()).await.unwrap().new
}

fn stored(split: &SqlSplit) -> SqlSplit {
    Stored::encode(split).unwrap().decode().unwrap()
}

/// Reads a split to its end, as a job does that dies after each page: from the stored form of the position.
async fn read_split<T>(scan: &SqlScan<T>, mut split: SqlSplit) -> Result<Vec<T>>
where
    T: DeserializeOwned + Send + 'static,
{
    let mut records = Vec::new();
    loop {
        let mut reader = scan.open(stored(&split)).await?;
        let Some(batch) = reader.next().await? else { return Ok(records) };
        records.extend(batch.records);
        split = batch.resume;
    }
}

async fn read_all<T>(config: SqlScanConfig) -> Vec<T>
where
    T: DeserializeOwned + Send + 'static,
{
    let scan = SqlScan::<T>::connect(config).await.unwrap();
    let mut records = Vec::new();
    for split in splits_of(&scan).await {
        records.extend(read_split(&scan, split).await.unwrap());
    }
    records
}

fn scan_of(place: &Place, splits: u32, page_rows: usize) -> SqlScanConfig {
    let mut config = SqlScanConfig::table(place.config.clone(), "t");
    (config.splits, config.page_rows) = (splits, page_rows);
    config
}

#[track_caller]
fn told(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert!(error.kind() == kind && error.retry() == Retry::Halt, "{error:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[derive(Debug, Deserialize)]
struct Numbered {
    id: i64,
}

/// Reads so many records of an endless source, from the stored position after each page.
async fn follow<T>(source: &SqlIncremental<T>, split: &mut SqlSplit, count: usize) -> Vec<T>
where
    T: DeserializeOwned + Send + std::fmt::Debug + 'static,
{
    let mut records = Vec::new();
    while records.len() < count {
        let mut reader = source.open(stored(split)).await.unwrap();
        let batch = timeout(PATIENCE, reader.next()).await.expect("records").unwrap().expect("no end");
        records.extend(batch.records);
        *split = batch.resume;
    }
    assert_eq!(records.len(), count, "{records:?}");
    records
}

fn ids(records: &[Numbered]) -> Vec<i64> {
    records.iter().map(|row| row.id).collect()
}
