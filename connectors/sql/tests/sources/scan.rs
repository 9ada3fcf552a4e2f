//! What is there is read once, however it is cut.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidelock::{ErrorKind, Known, Source as _, SplitReader as _};
use tidelock_sql::{DatabaseKind, SqlIncremental, SqlIncrementalConfig, SqlScan, SqlScanConfig};

use super::*;

on_every_database! {
    integers_are_read_once_however_they_are_cut
    the_greatest_integers_are_keys
    texts_are_read_once_by_the_order_of_their_column
    keys_of_every_type_that_may_be_one_are_read_once
    texts_that_are_equal_by_the_order_of_their_column_are_no_key
    keys_of_several_columns_are_read_once_by_their_whole
    nothing_and_one_row_are_tables_too
    queries_and_views_are_read_where_their_key_is_one
    large_rows_come_in_small_pages
}

async fn integers_are_read_once_however_they_are_cut(place: Place) {
    place.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)").await;
    let mut ids: Vec<i64> = vec![i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    ids.extend((100..140).filter(|id| id % 3 > 0));
    let values: Vec<String> = ids.iter().map(|id| format!("({id}, NULL)")).collect();
    place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    ids.sort_unstable();
    for (splits, page_rows) in [(1, 1_000), (1, 1), (2, 3), (16, 7), (1_000, 5)] {
        let read: Vec<i64> =
            read_all::<Numbered>(scan_of(&place, splits, page_rows)).await.iter().map(|row| row.id).collect();
        assert_eq!(read, ids, "{} {splits} {page_rows}", place.kind());
    }
}

async fn the_greatest_integers_are_keys(place: Place) {
    let max = if place.kind() == DatabaseKind::MySql { u64::MAX } else { i64::MAX as u64 };
    let kind = place.of("BIGINT", "BIGINT UNSIGNED", "BIGINT");
    place.run(&format!("CREATE TABLE t (id {kind} PRIMARY KEY)")).await;
    let mut ids = vec![0, 1, 1 << 62, max - 1, max];
    ids.extend(
        (max > i64::MAX as u64).then_some([i64::MAX as u64, i64::MAX as u64 + 1]).into_iter().flatten(),
    );
    ids.sort_unstable();
    let values: Vec<String> = ids.iter().map(|id| format!("({id})")).collect();
    place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    for splits in [1, 2, 9] {
        let read: Vec<u64> = read_all::<BTreeMap<String, u64>>(scan_of(&place, splits, 2))
            .await
            .iter()
            .map(|row| row["id"])
            .collect();
        assert_eq!(read, ids, "{}", place.kind());
    }
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// Whatever the order: the database's own, one that knows no letter's size, or that of bytes.
async fn texts_are_read_once_by_the_order_of_their_column(place: Place) {
    let types = match place.kind() {
        DatabaseKind::Postgres => vec!["TEXT", "VARCHAR(40) COLLATE \"C\"", "CHAR(20)"],
        DatabaseKind::MySql => vec![
            "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            // The server's own.
            "CHAR(20) CHARACTER SET utf8mb4",
        ],
        _ => vec!["TEXT", "TEXT COLLATE NOCASE"],
    };
    // No two of them are equal by any of the orders.
    let names = [
        "", "a", "B", "c", "D", "e e", "é2", "Z", "z1", "_", "it''s", "[q]", "日本", "日", "😀", "100%",
        "-1", "ß!",
    ];
    let mut expected: Vec<String> = names.iter().map(|name| name.replace("''", "'")).collect();
    expected.sort();
    for kind in types {
        place.run(&format!("CREATE TABLE t (name {kind} NOT NULL PRIMARY KEY)")).await;
        let values: Vec<String> = names.iter().map(|name| format!("('{name}')")).collect();
        place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        for (splits, page_rows) in [(1, 3), (4, 2), (40, 1)] {
            let read = read_all::<Named>(scan_of(&place, splits, page_rows)).await;
            let mut read: Vec<String> = read.into_iter().map(|row| row.name.trim_end().to_owned()).collect();
            read.sort();
            assert_eq!(read, expected, "{} {kind} {splits} {page_rows}", place.kind());
        }
        place.run("DROP TABLE t").await;
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct OfSeveral {
    tenant: String,
    id: i64,
}

async fn keys_of_every_type_that_may_be_one_are_read_once(place: Place) {
    let dates = ["'1000-01-01'", "'1999-12-31'", "'2000-02-29'", "'9999-12-31'"];
    let times = ["'1999-12-31 23:59:59.999999'", "'2000-01-01 00:00:00'", "'2000-01-01 00:00:00.000001'"];
    let types = match place.kind() {
        DatabaseKind::Postgres => vec![
            ("SMALLINT", vec!["-32768", "0", "32767"]),
            ("BYTEA", vec![r"'\x'", r"'\x00'", r"'\x0000'", r"'\xc328'", r"'\xff00'"]),
            ("DATE", dates.to_vec()),
            ("TIMESTAMP", times.to_vec()),
            ("TIMESTAMPTZ(3)", vec!["'2000-01-01 00:00:00.001Z'", "'2000-01-01 00:00:00+01'"]),
            (
                "UUID",
                vec![
                    "'00000000-0000-0000-0000-000000000000'",
                    "'80000000-0000-0000-0000-000000000000'",
                    "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                ],
            ),
        ],
        DatabaseKind::MySql => vec![
            ("TINYINT UNSIGNED", vec!["0", "127", "128", "255"]),
            ("VARBINARY(20)", vec!["X''", "X'00'", "X'0000'", "X'C328'", "X'FF00'", "X'61'", "X'41'"]),
            ("BINARY(2)", vec!["X'0000'", "X'0001'", "X'C328'", "X'FFFF'"]),
            ("DATE", dates.to_vec()),
            ("DATETIME(6)", times.to_vec()),
            ("TIMESTAMP(6)", times.to_vec()),
            (
                "VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_swedish_ci",
                vec!["''", "'a'", "'é2'", "'ß9'", "'z'", "'ÿ'"],
            ),
        ],
        _ => vec![
            ("INTEGER", vec!["-9223372036854775808", "0", "9223372036854775807"]),
            ("TEXT", vec!["''", "'a'"]),
        ],
    };
    for (kind, literals) in types {
        place.run(&format!("CREATE TABLE t (k {kind} NOT NULL PRIMARY KEY, id BIGINT NOT NULL)")).await;
        let rows: Vec<String> =
            (0..).zip(&literals).map(|(id, literal)| format!("({literal}, {id})")).collect();
        place.run(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
        for (splits, page_rows) in [(1, 1), (2, 1), (9, 2)] {
            let mut read: Vec<i64> = read_all::<Numbered>(scan_of(&place, splits, page_rows))
                .await
                .iter()
                .map(|row| row.id)
                .collect();
            read.sort_unstable();
            let expected: Vec<i64> = (0..).zip(&literals).map(|(id, _)| id).collect();
            assert_eq!(read, expected, "{} {kind} {splits} {page_rows}", place.kind());
        }
        place.run("DROP TABLE t").await;
    }
}

/// `a` and `A` have one place in such an order: a page that ends with one of them would pass the other over.
async fn texts_that_are_equal_by_the_order_of_their_column_are_no_key(place: Place) {
    let kind = place.of(
        "TEXT",
        "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "TEXT COLLATE NOCASE",
    );
    place.run(&format!("CREATE TABLE t (name {kind} NOT NULL, id BIGINT NOT NULL)")).await;
    place.run("INSERT INTO t VALUES ('a', 1), ('B', 2), ('A', 3)").await;
    match place.kind() {
        DatabaseKind::Postgres => {
            let order = "CREATE COLLATION sizeless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
            place.run(order).await;
            place.run("ALTER TABLE t ALTER COLUMN name TYPE TEXT COLLATE sizeless").await;
            place.run("CREATE UNIQUE INDEX one ON t (name COLLATE \"C\")").await;
        }
        DatabaseKind::Sqlite => place.run("CREATE UNIQUE INDEX one ON t (name COLLATE BINARY)").await,
        _ => {}
    }
    let mut config = scan_of(&place, 1, 1);
    config.key = vec!["name".into()];
    let scan = SqlScan::<Numbered>::connect(config.clone()).await.unwrap();
    let error = scan.discover(&first_run()).await.expect_err("two rows of one place");
    told(&error, ErrorKind::Data, &["several rows have one key", "as the database compares them"]);
    // With what tells them apart they are one.
    config.key.push("id".into());
    let mut read: Vec<i64> = read_all::<Numbered>(config).await.iter().map(|row| row.id).collect();
    read.sort_unstable();
    assert_eq!(read, [1, 2, 3], "{}", place.kind());
}

/// A key of the table says nothing of the rows that heirs have, and that are read with its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_key_that_heirs_of_a_table_have_again_is_refused() {
    let place = Place::on_shared(Database::Postgres).await;
    for statement in [
        "CREATE TABLE t (id BIGINT PRIMARY KEY)",
        "CREATE TABLE heir () INHERITS (t)",
        "INSERT INTO t VALUES (1), (2)",
        "INSERT INTO heir VALUES (2), (3)",
    ] {
        place.run(statement).await;
    }
    let scan = SqlScan::<Numbered>::connect(scan_of(&place, 1, 1)).await.unwrap();
    let error = scan.discover(&first_run()).await.expect_err("two rows of one key");
    told(&error, ErrorKind::Data, &["several rows have one key", "key=id=2"]);
    let mut config = SqlIncrementalConfig::new(place.config.clone(), "t", "id");
    config.lose_late_commits = true;
    let error = SqlIncremental::<Numbered>::connect(config).await.expect_err("no key");
    told(&error, ErrorKind::Config, &["setting=key"]);
    place.run("DELETE FROM ONLY t WHERE id = 2").await;
    let read: Vec<i64> = read_all::<Numbered>(scan_of(&place, 2, 1)).await.iter().map(|row| row.id).collect();
    assert_eq!(read, [1, 2, 3]);
}

async fn keys_of_several_columns_are_read_once_by_their_whole(place: Place) {
    let text = place.of("VARCHAR(9) COLLATE \"C\"", "VARCHAR(9) COLLATE utf8mb4_bin", "TEXT");
    let charset = place.of("", " CHARACTER SET utf8mb4", "");
    place
        .run(&format!(
            "CREATE TABLE t (tenant {text} NOT NULL, kind SMALLINT NOT NULL, id BIGINT NOT NULL, PRIMARY KEY (tenant, kind, id)){charset}"
        ))
        .await;
    let mut expected = Vec::new();
    let mut values = Vec::new();
    for tenant in ["", "a", "b"] {
        for kind in [-1, 0, 7] {
            for id in [i64::MIN, 0, 5, i64::MAX] {
                expected.push(OfSeveral { tenant: tenant.into(), id });
                values.push(format!("('{tenant}', {kind}, {id})"));
            }
        }
    }
    place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    for (splits, page_rows) in [(1, 1), (3, 5), (5, 2), (100, 100)] {
        let read = read_all::<OfSeveral>(scan_of(&place, splits, page_rows)).await;
        assert_eq!(read, expected, "{} {splits} {page_rows}", place.kind());
    }
}

async fn nothing_and_one_row_are_tables_too(place: Place) {
    place.run("CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
    let scan = SqlScan::<Numbered>::connect(scan_of(&place, 4, 10)).await.unwrap();
    let found = scan.discover(&first_run()).await.unwrap();
    assert!(found.new.is_empty() && found.complete, "{}", place.kind());
    place.run("INSERT INTO t VALUES (-7)").await;
    let found = scan.discover(&Known { first_run: false, ..first_run() }).await.unwrap();
    assert!(found.new.is_empty() && found.complete, "what was cut is cut");
    let read = read_all::<Numbered>(scan_of(&place, 4, 10)).await;
    assert_eq!(read.iter().map(|row| row.id).collect::<Vec<_>>(), [-7], "{}", place.kind());
}

async fn queries_and_views_are_read_where_their_key_is_one(place: Place) {
    place.run("CREATE TABLE t (id BIGINT PRIMARY KEY, grp BIGINT)").await;
    let values: Vec<String> = (0..50)
        .map(|id| format!("({id}, {})", if id == 7 { "NULL".into() } else { (id / 2).to_string() }))
        .collect();
    place.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    place.run("CREATE VIEW odd AS SELECT id, grp FROM t WHERE id % 2 = 1").await;
    let odd: Vec<i64> = (0..50).filter(|id| id % 2 == 1).collect();
    let query = |text: &str, key: &str| {
        let mut config = SqlScanConfig::query(place.config.clone(), text, [key]);
        (config.splits, config.page_rows) = (3, 4);
        config
    };
    let mut view = SqlScanConfig::table(place.config.clone(), "odd");
    view.key = vec!["id".into()];
    for config in [query("SELECT id FROM t WHERE id % 2 = 1 -- the odd ones\n;", "id"), view.clone()] {
        let read = read_all::<Numbered>(config).await;
        assert_eq!(read.iter().map(|row| row.id).collect::<Vec<_>>(), odd, "{}", place.kind());
    }
    let refused = async |config: SqlScanConfig| {
        let scan = SqlScan::<Numbered>::connect(config).await.unwrap();
        scan.discover(&first_run()).await.expect_err("no key")
    };
    let error = refused(query("SELECT id, grp FROM t WHERE id > 10", "grp")).await;
    told(&error, ErrorKind::Data, &["several rows have one key", "columns=grp", "key=grp="]);
    let error = refused(query("SELECT id, grp FROM t", "grp")).await;
    told(&error, ErrorKind::Data, &["NULL", "columns=grp"]);
    view.key = vec!["grp".into()];
    told(&refused(view).await, ErrorKind::Data, &["NULL", "columns=grp"]);
    // Whoever knows it better is told where a page shows that it is not so.
    let mut trusted = query("SELECT id, grp FROM t WHERE id > 10", "grp");
    trusted.trust_key = true;
    let scan = SqlScan::<Numbered>::connect(trusted).await.unwrap();
    let split = splits_of(&scan).await.remove(0);
    let error = read_split(&scan, split).await.expect_err("two rows of a key");
    told(&error, ErrorKind::Data, &["several rows have this key", "grp="]);
}

async fn large_rows_come_in_small_pages(place: Place) {
    #[derive(Debug, Deserialize)]
    struct Large {
        id: i64,
        body: String,
    }
    let text = place.of("TEXT", "LONGTEXT", "TEXT");
    place.run(&format!("CREATE TABLE t (id BIGINT PRIMARY KEY, body {text} NOT NULL)")).await;
    let repeated =
        place.of("repeat('x', 100000)", "repeat('x', 100000)", "replace(hex(zeroblob(50000)), '0', 'x')");
    for id in 0..30 {
        let body = if (10..20).contains(&id) { repeated } else { "'small'" };
        place.run(&format!("INSERT INTO t VALUES ({id}, {body})")).await;
    }
    let mut config = scan_of(&place, 1, 16);
    config.page_bytes = 250_000;
    let scan = SqlScan::<Large>::connect(config).await.unwrap();
    let mut reader = scan.open(splits_of(&scan).await.remove(0)).await.unwrap();
    let mut ids = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        let bytes: usize = batch.records.iter().map(|row| row.body.len()).sum();
        assert!(bytes <= 350_000, "{} {bytes}", place.kind());
        assert!(reader.heap_bytes() >= bytes as u64, "the host is told how much it is");
        ids.extend(batch.records.iter().map(|row| row.id));
    }
    assert_eq!(ids, (0..30).collect::<Vec<_>>(), "{}", place.kind());
}
