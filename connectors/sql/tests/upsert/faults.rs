//! Databases that are away, or busy, while rows are written.

use std::time::Duration;

use tidelock::{Epoch, SinkWriter as _};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{Change, Mode};
use tidelock_testkit::harness::Row;

use super::common::Place;
use super::common::scenes::attempt;
use super::on_each::{open, row};
use super::on_sqlite;

#[tokio::test]
async fn a_file_that_somebody_else_writes_is_waited_for() {
    let place = on_sqlite();
    place.make_table().await;
    let mut config = place.sink_config();
    config.database.statement_timeout_ms = 50;
    let mut writer = open(config, &attempt("job", 1)).await;
    let other = place.sqlite_connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let freed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        other.execute_batch("COMMIT").unwrap();
    };
    let mut changes = vec![Change::Upsert(row("a", 1))];
    let (written, ()) = tokio::join!(writer.write(&mut changes), freed);
    written.unwrap();
    writer.prepare(Epoch(1)).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("a", 1)]);
}

#[tokio::test]
#[ignore = "needs a container"]
async fn rows_whose_answer_was_lost_with_the_server_are_sent_again_and_change_nothing_twice() {
    Database::each(async |database| {
        let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
        let place = Place::on(&server).await.in_mode(Mode::Upsert);
        place.make_table().await;
        let mut writer = open(place.sink_config(), &attempt("job", 1)).await;
        let rows = |round: u64| -> Vec<Row> {
            (0..3_000).map(|at| row(&format!("k{:03}", at % 500), 10_000 * round + at)).collect()
        };
        for round in 0..3 {
            let mut changes: Vec<_> = rows(round).into_iter().map(Change::Upsert).collect();
            let killed = async {
                // Somewhere in the middle.
                tokio::time::sleep(Duration::from_millis(30 * round)).await;
                server.kill().await.unwrap();
                server.start_again().await.unwrap();
            };
            let (written, ()) = tokio::join!(writer.write(&mut changes), killed);
            written.unwrap();
            writer.prepare(Epoch(round + 1)).await.unwrap();
            assert_eq!(place.rows("\"key\"").await, rows(round).split_off(2_500), "{database:?}");
        }
    })
    .await;
}
