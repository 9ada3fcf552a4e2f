//! What is refused, and told.

use tidelock::{ErrorKind, Retry, Sink as _, WriterId};
use tidelock_containers::{FamilyOptions, HbaseOptions, HbaseServer};
use tidelock_hbase::{Deletes, HbaseConfig, HbaseSinkConfig, Mode, RowMutation, make_table};

use super::held::Held;
use super::place::{Place, attempt, column, gone, opened, put, tombstones, write};

#[tokio::test]
#[ignore = "needs a container"]
async fn records_that_cannot_be_are_refused_one_by_one_before_anything_is_sent() {
    let place = Place::new(Mode::Upsert, Deletes::Refused).await;
    for record in [
        RowMutation::put("a", [(column("g:value"), "1")]),
        RowMutation::put("", [(column("f:value"), "1")]),
        RowMutation::put("a", [(column("f:value"), vec![0; 11 * 1024 * 1024])]),
        gone("a"),
    ] {
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let error = write(&mut writer, vec![put("b", 1), record]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        assert!(place.seen().await.is_empty());
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_value_of_the_largest_size_is_written() {
    let place = Place::new(Mode::Upsert, Deletes::Refused).await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let large = RowMutation::put("large", [(column("f:value"), vec![b'7'; 10 * 1024 * 1024 - 100])]);
    write(&mut writer, vec![put("a", 1), large, put("b", 1)]).await.unwrap();
    assert_eq!(place.seen().await.len(), 3);
}

/// A gateway errs for all of a call, and names nothing.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_that_the_server_refuses_by_settings_of_its_own_is_named() {
    let mut place = Place::new(Mode::Upsert, Deletes::Refused).await;
    place.config.cell_bytes_max = 20 * 1024 * 1024;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let large = RowMutation::put("large", [(column("f:value"), vec![b'7'; 11 * 1024 * 1024])]);
    let mut records: Vec<RowMutation> = (0..20).map(|at| put(&format!("k{at:02}"), at)).collect();
    records.push(large);
    records.extend((0..20).map(|at| put(&format!("m{at:02}"), at)));
    let error = write(&mut writer, records).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("row=large"), "{error}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_or_a_family_that_is_not_there_is_told_with_what_to_do() {
    let mut place = Place::new(Mode::Upsert, tombstones()).await;
    place.config.deletes = Deletes::Tombstones { column: column("g:deleted") };
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("family=g"), "{error:?}");
    place.config.table = "nobody".into();
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotFound && error.to_string().contains("create 'nobody'"),
        "{error:?}"
    );
}

/// A table that is made as it is said is one that the sink takes.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_that_is_to_keep_deletes_is_told_with_what_its_families_need() {
    let mut place = Place::upsert().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let family = RowMutation::put("a", [(column("g:value"), "1")]);
    let error = write(&mut writer, vec![family]).await.unwrap_err().to_string();
    let alter = format!("alter '{}', NAME => 'g', KEEP_DELETED_CELLS => 'TRUE'`", place.table());
    assert!(error.contains(&alter), "{error}");
    place.config.table = "nobody".into();
    let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err().to_string();
    assert!(error.contains("create 'nobody', {NAME => 'FAMILY', KEEP_DELETED_CELLS => 'TRUE'}`"), "{error}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_is_made_once_and_one_that_is_there_stays_as_it_is() {
    let mut place = Place::new(Mode::Upsert, Deletes::Refused).await;
    let made = format!("{}_made", place.table());
    let make = || make_table(&place.config.hbase, &made, &["f", "g"]);
    for done in futures::future::join_all((0..4).map(|_| make())).await {
        done.unwrap();
    }
    place.config.table = made;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let both = RowMutation::put("a", [(column("f:value"), "1"), (column("g:value"), "1")]);
    write(&mut writer, vec![both]).await.unwrap();
    make_table(&place.config.hbase, place.table(), &["h"]).await.unwrap();
    assert_eq!(place.value("a").await, Some(1));
    place.server.drop_table(place.table()).await.unwrap();
}

/// Deleted rows that are kept are read over, and there may be any number of them in front.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn first_rows_that_are_long_in_coming_keep_no_job_from_starting_unless_nothing_else_shows_what_is_hidden()
 {
    const LOOK: &str = "scannerGetList";
    let mut place = Place::upsert().await;
    let held = Held::before(&mut place).await;
    (place.config.hbase.connect_timeout_ms, place.config.hbase.call_timeout_ms) = (1_000, 4_000);
    let sink = place.sink();
    let mut writer = held.without_answer(LOOK, opened(&sink, &attempt(1))).await;
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(1));
    let place = place.by_record();
    let sink = place.sink();
    sink.recover(&attempt(2), &[]).await.unwrap();
    let error = held.without_answer(LOOK, sink.open(&attempt(2), WriterId(0))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error:?}");
    assert!(error.to_string().contains("raise call_timeout_ms"), "{error}");
}

/// A job looks at the first rows of its table when it starts, and is not to fail by their width.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_table_of_wide_rows_is_looked_at_with_a_small_answer() {
    let mut place = Place::upsert().await;
    let columns = (0..5_000).map(|number| (column(&format!("f:{number}")), "1"));
    let wide = RowMutation::put("wide", columns);
    write(&mut opened(&place.sink(), &attempt(1)).await, vec![wide]).await.unwrap();
    place.config.hbase.answer_bytes_max = 100_000;
    let mut writer = opened(&place.sink(), &attempt(2)).await;
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(1));
}

/// A timestamp that is ahead of the server's clock is one that it never takes: nothing is tried for ever.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_takes_no_times_from_the_future_is_told_at_once() {
    let slop = ("hbase.hregion.keyvalue.timestamp.slop.millisecs", 10_000);
    let options = HbaseOptions::default().with_setting(slop.0, slop.1);
    // It ends with the process.
    let server: &'static HbaseServer = Box::leak(Box::new(HbaseServer::start(options).await.unwrap()));
    let table = server.fresh_table(&[FamilyOptions::new("f")]).await.unwrap();
    let config = HbaseSinkConfig::new(HbaseConfig::new([server.gateway()]), table);
    let place = Place { server, config };
    for (number, records) in (1..).zip([vec![put("a", 1)], vec![put("a", 1), put("b", 1)]]) {
        let mut writer = opened(&place.sink(), &attempt(number)).await;
        let error = write(&mut writer, records).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        assert!(error.to_string().contains("row=a"), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_damaged_cell_of_the_versions_table_halts_with_what_to_do() {
    let place = Place::upsert().await.with_own_versions();
    drop(opened(&place.sink(), &attempt(1)).await);
    let (versions, row) = (&place.config.versions_table, place.table().as_bytes());
    place.server.put(versions, row, ("v", b"another job"), b"?", None).await.unwrap();
    let error = place.sink().recover(&attempt(2), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Corrupt, Retry::Halt), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("cell=v:another job") && told.contains("remedy="), "{told}");
}
