//! A whole job that is killed again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelock_containers::Database;
use tidelock_sql::Change;
use tidelock_testkit::harness::Row;

use super::common::Place;
use super::common::killed::{self, Given};
use super::{on_shared, on_sqlite};

const ROWS: u64 = 20_000;
const KEYS: u64 = 400;

/// Keys come again and again, and some are deleted on the way.
fn change(given: Given) -> Change<Row> {
    let row = Row::new(format!("k{:03}", given.id % KEYS), given.id);
    match given.id % 11 {
        3 => Change::Delete(row),
        5 | 6 => Change::Upsert(row),
        _ => Change::Insert(row),
    }
}

/// What a reader sees at the end.
fn expected() -> Vec<Row> {
    let mut rows = BTreeMap::new();
    for id in 0..ROWS {
        match change(Given { id }) {
            Change::Delete(row) => rows.remove(&row.key),
            Change::Insert(row) | Change::Upsert(row) | Change::Update(row) => {
                rows.insert(row.key.clone(), row)
            }
        };
    }
    rows.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn child() {
    killed::child(Place::sink_config, change, Duration::from_micros(20)).await;
}

/// No row is lost, none is older than it must be, and none that was deleted is there.
async fn ends_as_if_nothing_had_happened(place: Place) {
    place.make_table().await;
    let newest = "SELECT coalesce(max(value), -1) FROM log";
    killed::runs_to_its_end(&place, "job::child", ROWS, newest).await;
    let rows = place.rows("\"key\"").await;
    assert!(rows == expected(), "{} rows, expected {}", rows.len(), expected().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_killed_again_and_again_ends_as_if_nothing_had_happened() {
    Box::pin(ends_as_if_nothing_had_happened(on_sqlite())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_that_is_killed_again_and_again_on_a_server_ends_as_if_nothing_had_happened() {
    Database::each(async |database| {
        let place = on_shared(database).await;
        Box::pin(ends_as_if_nothing_had_happened(place)).await;
    })
    .await;
}
