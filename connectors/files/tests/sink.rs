//! What the sink promises, on a local folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::path::Path;

use common::{
    Row, assert_names, attempt, attempt_of, in_progress, permit, prepare, row, start, visible, visible_ids,
};
use tempfile::TempDir;
use tidelock::{Epoch, ErrorKind, Pending, Retry, Sink, SinkAttempt, SinkWriter, Stored, WriterId};
use tidelock_files::{CsvWriting, FileCommittable, FilesSink, FilesSinkConfig, SinkFormat, Staged};

fn config(folder: &Path) -> FilesSinkConfig {
    FilesSinkConfig::new(folder.to_str().unwrap(), SinkFormat::JsonLines)
}

fn sink(folder: &Path) -> FilesSink<Row> {
    FilesSink::new(config(folder)).unwrap()
}

fn rows(ids: std::ops::Range<u64>) -> Vec<Row> {
    ids.map(row).collect()
}

fn staged_path(folder: &Path, pending: &Pending<FileCommittable>) -> std::path::PathBuf {
    let Staged::File(name) = &pending.committable.staged else { panic!("a local file is staged in a file") };
    folder.join(name)
}

#[tokio::test]
async fn prepared_records_are_invisible_and_visible_once_committed() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path());
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 7, rows(0..100)).await.unwrap();
    assert_eq!(pending.len(), 1);
    assert!(visible(folder.path()).is_empty());
    sink.commit(&permit(7), pending.clone()).await.unwrap();
    assert_eq!(visible_ids(folder.path()), (0..100).collect::<Vec<_>>());
    let seen = visible(folder.path());

    // Again, also in a process that prepared nothing.
    sink.commit(&permit(7), pending.clone()).await.unwrap();
    let fresh = self::sink(folder.path());
    fresh.recover(&attempt(2), &pending).await.unwrap();
    fresh.commit(&permit(7), pending).await.unwrap();
    assert_eq!(visible(folder.path()), seen);
    assert!(in_progress(folder.path()).is_empty());
}

#[tokio::test]
async fn an_epoch_without_records_makes_no_file() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path());
    let mut writer = start(&sink, 1).await;
    assert!(writer.prepare(Epoch(1)).await.unwrap().is_empty());
    sink.commit(&permit(1), Vec::new()).await.unwrap();
    writer.settled(Epoch(1), false).await.unwrap();
    assert!(visible(folder.path()).is_empty());
}

#[tokio::test]
async fn a_partly_committed_epoch_is_completed_by_a_fresh_process_from_the_stored_form() {
    let folder = TempDir::new().unwrap();
    let mut small = config(folder.path());
    small.file_bytes_max = 500;
    let sink: FilesSink<Row> = FilesSink::new(small).unwrap();
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 1, rows(0..100)).await.unwrap();
    assert!(pending.len() > 3, "a full file is closed before the epoch ends");
    sink.commit(&permit(1), pending[1..2].to_vec()).await.unwrap();
    drop((writer, sink));

    let restored: Vec<_> = pending
        .iter()
        .map(|pending| Pending {
            committable: Stored::encode(&pending.committable).unwrap().decode().unwrap(),
            ..pending.clone()
        })
        .collect();
    let fresh = self::sink(folder.path());
    fresh.recover(&attempt(2), &restored).await.unwrap();
    fresh.commit(&permit(1), restored).await.unwrap();
    assert_eq!(visible_ids(folder.path()), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_processes_that_commit_at_once_double_nothing() {
    for _ in 0..20 {
        let folder = TempDir::new().unwrap();
        let (first, second) = (sink(folder.path()), sink(folder.path()));
        let mut writer = start(&first, 1).await;
        let mut pending = Vec::new();
        for epoch in 1..5 {
            pending.extend(prepare(&mut writer, 1, epoch, rows(epoch * 10..epoch * 10 + 10)).await.unwrap());
        }
        let (permit_a, permit_b) = (permit(4), permit(4));
        let (a, b) =
            tokio::join!(first.commit(&permit_a, pending.clone()), second.commit(&permit_b, pending.clone()));
        a.and(b).unwrap();
        assert_eq!(visible_ids(folder.path()), (10..50).collect::<Vec<_>>());
    }
}

/// Names are below the folder, so that it may be moved: another one has nothing of them.
#[tokio::test]
async fn a_folder_that_is_changed_while_files_are_pending_halts_and_names_it_and_the_remedy_helps() {
    let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // The job wrote there once.
    let there = sink(after.path());
    let mut writer = start(&there, 1).await;
    let old = prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
    there.commit(&permit(1), old).await.unwrap();
    let mut writer = start(&sink(before.path()), 2).await;
    let pending = prepare(&mut writer, 2, 2, rows(10..20)).await.unwrap();
    let changed = sink(after.path());
    for error in [
        changed.recover(&attempt(3), &pending).await.unwrap_err(),
        changed.commit(&permit(2), pending.clone()).await.unwrap_err(),
    ] {
        let folder = format!("folder={}", after.path().display());
        assert_names(
            &error,
            ErrorKind::Expired,
            &["the setting `folder` is another one than before", &folder],
        );
    }
    assert_eq!(visible_ids(after.path()), (0..10).collect::<Vec<_>>());
    let back = sink(before.path());
    back.recover(&attempt(4), &pending).await.unwrap();
    back.commit(&permit(2), pending).await.unwrap();
    assert_eq!(visible_ids(before.path()), (10..20).collect::<Vec<_>>());
    let mut writer = start(&changed, 5).await;
    let next = prepare(&mut writer, 5, 3, rows(20..30)).await.unwrap();
    changed.commit(&permit(3), next).await.unwrap();
    assert_eq!(visible_ids(after.path()), [(0..10), (20..30)].into_iter().flatten().collect::<Vec<_>>());
}

#[tokio::test]
async fn recovery_removes_what_older_attempts_left_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path());
    let other_uid = SinkAttempt { uid: "ou".parse().unwrap(), ..attempt(1) };
    let mut writers = Vec::new();
    for (attempt, writer) in
        [(attempt_of("order", 1), 0), (other_uid, 0), (attempt(2), 0), (attempt(3), 0), (attempt(4), 1)]
    {
        let mut writer = sink.open(&attempt, WriterId(writer)).await.unwrap();
        writer.write(&mut rows(0..10)).await.unwrap();
        let prepared = writer.prepare(Epoch(1)).await.unwrap().remove(0);
        writers.push(prepared.committable);
    }
    fs::write(folder.path().join(".tidelock/orders.out.02.0"), "not a name that we make").unwrap();
    let listed = Pending {
        epoch: Epoch(1),
        attempt: attempt(2).number,
        writer: WriterId(0),
        committable: writers[2].clone(),
    };
    sink.recover(&attempt(4), std::slice::from_ref(&listed)).await.unwrap();
    let exists = |committable: &FileCommittable| {
        staged_path(folder.path(), &Pending { committable: committable.clone(), ..listed.clone() }).exists()
    };
    assert_eq!(writers.iter().map(exists).collect::<Vec<_>>(), [true, true, true, false, true]);
    assert!(folder.path().join(".tidelock/orders.out.02.0").exists());
    // Repeated while it is being committed, and after.
    sink.commit(&permit(1), vec![listed.clone()]).await.unwrap();
    sink.recover(&attempt(4), &[listed]).await.unwrap();
    assert_eq!(visible_ids(folder.path()).len(), 10);
    sink.recover(&attempt(4), &[]).await.unwrap();
    assert!(
        !folder.path().join(".tidelock/orders.out.2.0").exists(),
        "an empty folder of an older attempt goes"
    );
}

#[tokio::test]
async fn an_older_attempt_that_wakes_up_cannot_leave_anything() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path());
    let mut zombie = start(&sink, 1).await;
    sink.recover(&attempt(2), &[]).await.unwrap();
    let error = prepare(&mut zombie, 1, 1, rows(0..10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(in_progress(folder.path()).is_empty());
}

#[tokio::test]
async fn a_prepared_file_that_is_gone_halts_before_anything_of_its_epoch_is_visible() {
    let folder = TempDir::new().unwrap();
    let mut small = config(folder.path());
    small.file_bytes_max = 500;
    let sink: FilesSink<Row> = FilesSink::new(small).unwrap();
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 9, rows(0..100)).await.unwrap();
    fs::remove_file(staged_path(folder.path(), pending.last().unwrap())).unwrap();
    for error in [
        sink.recover(&attempt(2), &pending).await.unwrap_err(),
        sink.commit(&permit(9), pending.clone()).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Expired, Retry::Halt));
        let text = error.to_string();
        for fact in
            ["epoch=9", "attempt=1", "writer=0", "records=", &pending.last().unwrap().committable.file]
        {
            assert!(text.contains(fact), "{fact} is not in {text}");
        }
    }
    assert!(visible(folder.path()).is_empty());
}

#[tokio::test]
async fn a_damaged_prepared_file_is_not_published() {
    for size_kept in [true, false] {
        let folder = TempDir::new().unwrap();
        let sink = sink(folder.path());
        let mut writer = start(&sink, 1).await;
        let pending = prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
        let path = staged_path(folder.path(), &pending[0]);
        let mut content = fs::read(&path).unwrap();
        content[5] ^= 1;
        content.truncate(if size_kept { usize::MAX } else { 20 });
        fs::write(&path, content).unwrap();
        let error = sink.recover(&attempt(2), &pending).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt));
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}

#[tokio::test]
async fn a_visible_file_that_is_not_ours_is_never_overwritten() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path());
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
    let path = folder.path().join(&pending[0].committable.file);
    fs::write(&path, "somebody else's").unwrap();
    for error in [
        sink.commit(&permit(1), pending.clone()).await.unwrap_err(),
        sink.recover(&attempt(2), &pending).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt));
        for told in ["somebody changed it", "another log of this job wrote here", "remedy="] {
            assert!(error.to_string().contains(told), "{told} is missing in: {error}");
        }
    }
    assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
}

#[tokio::test]
async fn a_permit_for_an_older_epoch_commits_nothing() {
    let folder = TempDir::new().unwrap();
    let sink = sink(folder.path());
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 2, rows(0..10)).await.unwrap();
    assert_eq!(sink.commit(&permit(1), pending).await.unwrap_err().kind(), ErrorKind::Bug);
    assert!(visible(folder.path()).is_empty());
}

#[tokio::test]
async fn a_replay_after_a_rollback_and_a_fork_make_files_of_their_own() {
    let folder = TempDir::new().unwrap();
    for (attempt, epoch) in [(attempt(1), 5), (attempt(9), 5), (attempt_of("fork", 1), 5)] {
        let sink = sink(folder.path());
        sink.recover(&attempt, &[]).await.unwrap();
        let mut writer = sink.open(&attempt, WriterId(0)).await.unwrap();
        let pending = prepare(&mut writer, attempt.number.0, epoch, rows(0..10)).await.unwrap();
        sink.commit(&permit(epoch), pending).await.unwrap();
    }
    assert_eq!(visible(folder.path()).len(), 3);
}

#[tokio::test]
async fn records_go_to_the_folder_of_their_bucket_also_with_more_buckets_than_open_files() {
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path());
    config.open_files_max = 3;
    let bucket =
        |row: &Row, name: &mut String| name.push_str(&format!("parity={}/mod={}", row.id % 2, row.id % 8));
    let sink = FilesSink::new(config.clone()).unwrap().with_bucket(bucket);
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 1, rows(0..64)).await.unwrap();
    sink.commit(&permit(1), pending).await.unwrap();
    let mut ids = visible_ids(folder.path());
    ids.sort_unstable();
    assert_eq!(ids, (0..64).collect::<Vec<_>>());
    for (name, content) in visible(folder.path()) {
        let bucket: u64 = name.split(['=', '/']).nth(3).unwrap().parse().unwrap();
        for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert_eq!(serde_json::from_slice::<Row>(line).unwrap().id % 8, bucket, "{name}");
        }
    }
    let leaving = FilesSink::new(config).unwrap().with_bucket(|_: &Row, name| name.push_str("../out"));
    let mut writer = start(&leaving, 2).await;
    assert_eq!(writer.write(&mut rows(0..1)).await.unwrap_err().kind(), ErrorKind::Data);
}

#[tokio::test]
async fn every_csv_file_has_one_header_however_it_is_written() {
    let folder = TempDir::new().unwrap();
    let mut config =
        FilesSinkConfig::new(folder.path().to_str().unwrap(), SinkFormat::Csv(CsvWriting::default()));
    config.file_bytes_max = 2 << 20;
    let sink = FilesSink::new(config).unwrap();
    let mut writer = start(&sink, 1).await;
    let count = 150_000;
    let pending = prepare(&mut writer, 1, 1, rows(0..count)).await.unwrap();
    assert!(pending.len() > 1);
    assert_eq!(pending.iter().map(|file| file.committable.records).sum::<u64>(), count);
    sink.commit(&permit(1), pending).await.unwrap();
    let mut read = Vec::new();
    for content in visible(folder.path()).into_values() {
        read.extend(
            csv::Reader::from_reader(&*content).deserialize().map(|row: Result<Row, _>| row.unwrap()),
        );
    }
    assert!(read == rows(0..count));
}

#[tokio::test]
async fn an_unwritable_folder_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "a file where a folder should be").unwrap();
    let error = sink(&file).recover(&attempt(1), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_record_that_has_no_json_form_is_an_error() {
    #[derive(serde::Serialize)]
    struct Odd {
        map: std::collections::BTreeMap<(u8, u8), u8>,
    }
    let folder = TempDir::new().unwrap();
    let sink: FilesSink<Odd> = FilesSink::new(config(folder.path())).unwrap();
    let mut writer = start(&sink, 1).await;
    let error = writer.write(&mut vec![Odd { map: [((1, 2), 3)].into() }]).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
}

#[tokio::test]
async fn csv_refuses_what_it_would_change_and_leaves_nothing_of_it() {
    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Odd {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<u64>,
        text: Option<String>,
    }
    let odd =
        |id, a: Option<u64>, b: Option<u64>, text: Option<&str>| Odd { id, a, b, text: text.map(Into::into) };
    let folder = TempDir::new().unwrap();
    let csv = |writing| FilesSinkConfig::new(folder.path().to_str().unwrap(), SinkFormat::Csv(writing));
    let sink: FilesSink<Odd> = FilesSink::new(csv(CsvWriting::default())).unwrap();
    let mut writer = start(&sink, 1).await;
    for (record, reason) in [
        // Before there is a header, too.
        (odd(0, Some(0), None, Some("")), "field text: CSV has no form for an empty text in a Some"),
        (odd(1, Some(1), None, Some("x")), ""),
        (odd(2, None, Some(2), Some("x")), "the record's fields are not those of the file's header"),
        (odd(3, None, None, Some("x")), "the record's fields are not those of the file's header"),
        (odd(4, Some(4), Some(4), Some("x")), "the record's fields are not those of the file's header"),
        (odd(5, Some(5), None, None), ""),
        (odd(6, Some(6), None, Some("")), "field text: CSV has no form for an empty text in a Some"),
    ] {
        match writer.write(&mut vec![record]).await {
            Ok(()) => assert_eq!(reason, ""),
            Err(error) => assert!(!reason.is_empty() && error.to_string().contains(reason), "{error}"),
        }
    }
    let pending = prepare(&mut writer, 1, 1, Vec::new()).await.unwrap();
    sink.commit(&permit(1), pending).await.unwrap();
    assert_eq!(visible(folder.path()).into_values().next().unwrap(), b"id,a,text\n1,1,x\n5,5,\n");

    let mut writing = CsvWriting::default();
    writing.empty_is_missing = true;
    let sink: FilesSink<Odd> = FilesSink::new(csv(writing)).unwrap();
    let mut writer = start(&sink, 2).await;
    writer.write(&mut vec![odd(0, Some(0), None, Some(""))]).await.unwrap();
}

#[tokio::test]
async fn a_some_that_would_be_read_back_as_none_cannot_be_written() {
    #[derive(serde::Serialize)]
    struct Nested {
        id: u64,
        value: Option<Option<u64>>,
    }
    let folder = TempDir::new().unwrap();
    let sink: FilesSink<Nested> = FilesSink::new(config(folder.path())).unwrap();
    let mut writer = start(&sink, 1).await;
    let good = [None, Some(Some(1))].map(|value| Nested { id: 1, value });
    writer.write(&mut good.into()).await.unwrap();
    let error = writer.write(&mut vec![Nested { id: 2, value: Some(None) }]).await.unwrap_err();
    assert!(error.to_string().contains("field value: an empty value in a Some"), "{error}");
}

#[tokio::test]
async fn a_bucket_on_another_file_system_is_refused_before_anything_is_written_for_it() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("far")).unwrap();
    let Some(_disk) = tidelock_testkit::SmallDisk::mount(&folder.path().join("far"), 1024) else { return };
    let sink = FilesSink::new(config(folder.path())).unwrap();
    let sink =
        sink.with_bucket(|row: &Row, name| name.push_str(if row.id == 1 { "far/away" } else { "near" }));
    let mut writer = start(&sink, 1).await;
    writer.write(&mut rows(2..3)).await.unwrap();
    let written = writer.write(&mut rows(1..2)).await;
    let error = written.and(writer.prepare(Epoch(1)).await.map(drop)).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
    assert!(
        error.to_string().contains("another file system or mount") && error.to_string().contains("far"),
        "{error}"
    );
}

#[tokio::test]
async fn a_bucket_on_another_mount_of_the_same_file_system_is_refused_too() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let far = folder.path().join("far");
    fs::create_dir(&far).unwrap();
    let Some(_mount) = tidelock_testkit::SmallDisk::bind(elsewhere.path(), &far) else { return };
    let sink = FilesSink::new(config(folder.path())).unwrap();
    let sink = sink.with_bucket(|_: &Row, name| name.push_str("far"));
    let mut writer = start(&sink, 1).await;
    let written = writer.write(&mut rows(1..2)).await;
    let error = written.and(writer.prepare(Epoch(1)).await.map(drop)).unwrap_err();
    assert_names(&error, ErrorKind::Config, &["another file system or mount", "far"]);
}
