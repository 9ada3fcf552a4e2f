//! What a database makes of a row without a word, and what it can never take: on real servers, because only they know.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::time::Duration;

use common::Place;
use common::scenes::{attempt, commit, prepare};
use common::session::Session;
use serde_json::{Value, json};
use tidelock::{
    Epoch, ErrorKind, Pending, Position, Prepared, Result, Retry, Sink as _, SinkWriter as _, WriterId,
};
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_sql::{Change, DatabaseKind, Mode, RecordPolicy, SqlCommittable, SqlSink, SqlSinkConfig};
use tokio::time::{Instant, sleep, timeout};

/// What a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(place: &Place, on_refused: RecordPolicy) -> SqlSinkConfig {
    let mut config = place.sink_config_of("t");
    config.on_refused = on_refused;
    config
}

/// One epoch, in an attempt of its own.
async fn epoch(config: SqlSinkConfig, number: u64, rows: Vec<Value>) -> Result<()> {
    let sink = SqlSink::<Value>::new(config)?;
    let attempt = attempt("job", number);
    sink.recover(&attempt, &[]).await?;
    let rows = rows.into_iter().map(Change::Insert).collect();
    let pending = prepare(&sink, &attempt, number, rows).await?;
    commit(&sink, number, &pending).await
}

async fn count(place: &Place) -> i128 {
    place.query("SELECT count(*) FROM t").await[0][0].int()
}

#[tokio::test]
#[ignore = "needs a container"]
async fn what_a_server_would_change_without_a_word_is_refused() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let refused = match place.kind() {
            DatabaseKind::Postgres => vec![
                ("\"char\"", json!("ab")),
                ("name", json!("x".repeat(64))),
                ("interval(0)", json!("1.6 seconds")),
                ("interval", json!("0.0000001 seconds")),
                ("interval year to month", json!("1 day")),
                ("interval(0)[]", json!(["1.6 seconds"])),
                ("money", json!("1.239")),
                ("time(0) with time zone", json!("10:00:00.7+00")),
                ("numeric(4,-3)", json!(12)),
                ("bpchar", json!("a ")),
                ("timestamptz", json!("2016-12-31T23:59:60Z")),
            ],
            _ => vec![
                ("ENUM('a','b')", json!("1")),
                ("ENUM('a','b')", json!("A")),
                ("SET('a','b')", json!("b,a")),
                ("BIT(8)", json!("1")),
                ("YEAR", json!("99")),
                ("FLOAT(7,4)", json!("1.23456")),
                ("DOUBLE(9,2)", json!("1.239")),
                ("TIMESTAMP", json!("2016-12-31T23:59:60Z")),
            ],
        };
        for (at, (declared, value)) in (1..).zip(refused) {
            place.run(&format!("CREATE TABLE t (id BIGINT PRIMARY KEY, v {declared})")).await;
            let error = epoch(config(&place, RecordPolicy::Fail), at, vec![json!({ "id": 1, "v": value })])
                .await
                .expect_err(declared);
            let told = error.to_string();
            assert!(error.kind() == ErrorKind::Data && told.contains("column=v"), "{declared}: {told}");
            assert_eq!(count(&place).await, 0, "{declared}");
            place.run("DROP TABLE t").await;
        }
    })
    .await;
}

/// A delete that misses its row says nothing. So each type is compared with what it was written as.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_is_found_again_by_a_key_of_every_type() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let keys = match place.kind() {
            DatabaseKind::Postgres => vec![
                ("BOOLEAN", json!(true), json!(false)),
                ("SMALLINT", json!(-32_768), json!(7)),
                ("BIGINT", json!(i64::MAX), json!(i64::MIN)),
                ("REAL", json!(0.5), json!(f64::from(0.1_f32))),
                ("DOUBLE PRECISION", json!(0.1), json!(1e300)),
                ("NUMERIC(30,2)", json!("12345678901234567890.01"), json!("12345678901234567890.02")),
                ("VARCHAR(9)", json!("a "), json!("a")),
                ("CHAR(3)", json!("abc"), json!("abd")),
                ("NAME", json!("a"), json!("b")),
                ("DATE", json!("0001-01-01"), json!("9999-12-31")),
                ("TIME", json!("23:59:59.999999"), json!("00:00:00")),
                ("TIMESTAMP", json!("2024-02-29T10:00:00.000001"), json!("2024-02-29T10:00:00")),
                ("TIMESTAMPTZ", json!("2024-02-29T10:00:00.000001Z"), json!("2024-02-29T10:00:00+02:00")),
                ("INTERVAL", json!("1 day 1.5 seconds"), json!("2 days")),
                (
                    "UUID",
                    json!("00112233-4455-6677-8899-AABBCCDDEEFF"),
                    json!("00112233445566778899aabbccddee00"),
                ),
                ("BYTEA", json!([0, 255]), json!([])),
                ("INET", json!("::1"), json!("10.0.0.1")),
                ("INT[]", json!([1, null]), json!([])),
                ("JSONB", json!({ "a": 1 }), json!([])),
            ],
            _ => vec![
                ("TINYINT(1)", json!(true), json!(false)),
                ("BIGINT UNSIGNED", json!(u64::MAX), json!(0)),
                ("FLOAT", json!(0.5), json!(f64::from(0.1_f32))),
                ("DOUBLE", json!(0.1), json!(1e300)),
                ("DOUBLE(9,2)", json!("1.25"), json!("7.10")),
                ("DECIMAL(30,2)", json!("12345678901234567890.01"), json!("12345678901234567890.02")),
                ("VARCHAR(9) COLLATE utf8mb4_bin", json!("A"), json!("a")),
                ("VARCHAR(9) CHARACTER SET latin1", json!("ä"), json!("ö")),
                ("CHAR(3)", json!("a"), json!("b")),
                ("BINARY(2)", json!([0, 255]), json!([0, 0])),
                ("VARBINARY(9)", json!([0, 255]), json!([])),
                ("DATE", json!("1000-01-01"), json!("9999-12-31")),
                ("TIME(6)", json!("23:59:59.999999"), json!("00:00:00")),
                ("DATETIME(6)", json!("2024-02-29T10:00:00.000001"), json!("2024-02-29T10:00:00")),
                ("TIMESTAMP(3)", json!("2024-02-29T10:00:00.001Z"), json!("2024-02-29T10:00:00+02:00")),
                ("YEAR", json!(1999), json!("2024")),
                ("ENUM('b','a','1')", json!("1"), json!("b")),
                ("SET('b','a')", json!("b,a"), json!("a")),
            ],
        };
        for (at, (declared, changed, deleted)) in (1..).zip(keys) {
            place.run(&format!("CREATE TABLE t (k {declared}, v BIGINT, PRIMARY KEY (k))")).await;
            let mut wrote = config(&place, RecordPolicy::Fail);
            wrote.key = vec!["k".into()];
            let sink = SqlSink::<Value>::new(wrote).unwrap();
            sink.recover(&attempt("job", at), &[]).await.unwrap();
            let row = |key: &Value, v: u64| json!({ "k": key, "v": v });
            let changes = vec![
                Change::Insert(row(&changed, 1)),
                Change::Insert(row(&deleted, 2)),
                Change::Update(row(&changed, 7)),
                Change::Delete(row(&deleted, 0)),
                Change::Upsert(row(&changed, 8)),
            ];
            let pending = prepare(&sink, &attempt("job", at), at, changes).await.expect(declared);
            commit(&sink, at, &pending).await.expect(declared);
            let left = place.query("SELECT v FROM t").await;
            assert_eq!(left, [[common::Cell::Int(8)]], "{database:?} {declared}");
            place.run("DROP TABLE t").await;
        }
    })
    .await;
}

/// What makes rows of a table impossible, and one of them.
struct Impossible {
    make: Vec<&'static str>,
    row: Value,
}

fn impossible(kind: DatabaseKind) -> Vec<Impossible> {
    // It does not shrink.
    let long = |letters: usize| -> String {
        let mut state = 7_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
        };
        (0..letters).map(|_| letter()).collect()
    };
    let raising = |what: &'static str| {
        vec![
            "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)",
            what,
            "CREATE TRIGGER refuses BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()",
        ]
    };
    match kind {
        DatabaseKind::Postgres => vec![
            Impossible {
                make: vec!["CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT UNIQUE)"],
                row: json!({ "id": 1, "v": long(20_000) }),
            },
            Impossible {
                make: raising(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 1 THEN \
                     RAISE EXCEPTION 'not %', NEW USING ERRCODE = 'U0001'; END IF; RETURN NEW; END $$",
                ),
                row: json!({ "id": 1, "v": "s3cret" }),
            },
            Impossible {
                make: raising(
                    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     ASSERT NEW.id <> 1, NEW::text; RETURN NEW; END $$",
                ),
                row: json!({ "id": 1, "v": "s3cret" }),
            },
        ],
        _ => vec![
            Impossible {
                make: vec!["CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(9) CHARACTER SET cp1250)"],
                row: json!({ "id": 1, "v": "日" }),
            },
            Impossible {
                make: vec!["CREATE TABLE t (id BIGINT PRIMARY KEY, v POINT)"],
                row: json!({ "id": 1, "v": "s3cret" }),
            },
            Impossible {
                make: vec!["CREATE TABLE t (id BIGINT PRIMARY KEY, v LONGTEXT)"],
                row: json!({ "id": 1, "v": "x".repeat(3 << 20) }),
            },
        ],
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_that_can_never_be_is_set_aside_and_a_trigger_s_words_are_not_passed_on() {
    Database::each(async |database| {
        let mut options = SqlOptions::new(database);
        if database != Database::Postgres {
            options = options.with_setting("max_allowed_packet", "1M");
        }
        let server = SqlServer::start(options).await.unwrap();
        for mode in [Mode::Ledger, Mode::Prepared] {
            let place = Place::on(&server).await.in_mode(mode);
            let mut number = 0;
            for Impossible { make, row } in impossible(place.kind()) {
                for statement in &make {
                    place.run(statement).await;
                }
                let others = [json!({ "id": 0 }), json!({ "id": 2 })];
                let rows = || vec![others[0].clone(), row.clone(), others[1].clone()];
                number += 1;
                epoch(config(&place, RecordPolicy::Skip), number, rows()).await.expect(make[0]);
                assert_eq!(count(&place).await, 2, "{database:?} {mode:?} {}", make[0]);
                place.run("DELETE FROM t").await;
                number += 1;
                let error =
                    epoch(config(&place, RecordPolicy::Fail), number, rows()).await.expect_err(make[0]);
                assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
                let told = format!("{error:?}");
                assert!(told.contains("key=id=1") && !told.contains("s3cret"), "{told}");
                place.run("DROP TABLE t").await;
            }
        }
    })
    .await;
}

/// A process that is paused, or whose machine is gone, in the middle of a commit has the ledger's row.
#[tokio::test]
#[ignore = "needs a container"]
async fn what_a_process_that_fell_silent_within_a_commit_holds_is_free_soon() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        place.run("CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
        let mut config = config(&place, RecordPolicy::Fail);
        (config.database.statement_timeout_ms, config.database.idle_max_ms) = (1_000, 1_000);
        let silent = SqlSink::<Value>::new(config.clone()).unwrap();
        silent.recover(&attempt("job", 1), &[]).await.unwrap();
        let rows = vec![Change::Insert(json!({ "id": 1 }))];
        let pending = prepare(&silent, &attempt("job", 1), 1, rows).await.unwrap();
        // Somebody's row holds its statement up until it is not polled any more: then it is in the middle.
        let mut other = Session::open(&place).await;
        other.run("BEGIN").await.unwrap();
        other.run("INSERT INTO t VALUES (1)").await.unwrap();
        let mut committing = Box::pin(commit(&silent, 1, &pending));
        assert!(timeout(Duration::from_millis(400), &mut committing).await.is_err(), "it is held up");
        other.run("ROLLBACK").await.unwrap();
        let next = SqlSink::<Value>::new(config).unwrap();
        next.recover(&attempt("job", 2), &pending).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = commit(&next, 1, &pending).await {
            assert!(error.retry() == Retry::Retry && Instant::now() < deadline, "{database:?}: {error:?}");
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(count(&place).await, 1);
        // It wakes up.
        let _lost_its_connection = committing.await;
        assert_eq!(count(&place).await, 1, "once");
    })
    .await;
}

/// A foreign key to the same table: what it refers to is there for nobody before its epoch is committed.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_that_refers_to_one_of_an_epoch_that_is_not_committed_waits_and_is_not_refused() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await.in_mode(Mode::Prepared);
        place
            .run("CREATE TABLE t (id BIGINT PRIMARY KEY, parent BIGINT, FOREIGN KEY (parent) REFERENCES t (id))")
            .await;
        let sink = SqlSink::<Value>::new(config(&place, RecordPolicy::Skip)).unwrap();
        let attempt = attempt("job", 1);
        sink.recover(&attempt, &[]).await.unwrap();
        let mut writer = sink.open(&attempt, WriterId(0)).await.unwrap();
        let row = |id: u64, parent: Option<u64>| Change::Insert(json!({ "id": id, "parent": parent }));
        writer.write(&mut vec![row(1, None)]).await.unwrap();
        let first = writer.prepare(Epoch(1)).await.unwrap();
        let mut second = vec![row(2, Some(1))];
        writer.write(&mut second).await.unwrap();
        assert_eq!(second.len(), 1, "{database:?}: it is given back, for now");
        commit(&sink, 1, &of_epoch(1, first)).await.unwrap();
        writer.write(&mut second).await.unwrap();
        assert_eq!(second.len(), 0, "{database:?}: it is taken now");
        let second = writer.prepare(Epoch(2)).await.unwrap();
        commit(&sink, 2, &of_epoch(2, second)).await.unwrap();
        assert_eq!(count(&place).await, 2, "{database:?}");
    })
    .await;
}

fn of_epoch(epoch: u64, prepared: Vec<Prepared<SqlCommittable>>) -> Vec<Pending<SqlCommittable>> {
    let pending = |one: Prepared<_>| Pending {
        epoch: Epoch(epoch),
        attempt: Position(1),
        writer: WriterId(0),
        committable: one.committable,
    };
    prepared.into_iter().map(pending).collect()
}

/// Two jobs whose names differ in the size of a letter would have one row.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_ledger_that_knows_no_letter_s_size_is_refused() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        if place.kind() == DatabaseKind::Postgres {
            return;
        }
        place.run("CREATE TABLE t (id BIGINT PRIMARY KEY)").await;
        let columns = "generation BIGINT NOT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (job, uid)";
        let names = "job VARCHAR(128) NOT NULL, uid VARCHAR(128) NOT NULL";
        let make = format!("CREATE TABLE tidelock_ledger ({names}, {columns}) COLLATE utf8mb4_general_ci");
        place.run(&make).await;
        let error = epoch(config(&place, RecordPolicy::Fail), 1, Vec::new()).await.unwrap_err();
        let told = error.to_string();
        assert!(error.kind() == ErrorKind::Config && told.contains("table=tidelock_ledger"), "{told}");
        assert!(told.contains("COLLATE ascii_bin"), "what it must be: {told}");
    })
    .await;
}

/// Found out at commit it would be durable already, and halt the job for ever.
#[tokio::test]
#[ignore = "needs a container"]
async fn what_no_statement_of_ours_may_do_is_told_before_anything_is_durable() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let generated = place.of(
            "id BIGINT PRIMARY KEY, v INT GENERATED ALWAYS AS (id::int) STORED",
            "id BIGINT PRIMARY KEY, v INT GENERATED ALWAYS AS (id + 1) STORED",
            "",
        );
        let mut tables = vec![(generated, Change::Insert(json!({ "id": 1, "v": 2 })), "column=v")];
        if place.kind() == DatabaseKind::Postgres {
            let identity = "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v INT";
            tables.push((identity, Change::Upsert(json!({ "id": 1, "v": 2 })), "column=id"));
            let deferrable = "id BIGINT PRIMARY KEY DEFERRABLE, v INT";
            tables.push((deferrable, Change::Upsert(json!({ "id": 1, "v": 2 })), "DEFERRABLE"));
        }
        for (columns, change, told) in tables {
            place.run(&format!("CREATE TABLE t ({columns})")).await;
            let sink = SqlSink::<Value>::new(config(&place, RecordPolicy::Skip)).unwrap();
            sink.recover(&attempt("job", 1), &[]).await.unwrap();
            let error = prepare(&sink, &attempt("job", 1), 1, vec![change]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
            assert!(error.to_string().contains(told), "{error}");
            place.run("DROP TABLE t").await;
        }
        // By an identity a row is found, and may be changed and deleted.
        if place.kind() == DatabaseKind::Postgres {
            place.run("CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v INT)").await;
            place.run("INSERT INTO t (v) VALUES (1), (2)").await;
            let sink = SqlSink::<Value>::new(config(&place, RecordPolicy::Fail)).unwrap();
            sink.recover(&attempt("job", 2), &[]).await.unwrap();
            let changes =
                vec![Change::Update(json!({ "id": 1, "v": 7 })), Change::Delete(json!({ "id": 2, "v": 0 }))];
            let pending = prepare(&sink, &attempt("job", 2), 2, changes).await.unwrap();
            commit(&sink, 2, &pending).await.unwrap();
            assert_eq!(place.query("SELECT v::bigint FROM t").await, [[common::Cell::Int(7)]]);
        }
    })
    .await;
}
