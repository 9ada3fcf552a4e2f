//! Clocks that are wrong, times of others in the table, and a versions table that is lost.

use std::time::Duration;

use tidelock::{ErrorKind, Retry, Sink as _, WriterId};
use tidelock_containers::FamilyOptions;
use tidelock_hbase::{Deletes, Mode, Versions};

use super::place::{Clock, Place, attempt, attempt_of, commit, gone, opened, prepared, put, write};

const HOUR: i64 = 3_600_000;
const MINUTES: i64 = 150_000;

#[tokio::test]
#[ignore = "needs a container"]
async fn a_clock_that_goes_back_or_is_behind_changes_nothing() {
    let place = Place::upsert().await;
    let clock = Clock::default();
    let mut writer = opened(&place.sink_at(&clock), &attempt(1)).await;
    for (value, turn) in [(1, 0), (2, MINUTES), (3, -2 * HOUR), (4, -HOUR), (5, 3 * HOUR)] {
        clock.turn(turn);
        write(&mut writer, vec![put("a", value)]).await.unwrap();
        assert_eq!(place.value("a").await, Some(value));
    }
    // The next attempt is on a machine whose clock is a day behind.
    let mut next = opened(&place.sink_at(&Clock::off_by(-24 * HOUR)), &attempt(2)).await;
    write(&mut next, vec![put("a", 6)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(6));
    // The time of the server counts too, so that cells of others are older.
    place.server.put(place.table(), b"b", ("f", b"value"), b"1", None).await.unwrap();
    let mut third = opened(&place.sink_at(&Clock::off_by(-24 * HOUR)), &attempt(3)).await;
    write(&mut third, vec![put("b", 2)]).await.unwrap();
    assert_eq!(place.value("b").await, Some(2));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_clock_that_is_far_ahead_leaves_nothing_from_the_future() {
    let place = Place::upsert().await;
    let error = place.sink_at(&Clock::off_by(24 * HOUR)).recover(&attempt(1), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
    // Or it jumps while the job runs.
    let clock = Clock::default();
    let mut writer = opened(&place.sink_at(&clock), &attempt(1)).await;
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    clock.turn(24 * HOUR);
    let error = write(&mut writer, vec![put("a", 2)]).await.unwrap_err();
    assert!(error.retry() == Retry::Halt && error.to_string().contains("ahead_by"), "{error:?}");
    let mut next = opened(&place.sink(), &attempt(2)).await;
    write(&mut next, vec![put("a", 3)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(3));
    let newest = place.timestamps().await.into_iter().max().unwrap();
    assert!(newest < Clock::default().now() + 2 * MINUTES, "{newest}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_clock_that_jumps_far_ahead_leaves_nothing_from_the_future_where_epochs_are_applied() {
    let place = Place::ledger().await;
    let clock = Clock::default();
    let sink = place.sink_at(&clock);
    let mut writer = opened(&sink, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, vec![put("a", 1)]).await;
    commit(&sink, 1, &first).await.unwrap();
    let second = prepared(&mut writer, &attempt(1), 2, vec![put("a", 2)]).await;
    clock.turn(24 * HOUR);
    let error = commit(&sink, 2, &second).await.unwrap_err();
    assert!(error.retry() == Retry::Halt && error.to_string().contains("ahead_by"), "{error:?}");
    // With the clock set, the job goes on.
    let next = place.sink();
    next.recover(&attempt(2), &second).await.unwrap();
    commit(&next, 2, &second).await.unwrap();
    assert_eq!(place.value("a").await, Some(2));
    let newest = place.timestamps().await.into_iter().max().unwrap();
    assert!(newest < Clock::default().now() + 2 * MINUTES, "{newest}");
}

/// The writers of a rollback claim its new generation, in whatever process they are opened first.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_process_whose_clock_is_far_ahead_takes_no_claim() {
    let place = Place::upsert().await;
    let (before, after) = (attempt_of("job", 1, 9), attempt_of("job", 2, 9));
    place.sink().recover(&before, &[]).await.unwrap();
    let ahead = place.sink_at(&Clock::off_by(24 * HOUR));
    let error = ahead.open(&after, WriterId(0)).await.unwrap_err();
    assert!(error.retry() == Retry::Halt && error.to_string().contains("ahead_by"), "{error:?}");
    let mut writer = place.sink().open(&after, WriterId(1)).await.unwrap();
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    let newest = place.timestamps().await.into_iter().max().unwrap();
    assert!(newest < Clock::default().now() + 2 * MINUTES, "{newest}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn times_stay_near_the_clock_however_often_a_job_dies() {
    let place = Place::upsert().await;
    for number in 1..=30 {
        let mut writer = opened(&place.sink(), &attempt(number)).await;
        for value in 0..3 {
            write(&mut writer, vec![put("a", number * 10 + value)]).await.unwrap();
        }
    }
    assert_eq!(place.value("a").await, Some(302));
    let newest = place.timestamps().await.into_iter().max().unwrap();
    // A minute by which each attempt is ahead, and what each of them reserved and did not use.
    assert!(newest < Clock::default().now() + 60_000 + 31_000, "{newest}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_family_with_a_time_to_live_shows_what_is_written_and_has_no_versions_of_records() {
    let family = FamilyOptions::new("f").with_time_to_live(Duration::from_secs(86_400));
    let place = Place::with(&[family], Mode::Upsert, Deletes::Refused).await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    place.compact().await;
    assert_eq!(place.value("a").await, Some(1));
    let place = place.by_record();
    let error = place.sink().recover(&attempt(2), &[]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("family=f"), "{error:?}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn cells_with_the_time_of_the_server_are_older_and_those_from_the_future_are_refused() {
    let place = Place::upsert().await;
    place.server.put(place.table(), b"a", ("f", b"value"), b"1", None).await.unwrap();
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![put("a", 2)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(2));
    // Somewhat from the future: the sink begins above.
    let soon = Clock::off_by(HOUR / 2).now();
    place.late_put("a", 3, soon).await;
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    write(&mut writer, vec![put("a", 4)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(4));
    place.late_put("b", 3, Clock::off_by(24 * HOUR).now()).await;
    let error = place.sink().recover(&attempt(3), &[]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("from the future"), "{error:?}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn versions_of_records_are_refused_where_the_table_has_the_times_of_a_clock() {
    let place = Place::upsert().await.by_record();
    place.server.put(place.table(), b"a", ("f", b"value"), b"1", None).await.unwrap();
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let error = write(&mut writer, vec![put("a", 2).with_version(7)]).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config && error.to_string().contains("timestamp_of_a_record=15"),
        "{error:?}"
    );
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    let event_time = Clock::default().now().unsigned_abs();
    write(&mut writer, vec![put("a", 3).with_version(event_time)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(3));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn without_the_versions_table_of_before_the_next_attempt_wins_and_the_one_that_runs_is_told() {
    let place = Place::upsert().await.with_own_versions();
    let clock = Clock::default();
    let mut older = opened(&place.sink_at(&clock), &attempt(1)).await;
    for value in 1..=5 {
        write(&mut older, vec![put("a", value)]).await.unwrap();
    }
    place.server.drop_table(&place.config.versions_table).await.unwrap();
    clock.turn(MINUTES);
    let error = write(&mut older, vec![put("a", 6)]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict), "{error:?}");
    assert_eq!(error.retry(), Retry::Halt, "{error:?}");
    let mut next = opened(&place.sink(), &attempt(2)).await;
    write(&mut next, vec![put("a", 7)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(7));
    // It is there again, and the older one has nothing in it.
    let clock = Clock::default();
    let mut third = opened(&place.sink_at(&clock), &attempt(3)).await;
    place.server.drop_table(&place.config.versions_table).await.unwrap();
    opened(&place.sink(), &attempt_of("other", 1, 1)).await;
    clock.turn(MINUTES);
    let error = write(&mut third, vec![put("a", 8)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("setting=versions_table"), "{error}");
}

/// The server had a clock that was a day ahead, for example, when the attempt before began.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_job_goes_on_above_the_times_that_it_gave_itself_however_far_ahead_they_are() {
    let place = Place::upsert().await.with_own_versions();
    drop(opened(&place.sink(), &attempt(1)).await);
    let ahead = Clock::off_by(24 * HOUR).now();
    let json = format!(
        r#"{{"serial":9,"generation":1,"attempt":1,"floor":{ahead},"until":{ahead},"applied":null}}"#
    );
    let text = format!("1 {:08x} {json}", crc32c::crc32c(json.as_bytes()));
    let (versions, row) = (&place.config.versions_table, place.table().as_bytes());
    place.server.put(versions, row, ("v", b"job.out"), text.as_bytes(), None).await.unwrap();
    place.late_put("a", 1, ahead).await;
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    write(&mut writer, vec![put("a", 2)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(2));
    // What is further ahead is somebody else's.
    place.late_put("b", 1, ahead + HOUR).await;
    let error = place.sink().recover(&attempt(3), &[]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("from the future"), "{error:?}");
}

/// From a backup, while the job runs: what stands there was true once.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_versions_table_that_is_restored_halts_the_running_job_before_anything_is_hidden() {
    let place = Place::ledger().await.with_own_versions();
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let first = prepared(&mut writer, &attempt(1), 1, vec![put("a", 1)]).await;
    let backup = place.server.cells(&place.config.versions_table).await.unwrap();
    commit(&sink, 1, &first).await.unwrap();
    for epoch in 2..6 {
        let listed = prepared(&mut writer, &attempt(1), epoch, vec![put("a", epoch)]).await;
        commit(&sink, epoch, &listed).await.unwrap();
    }
    for cell in backup {
        let column = (&*cell.family, &*cell.qualifier);
        let table = &place.config.versions_table;
        place.server.put(table, &cell.row, column, &cell.value, None).await.unwrap();
    }
    let sixth = prepared(&mut writer, &attempt(1), 6, vec![put("a", 6)]).await;
    let error = commit(&sink, 6, &sixth).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("setting=versions_table"), "{error}");
    assert_eq!(place.value("a").await, Some(5));
    // The next attempt begins above all that was given.
    let next = place.sink();
    next.recover(&attempt(2), &sixth).await.unwrap();
    commit(&next, 6, &sixth).await.unwrap();
    assert_eq!(place.value("a").await, Some(6));
}

#[tokio::test]
#[ignore = "needs a container"]
async fn versions_of_records_are_refused_where_deletes_with_reserved_times_would_hide_them() {
    let place = Place::upsert().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    write(&mut writer, vec![gone("a")]).await.unwrap();
    // Nothing is to be seen in the table.
    let place = place.by_record();
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    let error = write(&mut writer, vec![put("a", 2).with_version(7)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("timestamp_of_a_record=15"), "{error}");
}

/// Nobody sees a delete: what was written first is read back.
#[tokio::test]
#[ignore = "needs a container"]
async fn what_a_delete_from_the_future_hides_is_told_in_both_modes() {
    for mode in [Mode::Upsert, Mode::Ledger] {
        let mut place = Place::upsert().await.by_record();
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let future = Clock::off_by(24 * HOUR).now().unsigned_abs() / 2;
        write(&mut writer, vec![gone("a").with_version(future)]).await.unwrap();
        (place.config.mode, place.config.versions) = (mode, Versions::Reserved);
        let sink = place.sink();
        let mut writer = opened(&sink, &attempt(2)).await;
        let error = match mode {
            Mode::Ledger => {
                let listed = prepared(&mut writer, &attempt(2), 1, vec![put("b", 1), put("a", 2)]).await;
                commit(&sink, 1, &listed).await.unwrap_err()
            }
            _ => write(&mut writer, vec![put("b", 1), put("a", 2)]).await.unwrap_err(),
        };
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("row=a"), "{error}");
    }
}

/// Each of many attempts begins a little further ahead, and then nobody knows any more how far that was.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_versions_table_that_is_lost_after_a_crash_loop_hides_nothing_in_silence() {
    let place = Place::new(Mode::Upsert, Deletes::Refused).await.with_own_versions();
    // Rows of others, more than are looked at.
    for row in 0..101 {
        let row = format!("!{row}");
        place.server.put(place.table(), row.as_bytes(), ("f", b"value"), b"0", Some(1)).await.unwrap();
    }
    for number in 1..=60 {
        let mut writer = opened(&place.sink(), &attempt(number)).await;
        write(&mut writer, vec![put("a", number)]).await.unwrap();
    }
    place.server.drop_table(&place.config.versions_table).await.unwrap();
    let mut writer = opened(&place.sink(), &attempt(61)).await;
    match write(&mut writer, vec![put("a", 61)]).await {
        Ok(()) => assert_eq!(place.value("a").await, Some(61)),
        Err(error) => {
            assert!(error.retry() == Retry::Halt && error.to_string().contains("hidden_by"), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn jobs_that_start_at_the_same_time_make_one_versions_table() {
    let first = Place::upsert().await.with_own_versions();
    let recovered = async |number: u64| {
        let clock = Clock::default();
        let job = super::place::attempt_of(&format!("job{number}"), 1, 1);
        first.sink_at(&clock).recover(&job, &[]).await
    };
    for recovered in futures::future::join_all((0..8).map(recovered)).await {
        recovered.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn an_epoch_that_is_pending_halts_where_the_versions_table_is_lost() {
    let place = Place::ledger().await.with_own_versions();
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    let pending = prepared(&mut writer, &attempt(1), 1, vec![put("a", 1)]).await;
    place.server.drop_table(&place.config.versions_table).await.unwrap();
    let next = place.sink();
    let error = next.recover(&attempt(2), &pending).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("remedy="), "{error}");
    let error = commit(&sink, 1, &pending).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Halt, "{error:?}");
    assert_eq!(place.value("a").await, None);
    // With what is pending abandoned the job goes on.
    next.recover(&attempt(2), &[]).await.unwrap();
    next.open(&attempt(2), WriterId(0)).await.unwrap();
}

/// A compare-and-set has the time of the server: with one from before, what it writes would be hidden by what stands there.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_clock_of_the_server_that_went_back_hides_no_claim() {
    let place = Place::upsert().await.with_own_versions();
    let clock = Clock::default();
    let mut older = opened(&place.sink_at(&clock), &attempt(1)).await;
    write(&mut older, vec![put("a", 1)]).await.unwrap();
    let versions = &place.config.versions_table;
    for cell in place.server.cells(versions).await.unwrap() {
        // As if it had been written an hour ahead.
        let later = Some(cell.timestamp + HOUR);
        let column = (&*cell.family, &*cell.qualifier);
        place.server.put(versions, &cell.row, column, &cell.value, later).await.unwrap();
    }
    let mut newer = opened(&place.sink(), &attempt(2)).await;
    write(&mut newer, vec![put("a", 2)]).await.unwrap();
    clock.turn(MINUTES);
    let error = write(&mut older, vec![put("a", 3)]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert_eq!(place.value("a").await, Some(2));
}
