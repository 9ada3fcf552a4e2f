//! Columns that say less than it seems: of a time the fractions are cut off, of a label the place counts and not the letters.

use tidelock_containers::Database;
use tidelock_sql::{DatabaseKind, SqlIncremental, SqlIncrementalConfig, SqlScan, SqlScanConfig};

use super::*;

/// MySQL keeps whole seconds where nothing else is said: a row that was written at the end of one looks nearly a second older.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_row_is_as_old_as_the_lag_says_whatever_its_time_keeps_of_a_second() {
    const LAG_MS: u64 = 700;
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let columns = place.of(
            "id BIGINT PRIMARY KEY, written TIMESTAMPTZ(0) NOT NULL DEFAULT clock_timestamp(), \
             exact TIMESTAMPTZ DEFAULT clock_timestamp()",
            "id BIGINT PRIMARY KEY, written TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             exact TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
            "",
        );
        place.run(&format!("CREATE TABLE t ({columns})")).await;
        let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", "written");
        (config.lag_ms, config.poll_interval_ms) = (Some(LAG_MS), 5);
        let source = SqlIncremental::<Numbered>::connect(config).await.unwrap();
        let mut split = splits_of(&source).await.remove(0);
        for id in 0..4 {
            // Each at another place of its second.
            tokio::time::sleep(Duration::from_millis(270 * id)).await;
            place.run(&format!("INSERT INTO t (id) VALUES ({id})")).await;
            follow(&source, &mut split, 1).await;
            let age = place.of(
                "(extract(epoch FROM clock_timestamp() - exact) * 1000)::bigint",
                "CAST(TIMESTAMPDIFF(MICROSECOND, exact, CURRENT_TIMESTAMP(6)) DIV 1000 AS SIGNED)",
                "",
            );
            let age = place.query(&format!("SELECT {age} FROM t WHERE id = {id}")).await[0][0].int();
            assert!(age >= i128::from(LAG_MS), "{database:?}: it was read when it was {age} ms old");
        }
    })
    .await;
}

/// A table's column is described, and refused by its type. Of a query the server says it with the rows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_query_is_not_read_by_labels_and_bits_that_the_server_compares_otherwise_than_it_sorts() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        if place.kind() == DatabaseKind::Postgres {
            place.run("CREATE TYPE mood AS ENUM ('z', 'm', 'a')").await;
        }
        let mood = place.of("mood", "ENUM('z', 'm', 'a')", "");
        let others = place.of("b BIGINT", "b BIT(8), s SET('q', 'b', 'a')", "");
        place.run(&format!("CREATE TABLE t (id BIGINT PRIMARY KEY, e {mood} NOT NULL, {others})")).await;
        let values: Vec<String> =
            (0..30).map(|id| format!("({id}, '{}')", ["z", "m", "a"][id % 3])).collect();
        place.run(&format!("INSERT INTO t (id, e) VALUES {}", values.join(", "))).await;
        let by = |key: &[&str]| {
            let mut config =
                SqlScanConfig::query(place.config.clone(), "SELECT * FROM t", key.iter().copied());
            (config.splits, config.page_rows) = (4, 4);
            config
        };
        if place.kind() == DatabaseKind::Postgres {
            // It compares labels as it sorts them.
            assert_eq!(read_all::<Numbered>(by(&["e", "id"])).await.len(), 30);
            return;
        }
        for column in ["e", "s", "b"] {
            let error = SqlScan::<Numbered>::connect(by(&[column, "id"])).await.expect_err(column);
            told(&error, ErrorKind::Config, &[&format!("column={column}"), "not one order"]);
        }
        assert_eq!(read_all::<Numbered>(by(&["id"])).await.len(), 30);
    })
    .await;
}
