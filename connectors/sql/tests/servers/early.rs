//! Rows that are at the database before their barrier: none is lost, doubled, seen too soon, or sent in vain.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{Epoch, ErrorKind, Pending, Position, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_containers::Database;
use tidelock_processes::{count, seed};
use tidelock_sql::{Change, DatabaseKind, RecordPolicy, SqlSink, SqlWriter};
use tidelock_testkit::harness::Row;
use tokio::time::{Instant, sleep};

use crate::common::session::Session;
use crate::common::{Place, scenes};
use crate::course::{Course, commit_at_last};

/// More than are sent before the barrier.
const MANY: u64 = 1_500;

/// A moment in which something wrong would have happened.
const MOMENT: Duration = Duration::from_millis(300);

/// A connection to this database has a transaction open in which rows were changed.
async fn is_written(place: &Place) -> bool {
    if place.kind() == DatabaseKind::MySql {
        return !place.innodb_transactions("t.trx_rows_modified > 0").await.is_empty();
    }
    let written = "SELECT pid::bigint FROM pg_stat_activity \
         WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()";
    !place.query(written).await.is_empty()
}

async fn until_written(place: &Place, wanted: bool) {
    for _ in 0..200 {
        if is_written(place).await == wanted {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{}: are rows written before their barrier? Not {wanted}", place.kind());
}

/// The same on every kind of server, each with a course of so many writers.
async fn on_each(writers: usize, scene: impl AsyncFn(Course)) {
    Database::each(async |database| {
        let course = Course::begin(Place::on_shared(database).await, writers).await;
        Box::pin(scene(course)).await;
    })
    .await;
}

/// Few rows wait for the barrier, many do not, and of an epoch that lasts none are at the database before it.
#[tokio::test]
#[ignore = "needs a container"]
async fn many_rows_of_a_short_epoch_are_sent_before_its_barrier() {
    on_each(1, async |mut course| {
        course.write(0, MANY).await;
        assert!(!is_written(&course.place).await, "nobody knows how long the first epoch lasts");
        course.end_epoch().await;

        course.short_epoch().await;
        course.write(0, 1_000).await;
        assert!(!is_written(&course.place).await, "these are few");
        course.write(0, 1_000).await;
        until_written(&course.place, true).await;
        course.end_epoch().await;

        // It was short, and this one is not: whoever waits for its locks has them soon.
        course.short_epoch().await;
        course.write(0, MANY).await;
        until_written(&course.place, true).await;
        sleep(Duration::from_millis(3_100)).await;
        course.write(0, 1).await;
        until_written(&course.place, false).await;
        course.end_epoch().await;
        course.write(0, MANY).await;
        assert!(!is_written(&course.place).await, "the epoch before was long");
        course.end_epoch().await;
        course.compare().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn numbers_of_rows_about_the_least_that_is_sent_are_exact() {
    on_each(1, async |mut course| {
        for rows in [1_023, 1_024, 1_025, 2_047, 2_048, 2_049] {
            for at_once in [rows, rows - 1, 1] {
                course.short_epoch().await;
                course.write(0, at_once).await;
                if at_once < rows {
                    course.write(0, rows - at_once).await;
                }
                if rows < 1_024 {
                    assert!(!is_written(&course.place).await, "{rows}, {at_once} of them first");
                } else {
                    until_written(&course.place, true).await;
                }
                course.end_epoch().await;
            }
        }
        course.compare().await;
        course.assert_sent_once().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn epochs_without_rows_between_those_that_were_begun_early_are_exact() {
    on_each(1, async |mut course| {
        for is_superseded in [false, true, false, true] {
            course.short_epoch().await;
            course.write(0, MANY).await;
            until_written(&course.place, true).await;
            course.prepare(0).await;
            // The checkpoint failed: what it prepared is listed by the next entry, whose own epoch has no rows.
            if !is_superseded {
                course.commit().await;
            }
            course.end_epoch().await;
            until_written(&course.place, false).await;
        }
        course.compare().await;
        course.assert_sent_once().await;
    })
    .await;
}

/// One writer is in the epoch behind the other one's, which had no rows of it: their rows are in one transaction, which is of neither.
#[tokio::test]
#[ignore = "needs a container"]
async fn rows_of_a_writer_that_is_an_epoch_ahead_become_visible_with_theirs() {
    on_each(2, async |mut course| {
        for is_superseded in [false, true] {
            for ends_first in [false, true] {
                course.short_epoch().await;
                course.write(0, MANY).await;
                until_written(&course.place, true).await;
                course.prepare(1).await;
                course.write(1, MANY).await;
                if ends_first {
                    course.prepare(1).await;
                }
                course.prepare(0).await;
                if !is_superseded {
                    course.commit().await;
                }
                course.write(0, MANY).await;
                course.prepare(0).await;
                if !ends_first {
                    course.prepare(1).await;
                }
                course.commit().await;
            }
        }
        course.compare().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_connection_that_is_lost_between_early_rows_and_their_commit_costs_nothing() {
    on_each(1, async |mut course| {
        for (more, is_prepared) in [(0, false), (1, false), (MANY, false), (1, true)] {
            course.short_epoch().await;
            course.write(0, MANY).await;
            until_written(&course.place, true).await;
            if !is_prepared {
                course.place.end_connections().await;
            }
            course.write(0, more).await;
            course.prepare(0).await;
            if is_prepared {
                course.place.end_connections().await;
            }
            course.commit().await;
        }
        course.compare().await;
    })
    .await;
}

/// One writer of a table with a key, in short epochs.
struct Keyed {
    sink: SqlSink<Row>,
    writer: SqlWriter<Row>,
    epoch: u64,
}

impl Keyed {
    async fn begin(place: &Place, attempt: u64, policy: RecordPolicy) -> Self {
        let mut config = place.sink_config();
        config.on_refused = policy;
        let sink = SqlSink::new(config).unwrap();
        let one = scenes::attempt("job", attempt);
        sink.recover(&one, &[]).await.unwrap();
        let writer = sink.open(&one, WriterId(0)).await.unwrap();
        let mut new = Self { sink, writer, epoch: 1000 * attempt };
        for _ in 0..2 {
            let pending = new.prepare(attempt, vec![Change::Upsert(Row::new("warm", new.epoch))]).await;
            commit_at_last(&new.sink, new.epoch - 1, &pending).await;
        }
        new
    }

    async fn prepare(&mut self, attempt: u64, mut changes: Vec<Change<Row>>) -> Vec<scenes::PendingRows> {
        self.writer.write(&mut changes).await.unwrap();
        let epoch = Epoch(self.epoch);
        self.epoch += 1;
        let prepared = self.writer.prepare(epoch).await.unwrap().into_iter();
        let (attempt, writer) = (Position(attempt), WriterId(0));
        prepared.map(|one| Pending { epoch, attempt, writer, committable: one.committable }).collect()
    }
}

fn keyed(change: fn(Row) -> Change<Row>, value: u64) -> Vec<Change<Row>> {
    (0..MANY).map(|at| change(Row::new(format!("k{at}"), value))).collect()
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_that_cannot_be_among_early_ones_is_dealt_with_once() {
    Database::each(async |database| {
        for policy in [RecordPolicy::Fail, RecordPolicy::Skip, RecordPolicy::DeadLetter("letters".into())] {
            let place = Place::on_shared(database).await;
            place.make_table().await;
            place.run("INSERT INTO log VALUES ('k700', 7)").await;
            let mut keyed_rows = Keyed::begin(&place, 1, policy.clone()).await;
            let pending = keyed_rows.prepare(1, keyed(Change::Insert, 1)).await;
            let epoch = keyed_rows.epoch - 1;
            for _ in 0..2 {
                if policy == RecordPolicy::Fail {
                    let error = scenes::commit(&keyed_rows.sink, epoch, &pending).await.unwrap_err();
                    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
                    assert_eq!(place.rows("\"key\"").await.len(), 2, "{database:?}: nothing of the epoch");
                } else {
                    commit_at_last(&keyed_rows.sink, epoch, &pending).await;
                    assert_eq!(place.rows("\"key\"").await.len() as u64, MANY + 1, "{database:?}");
                }
            }
            if let RecordPolicy::DeadLetter(_) = policy {
                let letters = place.query("SELECT record FROM letters").await;
                let told: Vec<_> = letters.iter().map(|row| row[0].text()).collect();
                assert_eq!(told, [r#"{"key":"k700","value":1}"#], "{database:?}");
            }
        }
    })
    .await;
}

/// The older attempt is alive and does nothing, as one that is paused, and has rows at the database that the newer one wants.
#[tokio::test]
#[ignore = "needs a container"]
async fn early_rows_of_a_paused_attempt_keep_no_newer_one_waiting_for_long() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        place.make_table().await;
        let mut older = Keyed::begin(&place, 1, RecordPolicy::Fail).await;
        older.writer.write(&mut keyed(Change::Upsert, 1)).await.unwrap();
        until_written(&place, true).await;
        let began = Instant::now();
        let mut newer = Keyed::begin(&place, 2, RecordPolicy::Fail).await;
        let pending = newer.prepare(2, keyed(Change::Upsert, 2)).await;
        commit_at_last(&newer.sink, newer.epoch - 1, &pending).await;
        println!("{database:?}: the newer one waited {:?}", began.elapsed());
        let late = older.prepare(1, keyed(Change::Upsert, 3)).await;
        drop(late);
        let rows = place.rows("\"key\"").await;
        let is_newer = |row: &Row| row.key == "warm" || row.value == 2;
        assert!(rows.len() as u64 == MANY + 1 && rows.iter().all(is_newer), "{database:?}");
    })
    .await;
}

/// Whoever alters it waits for the rows that were sent, and what is sent after it does not mind.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_that_is_altered_while_rows_are_sent_early_has_them_all() {
    on_each(1, async |mut course| {
        for round in 0..3 {
            course.short_epoch().await;
            course.write(0, MANY).await;
            until_written(&course.place, true).await;
            let mut somebody = Session::open(&course.place).await;
            let alter = format!("ALTER TABLE log ADD COLUMN more{round} BIGINT");
            let altering = tokio::spawn(async move { somebody.run(&alter).await });
            sleep(MOMENT).await;
            course.write(0, [0, 1, MANY][round]).await;
            course.end_epoch().await;
            altering.await.unwrap().unwrap();
            course.epoch(MANY).await;
        }
        course.compare().await;
    })
    .await;
}

/// 8 MiB are the most that is not written from the log.
#[tokio::test]
#[ignore = "needs a container"]
async fn epochs_that_are_all_too_large_to_be_begun_are_not_sent_twice() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        let id = place.of(
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "BIGINT AUTO_INCREMENT PRIMARY KEY",
            "",
        );
        place.run(&format!("CREATE TABLE log (id {id}, \"key\" TEXT NOT NULL, value BIGINT NOT NULL)")).await;
        let mut course = Course::of_a_table(place, 1, false).await;
        course.pad = ".".repeat(6_000);
        for _ in 0..3 {
            course.write(0, 1_100).await;
            // What is there too soon is there by now.
            sleep(MOMENT).await;
            course.write(0, 500).await;
            course.end_epoch().await;
        }
        course.compare().await;
        course.assert_sent_once().await;
    })
    .await;
}

/// A row that does not fit has a letter, which is written from the log.
#[tokio::test]
#[ignore = "needs a container"]
async fn epochs_that_all_have_rows_that_do_not_fit_are_not_sent_twice() {
    on_each(1, async |mut course| {
        for _ in 0..4 {
            course.write(0, MANY).await;
            sleep(MOMENT).await;
            course.write_misfit(0).await;
            course.end_epoch().await;
        }
        course.compare().await;
        course.assert_sent_once().await;
    })
    .await;
}

/// Whatever is begun before an epoch is applied from the log has to make place for it.
#[tokio::test]
#[ignore = "needs a container"]
async fn nothing_is_sent_before_an_epoch_that_is_applied_from_the_log() {
    on_each(2, async |mut course| {
        course.short_epoch().await;
        for rows in [1, MANY] {
            let first = course.durable() + 1;
            // An epoch that comes while the one before it is not committed is applied from the log.
            for _ in 0..2 {
                course.write(0, 1).await;
                course.prepare(0).await;
                course.prepare(1).await;
            }
            course.commit_up_to(first).await;
            course.write(0, rows).await;
            course.write(1, MANY).await;
            sleep(MOMENT).await;
            course.prepare(0).await;
            course.prepare(1).await;
            sleep(MOMENT).await;
            course.commit_up_to(first + 1).await;
            course.commit().await;
            course.assert_sent_once().await;
        }
        // And then as before.
        course.short_epoch().await;
        course.write(0, MANY).await;
        until_written(&course.place, true).await;
        course.end_epoch().await;
        course.compare().await;
        course.assert_sent_once().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn an_epoch_that_lasts_is_not_begun_when_its_rows_have_become_many() {
    on_each(1, async |mut course| {
        course.short_epoch().await;
        course.write(0, 1_000).await;
        sleep(Duration::from_millis(3_100)).await;
        course.write(0, 100).await;
        sleep(MOMENT).await;
        course.write(0, 1).await;
        course.end_epoch().await;
        course.compare().await;
        course.assert_sent_once().await;
    })
    .await;
}

/// At an interval of two seconds one epoch is a little shorter than that, and the next one a little longer.
#[tokio::test]
#[ignore = "needs a container"]
async fn rows_of_an_epoch_that_lasts_a_little_longer_than_a_short_one_are_not_sent_twice() {
    on_each(1, async |mut course| {
        let mut is_seen = false;
        for _ in 0..5 {
            course.short_epoch().await;
            let began = course.began;
            course.write(0, MANY).await;
            until_written(&course.place, true).await;
            let before = course.place.query("SELECT max(id) FROM log").await[0][0].int();
            sleep(Duration::from_millis(2_200).saturating_sub(began.elapsed())).await;
            course.write(0, 1).await;
            let lasted = began.elapsed();
            course.end_epoch().await;
            let after = course.place.query("SELECT max(id) FROM log").await[0][0].int();
            is_seen = lasted < Duration::from_millis(2_800);
            if is_seen {
                assert_eq!(after - before, i128::from(MANY) + 1, "{}: {lasted:?}", course.place.kind());
                break;
            }
        }
        assert!(is_seen, "this machine is too busy");
        course.compare().await;
    })
    .await;
}

/// Two sinks of one job in one table: one has rows of its next epoch there, which the other one wants for this one.
#[tokio::test]
#[ignore = "needs a container"]
async fn two_sinks_that_want_one_row_wait_for_seconds_and_end_exact() {
    Database::each(async |database| {
        let place = Place::on_shared(database).await;
        place.make_table().await;
        let mut one = Keyed::begin(&place, 1, RecordPolicy::Fail).await;
        let mut config = place.sink_config();
        config.ledger_table = "another".into();
        let other = SqlSink::new(config).unwrap();
        other.recover(&scenes::attempt("job", 1), &[]).await.unwrap();
        one.writer.write(&mut keyed(Change::Upsert, 1)).await.unwrap();
        until_written(&place, true).await;
        let attempt = scenes::attempt("job", 1);
        let pending = scenes::prepare(&other, &attempt, 1, keyed(Change::Upsert, 2)).await.unwrap();
        let began = Instant::now();
        commit_at_last(&other, 1, &pending).await;
        println!("{database:?}: the other one waited {:?}", began.elapsed());
        let pending = one.prepare(1, Vec::new()).await;
        commit_at_last(&one.sink, one.epoch - 1, &pending).await;
        let rows = place.rows("\"key\"").await;
        assert!(rows.iter().all(|row| row.key == "warm" || row.value == 1), "{database:?}");
    })
    .await;
}

/// What may happen to three writers, one of them in another process now and then: each has epochs of its own, rows of all numbers and some that
/// do not fit, connections are lost, checkpoints fail, attempts follow each other, and older ones wake up.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_random_course_is_exact_whatever_happens_on_its_way() {
    let seed = seed("course");
    Database::each(async |database| {
        for is_spread in [false, true] {
            let mut random = StdRng::seed_from_u64(seed);
            let place = Place::on_shared(database).await;
            place.make_log().await;
            let mut course = Course::of_a_table(place, 3, is_spread).await;
            let mut older = Vec::new();
            for _ in 0..count(if is_spread { 60 } else { 250 }, 5_000) {
                let writer = random.random_range(0..3);
                match random.random_range(0..100) {
                    0..=44 => {
                        let rows = [1, 30, 400, 1_023, 1_024, 1_025, 2_500][random.random_range(0..7)];
                        course.write(writer, rows).await;
                    }
                    45..=89 if course.is_ahead_by(writer) < 2 => {
                        let before = course.durable();
                        course.prepare(writer).await;
                        // A checkpoint fails now and then, and what it prepared is committed with the next.
                        if course.durable() > before && random.random_bool(0.8) {
                            course.commit().await;
                        }
                    }
                    90..=91 => course.write_misfit(writer).await,
                    92..=93 => course.place.end_connections().await,
                    94 => older.push(course.restart(random.random_bool(0.5)).await),
                    95..=96 => match older.pop() {
                        Some(older) => older.wake(&course).await,
                        None => course.look().await,
                    },
                    97..=98 => course.commit().await,
                    _ => course.look().await,
                }
            }
            let last = course.durable() + 3;
            for writer in 0..3 {
                while course.is_ahead_by(writer) + course.durable() < last {
                    course.prepare(writer).await;
                }
            }
            course.commit().await;
            course.compare().await;
        }
    })
    .await;
}
