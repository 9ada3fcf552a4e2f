//! Who wins: attempts, rollbacks, forks, late requests.

use std::time::Duration;

use tidelock::{ErrorKind, Retry, Sink as _, SinkWriter as _, WriterId};
use tidelock_hbase::{Deletes, Mode, RowMutation};
use tokio::time::Instant;

use super::place::{Clock, Place, attempt, attempt_of, column, gone, opened, put, write};

/// Longer than anybody reserves, and no longer than clocks may be apart.
const MINUTES: i64 = 150_000;

/// What comes within the time is for the next call.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_writer_that_lingers_takes_no_more_rows_before_its_time() {
    let linger = Duration::from_millis(300);
    let mut place = Place::upsert().await;
    place.config.linger_ms = 300;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let began = Instant::now();
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    assert!(began.elapsed() >= linger);
    assert_eq!(place.value("a").await, Some(1));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_paused_older_attempt_that_wakes_up_late_wins_over_nothing_and_is_told() {
    let place = Place::upsert().await;
    let clock = Clock::default();
    let mut older = opened(&place.sink_at(&clock), &attempt(9)).await;
    write(&mut older, vec![put("a", 1), put("b", 1)]).await.unwrap();
    let mut newer = opened(&place.sink(), &attempt(10)).await;
    write(&mut newer, vec![put("a", 2), gone("b")]).await.unwrap();
    // It has reserved some times, and they are older than all of the newer one.
    write(&mut older, vec![put("a", 3), put("b", 3)]).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(2), None));
    clock.turn(MINUTES);
    let error = write(&mut older, vec![put("a", 4)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("newer=attempt 10 of generation 1"), "{error}");
    assert!(
        older.prepare(tidelock::Epoch(1)).await.is_err(),
        "the rest of its epoch is not known to be there"
    );
    write(&mut newer, vec![put("a", 5)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(5));
}

/// What the newer one wrote hides it, and that is no fault of the table.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_paused_older_attempt_whose_first_write_comes_late_is_told_of_the_newer_one() {
    let place = Place::upsert().await;
    let mut older = opened(&place.sink(), &attempt(9)).await;
    let mut newer = opened(&place.sink(), &attempt(10)).await;
    write(&mut newer, vec![put("a", 2)]).await.unwrap();
    let error = write(&mut older, vec![put("a", 1)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("newer=attempt 10") && !told.contains("truncate"), "{told}");
    assert_eq!(place.value("a").await, Some(2));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn an_older_attempt_that_starts_late_is_refused_before_it_writes() {
    let place = Place::upsert().await;
    let mut newer = opened(&place.sink(), &attempt(10)).await;
    let older = place.sink();
    older.recover(&attempt(9), &[]).await.unwrap();
    let error = older.open(&attempt(9), WriterId(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    write(&mut newer, vec![put("a", 1)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(1));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_rollback_wins_over_what_the_rolled_back_run_wrote_whatever_their_clocks_say() {
    let place = Place::upsert().await;
    let ahead = Clock::off_by(MINUTES);
    let mut run = opened(&place.sink_at(&ahead), &attempt_of("job", 1, 9)).await;
    for value in 1..=9 {
        write(&mut run, vec![put("a", value), put("b", value)]).await.unwrap();
    }
    // The coordinator recovers with the generation of before, rolls back, and opens writers with the new one.
    let back = place.sink_at(&Clock::off_by(-MINUTES));
    back.recover(&attempt_of("job", 1, 10), &[]).await.unwrap();
    let mut replay = back.open(&attempt_of("job", 2, 10), WriterId(0)).await.unwrap();
    write(&mut replay, vec![put("a", 2)]).await.unwrap();
    write(&mut replay, vec![gone("b")]).await.unwrap();
    write(&mut run, vec![put("a", 10), put("b", 10)]).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(2), None));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_log_that_is_made_anew_wins_by_its_generation_and_one_of_an_older_generation_is_told() {
    let place = Place::upsert().await;
    let mut first = opened(&place.sink(), &attempt_of("job", 2, 57)).await;
    write(&mut first, vec![put("a", 9)]).await.unwrap();
    let mut anew = opened(&place.sink(), &attempt_of("job", 3, 1)).await;
    write(&mut anew, vec![put("a", 1)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(1));
    let behind = place.sink();
    behind.recover(&attempt_of("job", 1, 80), &[]).await.unwrap();
    let error = behind.open(&attempt_of("job", 1, 80), WriterId(0)).await.unwrap_err();
    assert!(error.retry() == Retry::Halt && error.to_string().contains("generation 3"), "{error:?}");
}

/// A fork takes the table over, or a sink has another uid than before.
#[tokio::test]
#[ignore = "needs a container"]
async fn another_job_begins_above_all_that_was_given_for_its_table() {
    let place = Place::upsert().await;
    let mut first = opened(&place.sink_at(&Clock::off_by(MINUTES)), &attempt_of("job", 1, 9)).await;
    write(&mut first, vec![put("a", 9), put("b", 9)]).await.unwrap();
    let mut fork = opened(&place.sink(), &attempt_of("fork", 1, 1)).await;
    write(&mut fork, vec![put("a", 1), gone("b")]).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(1), None));
    // The first one is not disturbed: it may write rows of its own.
    write(&mut first, vec![put("c", 9)]).await.unwrap();
    assert_eq!(place.value("c").await, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn processes_of_one_attempt_reserve_at_the_same_time_and_nothing_is_given_twice_or_refused() {
    const PROCESSES: u32 = 6;
    let place = Place::upsert().await;
    let sink = place.sink();
    sink.recover(&attempt(1), &[]).await.unwrap();
    let process = async |number: u32| {
        let clock = Clock::default();
        let sink = place.sink_at(&clock);
        let mut writer = sink.open(&attempt(1), WriterId(number)).await.unwrap();
        for value in 0..8 {
            write(&mut writer, vec![put(&format!("r{number}"), value)]).await.unwrap();
            // All of them must reserve for the next one.
            clock.turn(40_000);
        }
    };
    futures::future::join_all((0..PROCESSES).map(process)).await;
    for number in 0..PROCESSES {
        assert_eq!(place.value(&format!("r{number}")).await, Some(7));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn of_attempts_that_claim_at_the_same_time_the_newest_goes_on_and_the_others_are_told() {
    let place = Place::upsert().await;
    let claim = async |number: u64| {
        let clock = Clock::default();
        let sink = place.sink_at(&clock);
        sink.recover(&attempt(number), &[]).await?;
        let mut writer = sink.open(&attempt(number), WriterId(0)).await?;
        write(&mut writer, vec![put("a", number)]).await?;
        Ok::<_, tidelock::Error>((writer, clock))
    };
    let claimed = futures::future::join_all((1..=6).map(claim)).await;
    for (number, claimed) in (1..).zip(claimed) {
        let wrote = match claimed {
            Ok((mut writer, clock)) => {
                clock.turn(MINUTES);
                write(&mut writer, vec![put("a", number)]).await
            }
            Err(error) => Err(error),
        };
        match wrote {
            Ok(()) => assert_eq!(number, 6, "an older attempt went on"),
            Err(error) => assert!(number < 6 && error.kind() == ErrorKind::Conflict, "{number}: {error:?}"),
        }
    }
    assert_eq!(place.value("a").await, Some(6));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn columns_of_a_row_are_merged_and_deletes_and_puts_of_a_batch_are_in_order() {
    let place = Place::upsert().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let put =
        |row: &'static str, name: &str, value: &'static str| RowMutation::put(row, [(column(name), value)]);
    let delete = |row: &'static str, name: &str| RowMutation::delete_columns(row, [column(name)]);
    let batch = vec![
        put("a", "f:x", "1"),
        put("a", "f:y", "2"),
        put("a", "f:x", "3"),
        put("b", "f:x", "1"),
        gone("b"),
        put("b", "f:y", "2"),
        put("c", "f:x", "1"),
        put("c", "f:y", "1"),
        delete("c", "f:x"),
        gone("d"),
        put("d", "f:x", "1"),
        delete("d", "f:x"),
        put("d", "f:x", "2"),
        put("e", "f:x", "1"),
        gone("e"),
    ];
    write(&mut writer, batch).await.unwrap();
    for _ in 0..2 {
        let seen = place.seen().await;
        let shown: Vec<_> = seen.iter().map(|(row, columns)| format!("{row} {columns:?}")).collect();
        assert_eq!(
            shown,
            [r#"a {"x": "3", "y": "2"}"#, r#"b {"y": "2"}"#, r#"c {"y": "1"}"#, r#"d {"x": "2"}"#]
        );
        place.compact().await;
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn the_greatest_version_of_a_record_wins_whoever_writes_it_and_whenever() {
    let place = Place::upsert().await.by_record();
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let mut other = opened(&place.sink(), &attempt(2)).await;
    write(
        &mut writer,
        vec![put("a", 5).with_version(5), put("a", 3).with_version(3), put("b", 1).with_version(1)],
    )
    .await
    .unwrap();
    write(&mut other, vec![put("a", 4).with_version(4), gone("b").with_version(2)]).await.unwrap();
    write(&mut writer, vec![put("b", 1).with_version(1)]).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(5), None));
    place.compact().await;
    write(&mut writer, vec![put("b", 1).with_version(1), put("a", 2).with_version(2)]).await.unwrap();
    assert_eq!((place.value("a").await, place.value("b").await), (Some(5), None));
    // A put of the version of a delete is not hidden by it.
    write(&mut writer, vec![put("b", 2).with_version(2)]).await.unwrap();
    assert_eq!(place.value("b").await, Some(2));
}

/// More rows than a call has, and than a lane is worth; of each the last state.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_large_batch_is_cut_into_calls_and_all_of_it_is_there() {
    let mut place = Place::new(Mode::Upsert, Deletes::Refused).await;
    place.config.call_rows_max = 70;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let records = (0..2_000).map(|at| put(&format!("r{}", at % 900), at)).collect();
    write(&mut writer, records).await.unwrap();
    let seen = place.seen().await;
    assert_eq!(seen.len(), 900);
    for (row, columns) in seen {
        let number: u64 = row[1..].parse().unwrap();
        let last = if number < 200 { number + 1_800 } else { number + 900 };
        assert_eq!(columns["value"], last.to_string(), "{row}");
    }
}
