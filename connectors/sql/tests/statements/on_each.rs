//! What must hold on every kind of database, in every mode that takes statements.

use serde::Serialize;
use tidelock::{Error, ErrorKind, Retry, Sink as _};
use tidelock_sql::{Change, DatabaseKind, Mode, RecordPolicy, SqlSink, SqlSinkConfig, Statements};

use super::common::scenes::{attempt, commit, prepare};
use super::common::{Cell, Place};

#[derive(Debug, Clone, Serialize)]
pub(super) struct Sold {
    pub(super) day: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) n: Option<i64>,
}

fn sold(day: u64, n: i64) -> Sold {
    Sold { day: format!("d{day}"), n: Some(n) }
}

pub(super) async fn make_totals(place: &Place) {
    place
        .run("CREATE TABLE totals (day VARCHAR(10) PRIMARY KEY, n BIGINT NOT NULL, CONSTRAINT small CHECK (n < 1000000000))")
        .await;
}

/// A statement that is done again when it is run again.
pub(super) fn counts(place: &Place) -> SqlSinkConfig {
    let insert = place.of(
        "INSERT INTO totals (day, n) VALUES (:day, :n) ON CONFLICT (day) DO UPDATE SET n = totals.n + excluded.n",
        "INSERT INTO totals (day, n) VALUES (:day, :n) ON DUPLICATE KEY UPDATE n = n + :n",
        "INSERT INTO totals (day, n) VALUES (:day, :n) ON CONFLICT (day) DO UPDATE SET n = totals.n + excluded.n",
    );
    of(place, |statements| statements.insert = Some(insert.into()))
}

fn of(place: &Place, say: impl FnOnce(&mut Statements)) -> SqlSinkConfig {
    let mut statements = Statements::default();
    say(&mut statements);
    let mut config = SqlSinkConfig::of_statements(place.config.clone(), statements);
    config.mode = place.mode;
    config
}

async fn totals(place: &Place) -> Vec<(String, i128)> {
    let rows = place.query("SELECT day, n FROM totals ORDER BY day").await;
    rows.iter().map(|row| (row[0].text().to_owned(), row[1].int())).collect()
}

pub(super) async fn a_counter_counts_each_record_once_however_often_its_epoch_is_committed(place: Place) {
    make_totals(&place).await;
    let changes = |epoch: u64| -> Vec<_> {
        (0..100).map(|at| Change::Insert(sold(at % 3, i64::try_from(epoch * 1_000 + at).unwrap()))).collect()
    };
    let mut expected = std::collections::BTreeMap::new();
    for epoch in 1..=3 {
        let one = attempt("job", epoch);
        let sink = SqlSink::new(counts(&place)).unwrap();
        sink.recover(&one, &[]).await.unwrap();
        let pending = prepare(&sink, &one, epoch, changes(epoch)).await.unwrap();
        // At once from two processes, again, and by a fresh one.
        let other = SqlSink::<Sold>::new(counts(&place)).unwrap();
        let (first, second) = tokio::join!(commit(&sink, epoch, &pending), commit(&other, epoch, &pending));
        first.unwrap();
        second.unwrap();
        commit(&sink, epoch, &pending).await.unwrap();
        let fresh = SqlSink::<Sold>::new(counts(&place)).unwrap();
        commit(&fresh, epoch, &pending).await.unwrap();
        for change in changes(epoch) {
            let Sold { day, n } = change.record().clone();
            *expected.entry(day).or_default() += i128::from(n.unwrap());
        }
        let expected: Vec<_> = expected.clone().into_iter().collect();
        assert_eq!(totals(&place).await, expected, "epoch {epoch}");
    }
}

pub(super) async fn each_operation_has_its_statement_and_others_are_refused(place: Place) {
    make_totals(&place).await;
    let config = || {
        of(&place, |statements| {
            statements.insert = Some("INSERT INTO totals VALUES (:day, :n)".into());
            statements.update = Some("UPDATE totals SET n = n * :n WHERE day = :day".into());
            statements.delete = Some("DELETE FROM totals WHERE day = :day AND n = :n;".into());
        })
    };
    let sink = SqlSink::new(config()).unwrap();
    let one = attempt("job", 1);
    sink.recover(&one, &[]).await.unwrap();
    let changes = vec![
        Change::Insert(sold(1, 10)),
        Change::Insert(sold(2, 20)),
        Change::Update(sold(1, 3)),
        Change::Insert(sold(3, 30)),
        Change::Delete(sold(2, 20)),
        Change::Delete(sold(3, 31)),
        // Whether it meets a row is its own business.
        Change::Update(sold(9, 3)),
        Change::Insert(sold(2, 5)),
    ];
    let pending = prepare(&sink, &one, 1, changes).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    let expected = [("d1", 30), ("d2", 5), ("d3", 30)].map(|(day, n)| (day.to_owned(), n));
    assert_eq!(totals(&place).await, expected);
    let error = prepare(&sink, &one, 2, vec![Change::Upsert(sold(1, 1))]).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config && error.to_string().contains("setting=statements.upsert"),
        "{error:?}"
    );
}

pub(super) async fn fields_and_parameters_are_the_same_names(place: Place) {
    #[derive(Serialize)]
    struct More {
        day: &'static str,
        n: i64,
        note: &'static str,
    }
    make_totals(&place).await;
    let one = attempt("job", 1);
    let sink = SqlSink::new(counts(&place)).unwrap();
    sink.recover(&one, &[]).await.unwrap();
    let without = Sold { day: "d".into(), n: None };
    let error = prepare(&sink, &one, 1, vec![Change::Insert(without)]).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Data
            && error.retry() == Retry::Halt
            && error.to_string().contains("field=n"),
        "{error:?}"
    );
    let sink = SqlSink::new(counts(&place)).unwrap();
    let more = More { day: "d", n: 1, note: "secret" };
    let error = prepare(&sink, &one, 1, vec![Change::Insert(more)]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("field=note"), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

pub(super) async fn values_go_where_the_statement_puts_them(place: Place) {
    #[derive(Serialize)]
    struct Typed {
        id: u32,
        small: Option<i16>,
        price: &'static str,
        flag: bool,
        day: &'static str,
        local: &'static str,
        ratio: f64,
        text: &'static str,
        nested: std::collections::BTreeMap<&'static str, Vec<u8>>,
        list: Vec<u32>,
    }
    let columns = place.of(
        "small SMALLINT, price NUMERIC(10,2), flag BOOLEAN, day DATE, local TIMESTAMP, ratio DOUBLE PRECISION, text TEXT, nested JSONB, list JSONB",
        "small SMALLINT, price DECIMAL(10,2), flag BOOLEAN, day DATE, local DATETIME(6), ratio DOUBLE, text TEXT, nested JSON, list JSON",
        "small SMALLINT, price TEXT, flag BOOLEAN, day DATE, local DATETIME, ratio DOUBLE, text TEXT, nested TEXT, list TEXT",
    );
    place.run(&format!("CREATE TABLE typed (id BIGINT PRIMARY KEY, {columns})")).await;
    let config = of(&place, |statements| {
        let insert = "INSERT INTO typed VALUES (:id, :small, :price, :flag, :day, :local, :ratio, :text, :nested, :list)";
        statements.insert = Some(insert.into());
    });
    let typed = |id, small| Typed {
        id,
        small,
        price: "-12.50",
        flag: true,
        day: "2024-02-29",
        local: "2024-02-29T12:00:00.000001",
        ratio: 0.25,
        text: "it's :id",
        nested: std::collections::BTreeMap::from([("a\"'", vec![1, 2])]),
        list: vec![3, 4],
    };
    let sink = SqlSink::new(config).unwrap();
    let one = attempt("job", 1);
    sink.recover(&one, &[]).await.unwrap();
    let changes = vec![Change::Insert(typed(1, Some(-7))), Change::Insert(typed(2, None))];
    let pending = prepare(&sink, &one, 1, changes).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    let texts = place.of(
        "id, price::text, flag::int::bigint, day::text, replace(local::text, ' ', 'T'), ratio, text, nested::text, list::text",
        "id, CAST(price AS CHAR), flag, CAST(day AS CHAR), REPLACE(CAST(local AS CHAR), ' ', 'T'), ratio, text, CAST(nested AS CHAR), CAST(list AS CHAR)",
        "id, price, flag, day, local, ratio, text, nested, list",
    );
    let rows = place.query(&format!("SELECT {texts} FROM typed ORDER BY id")).await;
    let text = |text: &str| Cell::Text(text.into());
    let expected = [
        Cell::Int(1),
        text("-12.50"),
        Cell::Int(1),
        text("2024-02-29"),
        text("2024-02-29T12:00:00.000001"),
        Cell::Double(0.25),
        text("it's :id"),
    ];
    assert_eq!(rows[0][..7], expected);
    assert_eq!(rows[0][7].text().replace(' ', ""), r#"{"a\"'":[1,2]}"#);
    assert_eq!(rows[0][8].text().replace(' ', ""), "[3,4]");
    assert_eq!(place.query("SELECT count(*) FROM typed WHERE small IS NULL").await, [[Cell::Int(1)]]);
}

pub(super) async fn what_a_statement_returns_is_nobodys(place: Place) {
    // MySQL returns nothing, and MariaDB not of updates.
    if place.kind() == DatabaseKind::MySql {
        return;
    }
    make_totals(&place).await;
    let config = of(&place, |statements| {
        statements.insert = Some("INSERT INTO totals VALUES (:day, :n) RETURNING day, n".into());
    });
    let sink = SqlSink::new(config).unwrap();
    let one = attempt("job", 1);
    sink.recover(&one, &[]).await.unwrap();
    let changes = (0..3).map(|day| Change::Insert(sold(day, 1))).collect();
    let pending = prepare(&sink, &one, 1, changes).await.unwrap();
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(totals(&place).await.len(), 3);
}

pub(super) async fn a_record_that_cannot_be_leaves_the_others_counted_once(place: Place) {
    make_totals(&place).await;
    let mut config = counts(&place);
    config.on_refused = RecordPolicy::DeadLetter("letters".into());
    let sink = SqlSink::new(config).unwrap();
    let one = attempt("job", 1);
    sink.recover(&one, &[]).await.unwrap();
    let mut changes: Vec<_> = (0..300).map(|at| Change::Insert(sold(at % 2, 1))).collect();
    changes[77] = Change::Insert(sold(0, 2_000_000_000));
    changes[200] = Change::Insert(sold(1, 3_000_000_000));
    let pending = prepare(&sink, &one, 1, changes).await.unwrap();
    for _ in 0..2 {
        commit(&sink, 1, &pending).await.unwrap();
    }
    assert_eq!(totals(&place).await, [("d0".to_owned(), 149), ("d1".to_owned(), 149)]);
    let letters = place.query("SELECT operation, record FROM letters ORDER BY place").await;
    let kept: Vec<_> = letters.iter().map(|letter| (letter[0].text(), letter[1].text())).collect();
    assert_eq!(
        kept,
        [("insert", r#"{"day":"d0","n":2000000000}"#), ("insert", r#"{"day":"d1","n":3000000000}"#)]
    );
}

pub(super) async fn statements_that_cannot_work_are_found_out_first(place: Place) {
    make_totals(&place).await;
    let look = async |statement: &str| -> Result<(), Error> {
        let config = of(&place, |statements| statements.update = Some(statement.to_owned()));
        SqlSink::<Sold>::new(config)?.recover(&attempt("job", 1), &[]).await
    };
    for wrong in [
        "UPDATE totals SET n = :n WERE day = :day",
        "UPDATE nobody SET n = :n WHERE day = :day",
        "UPDATE totals SET nobody = :n WHERE day = :day",
        "UPDATE totals SET n = :n WHERE day = 'it''s' AND \\ = :day",
    ] {
        let error = look(wrong).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Halt, "{wrong}: {error:?}");
        assert!(error.to_string().contains("setting=statements.update"), "{wrong}: {error:?}");
    }
    look("UPDATE totals SET n = :n WHERE day = 'it''s' OR day = :day").await.unwrap();
    assert!(totals(&place).await.is_empty(), "looking changes nothing");
}

/// The rows of an epoch have names and values, and the statement is that of the settings.
pub(super) async fn what_another_statement_left_pending_is_refused_by_name(place: Place) {
    if place.mode != Mode::Ledger {
        return;
    }
    make_totals(&place).await;
    let one = attempt("job", 1);
    let sink = SqlSink::new(counts(&place)).unwrap();
    sink.recover(&one, &[]).await.unwrap();
    let pending = prepare(&sink, &one, 1, vec![Change::Insert(sold(1, 10))]).await.unwrap();
    for policy in [RecordPolicy::Fail, RecordPolicy::Skip] {
        let mut days =
            of(&place, |statements| statements.insert = Some("INSERT INTO totals VALUES (:day, 1)".into()));
        days.on_refused = policy;
        let next = SqlSink::<Sold>::new(days).unwrap();
        next.recover(&attempt("job", 2), &pending).await.unwrap();
        let error = commit(&next, 1, &pending).await.unwrap_err();
        // The rows are not at fault: no policy sets them aside.
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("names: n") && totals(&place).await.is_empty(), "{error:?}");
    }
    commit(&sink, 1, &pending).await.unwrap();
    assert_eq!(totals(&place).await, [("d1".to_owned(), 10)]);
}
