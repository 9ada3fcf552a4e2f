//! Many changes at once: of each key the last state is sent, and all in one transaction.

use std::io::{Read as _, Seek as _, SeekFrom};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tidelock::{Epoch, SinkWriter as _};
use tidelock_sql::{Change, RecordPolicy, SqlSinkConfig, VersionFrom};
use tidelock_testkit::harness::Row;

use super::common::Place;
use super::common::scenes::attempt;
use super::on_each::{open, row};
use super::on_sqlite;

/// How many tables are filled, with so many changes each. One by one each change is a transaction.
const TABLES: u64 = 10;
const CHANGES: usize = 50;

/// A record that may have a part of the columns.
#[derive(Debug, Clone, Serialize)]
struct Part {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<Option<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
}

fn some_change(random: &mut StdRng, is_versioned: bool) -> Change<Part> {
    let part = Part {
        key: format!("k{}", random.random_range(0..3)),
        // Some are too large for the table.
        a: random.random_bool(0.7).then(|| random.random_bool(0.8).then(|| random.random_range(0..100))),
        b: random.random_bool(0.6).then(|| random.random_range(0..100)),
        at: is_versioned.then(|| random.random_range(0..40)),
    };
    match random.random_range(0..10) {
        0..5 => Change::Upsert(part),
        5 => Change::Insert(part),
        6..8 => Change::Update(part),
        _ => Change::Delete(part),
    }
}

/// What must be: the table ends as if each change had come by itself.
async fn ends_as_one_by_one(random: &mut StdRng, version: VersionFrom, seed: u64) {
    let place = on_sqlite();
    let is_versioned = version != VersionFrom::Attempt;
    let own = if is_versioned {
        ", at BIGINT NOT NULL, deleted BOOLEAN NOT NULL DEFAULT FALSE"
    } else {
        place.own_columns()
    };
    let config = |table: &str| -> SqlSinkConfig {
        let mut config = place.sink_config_of(table);
        config.version = version.clone();
        config.on_refused = RecordPolicy::Skip;
        config
    };
    for table in ["together", "one_by_one"] {
        place
            .run(&format!(
                "CREATE TABLE {table} (\"key\" VARCHAR(8) PRIMARY KEY, a BIGINT CHECK (a < 90), b BIGINT NOT NULL DEFAULT 7{own})"
            ))
            .await;
    }
    let changes: Vec<_> = (0..CHANGES).map(|_| some_change(random, is_versioned)).collect();
    let mut together = open(config("together"), &attempt("job", 1)).await;
    let mut one_by_one = open(config("one_by_one"), &attempt("job", 1)).await;
    let mut left = changes.as_slice();
    while !left.is_empty() {
        let (now, later) = left.split_at(random.random_range(1..=left.len()));
        left = later;
        together.write(&mut now.to_vec()).await.unwrap();
        for change in now {
            one_by_one.write(&mut vec![change.clone()]).await.unwrap();
        }
        let rows = async |table| place.query(&format!("SELECT * FROM {table} ORDER BY \"key\"")).await;
        assert_eq!(
            rows("together").await,
            rows("one_by_one").await,
            "TIDELOCK_SEED={seed} {version:?}, at once: {now:#?}"
        );
    }
}

#[tokio::test]
async fn changes_at_once_end_as_the_same_changes_one_by_one() {
    let given = std::env::var("TIDELOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("TIDELOCK_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..TABLES {
        for version in [VersionFrom::Attempt, VersionFrom::Column("at".into())] {
            Box::pin(ends_as_one_by_one(&mut random, version, seed)).await;
        }
    }
}

/// How many transactions wrote to the file: SQLite counts them in its header.
fn transactions(place: &Place) -> u32 {
    let mut file = std::fs::File::open(&place.config.name).unwrap();
    file.seek(SeekFrom::Start(24)).unwrap();
    let mut count = [0; 4];
    file.read_exact(&mut count).unwrap();
    u32::from_be_bytes(count)
}

/// A running count of few keys, with a delete in each ten changes.
fn running_count(at: u64) -> Change<Row> {
    let counted = row(&format!("k{}", at % 6), at);
    if at % 10 == 3 { Change::Delete(counted) } else { Change::Upsert(counted) }
}

#[tokio::test]
async fn changes_at_once_are_one_transaction_of_the_last_state_of_each_key() {
    let place = on_sqlite();
    place.make_table().await;
    place
        .run(
            "CREATE TABLE sent (\"key\" TEXT);
             CREATE TRIGGER made AFTER INSERT ON log BEGIN INSERT INTO sent VALUES (NEW.\"key\"); END;
             CREATE TRIGGER changed AFTER UPDATE ON log BEGIN INSERT INTO sent VALUES (NEW.\"key\"); END;",
        )
        .await;
    let mut writer = open(place.sink_config(), &attempt("job", 1)).await;
    let before = transactions(&place);
    for begin in [0, 1_000, 2_000] {
        writer.write(&mut (begin..begin + 1_000).map(running_count).collect()).await.unwrap();
    }
    assert_eq!(transactions(&place) - before, 3);
    assert_eq!(place.query("SELECT count(*) FROM sent").await[0][0].int(), 3 * 6);
    // The last six are 2994 to 2999, and none of them is a delete.
    let rows: Vec<_> = (2_994..3_000).map(|at| row(&format!("k{}", at % 6), at)).collect();
    assert_eq!(place.rows("\"key\"").await, rows);

    // What cannot be one statement is one transaction all the same.
    let before = transactions(&place);
    let changes = (0..50).flat_map(|at| {
        let key = format!("k{}", at % 6);
        [Change::Upsert(row(&key, at)), Change::Update(row(&key, at + 1)), Change::Delete(row(&key, 0))]
    });
    writer.write(&mut changes.collect()).await.unwrap();
    assert_eq!(transactions(&place) - before, 1);
    assert!(place.rows("\"key\"").await.is_empty());
}

/// What a later change replaces is not sent; but it is, where the later one cannot be, and where others need what it left.
pub(super) async fn where_the_last_state_of_a_key_cannot_be_the_one_before_it_is_there(place: Place) {
    let own = place.own_columns();
    place
        .run(&format!(
            "CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL{own}, CONSTRAINT small CHECK (value < 1000))"
        ))
        .await;
    let mut config = place.sink_config();
    config.on_refused = RecordPolicy::DeadLetter("letters".into());
    let mut writer = open(config, &attempt("job", 1)).await;
    let mut changes: Vec<_> = (0..20).map(|at| Change::Upsert(row(&format!("other{at}"), at))).collect();
    changes.extend([
        Change::Upsert(row("last", 1)),
        Change::Upsert(row("last", 2)),
        // Replaced, and so never refused.
        Change::Upsert(row("first", 5_001)),
        Change::Upsert(row("last", 5_002)),
        Change::Upsert(row("last", 5_003)),
        Change::Upsert(row("first", 3)),
        // The row must be there for the update, and the delete does not hide that it is not.
        Change::Insert(row("updated", 4)),
        Change::Update(row("updated", 5)),
        Change::Delete(row("updated", 0)),
        Change::Insert(row("updated", 6)),
        Change::Update(row("nobody", 7)),
        Change::Upsert(row("nobody", 8)),
    ]);
    writer.write(&mut changes).await.unwrap();
    writer.prepare(Epoch(1)).await.unwrap();
    let rows: Vec<_> =
        place.rows("\"key\"").await.into_iter().filter(|row| !row.key.starts_with("other")).collect();
    assert_eq!(rows, [row("first", 3), row("last", 2), row("nobody", 8), row("updated", 6)]);
    let letters = place.query("SELECT operation, record FROM letters ORDER BY place").await;
    let told: Vec<_> = letters.iter().map(|letter| (letter[0].text(), letter[1].text())).collect();
    let refused = [
        ("upsert", r#"{"key":"last","value":5002}"#),
        ("upsert", r#"{"key":"last","value":5003}"#),
        ("update", r#"{"key":"nobody","value":7}"#),
    ];
    // Whether the first one's refused state was seen depends on how the changes were halved.
    let told: Vec<_> = told.into_iter().filter(|(_, record)| !record.contains("5001")).collect();
    assert_eq!(told, refused);
}
