//! A whole job whose statement is not idempotent, killed again and again.

use std::time::Duration;

use tidelock_containers::Database;
use tidelock_sql::{Change, Mode};

use super::common::Place;
use super::common::killed::{self, Given};
use super::on_each::{Sold, counts, make_totals};

/// Several of what the source reads at once, so that the job is killed between them.
const RECORDS: u64 = 24_000;
const DAYS: u64 = 7;

fn change(given: Given) -> Change<Sold> {
    Change::Insert(Sold { day: format!("d{}", given.id % DAYS), n: Some(1) })
}

#[tokio::test(flavor = "multi_thread")]
async fn child() {
    killed::child(counts, change, Duration::from_micros(150)).await;
}

async fn counts_each_record_once(place: Place) {
    make_totals(&place).await;
    let most = format!("SELECT coalesce(max(n), 0) * {DAYS} FROM totals");
    killed::runs_to_its_end(&place, "job::child", RECORDS, &most).await;
    for row in place.query("SELECT day, n FROM totals ORDER BY day").await {
        let day: u64 = row[0].text()[1..].parse().unwrap();
        let expected = (0..RECORDS).filter(|id| id % DAYS == day).count();
        assert_eq!(row[1].int(), expected as i128, "{:?} {:?}: day {day}", place.kind(), place.mode);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_of_a_job_that_is_killed_again_and_again_is_exact() {
    Box::pin(counts_each_record_once(Place::sqlite())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_counter_on_a_server_of_a_job_that_is_killed_again_and_again_is_exact() {
    Database::each(async |database| {
        for mode in [Mode::Ledger, Mode::Prepared] {
            let place = Place::on_shared(database).await.in_mode(mode);
            Box::pin(counts_each_record_once(place)).await;
        }
    })
    .await;
}
