//! What must hold on every kind of database.

use serde::Serialize;
use tidelock::{
    Epoch, Error, ErrorKind, Generation, Position, Rejecting as _, Rejects, Retry, Sink as _, SinkAttempt,
    SinkWriter as _, WriterId,
};
use tidelock_sql::{
    Change, DatabaseKind, Mode, RecordPolicy, SqlSink, SqlSinkConfig, SqlWriter, VersionFrom,
};
use tidelock_testkit::harness::Row;

use super::common::scenes::{attempt, commit, prepare};
use super::common::{Cell, Place};

pub(super) fn row(key: &str, value: u64) -> Row {
    Row::new(key, value)
}

/// A row whose version is one of its fields.
#[derive(Debug, Clone, Serialize)]
struct Stated {
    key: &'static str,
    value: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
}

fn stated(key: &'static str, value: i64, at: i64) -> Stated {
    Stated { key, value, at: Some(at) }
}

/// A writer of an attempt that recovered.
pub(super) async fn open<T: Serialize + Send + 'static>(
    config: SqlSinkConfig,
    attempt: &SinkAttempt,
) -> SqlWriter<T> {
    let sink = SqlSink::new(config).unwrap();
    sink.recover(attempt, &[]).await.unwrap();
    sink.open(attempt, WriterId(0)).await.unwrap()
}

async fn recovered(config: SqlSinkConfig) -> Result<(), Error> {
    SqlSink::<Row>::new(config).unwrap().recover(&attempt("job", 1), &[]).await
}

fn remedy(error: &Error) -> &str {
    error.context().find(|(name, _)| *name == "remedy").unwrap().1
}

fn by_column(place: &Place) -> SqlSinkConfig {
    let mut config = place.sink_config();
    config.version = VersionFrom::Column("at".into());
    config
}

/// A table whose rows have a version of the record's.
async fn make_stated(place: &Place) {
    place
        .run("CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT, at BIGINT NOT NULL, deleted BOOLEAN NOT NULL)")
        .await;
}

pub(super) async fn the_statement_that_an_error_names_adds_the_columns(place: Place) {
    for version in [VersionFrom::Attempt, VersionFrom::Column("at".into())] {
        place.run("DROP TABLE IF EXISTS log").await;
        place.run("CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL)").await;
        place.run("INSERT INTO log VALUES ('a', 1)").await;
        let mut config = place.sink_config();
        config.version = version.clone();
        let error = recovered(config.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("table=log"), "{error}");
        place.config.execute(remedy(&error)).await.unwrap();
        if version == VersionFrom::Attempt {
            let mut writer = open(config, &attempt("job", 1)).await;
            writer.write(&mut vec![Change::Upsert(row("a", 2))]).await.unwrap();
        } else {
            let mut writer = open(config, &attempt("job", 1)).await;
            writer.write(&mut vec![Change::Upsert(stated("a", 2, 0))]).await.unwrap();
        }
        assert_eq!(place.rows("\"key\"").await, [row("a", 2)], "what was there is older than everything");
    }
}

pub(super) async fn columns_that_cannot_be_versions_are_told_first(place: Place) {
    for (columns, named) in [
        (
            "tidelock_attempt BIGINT, tidelock_sequence BIGINT NOT NULL, deleted BOOLEAN NOT NULL",
            "attempt_column",
        ),
        (
            "tidelock_attempt BIGINT NOT NULL, tidelock_sequence VARCHAR(20) NOT NULL, deleted BOOLEAN NOT NULL",
            "sequence_column",
        ),
        (
            "tidelock_attempt BIGINT NOT NULL, tidelock_sequence BIGINT NOT NULL, deleted BOOLEAN",
            "tombstone_column",
        ),
        (
            "tidelock_attempt BIGINT NOT NULL, tidelock_sequence BIGINT NOT NULL, deleted VARCHAR(5) NOT NULL",
            "tombstone_column",
        ),
    ] {
        place.run("DROP TABLE IF EXISTS log").await;
        place
            .run(&format!("CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT, {columns})"))
            .await;
        let error = recovered(place.sink_config()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
    }
    place.run("DROP TABLE log").await;
    place.run("CREATE TABLE log (\"key\" VARCHAR(64), value BIGINT, at BIGINT NOT NULL, deleted BOOLEAN NOT NULL)").await;
    let error = recovered(by_column(&place)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("no primary key"), "{error:?}");
}

pub(super) async fn an_older_attempt_that_wakes_up_late_changes_nothing_and_is_told(place: Place) {
    place.make_table().await;
    let mut older = open(place.sink_config(), &attempt("job", 9)).await;
    older.write(&mut vec![Change::Insert(row("k", 1))]).await.unwrap();
    let mut newer = open(place.sink_config(), &attempt("job", 10)).await;
    newer.write(&mut vec![Change::Insert(row("k", 2)), Change::Insert(row("l", 3))]).await.unwrap();
    for late in [
        vec![Change::Insert(row("k", 100))],
        vec![Change::Update(row("l", 100))],
        vec![Change::Delete(row("k", 100))],
    ] {
        // A writer that failed is of no use any more.
        let mut older = open(place.sink_config(), &attempt("job", 9)).await;
        let error = older.write(&mut late.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("its_attempt=10") && told.contains("our_attempt=9"), "{told}");
        assert!(older.prepare(Epoch(1)).await.is_err(), "not everything of the epoch is there");
        assert!(older.write(&mut Vec::new()).await.is_err());
    }
    assert_eq!(place.rows("\"key\"").await, [row("k", 2), row("l", 3)]);
}

pub(super) async fn a_job_with_another_log_is_told_and_not_passed_over(place: Place) {
    place.make_table().await;
    let mut first = open(place.sink_config(), &attempt("job", 900)).await;
    first
        .write(&mut (0..40).map(|at| Change::Insert(row(&format!("k{at:02}"), at))).collect())
        .await
        .unwrap();
    // Its log begins anew.
    let changes = || (0..80).map(|at| Change::Insert(row(&format!("k{at:02}"), at + 100))).collect();
    let mut fork = open(place.sink_config(), &attempt("fork", 2)).await;
    let error = fork.write(&mut changes()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let (_, statement) = remedy(&error).rsplit_once(": ").unwrap();
    place.run(&statement.replace('`', "\"")).await;
    let mut fork = open(place.sink_config(), &attempt("fork", 3)).await;
    fork.write(&mut changes()).await.unwrap();
    assert!(fork.prepare(Epoch(1)).await.unwrap().is_empty());
    let rows = place.rows("\"key\"").await;
    assert!(rows.len() == 80 && rows.iter().zip(100..).all(|(row, value)| row.value == value), "{rows:?}");
}

/// The replay's numbers begin anew, below those of the attempt before: what MySQL assigns from left to right must not compare them.
pub(super) async fn a_replay_wins_over_what_was_written_before_the_crash(place: Place) {
    place.make_table().await;
    let mut before = open(place.sink_config(), &attempt("job", 1)).await;
    for value in 0..30 {
        before.write(&mut vec![Change::Upsert(row("k", 1_000 + value))]).await.unwrap();
    }
    let mut after = open(place.sink_config(), &attempt("job", 2)).await;
    for value in 0..3 {
        after.write(&mut vec![Change::Upsert(row("k", value))]).await.unwrap();
        assert_eq!(place.rows("\"key\"").await, [row("k", value)]);
    }
    let version = place.query("SELECT tidelock_attempt, tidelock_sequence FROM log").await;
    assert_eq!(version, [[Cell::Int(2), Cell::Int(1_000_003)]]);
    // A rollback is a newer attempt of another generation.
    let rolled_back = SinkAttempt { generation: Generation(2), ..attempt("job", 3) };
    let mut anew = open(place.sink_config(), &rolled_back).await;
    anew.write(&mut vec![Change::Upsert(row("k", 7))]).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("k", 7)]);
}

/// Its checkpoints were deleted, or are lost: attempts are counted from the beginning again.
pub(super) async fn a_job_that_begins_anew_wins_over_what_it_wrote_with_its_first_log(place: Place) {
    place.make_table().await;
    let mut before = open(place.sink_config(), &attempt("job", 1)).await;
    for value in 0..30 {
        before.write(&mut vec![Change::Upsert(row("k", 1_000 + value))]).await.unwrap();
    }
    let anew = SinkAttempt { generation: Generation(2), ..attempt("job", 1) };
    let mut after = open(place.sink_config(), &anew).await;
    after.write(&mut vec![Change::Upsert(row("k", 7))]).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("k", 7)]);
}

/// It would change nothing, and nobody would know.
pub(super) async fn a_number_that_this_writer_has_not_reached_is_told_and_not_passed_over(place: Place) {
    place.make_table().await;
    let of = |generation| SinkAttempt { generation: Generation(generation), ..attempt("job", 1) };
    let mut busy = open(place.sink_config(), &of(1_000)).await;
    busy.write(&mut (0..10).map(|at| Change::Upsert(row("k", at))).collect()).await.unwrap();
    // Another writer of the attempt, and a log that was made anew by a clock that is behind.
    for generation in [1_000, 999] {
        for late in
            [Change::Upsert(row("k", 100)), Change::Update(row("k", 100)), Change::Delete(row("k", 0))]
        {
            let mut other = open(place.sink_config(), &of(generation)).await;
            let error = other.write(&mut vec![late]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
            assert!(remedy(&error).contains("come to one writer"), "{error}");
        }
    }
    busy.write(&mut vec![Change::Update(row("k", 11))]).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("k", 11)]);
}

/// What was done before the crash may be what follows in the replay: an update whose row will be deleted is no update without a row.
pub(super) async fn a_replay_does_not_stumble_over_its_own_future(place: Place) {
    place.make_table().await;
    let history = || {
        vec![
            Change::Insert(row("k", 1)),
            Change::Update(row("k", 2)),
            Change::Update(row("k", 3)),
            Change::Delete(row("k", 3)),
            Change::Insert(row("l", 1)),
            Change::Update(row("l", 2)),
        ]
    };
    for from in 0..history().len() {
        let mut writer = open(place.sink_config(), &attempt("job", 1 + from as u64)).await;
        writer.write(&mut history().split_off(from)).await.unwrap();
        writer.prepare(Epoch(1)).await.unwrap();
        assert_eq!(place.rows("\"key\"").await, [row("l", 2)], "from change {from}");
    }
}

pub(super) async fn a_column_of_the_record_decides_which_change_is_newer(place: Place) {
    make_stated(&place).await;
    let mut first = open(by_column(&place), &attempt("job", 5)).await;
    let rows =
        async || place.query("SELECT \"key\", value, at FROM log WHERE NOT deleted ORDER BY \"key\"").await;
    let cells = |key: &str, value, at| vec![Cell::Text(key.into()), Cell::Int(value), Cell::Int(at)];
    first
        .write(&mut vec![
            Change::Upsert(stated("a", 1, 10)),
            Change::Upsert(stated("a", 2, 12)),
            // Older, and equal.
            Change::Upsert(stated("a", 3, 11)),
            Change::Upsert(stated("a", 4, 12)),
            Change::Insert(stated("b", 1, -5)),
            Change::Update(stated("b", 2, -6)),
            Change::Update(stated("b", 3, -4)),
            Change::Insert(stated("c", 1, 1)),
            Change::Delete(stated("c", 0, 3)),
            // It was deleted after that.
            Change::Upsert(stated("c", 2, 2)),
        ])
        .await
        .unwrap();
    assert_eq!(rows().await, [cells("a", 2, 12), cells("b", 3, -4)]);
    // Whoever writes it, and whenever.
    for number in [6, 4] {
        let mut other = open(by_column(&place), &attempt("job", number)).await;
        let before = rows().await;
        other
            .write(&mut vec![Change::Upsert(stated("a", 8, 12)), Change::Delete(stated("b", 0, -4))])
            .await
            .unwrap();
        assert_eq!(rows().await, before);
        other
            .write(&mut vec![Change::Upsert(stated("a", 9, 12 + i64::try_from(number).unwrap()))])
            .await
            .unwrap();
        assert_eq!(rows().await, [cells("a", 9, 18), cells("b", 3, -4)]);
    }
    first.write(&mut vec![Change::Upsert(stated("c", 7, 4))]).await.unwrap();
    assert_eq!(rows().await[2], cells("c", 7, 4), "what is newer than the delete makes it anew");
    let without = Stated { at: None, ..stated("d", 1, 0) };
    let error = first.write(&mut vec![Change::Upsert(without)]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("column=at"), "{error:?}");
}

pub(super) async fn a_deleted_row_leaves_its_version_and_little_else(place: Place) {
    #[derive(Serialize)]
    struct Wide {
        key: &'static str,
        value: i64,
        note: Option<&'static str>,
    }
    let wide = |key, value| Wide { key, value, note: Some("secret") };
    let own = place.own_columns();
    place
        .run(&format!(
            "CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL, note VARCHAR(20), \
             filled BIGINT NOT NULL DEFAULT 7, maybe BIGINT DEFAULT 8{own})"
        ))
        .await;
    let mut older = open(place.sink_config(), &attempt("job", 1)).await;
    older.write(&mut vec![Change::Insert(wide("a", 1))]).await.unwrap();
    let mut writer = open(place.sink_config(), &attempt("job", 2)).await;
    writer
        .write(&mut vec![
            Change::Delete(wide("a", 5)),
            // There is none, and there must not be one later.
            Change::Delete(wide("b", 6)),
        ])
        .await
        .unwrap();
    assert!(place.rows("\"key\"").await.is_empty());
    let left = place.query("SELECT \"key\", value, note, filled, maybe FROM log ORDER BY \"key\"").await;
    let tombstone = |key: &str, value| {
        vec![Cell::Text(key.into()), Cell::Int(value), Cell::Null, Cell::Int(7), Cell::Null]
    };
    assert_eq!(left, [tombstone("a", 5), tombstone("b", 6)]);
    // An older attempt brings neither back.
    for key in ["a", "b"] {
        let mut older = open(place.sink_config(), &attempt("job", 1)).await;
        assert!(older.write(&mut vec![Change::Insert(wide(key, 1))]).await.is_err());
    }
    assert!(place.rows("\"key\"").await.is_empty());
    let error = writer.write(&mut vec![Change::Update(wide("a", 1))]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("was deleted"), "{error:?}");
    let mut writer = open(place.sink_config(), &attempt("job", 3)).await;
    writer.write(&mut vec![Change::Insert(wide("a", 2))]).await.unwrap();
    assert_eq!(place.rows("\"key\"").await, [row("a", 2)]);
}

pub(super) async fn a_delete_without_a_tombstone_is_refused(place: Place) {
    place.make_table().await;
    let mut config = place.sink_config();
    config.tombstone_column = None;
    let mut writer = open(config, &attempt("job", 1)).await;
    let error = writer.write(&mut vec![Change::Delete(row("a", 1))]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    assert!(
        error.to_string().contains("setting=tombstone_column") && remedy(&error).contains("ALTER TABLE"),
        "{error}"
    );
}

pub(super) async fn an_update_without_a_row_is_refused_and_an_older_one_is_not(place: Place) {
    make_stated(&place).await;
    let mut config = by_column(&place);
    config.on_refused = RecordPolicy::DeadLetter("letters".into());
    let mut writer = open(config, &attempt("job", 1)).await;
    writer
        .write(&mut vec![
            Change::Insert(stated("a", 1, 10)),
            Change::Update(stated("nobody", 1, 10)),
            Change::Update(stated("a", 2, 9)),
            Change::Delete(stated("a", 0, 11)),
            Change::Update(stated("a", 3, 12)),
        ])
        .await
        .unwrap();
    writer.prepare(Epoch(1)).await.unwrap();
    let letters = place.query("SELECT operation, reason, record FROM letters ORDER BY place").await;
    let told: Vec<_> =
        letters.iter().map(|letter| [letter[0].text(), letter[1].text(), letter[2].text()]).collect();
    assert_eq!(
        told,
        [
            ["update", "no row has the key of an update", r#"{"key":"nobody","value":1,"at":10}"#],
            ["update", "the row of an update was deleted", r#"{"key":"a","value":3,"at":12}"#],
        ]
    );
}

pub(super) async fn one_key_many_times_in_a_batch_ends_with_the_last(place: Place) {
    place.make_table().await;
    let mut writer = open(place.sink_config(), &attempt("job", 1)).await;
    let changes = |base: u64| {
        (0..1_500).map(move |at| {
            let changed = row(["x", "y", "z"][(at % 3) as usize], base + at);
            if at % 7 == 5 { Change::Delete(changed) } else { Change::Upsert(changed) }
        })
    };
    for base in [0, 10_000] {
        writer.write(&mut changes(base).collect()).await.unwrap();
        writer.prepare(Epoch(1)).await.unwrap();
        // 1497 = 7 * 213 + 6, 1498 is divided by 7, 1499 leaves 1: none of the last three is a delete.
        let rows = [row("x", base + 1_497), row("y", base + 1_498), row("z", base + 1_499)];
        assert_eq!(place.rows("\"key\"").await, rows);
    }
}

pub(super) async fn a_row_that_cannot_be_is_dealt_with_when_it_is_written(place: Place) {
    let own = place.own_columns();
    place
        .run(&format!(
            "CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL{own}, CONSTRAINT small CHECK (value < 1000))"
        ))
        .await;
    let changes = || -> Vec<Change<Row>> {
        let mut changes: Vec<_> = (0..100).map(|at| Change::Insert(row(&format!("k{at:02}"), at))).collect();
        changes[30] = Change::Insert(row("k30", 5_000));
        // Out of the range of its column.
        changes[60] = Change::Insert(row("k60", u64::MAX));
        changes[90] = Change::Update(row("nobody", 1));
        changes
    };
    let config = |policy| {
        let mut config = place.sink_config();
        config.on_refused = policy;
        config
    };
    let count = async || place.query("SELECT count(*) FROM log").await[0][0].int();

    let mut fails = open(config(RecordPolicy::Fail), &attempt("job", 1)).await;
    let mut changes_without_misfit = changes();
    changes_without_misfit.remove(60);
    let error = fails.write(&mut changes_without_misfit).await.unwrap_err();
    let told = format!("{error:?}");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{told}");
    assert!(told.contains("key=key=\"k30\"") && told.contains("small") && !told.contains("5000"), "{told}");
    assert!(fails.prepare(Epoch(1)).await.is_err());

    let mut skips = open(config(RecordPolicy::Skip), &attempt("job", 2)).await;
    skips.write(&mut changes()).await.unwrap();
    skips.prepare(Epoch(1)).await.unwrap();
    assert_eq!(count().await, 97);

    // A replay refuses them again, as another attempt.
    for number in [3, 4] {
        let mut keeps =
            open(config(RecordPolicy::DeadLetter("letters".into())), &attempt("job", number)).await;
        keeps.write(&mut changes()).await.unwrap();
        keeps.prepare(Epoch(1)).await.unwrap();
        let letters = place
            .query(&format!("SELECT operation, record FROM letters WHERE epoch = {number} ORDER BY place"))
            .await;
        let mut kept: Vec<_> = letters.iter().map(|letter| (letter[0].text(), letter[1].text())).collect();
        kept.sort_unstable();
        assert_eq!(
            kept,
            [
                ("insert", r#"{"key":"k30","value":5000}"#),
                ("insert", r#"{"key":"k60","value":18446744073709551615}"#),
                ("update", r#"{"key":"nobody","value":1}"#),
            ]
        );
    }

    let mut hands_back = open(config(RecordPolicy::Fail), &attempt("job", 5)).await;
    let rejects = Rejects::kept();
    hands_back.reject_to(rejects.clone());
    hands_back.write(&mut changes()).await.unwrap();
    hands_back.prepare(Epoch(1)).await.unwrap();
    let mut back: Vec<_> =
        rejects.take().into_iter().map(|(change, _)| change.record().key.clone()).collect();
    back.sort_unstable();
    assert_eq!(back, ["k30", "k60", "nobody"]);
    assert_eq!(count().await, 97);
}

/// Of a table that leaves rows out without an error, as triggers may.
pub(super) async fn a_row_that_the_table_leaves_out_is_refused(place: Place) {
    if place.kind() == DatabaseKind::MySql {
        // It knows no such thing.
        return;
    }
    place.make_table().await;
    match place.kind() {
        DatabaseKind::Postgres => {
            place
                .run(
                    "CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN IF NEW.value = 13 THEN RETURN NULL; END IF; RETURN NEW; END $$",
                )
                .await;
            place
                .run("CREATE TRIGGER leaves_out BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION leave_out()")
                .await;
        }
        _ => {
            place
                .run("CREATE TRIGGER leaves_out BEFORE INSERT ON log WHEN NEW.value = 13 BEGIN SELECT RAISE(IGNORE); END")
                .await;
        }
    }
    let mut config = place.sink_config();
    config.on_refused = RecordPolicy::DeadLetter("letters".into());
    let mut writer = open(config, &attempt("job", 1)).await;
    for _ in 0..2 {
        writer
            .write(&mut (0..40).map(|at| Change::Upsert(row(&format!("k{at}"), at))).collect())
            .await
            .unwrap();
        writer.prepare(Epoch(1)).await.unwrap();
        assert_eq!(place.rows("\"key\"").await.len(), 39);
    }
    let letters = place.query("SELECT record FROM letters").await;
    assert!(
        letters.len() == 2 && letters.iter().all(|letter| letter[0].text().contains("k13")),
        "{letters:?}"
    );
}

pub(super) async fn a_mode_may_change_while_something_is_pending(place: Place) {
    place
        .run(
            "CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL, tidelock_attempt BIGINT NOT NULL DEFAULT 0, \
             tidelock_sequence BIGINT NOT NULL DEFAULT 0, deleted BOOLEAN NOT NULL DEFAULT FALSE)",
        )
        .await;
    let others = match place.kind() {
        DatabaseKind::Sqlite => vec![Mode::Ledger],
        _ => vec![Mode::Ledger, Mode::Prepared],
    };
    let mut number = 0;
    let mut expected = Vec::new();
    for mode in others {
        let other = place.again().in_mode(mode);
        let next = |number: &mut u64| {
            *number += 1;
            attempt("job", *number)
        };
        let first = SqlSink::new(other.sink_config()).unwrap();
        let one = next(&mut number);
        first.recover(&one, &[]).await.unwrap();
        let key = format!("k{number}");
        let pending = prepare(&first, &one, number, vec![Change::Insert(row(&key, 1))]).await.unwrap();
        assert_eq!(pending.len(), 1);
        // What is pending is committed as it was written, and rows of this mode change it then.
        let second = SqlSink::new(place.sink_config()).unwrap();
        let two = next(&mut number);
        second.recover(&two, &pending).await.unwrap();
        commit(&second, number, &pending).await.unwrap();
        assert_eq!(place.rows("\"key\"").await.len(), expected.len() + 1, "{mode:?}");
        let nothing = prepare(&second, &two, number, vec![Change::Upsert(row(&key, 2))]).await.unwrap();
        assert!(nothing.is_empty(), "nothing waits for a commit");
        commit(&second, number, &nothing).await.unwrap();
        expected.push(row(&key, 2));
        assert_eq!(place.rows("\"key\"").await, expected, "{mode:?}");
        // And back.
        let third = SqlSink::new(other.sink_config()).unwrap();
        let three = next(&mut number);
        third.recover(&three, &[]).await.unwrap();
        let pending = prepare(&third, &three, number, vec![Change::Upsert(row(&key, 3))]).await.unwrap();
        commit(&third, number, &pending).await.unwrap();
        expected.last_mut().unwrap().value = 3;
        assert_eq!(place.rows("\"key\"").await, expected, "{mode:?}");
    }
}

pub(super) async fn a_table_with_another_unique_key_is_refused_where_upserts_go_by_any(place: Place) {
    let own = place.own_columns();
    place
        .run(&format!(
            "CREATE TABLE log (\"key\" VARCHAR(64) PRIMARY KEY, value BIGINT NOT NULL UNIQUE{own})"
        ))
        .await;
    let looked = recovered(place.sink_config()).await;
    match place.kind() {
        DatabaseKind::MySql => {
            let error = looked.unwrap_err();
            assert!(
                error.kind() == ErrorKind::Config && error.to_string().contains("other_key=value"),
                "{error:?}"
            );
        }
        _ => looked.unwrap(),
    }
}

pub(super) async fn an_attempt_whose_number_no_column_holds_writes_nothing(place: Place) {
    place.make_table().await;
    let sink = SqlSink::<Row>::new(place.sink_config()).unwrap();
    let last = SinkAttempt { number: Position(i64::MAX as u64), ..attempt("job", 1) };
    sink.recover(&last, &[]).await.unwrap();
    let mut writer = sink.open(&last, WriterId(0)).await.unwrap();
    writer.write(&mut vec![Change::Upsert(row("a", 1))]).await.unwrap();
    let beyond = SinkAttempt { number: Position(i64::MAX as u64 + 1), ..attempt("job", 1) };
    let error = sink.open(&beyond, WriterId(0)).await.unwrap_err();
    assert!(
        error.retry() == Retry::Halt && error.to_string().contains("attempt=9223372036854775808"),
        "{error:?}"
    );
    assert_eq!(place.rows("\"key\"").await, [row("a", 1)]);
}
