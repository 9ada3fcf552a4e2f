//! What is deleted stays so, after flushes and major compactions, whatever comes late.

use tidelock::{ErrorKind, Retry, Sink as _};
use tidelock_containers::FamilyOptions;
use tidelock_hbase::{Deletes, Mode, RowMutation};

use super::held::Held;
use super::place::{Place, attempt, column, gone, opened, put, tombstones, write};

#[tokio::test]
#[ignore = "needs a container"]
async fn a_deleted_row_does_not_come_back_whenever_a_late_request_arrives() {
    for deletes in [Deletes::Markers, tombstones()] {
        let place = Place::new(Mode::Upsert, deletes.clone()).await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        write(&mut writer, vec![put("a", 1), put("b", 1)]).await.unwrap();
        let first = place.timestamps().await.into_iter().min().unwrap();
        write(&mut writer, vec![gone("a"), put("c", 1)]).await.unwrap();
        for _ in 0..2 {
            place.late_put("a", 1, first).await;
            assert_eq!(place.value("a").await, None, "{deletes:?}");
            place.compact().await;
            assert_eq!(place.value("a").await, None, "{deletes:?}");
        }
        write(&mut writer, vec![put("a", 2)]).await.unwrap();
        place.late_put("a", 1, first).await;
        place.compact().await;
        assert_eq!((place.value("a").await, place.value("b").await), (Some(2), Some(1)), "{deletes:?}");
    }
}

/// Of a table whose second region begins with `m`: what the sink tries on is in the first one.
async fn of_two_regions() -> Place {
    let place = Place::upsert().await;
    place.server.split(place.table(), b"m").await.unwrap();
    place
}

/// HBase throws a marker away where everything else that the region has is newer, although deleted cells are kept.
#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_that_is_put_and_deleted_by_one_batch_stays_deleted_and_a_marker_alone_would_not_do() {
    let place = of_two_regions().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    // An older attempt had put the row, and the request is on its way still.
    write(&mut writer, vec![put("x", 1), gone("x")]).await.unwrap();
    let first = place.timestamps().await.into_iter().min().unwrap();
    write(&mut writer, vec![put("y", 1)]).await.unwrap();
    place.compact().await;
    place.late_put("x", 1, first - 1_000).await;
    place.compact().await;
    assert_eq!(place.value("x").await, None);

    let place = of_two_regions().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![gone("never put")]).await.unwrap();
    write(&mut writer, vec![put("y", 1)]).await.unwrap();
    place.compact().await;
    place.late_put("never put", 1, first).await;
    let kept = "HBase keeps such a marker now: the exception in the merge can go";
    assert_eq!(place.value("never put").await, Some(1), "{kept}");
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_family_in_which_deletes_do_not_last_is_refused_by_name_and_with_the_remedy() {
    let kept = |name: &str| FamilyOptions::new(name).with_deleted_cells_kept();
    for (family, remedy) in [
        (FamilyOptions::new("g"), "KEEP_DELETED_CELLS"),
        (kept("g").with_new_version_behavior(), "NEW_VERSION_BEHAVIOR"),
    ] {
        for mode in [Mode::Upsert, Mode::Ledger] {
            let place = Place::with(&[kept("f"), family.clone()], mode, Deletes::Markers).await;
            let error = place.sink().recover(&attempt(1), &[]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
            let told = error.to_string();
            assert!(told.contains("family=g") && told.contains(remedy), "{told}");
            assert!(place.seen().await.is_empty(), "what was tried is gone");
        }
    }
}

/// It is in the user's table, and whoever is killed cannot take it away.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_is_tried_of_a_family_is_seen_by_nobody_also_where_the_job_dies_meanwhile() {
    let mut place = Place::upsert().await;
    let held = Held::before(&mut place).await;
    let (sink, first) = (place.sink(), attempt(1));
    let tried = held.die_after("tried", sink.recover(&first, &[])).await;
    assert!(tried.is_some(), "a value is written to the row that is tried on");
    for _ in 0..2 {
        assert!(place.seen().await.is_empty());
        place.compact().await;
    }
    opened(&place.sink(), &attempt(2)).await;
}

#[tokio::test]
#[ignore = "needs a container"]
async fn what_an_attempt_left_that_died_while_it_tried_is_deleted_by_the_next_one() {
    let place = Place::upsert().await;
    place
        .server
        .put(place.table(), b"\0tidelock/job.out", ("f", b"k"), b"tried", Some(1_000_000_000_000))
        .await
        .unwrap();
    opened(&place.sink(), &attempt(2)).await;
    assert!(place.seen().await.is_empty());
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_row_is_deleted_in_all_its_families_and_columns_one_by_one() {
    let family = |name: &str| FamilyOptions::new(name).with_deleted_cells_kept().with_versions(3);
    let place = Place::with(&[family("f"), family("g")], Mode::Upsert, Deletes::Markers).await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let row = |name: &'static str| {
        RowMutation::put(name, [(column("f:a"), "1"), (column("f:b"), "1"), (column("g:c"), "1")])
    };
    for _ in 0..3 {
        write(&mut writer, vec![row("a"), row("b")]).await.unwrap();
    }
    let columns = [column("f:a"), column("g:c")];
    // Older versions do not show either.
    write(&mut writer, vec![gone("a"), RowMutation::delete_columns("b", columns)]).await.unwrap();
    let cells = place.server.cells(place.table()).await.unwrap();
    let shown: Vec<_> = cells.iter().map(|cell| (&*cell.row, &*cell.qualifier)).collect();
    assert_eq!(shown, vec![(&b"b"[..], &b"b"[..]); 3]);
}

#[tokio::test]
#[ignore = "needs a container"]
async fn a_tombstone_needs_nothing_of_the_family_and_is_in_the_row() {
    let place = Place::new(Mode::Ledger, tombstones()).await;
    let sink = place.sink();
    let mut writer = opened(&sink, &attempt(1)).await;
    for (epoch, records) in (1..).zip([vec![put("a", 1), put("b", 1)], vec![gone("a")], vec![put("b", 2)]]) {
        let listed = super::place::prepared(&mut writer, &attempt(1), epoch, records).await;
        super::place::commit(&sink, epoch, &listed).await.unwrap();
    }
    place.compact().await;
    let cells = place.server.cells(place.table()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown =
        cells.iter().map(|cell| [&cell.row, &cell.qualifier, &cell.value].map(|part| text(part)).join(" "));
    assert_eq!(shown.collect::<Vec<_>>(), ["a deleted 1", "b deleted 0", "b value 2"]);
}
