//! What cannot be read, or not any more, is told by name.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidelock::{ErrorKind, Result, Retry, Source as _, SplitReader as _};
use tidelock_sql::{DatabaseKind, SqlConfig, SqlScan, SqlScanConfig};

use super::*;

on_every_database! {
    what_cannot_be_read_in_order_is_refused_by_name
    a_table_that_is_altered_or_dropped_while_it_is_read_is_told
    a_position_is_of_its_table_and_key
    a_value_that_the_record_cannot_take_is_told_with_its_key_alone
}

async fn what_cannot_be_read_in_order_is_refused_by_name(place: Place) {
    let double = place.of("DOUBLE PRECISION", "DOUBLE", "DOUBLE");
    place.run(&format!("CREATE TABLE t (id BIGINT, price {double} NOT NULL, name VARCHAR(9))")).await;
    let connect = async |table: &str, key: &[&str]| {
        let mut config = SqlScanConfig::table(place.config.clone(), table);
        config.key = key.iter().map(|&column| column.to_owned()).collect();
        SqlScan::<Numbered>::connect(config).await.map(drop)
    };
    told(
        &connect("t", &[]).await.expect_err("no key"),
        ErrorKind::Config,
        &["no primary key", "setting=key"],
    );
    told(
        &connect("t", &["price"]).await.expect_err("a float"),
        ErrorKind::Config,
        &["column=price", "table=t"],
    );
    told(&connect("t", &["idd"]).await.expect_err("not there"), ErrorKind::NotFound, &["column=idd"]);
    told(&connect("tt", &["id"]).await.expect_err("not there"), ErrorKind::NotFound, &["table=tt"]);
    #[derive(Debug, Deserialize)]
    struct Other {
        #[allow(dead_code, reason = "it is never read")]
        nothing: i64,
    }
    let mut config = SqlScanConfig::table(place.config.clone(), "t");
    config.key = vec!["id".into()];
    let error = SqlScan::<Other>::connect(config).await.expect_err("no field");
    told(&error, ErrorKind::Config, &["none of its columns", "nothing"]);
    let query = SqlScanConfig::query(place.config.clone(), "SELECT price FROM t", ["price"]);
    place.run("INSERT INTO t VALUES (1, 1.5, 's3cret')").await;
    let scan = SqlScan::<BTreeMap<String, f64>>::connect(query).await.unwrap();
    let error = scan.discover(&first_run()).await.expect_err("a float");
    told(&error, ErrorKind::Config, &["column=price", "a float"]);
}

/// Reads one page of the only split, lets somebody alter the table, and reads on.
async fn read_over(place: &Place, alter: &str) -> Result<usize> {
    place.run("DROP TABLE IF EXISTS t").await;
    place.run("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20))").await;
    let values: Vec<String> = (0..50).map(|id| format!("({id}, 's3cret')")).collect();
    place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    #[derive(Debug, Deserialize)]
    struct Both {
        #[allow(dead_code, reason = "it is never read")]
        name: Option<String>,
    }
    let mut config = scan_of(place, 1, 10);
    config.retry_for_ms = 5_000;
    let scan = SqlScan::<Both>::connect(config).await?;
    let mut reader = scan.open(splits_of(&scan).await.remove(0)).await?;
    let mut count = 0;
    while let Some(batch) = timeout(PATIENCE, reader.next()).await.expect("an answer")? {
        if count == 0 {
            for statement in alter.split(';') {
                place.run(statement).await;
            }
        }
        count += batch.records.len();
    }
    Ok(count)
}

async fn a_table_that_is_altered_or_dropped_while_it_is_read_is_told(place: Place) {
    let error = read_over(&place, "DROP TABLE t").await.expect_err("no table");
    told(&error, ErrorKind::NotFound, &["t"]);
    assert_eq!(
        read_over(&place, "ALTER TABLE t ADD COLUMN more BIGINT").await.unwrap(),
        50,
        "{}",
        place.kind()
    );
    // A quoted name that is no column is a text in SQLite; what the key is now is found out at the end.
    let rename = "ALTER TABLE t RENAME COLUMN id TO number";
    let error = read_over(&place, rename).await.expect_err("no key");
    assert!(error.retry() == Retry::Halt && error.to_string().contains("id"), "{error}");
    // After the 9th comes nothing by the order of texts: without a look at the end that would be the end.
    let as_text = place.of(
        "ALTER TABLE t ALTER COLUMN id TYPE VARCHAR(20) COLLATE \"C\"",
        "ALTER TABLE t MODIFY id VARCHAR(20) COLLATE utf8mb4_bin NOT NULL",
        "ALTER TABLE t RENAME TO old; CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, name TEXT); INSERT INTO t SELECT * FROM old; DROP TABLE old",
    );
    let error = read_over(&place, as_text).await.expect_err("another order");
    assert!(error.retry() == Retry::Halt && error.to_string().contains("id"), "{} {error}", place.kind());
    assert!(error.to_string().contains("integers"), "{} {error}", place.kind());
}

async fn a_position_is_of_its_table_and_key(place: Place) {
    for table in ["t", "other"] {
        place.run(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, num BIGINT NOT NULL UNIQUE)")).await;
        place.run(&format!("INSERT INTO {table} VALUES (1, 2)")).await;
    }
    let scan = SqlScan::<Numbered>::connect(scan_of(&place, 1, 10)).await.unwrap();
    let split = splits_of(&scan).await.remove(0);
    let other = SqlScanConfig::table(place.config.clone(), "other");
    let error = SqlScan::<Numbered>::connect(other)
        .await
        .unwrap()
        .open(split.clone())
        .await
        .expect_err("another table");
    told(&error, ErrorKind::Config, &["was=t", "is=other"]);
    let mut config = scan_of(&place, 1, 10);
    config.key = vec!["num".into()];
    let error =
        SqlScan::<Numbered>::connect(config).await.unwrap().open(split).await.expect_err("another key");
    told(&error, ErrorKind::Conflict, &["was=id integers", "is=num integers"]);
}

async fn a_value_that_the_record_cannot_take_is_told_with_its_key_alone(place: Place) {
    place.run("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))").await;
    place.run("INSERT INTO t VALUES (1, '1'), (2, 's3cret'), (3, '3')").await;
    #[derive(Debug, Deserialize)]
    struct Wrong {
        #[allow(dead_code, reason = "it is never read")]
        name: i64,
    }
    let scan = SqlScan::<Wrong>::connect(scan_of(&place, 1, 10)).await.unwrap();
    let split = splits_of(&scan).await.remove(0);
    let error = read_split(&scan, split).await.expect_err("a text");
    told(&error, ErrorKind::Data, &["column name", "table=t", "id=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_told_and_not_made() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("shop.db");
    let config = SqlConfig::new(DatabaseKind::Sqlite, path.to_str().unwrap());
    let error =
        SqlScan::<Numbered>::connect(SqlScanConfig::table(config.clone(), "t")).await.expect_err("no file");
    told(&error, ErrorKind::NotFound, &["no such file", "shop.db"]);
    assert!(!path.exists());
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    SqlScan::<Numbered>::connect(SqlScanConfig::table(config, "t")).await.expect("it is there");
}
