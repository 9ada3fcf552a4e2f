//! What must hold on every kind of database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::log::Log;
use tidelock::{
    CommitPermit, Committable as _, Epoch, Error, ErrorKind, Generation, JobId, Pending, Position, Result,
    Retry, Sink, SinkAttempt, SinkWriter as _, Uid, WriterId,
};
use tidelock_sql::{Change, RecordPolicy, SqlCommittable, SqlConfig, SqlSink, SqlSinkConfig};
use tidelock_testkit::harness::Row;

use super::{Cell, Place};

pub(crate) type PendingRows = Pending<SqlCommittable>;

pub(crate) fn uid() -> Uid {
    Uid::new("out").unwrap()
}

pub(crate) fn attempt(job: &str, number: u64) -> SinkAttempt {
    let job = JobId::new(job).unwrap();
    SinkAttempt { job, uid: uid(), number: Position(number), generation: Generation(1), chunks: None }
}

/// Writes an epoch as one writer of an attempt does, up to its being prepared.
pub(crate) async fn prepare<T: Serialize + Send + 'static>(
    sink: &SqlSink<T>,
    attempt: &SinkAttempt,
    epoch: u64,
    mut changes: Vec<Change<T>>,
) -> Result<Vec<PendingRows>> {
    let writer = WriterId(0);
    let mut open = sink.open(attempt, writer).await?;
    open.write(&mut changes).await?;
    let prepared = open.prepare(Epoch(epoch)).await?;
    let pending = |one: tidelock::Prepared<_>| Pending {
        epoch: Epoch(epoch),
        attempt: attempt.number,
        writer,
        committable: one.committable,
    };
    Ok(prepared.into_iter().map(pending).collect())
}

pub(crate) async fn commit<T: Serialize + Send + 'static>(
    sink: &SqlSink<T>,
    epoch: u64,
    pending: &[PendingRows],
) -> Result<()> {
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(epoch));
    sink.commit(&permit, pending.to_vec()).await.map(drop)
}

/// A sink that is ready, and one epoch after the other, each in an attempt of its own.
pub(crate) async fn epochs(
    place: &Place,
    config: SqlSinkConfig,
    epochs: Vec<Vec<Change<Row>>>,
) -> Result<()> {
    let sink = SqlSink::new(config)?;
    for (epoch, changes) in (1..).zip(epochs) {
        let attempt = attempt("job", epoch);
        sink.recover(&attempt, &[]).await?;
        let pending = prepare(&sink, &attempt, epoch, changes).await?;
        commit(&sink, epoch, &pending).await?;
    }
    let _seen = place;
    Ok(())
}

fn row(key: &str, value: u64) -> Row {
    Row::new(key, value)
}

/// The changes of one key are done in their order, within an epoch and across epochs.
pub(crate) async fn changes_are_done_in_their_order(place: Place) {
    use Change::{Delete, Insert, Update, Upsert};
    place.run("CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL UNIQUE)").await;
    let first = vec![Insert(row("a", 1)), Insert(row("b", 2)), Insert(row("c", 3))];
    let second = vec![
        // Updated, deleted, made again: it is there.
        Update(row("a", 10)),
        Delete(row("a", 0)),
        Insert(row("a", 11)),
        Update(row("a", 12)),
        // Each frees what the next one takes, in another unique column.
        Delete(row("b", 0)),
        Update(row("c", 2)),
        Insert(row("d", 3)),
        // A row that is not there.
        Delete(row("nobody", 0)),
    ];
    epochs(&place, place.sink_config(), vec![first, second]).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("a", 12), row("c", 2), row("d", 3)]);

    place.run("CREATE TABLE other (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL)").await;
    let mut config = place.sink_config_of("other");
    config.ledger_table = "other_ledger".into();
    config.transactions_table = "other_transactions".into();
    let upserts = (0..30).map(|at| Upsert(row(["x", "y", "z"][at % 3], at as u64))).collect();
    let changes = vec![
        Delete(row("x", 0)),
        Upsert(row("y", 100)),
        // One key, changed before and after it was deleted: https://github.com/confluentinc/kafka-connect-jdbc/issues/1562
        Upsert(row("z", 7)),
        Delete(row("z", 0)),
        Upsert(row("z", 8)),
    ];
    epochs(&place, config, vec![upserts, changes]).await.unwrap();
    let rows = place.query("SELECT \"key\", value FROM other ORDER BY \"key\"").await;
    let text = |text: &str| Cell::Text(text.into());
    assert_eq!(rows, [[text("y"), Cell::Int(100)], [text("z"), Cell::Int(8)]]);
}

/// A row that violates a constraint: fail.
pub(crate) async fn a_violation_halts_with_its_name_and_the_epoch_is_kept(place: Place) {
    place
        .run("CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL, CONSTRAINT small CHECK (value < 1000))")
        .await;
    place.run("INSERT INTO log VALUES ('k7', 5)").await;
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let attempt = attempt("job", 1);
    sink.recover(&attempt, &[]).await.unwrap();
    let changes = (0..10).map(|at| Change::Insert(row(&format!("k{at}"), 900 + at))).collect();
    let pending = prepare(&sink, &attempt, 1, changes).await.unwrap();
    for _ in 0..2 {
        let error = commit(&sink, 1, &pending).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        let told = format!("{error:?}");
        assert!(
            told.contains("table=log") && told.contains("key=key=\"k7\"") && told.contains("constraint="),
            "{told}"
        );
        assert!(!told.contains("907"), "the row is nobody's: {told}");
        assert_eq!(place.rows("\"key\"").await, [row("k7", 5)], "nothing of the epoch");
    }
    // Mended by a person, it goes on with what was kept.
    place.run("DELETE FROM log").await;
    let next = SqlSink::<Row>::new(place.sink_config()).unwrap();
    next.recover(&self::attempt("job", 2), &pending).await.unwrap();
    commit(&next, 1, &pending).await.unwrap();
    assert_eq!(place.rows("\"key\"").await.len(), 10);
    let pending =
        prepare(&next, &self::attempt("job", 2), 2, vec![Change::Insert(row("big", 5000))]).await.unwrap();
    let told = format!("{:?}", commit(&next, 2, &pending).await.unwrap_err());
    assert!(told.contains("small") && !told.contains("5000"), "{told}");
}

/// Rows that violate a constraint, or do not fit: the others are written, and these are told or kept once.
pub(crate) async fn what_is_set_aside_is_so_in_the_transaction_of_the_rest(place: Place) {
    let config = |policy| {
        let mut config = place.sink_config();
        config.on_refused = policy;
        config
    };
    place.make_table().await;
    place.run("INSERT INTO log VALUES ('k3', 5), ('k4', 5)").await;
    let changes = || {
        let mut changes: Vec<_> = (0..100).map(|at| Change::Insert(row(&format!("k{at}"), at))).collect();
        changes.insert(50, Change::Update(row("nobody", 1)));
        // Out of the range of its column.
        changes.insert(60, Change::Insert(row("large", u64::MAX)));
        changes
    };
    let sink = SqlSink::new(config(RecordPolicy::DeadLetter("letters".into()))).unwrap();
    let attempt = attempt("job", 1);
    sink.recover(&attempt, &[]).await.unwrap();
    let pending = prepare(&sink, &attempt, 1, changes()).await.unwrap();
    for _ in 0..2 {
        commit(&sink, 1, &pending).await.unwrap();
        assert_eq!(place.rows("\"key\"").await.len(), 100);
        let letters = place.query("SELECT operation, reason, record FROM letters ORDER BY place").await;
        let kept: Vec<_> = letters.iter().map(|letter| (letter[0].text(), letter[2].text())).collect();
        assert_eq!(
            kept,
            [
                ("insert", r#"{"key":"k3","value":3}"#),
                ("insert", r#"{"key":"k4","value":4}"#),
                ("update", r#"{"key":"nobody","value":1}"#),
                ("insert", r#"{"key":"large","value":18446744073709551615}"#),
            ]
        );
        assert!(letters[3][1].text().contains("range"), "{letters:?}");
    }
    place.run("DELETE FROM log").await;
    place.run("INSERT INTO log VALUES ('k3', 5)").await;
    let skips = SqlSink::new(config(RecordPolicy::Skip)).unwrap();
    let pending = prepare(&skips, &attempt, 2, changes()).await.unwrap();
    commit(&skips, 2, &pending).await.unwrap();
    assert_eq!(place.rows("\"key\"").await.len(), 100);
}

/// Tables that are not as they must be are told before anything is written.
pub(crate) async fn tables_that_cannot_work_are_found_out_first(place: Place) {
    let look = async |config: SqlSinkConfig| -> Error {
        let sink = SqlSink::<Row>::new(config).unwrap();
        sink.recover(&attempt("job", 1), &[]).await.unwrap_err()
    };
    let error = look(place.sink_config()).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error:?}");
    place.run("CREATE TABLE log (\"key\" VARCHAR(64), value BIGINT)").await;
    place
        .run("CREATE TABLE tidelock_ledger (job VARCHAR(64) PRIMARY KEY, generation BIGINT, epoch BIGINT)")
        .await;
    let error = look(place.sink_config()).await;
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("tidelock_ledger"), "{error:?}");
    place.run("DROP TABLE tidelock_ledger").await;
    let mut config = place.sink_config();
    config.key = vec!["key".into()];
    let error = look(config).await;
    assert!(error.to_string().contains("no unique key"), "{error:?}");
    let sink = SqlSink::new(place.sink_config()).unwrap();
    sink.recover(&attempt("job", 1), &[]).await.unwrap();
    let error = prepare(&sink, &attempt("job", 1), 1, vec![Change::Upsert(row("a", 1))]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("no primary key"), "{error:?}");
    #[derive(Serialize)]
    struct Other {
        nobody: u8,
    }
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let error =
        prepare(&sink, &attempt("job", 1), 1, vec![Change::Insert(Other { nobody: 1 })]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("field=nobody"), "{error:?}");
}

/// Jobs whose names differ in nothing but the size of a letter have ledgers of their own.
pub(crate) async fn names_are_compared_letter_by_letter(place: Place) {
    place.make_log().await;
    for job in ["job", "Job", "JOB"] {
        let sink = SqlSink::new(place.sink_config()).unwrap();
        let attempt = attempt(job, 1);
        sink.recover(&attempt, &[]).await.unwrap();
        let pending = prepare(&sink, &attempt, 1, vec![Change::Insert(row(job, 1))]).await.unwrap();
        commit(&sink, 1, &pending).await.unwrap();
    }
    assert_eq!(place.rows("id").await.len(), 3);
}

/// A reader sees all rows of an epoch, or none of them.
pub(crate) async fn a_reader_never_sees_a_part_of_an_epoch(place: Place) {
    const EPOCHS: u64 = 20;
    const ROWS: u64 = 300;
    place.make_log().await;
    let writing = async {
        let epoch = |epoch| (0..ROWS).map(|at| Change::Insert(row(&epoch_key(epoch), at))).collect();
        epochs(&place, place.sink_config(), (1..=EPOCHS).map(epoch).collect()).await.unwrap();
    };
    let reading = async {
        let mut seen = 0;
        while seen < i128::from(EPOCHS * ROWS) {
            seen = place.query("SELECT count(*) FROM log").await[0][0].int();
            assert_eq!(seen % i128::from(ROWS), 0, "a part of an epoch is visible");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(writing, reading);
}

fn epoch_key(epoch: u64) -> String {
    format!("epoch-{epoch}")
}

/// A wrong port is told as that, at once, and no password with it.
pub(crate) async fn a_wrong_port_is_told_and_the_password_is_not(place: Place) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = port.local_addr().unwrap().port();
    let config = |port: u16| {
        let mut config: SqlConfig = place.config.clone();
        config.port = Some(port);
        config.password = "s3cret-word".into();
        config.connect_timeout_ms = 1_000;
        SqlSinkConfig::new(config, "log")
    };
    let told = async |config: SqlSinkConfig| -> Error {
        let sink = SqlSink::<Row>::new(config).unwrap();
        assert!(!format!("{sink:?}").contains("s3cret"));
        let error = sink.recover(&attempt("job", 1), &[]).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        error
    };
    // Somebody listens there and says nothing.
    let error = told(config(free)).await;
    assert!(
        error.kind() == ErrorKind::Unavailable && error.to_string().contains(&format!(":{free}/")),
        "{error:?}"
    );
    drop(port);
    let error = told(config(free)).await;
    assert!(
        error.kind() == ErrorKind::Unavailable && error.to_string().contains(&format!(":{free}/")),
        "{error:?}"
    );
    // The right port and a wrong password.
    let error = told(config(place.config.port.unwrap())).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error:?}");
}

/// A record with a value for many types of columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wide {
    pub(crate) id: i64,
    pub(crate) small: Option<i16>,
    pub(crate) price: Option<String>,
    pub(crate) flag: Option<bool>,
    pub(crate) day: Option<String>,
    pub(crate) noon: Option<String>,
    pub(crate) local: Option<String>,
    pub(crate) moment: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) nested: Option<std::collections::BTreeMap<String, Vec<u8>>>,
    pub(crate) list: Option<Vec<i32>>,
}

impl Wide {
    pub(crate) fn full(id: i64) -> Self {
        Self {
            id,
            small: Some(-7),
            price: Some("-12.50".into()),
            flag: Some(true),
            day: Some("2024-02-29".into()),
            noon: Some("12:00:00.5".into()),
            local: Some("2024-02-29T12:00:00.000001".into()),
            moment: Some("2024-02-29T12:00:00+02:00".into()),
            tag: Some("00112233-4455-6677-8899-aabbccddeeff".into()),
            nested: Some(std::collections::BTreeMap::from([("a\"'\\".into(), vec![1, 2])])),
            list: Some(vec![3, 4]),
        }
    }

    pub(crate) fn empty(id: i64) -> Self {
        Self {
            id,
            small: None,
            price: None,
            flag: None,
            day: None,
            noon: None,
            local: None,
            moment: None,
            tag: None,
            nested: None,
            list: None,
        }
    }
}

/// Every type of column takes its value: by insert, update and upsert.
pub(crate) async fn every_type_of_column_takes_its_value(place: Place) {
    let columns = place.of(
        "small SMALLINT, price NUMERIC(10,2), flag BOOLEAN, day DATE, noon TIME, local TIMESTAMP, moment TIMESTAMPTZ, \
         tag UUID, nested JSONB, list INTEGER[]",
        "small SMALLINT, price DECIMAL(10,2), flag BOOLEAN, day DATE, noon TIME(1), local DATETIME(6), moment TIMESTAMP(3) NULL, \
         tag CHAR(36), nested JSON, list JSON",
        "small SMALLINT, price TEXT, flag BOOLEAN, day DATE, noon TIME, local DATETIME, moment TEXT, tag TEXT, nested TEXT, \
         list TEXT",
    );
    let own = place.own_columns();
    place.run(&format!("CREATE TABLE log (id BIGINT PRIMARY KEY, {columns}{own})")).await;
    let sink = SqlSink::new(place.sink_config()).unwrap();
    let attempt = attempt("job", 1);
    sink.recover(&attempt, &[]).await.unwrap();
    let changes = vec![
        Change::Insert(Wide::full(1)),
        Change::Insert(Wide::empty(2)),
        Change::Insert(Wide::empty(3)),
        Change::Update(Wide::full(3)),
        Change::Upsert(Wide::empty(4)),
        Change::Upsert(Wide::full(4)),
        Change::Insert(Wide::full(5)),
        Change::Update(Wide::empty(5)),
    ];
    let pending = prepare(&sink, &attempt, 1, changes).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    let texts = place.of(
        "small::text, price::text, flag::int::text, day::text, noon::text, local::text, moment::text, tag::text, \
         nested::text, list::text",
        "CAST(small AS CHAR), CAST(price AS CHAR), CAST(flag AS CHAR), CAST(day AS CHAR), CAST(noon AS CHAR), \
         CAST(local AS CHAR), CAST(UNIX_TIMESTAMP(moment) AS CHAR), tag, CAST(nested AS CHAR), CAST(list AS CHAR)",
        "CAST(small AS TEXT), price, CAST(flag AS TEXT), day, noon, local, moment, tag, nested, list",
    );
    let rows = place.query(&format!("SELECT {texts} FROM log ORDER BY id")).await;
    let shown = |row: &[Cell]| -> Vec<String> {
        let text = |cell: &Cell| match cell {
            Cell::Null => "-".to_owned(),
            Cell::Text(text) => text.replace(' ', ""),
            Cell::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap().replace(' ', ""),
            other => panic!("{other:?}"),
        };
        row.iter().map(text).collect()
    };
    let full = shown(&rows[0]);
    assert_eq!(full[..4], ["-7", "-12.50", "1", "2024-02-29"]);
    assert!(full[4].starts_with("12:00:00.5") && full[5].ends_with("12:00:00.000001"), "{full:?}");
    assert!(
        full[6].starts_with("2024-02-2910:00:00+00")
            || full[6] == "1709200800.000"
            || full[6] == "2024-02-29T12:00:00+02:00",
        "{full:?}"
    );
    assert_eq!(full[7], "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(full[8], r#"{"a\"'\\":[1,2]}"#);
    assert!(full[9] == "{3,4}" || full[9] == "[3,4]", "{full:?}");
    for (at, is_full) in [(1, false), (2, true), (3, true), (4, false)] {
        let expected = if is_full { full.clone() } else { vec!["-".to_owned(); 10] };
        assert_eq!(shown(&rows[at]), expected, "row {}", at + 1);
    }
}

/// An epoch that leaves memory as several chunks of the log: visible as a whole, or not at all.
pub(crate) async fn a_large_epoch_is_visible_at_once_or_not_at_all(place: Place) {
    const ROWS: u64 = 50_000;
    let place = Arc::new(place);
    place.make_table().await;
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().to_str().unwrap()).await.unwrap();
    let attempt = SinkAttempt { chunks: Some(log.chunk_store(Position(1))), ..attempt("job", 1) };
    let permit = |epoch| {
        let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(epoch));
        permit.with_chunks(log.chunk_store(Position(1)))
    };
    let sink = SqlSink::new(place.sink_config()).unwrap();
    sink.recover(&attempt, &[]).await.unwrap();
    let rows = |epoch: u64| {
        (0..ROWS).map(move |at| Change::Insert(row(&format!("epoch-{epoch}-{at}"), at))).collect::<Vec<_>>()
    };
    let count = async || place.query("SELECT count(*) FROM log").await[0][0].int();

    let pending = prepare(&sink, &attempt, 1, rows(1)).await.unwrap();
    assert!(pending[0].committable.chunks().len() > 1, "{pending:?}");
    sink.recover(&attempt, &pending).await.unwrap();
    // A reader of SQLite waits while a large transaction has the file for itself: on a thread of its own.
    let (done, here) = (Arc::new(AtomicBool::new(false)), tokio::runtime::Handle::current());
    let reading = (Arc::clone(&place), Arc::clone(&done));
    let reading = tokio::task::spawn_blocking(move || {
        let (place, done) = reading;
        while !done.load(Ordering::SeqCst) {
            let seen = here.block_on(place.query("SELECT count(*) FROM log"))[0][0].int();
            assert!(seen == 0 || seen == i128::from(ROWS), "a part of an epoch is visible: {seen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    for _ in 0..2 {
        sink.commit(&permit(1), pending.clone()).await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    reading.await.unwrap();
    assert_eq!(count().await, i128::from(ROWS), "once");

    // Its last row violates a constraint: nothing of it is visible.
    let mut violating = rows(2);
    violating.push(Change::Insert(row("epoch-1-0", 7)));
    let pending = prepare(&sink, &attempt, 2, violating).await.unwrap();
    let error = sink.commit(&permit(2), pending).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Data && format!("{error:?}").contains("epoch-1-0"), "{error:?}");
    assert_eq!(count().await, i128::from(ROWS));

    // Its last chunk is gone: nothing of it is visible, and when it is back, all of it. Whoever wrote it has its rows at the server
    // already, and a chunk is read by the next attempt.
    let pending = prepare(&sink, &attempt, 3, rows(3)).await.unwrap();
    sink.recover(&SinkAttempt { number: Position(2), ..attempt }, &pending).await.unwrap();
    let last = folder.path().join(&pending[0].committable.chunks().last().unwrap().name);
    let backup = std::fs::read(&last).unwrap();
    std::fs::remove_file(&last).unwrap();
    let error = sink.commit(&permit(3), pending.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error:?}");
    assert_eq!(count().await, i128::from(ROWS));
    std::fs::write(&last, backup).unwrap();
    sink.commit(&permit(3), pending).await.unwrap();
    assert_eq!(count().await, i128::from(2 * ROWS));
}

/// Rows that are set aside in an epoch of several chunks: each letter says where its row stood in the whole epoch.
pub(crate) async fn what_is_set_aside_of_a_large_epoch_has_its_place_in_it(place: Place) {
    const ROWS: u64 = 40_000;
    place.make_table().await;
    place.run("INSERT INTO log VALUES ('k3', 5), ('k39000', 5)").await;
    let folder = tempfile::tempdir().unwrap();
    let chunks = Log::open(folder.path().to_str().unwrap()).await.unwrap().chunk_store(Position(1));
    let attempt = SinkAttempt { chunks: Some(chunks.clone()), ..attempt("job", 1) };
    let mut config = place.sink_config();
    config.on_refused = RecordPolicy::DeadLetter("letters".into());
    let sink = SqlSink::new(config).unwrap();
    sink.recover(&attempt, &[]).await.unwrap();
    let mut changes: Vec<_> = (0..ROWS).map(|at| Change::Insert(row(&format!("k{at}"), at))).collect();
    // Out of the range of its column: found out when it is written.
    changes.push(Change::Insert(row("large", u64::MAX)));
    let pending = prepare(&sink, &attempt, 1, changes).await.unwrap();
    assert!(pending[0].committable.chunks().len() > 1, "{pending:?}");
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid(), Epoch(1));
    sink.commit(&permit.with_chunks(chunks), pending).await.unwrap();
    assert_eq!(place.query("SELECT count(*) FROM log").await[0][0].int(), i128::from(ROWS));
    let letters = place.query("SELECT place, record FROM letters ORDER BY place").await;
    let places: Vec<_> = letters.iter().map(|letter| letter[0].int()).collect();
    assert_eq!(places, [3, 39_000, i128::from(ROWS)]);
}

/// Hands the names of the scenes of every database to another macro: the one list from which the tests of SQLite and of
/// the servers are made.
#[allow(unused_macros, reason = "not every crate of tests plays the scenes")]
macro_rules! on_every_database {
    ($then:ident) => {
        $then! {
            changes_are_done_in_their_order
            a_violation_halts_with_its_name_and_the_epoch_is_kept
            what_is_set_aside_is_so_in_the_transaction_of_the_rest
            tables_that_cannot_work_are_found_out_first
            names_are_compared_letter_by_letter
            a_reader_never_sees_a_part_of_an_epoch
            every_type_of_column_takes_its_value
            a_large_epoch_is_visible_at_once_or_not_at_all
            what_is_set_aside_of_a_large_epoch_has_its_place_in_it
        }
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use on_every_database;
