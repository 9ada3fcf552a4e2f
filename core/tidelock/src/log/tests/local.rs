//! The log in a local folder.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::{ErrorKind, Retry};

async fn open(folder: &tempfile::TempDir) -> Log {
    Log::open(folder.path().to_str().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_position_is_created_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder).await;
    log.probe().await.unwrap();
    small_log(&log).await;
    let mut second = entry(4, EntryKind::Claim, 4, 1);
    second.nonce = Nonce("somebody else".to_owned());
    assert!(matches!(log.create(&second).await.unwrap(), Created::Taken));
    let newest = log.newest().await.unwrap().unwrap();
    assert_eq!((newest.position, newest.kind), (Position(4), EntryKind::Confirmation));
    assert_eq!(log.positions().await.unwrap(), [1, 2, 3, 4].map(Position));
    assert_eq!(log.read(Position(5)).await.unwrap(), None);
}

#[tokio::test]
async fn two_who_create_at_once_get_one_position() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (open(&folder).await, open(&folder).await);
    for position in 1..=50 {
        let mine = entry(position, EntryKind::Checkpoint, 1, position);
        let theirs = Entry { nonce: Nonce("theirs".to_owned()), ..mine.clone() };
        let (mine, theirs) = tokio::join!(first.create(&mine), second.create(&theirs));
        let won = [mine, theirs].iter().filter(|answer| matches!(answer, Ok(Created::Ours(_)))).count();
        assert_eq!(won, 1, "position {position}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_settled_by_reading_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder).await;
    assert!(matches!(log.read_back(Position(1), &[]).await.unwrap(), ReadBack::Absent));
    // The first request arrived and its reply was lost; the second one, of a later epoch, finds it.
    let first = entry(1, EntryKind::Checkpoint, 1, 7);
    append(&log, &first).await;
    let second = Entry { nonce: log.nonce(), epoch: Epoch(8), ..first.clone() };
    assert!(matches!(log.create(&second).await.unwrap(), Created::Taken));
    let ours = [first.nonce.clone(), second.nonce.clone()];
    match log.read_back(Position(1), &ours).await.unwrap() {
        ReadBack::Ours(durable, nonce) => {
            assert_eq!((durable.position(), durable.epoch()), (Position(1), Epoch(7)));
            assert_eq!(nonce, first.nonce);
        }
        other => panic!("{other:?}"),
    }
    match log.read_back(Position(1), &[second.nonce]).await.unwrap() {
        ReadBack::Foreign(entry) => assert_eq!(*entry, first),
        other => panic!("{other:?}"),
    }
    assert_eq!(log.positions().await.unwrap(), [Position(1)]);
}

#[tokio::test]
async fn a_copied_folder_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    small_log(&open(&folder).await).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("moved");
    for part in ["log", "chunks"] {
        fs::create_dir_all(copy.join(part)).unwrap();
        for file in fs::read_dir(folder.path().join(part)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.join(part).join(file.file_name())).unwrap();
        }
    }
    drop(folder);
    let log = Log::open(&format!("file://{}", copy.display())).await.unwrap();
    let newest = log.newest().await.unwrap().unwrap();
    let state = newest.state.unwrap();
    let chunk = state.segments().find(|segment| matches!(segment, Segment::Chunk(_))).unwrap();
    assert_eq!(log.read_segment(chunk).await.unwrap(), vec![7; 100]);
}

#[tokio::test]
async fn foreign_files_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder).await;
    small_log(&log).await;
    let entries = folder.path().join("log");
    for name in [
        "00000000000000000005.json#1",
        "00000000000000000000.json",
        "18446744073709551615.json",
        "99999999999999999999.json",
        "5.json",
        "0000000000000000000x.json",
        "00000000000000000005.json.bak",
        "+0000000000000000005.json",
        ".DS_Store",
        "weird % \u{e9} name",
    ] {
        fs::write(entries.join(name), "junk").unwrap();
    }
    fs::create_dir(entries.join("00000000000000000009.json")).unwrap();
    fs::create_dir(entries.join("deeper")).unwrap();
    fs::write(entries.join("deeper/00000000000000000008.json"), "junk").unwrap();
    assert_eq!(log.positions().await.unwrap(), [1, 2, 3, 4].map(Position));
    // A create that was cut off leaves its staged file; the position itself is still free.
    let mut next = entry(5, EntryKind::Checkpoint, 1, 2);
    next.state = Some(state(vec![], vec![]));
    append(&log, &next).await;
}

#[tokio::test]
async fn a_place_that_cannot_be_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    fs::write(&file, "a file").unwrap();
    for place in [file.clone(), file.join("below")] {
        let error = Log::open(place.to_str().unwrap()).await.expect_err("a file is no folder");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
        assert!(error.to_string().contains("taken"), "{error}");
    }
    // The folder opens, and a file inside stands where a folder is needed.
    let log = open(&folder).await;
    fs::write(folder.path().join("probe"), "a file").unwrap();
    let error = log.probe().await.expect_err("it cannot be written");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn looking_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let error = Log::look(nowhere.to_str().unwrap()).await.expect_err("no folder");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn an_unknown_place_says_what_to_do() {
    for (url, hint) in [
        ("memory://", "no store has this scheme"),
        ("ftp://host/folder", "no store has this scheme"),
        ("", "empty"),
        ("file://host/folder", "file:///folder"),
        ("s3://key:secret@bucket/folder", "credentials"),
        #[cfg(not(feature = "aws"))]
        ("s3://bucket/folder", "feature \"aws\""),
        #[cfg(not(feature = "gcp"))]
        ("gs://bucket/folder", "feature \"gcp\""),
        #[cfg(not(feature = "azure"))]
        ("az://container/folder", "feature \"azure\""),
    ] {
        let error = Log::open(url).await.expect_err(url);
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(error.to_string().contains(hint), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn probing_leaves_nothing_and_bothers_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let logs = [open(&folder).await, open(&folder).await, open(&folder).await];
    let (a, b, c) = tokio::join!(logs[0].probe(), logs[1].probe(), logs[2].probe());
    a.and(b).and(c).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("probe")).unwrap().count(), 0);
}

/// Records of write-ahead sinks and keyed state are stored in clear.
#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_enter_the_folders_of_a_log() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // One that the log made, and one that somebody made for all to read.
    for root in [folder.path().join("made/by/us"), folder.path().to_owned()] {
        let log = Log::open(root.to_str().unwrap()).await.unwrap();
        log.probe().await.unwrap();
        small_log(&log).await;
        assert_eq!((mode(root.join("log")), mode(root.join("chunks"))), (0o700, 0o700));
    }
    assert_eq!(mode(folder.path().join("made/by/us")), 0o700);
    assert_eq!(mode(folder.path().to_owned()), 0o755, "somebody's folder is left alone");
}
