//! What others do to the sink's folder: readers that take what they see, and another owner of the job.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;

use common::{Row, assert_names, attempt, hidden, in_progress, permit, prepare, row, start, visible};
use tempfile::TempDir;
use tidelock::{Epoch, ErrorKind, JobId, Sink, SinkAttempt, SinkWriter, WriterId};
use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};

fn sink(folder: &TempDir) -> FilesSink<Row> {
    let mut config = FilesSinkConfig::new(folder.path().to_str().unwrap(), SinkFormat::JsonLines);
    config.file_bytes_max = 500;
    let sink = FilesSink::new(config).unwrap();
    sink.with_bucket(|row: &Row, name| name.push_str(if row.id.is_multiple_of(2) { "even" } else { "odd" }))
}

fn rows(ids: std::ops::Range<u64>) -> Vec<Row> {
    ids.map(row).collect()
}

#[tokio::test]
async fn a_visible_file_that_is_taken_before_its_commit_is_confirmed_is_no_loss() {
    for whole_folder in [false, true] {
        let (folder, inbox) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let first = sink(&folder);
        let mut writer = start(&first, 1).await;
        let pending = prepare(&mut writer, 1, 1, rows(0..100)).await.unwrap();
        assert!(pending.len() > 3);
        // The process dies in the middle of its commit, or after it: the snapshot still lists all.
        first.commit(&permit(1), pending[..2].to_vec()).await.unwrap();
        drop((first, writer));
        let mut taken = 0;
        for name in visible(folder.path()).into_keys() {
            if whole_folder {
                fs::rename(folder.path().join(&name), inbox.path().join(taken.to_string())).unwrap();
            } else {
                fs::remove_file(folder.path().join(&name)).unwrap();
            }
            taken += 1;
        }
        if whole_folder {
            let _ = fs::remove_dir(folder.path().join("even"));
            let _ = fs::remove_dir(folder.path().join("odd"));
        }
        for number in 2..4 {
            let next = sink(&folder);
            next.recover(&attempt(number), &pending).await.unwrap();
            next.commit(&permit(1), pending.clone()).await.unwrap();
            assert_eq!(visible(folder.path()).len(), pending.len() - taken, "each file once");
        }
        sink(&folder).recover(&attempt(4), &[]).await.unwrap();
        assert!(hidden(folder.path()).is_empty(), "nothing stays behind");
    }
}

#[tokio::test]
async fn marks_of_what_became_visible_go_as_soon_as_no_entry_can_list_it() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = start(&sink, 1).await;
    let first = prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
    let second = prepare(&mut writer, 1, 2, rows(10..20)).await.unwrap();
    sink.commit(&permit(1), first.clone()).await.unwrap();
    sink.commit(&permit(2), second.clone()).await.unwrap();
    assert_eq!(hidden(folder.path()).len(), first.len() + second.len());
    writer.settled(Epoch(1), false).await.unwrap();
    assert_eq!(hidden(folder.path()).len(), second.len());
    writer.settled(Epoch(2), false).await.unwrap();
    assert!(hidden(folder.path()).is_empty());
}

#[tokio::test]
async fn a_file_that_never_became_visible_is_lost_also_in_an_epoch_of_which_others_were_taken() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = start(&sink, 1).await;
    let pending = prepare(&mut writer, 1, 1, rows(0..100)).await.unwrap();
    sink.commit(&permit(1), pending[..1].to_vec()).await.unwrap();
    visible(folder.path()).into_keys().for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
    fs::remove_file(in_progress(folder.path()).pop().unwrap()).unwrap();
    for error in [
        self::sink(&folder).recover(&attempt(2), &pending).await.unwrap_err(),
        sink.commit(&permit(1), pending.clone()).await.unwrap_err(),
    ] {
        assert_names(
            &error,
            ErrorKind::Expired,
            &["a prepared file is gone", "nothing shows that it became visible"],
        );
    }
    assert!(visible(folder.path()).is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn a_commit_that_failed_proves_nothing_of_a_file_that_is_gone_afterwards() {
    let folder = TempDir::new().unwrap();
    let first = sink(&folder);
    let mut writer = start(&first, 1).await;
    let pending = prepare(&mut writer, 1, 1, vec![row(0), row(2)]).await.unwrap();
    // The bucket is a link to a disk that is away.
    std::os::unix::fs::symlink(folder.path().join("away/away"), folder.path().join("even")).unwrap();
    first.commit(&permit(1), pending.clone()).await.unwrap_err();
    fs::remove_file(folder.path().join("even")).unwrap();
    in_progress(folder.path()).into_iter().for_each(|file| fs::remove_file(file).unwrap());
    let next = sink(&folder);
    for error in [
        next.recover(&attempt(2), &pending).await.unwrap_err(),
        next.commit(&permit(1), pending.clone()).await.unwrap_err(),
    ] {
        assert_names(&error, ErrorKind::Expired, &["a prepared file is gone"]);
    }
}

#[tokio::test]
async fn what_an_attempt_has_in_progress_that_is_not_older_halts_before_anything_is_touched() {
    let folder = TempDir::new().unwrap();
    let mut listed = Vec::new();
    // Another log: its attempts 2 and 7 have prepared files, which its entries may list.
    for number in [2, 7] {
        let other = sink(&folder);
        let mut writer = other.open(&attempt(number), WriterId(0)).await.unwrap();
        listed.extend(prepare(&mut writer, number, 1, rows(0..10)).await.unwrap());
    }
    let there = in_progress(folder.path());
    for number in [5, 7] {
        let error = sink(&folder).recover(&attempt(number), &[]).await.unwrap_err();
        let ours = format!("our_attempt={number}");
        assert_names(&error, ErrorKind::Conflict, &["its_attempt=7", &ours, "orders.out.7.0", "remedy="]);
        assert_eq!(in_progress(folder.path()), there, "the other log may list any of it");
    }
    // With its own log it goes on, and what it lists is there.
    let own = sink(&folder);
    own.recover(&attempt(8), &listed).await.unwrap();
    own.commit(&permit(1), listed).await.unwrap();
    assert_eq!(common::visible_ids(folder.path()).len(), 20);
    // The remedy: what is in progress is removed by hand.
    let other = sink(&folder);
    let mut writer = other.open(&attempt(9), WriterId(0)).await.unwrap();
    prepare(&mut writer, 9, 1, rows(0..10)).await.unwrap();
    sink(&folder).recover(&attempt(1), &[]).await.unwrap_err();
    fs::remove_dir_all(folder.path().join(".tidelock/orders.out.9.0")).unwrap();
    for folder_of_8 in fs::read_dir(folder.path().join(".tidelock")).unwrap() {
        fs::remove_dir_all(folder_of_8.unwrap().path()).unwrap();
    }
    let ours = sink(&folder);
    ours.recover(&attempt(1), &[]).await.unwrap();
    // From now on what has our number is ours.
    let mut writer = ours.open(&attempt(1), WriterId(0)).await.unwrap();
    prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
    ours.recover(&attempt(1), &[]).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_a_reader_removes_while_a_file_is_on_its_way_into_it_loses_nothing() {
    const EPOCHS: u64 = 20;
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder);
    let mut writer = start(&sink, 1).await;
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let remover = {
        let root = folder.path().to_owned();
        // Removes the folders of buckets whenever they are empty, as tidy readers do.
        std::thread::spawn(move || {
            while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                let _ = fs::remove_dir(root.join("even"));
                let _ = fs::remove_dir(root.join("odd"));
            }
        })
    };
    let mut taken = 0;
    for epoch in 1..=EPOCHS {
        let pending = prepare(&mut writer, 1, epoch, rows(0..2)).await.unwrap();
        if let Err(error) = sink.commit(&permit(epoch), pending.clone()).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            while sink.commit(&permit(epoch), pending.clone()).await.is_err() {}
        }
        for file in pending {
            let path = folder.path().join(&file.committable.file);
            assert!(path.exists(), "{} of epoch {epoch} is lost", path.display());
            fs::remove_file(path).unwrap();
            taken += 1;
        }
        writer.settled(Epoch(epoch), false).await.unwrap();
    }
    drop(stop);
    remover.join().unwrap();
    assert_eq!(taken, 2 * EPOCHS);
}

/// The attempts of a lost log had the numbers that those of a new one have, and so the names of their files.
#[tokio::test]
async fn a_new_log_over_the_output_of_a_lost_one_halts_before_anything_is_promised_and_does_with_each_remedy()
{
    let folder = TempDir::new().unwrap();
    let old = sink(&folder);
    let mut writer = start(&old, 1).await;
    let pending = prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
    old.commit(&permit(1), pending).await.unwrap();
    writer.settled(Epoch(1), false).await.unwrap();
    drop(writer);
    let before = visible(folder.path());

    let new = sink(&folder);
    let mut writer = start(&new, 1).await;
    let error = prepare(&mut writer, 1, 1, rows(4..30)).await.unwrap_err();
    let told =
        ["another log before", "remedy=", "another id", "empty folder", "the log that it ran with before"];
    assert_names(&error, ErrorKind::Conflict, &told);
    assert!(visible(folder.path()) == before && in_progress(folder.path()).is_empty(), "nothing was touched");

    // Another id.
    let named = SinkAttempt { job: JobId::new("again").unwrap(), ..attempt(1) };
    let sink_of_another = sink(&folder);
    sink_of_another.recover(&named, &[]).await.unwrap();
    let mut writer = sink_of_another.open(&named, WriterId(0)).await.unwrap();
    let pending = prepare(&mut writer, 1, 1, rows(10..20)).await.unwrap();
    sink_of_another.commit(&permit(1), pending).await.unwrap();
    assert_eq!(sorted_ids(&folder), (0..20).collect::<Vec<_>>());
    // The log that it ran with before.
    let again = sink(&folder);
    let mut writer = start(&again, 2).await;
    let pending = prepare(&mut writer, 2, 2, rows(20..30)).await.unwrap();
    again.commit(&permit(2), pending).await.unwrap();
    assert_eq!(sorted_ids(&folder), (0..30).collect::<Vec<_>>());
    // An empty folder.
    let empty = TempDir::new().unwrap();
    let elsewhere = sink(&empty);
    let mut writer = start(&elsewhere, 1).await;
    let pending = prepare(&mut writer, 1, 1, rows(0..10)).await.unwrap();
    elsewhere.commit(&permit(1), pending).await.unwrap();
    assert_eq!(sorted_ids(&empty), (0..10).collect::<Vec<_>>());
}

fn sorted_ids(folder: &TempDir) -> Vec<u64> {
    let mut ids = common::visible_ids(folder.path());
    ids.sort_unstable();
    ids
}
