//! Damage is found, wherever it is, and never panics.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::*;
use crate::ErrorKind;
use crate::log::savepoint::chunk_names;

/// Everything below `folder` that is a file.
fn files(folder: &FilePath) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Reads everything that is stored: as a recovery, or the command that verifies, would.
async fn read_all(log: &Log) -> Result<()> {
    for position in log.positions().await? {
        let entry = log.read(position).await?;
        for segment in entry.iter().flat_map(|entry| &entry.state).flat_map(State::segments) {
            log.read_segment(segment).await?;
        }
    }
    Ok(())
}

async fn log_in(folder: &tempfile::TempDir) -> Log {
    let log = Log::open(folder.path().to_str().unwrap()).await.unwrap();
    small_log(&log).await;
    read_all(&log).await.unwrap();
    log
}

#[tokio::test]
async fn every_flipped_byte_of_a_log_is_found() {
    let log = memory();
    small_log(&log).await;
    let objects: Vec<_> = log.store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert_eq!(objects.len(), 5, "four entries and a chunk");
    let mut flips = 0;
    for object in objects {
        let good = log.store.get(&object).await.unwrap().bytes().await.unwrap();
        for at in 0..good.len() {
            // A lowest bit, a letter's case, the highest bit, all bits.
            for mask in [0x01, 0x20, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= mask;
                log.store.put(&object, bad.into()).await.unwrap();
                let error = read_all(&log).await.expect_err("a flipped byte");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at} of {object}: {error}");
                flips += 1;
            }
        }
        log.store.put(&object, good.into()).await.unwrap();
    }
    read_all(&log).await.unwrap();
    assert!(flips > 4000, "{flips}");
}

#[test]
fn every_value_of_every_byte_of_an_entry_is_found() {
    let mut small = entry(3, EntryKind::Closed(Closed::Stopped), 1, 2);
    small.state = Some(state(vec![], vec![pending(1, 1, 0)]));
    let good = manifest::encode(manifest::Form::LogEntry, &small).unwrap();
    for at in 0..good.len() {
        for mask in 1..=255 {
            let mut bad = good.clone();
            bad[at] ^= mask;
            let error =
                manifest::decode(manifest::Form::LogEntry, "entry", &bad).expect_err("a changed byte");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

#[tokio::test]
async fn a_file_cut_at_any_length_or_with_more_bytes_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_in(&folder).await;
    for file in files(folder.path()) {
        let good = fs::read(&file).unwrap();
        for length in 0..good.len() {
            fs::write(&file, &good[..length]).unwrap();
            let error = read_all(&log).await.expect_err("a truncated file");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} bytes of {}", file.display());
        }
        for more in [&b"\n"[..], b"\0", b"{}", &good] {
            fs::write(&file, [&good, more].concat()).unwrap();
            let error = read_all(&log).await.expect_err("bytes after the end");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", file.display());
        }
        fs::write(&file, good).unwrap();
    }
}

#[tokio::test]
async fn a_chunk_that_is_gone_says_what_to_do() {
    let log = memory();
    small_log(&log).await;
    let state = log.newest().await.unwrap().unwrap().state.unwrap();
    let names = chunk_names(&state);
    let object = log.chunk_object(names.first().unwrap()).unwrap();
    log.store.delete(&object).await.unwrap();
    let error = read_all(&log).await.expect_err("a chunk is gone");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, crate::Retry::Halt));
    for part in ["is gone", "from a backup", "a new job", object.as_ref()] {
        assert!(error.to_string().contains(part), "{part} is missing in: {error}");
    }
}

#[tokio::test]
async fn a_damaged_newest_entry_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_in(&folder).await;
    let file = folder.path().join("log/00000000000000000004.json");
    let mut bytes = fs::read(&file).unwrap();
    bytes[200] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = log.newest().await.expect_err("a damaged entry");
    assert_eq!(error.retry(), crate::Retry::Halt);
    let text = error.to_string();
    for part in ["log/00000000000000000004.json", "from an older entry, LOG#POSITION", "backup", "crc32c="] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[tokio::test]
async fn an_entry_of_another_position_or_form_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_in(&folder).await;
    let at = |position: u64| folder.path().join(format!("log/{position:020}.json"));
    fs::copy(at(4), at(5)).unwrap();
    let error = log.newest().await.expect_err("a copy under another name");
    assert!(error.to_string().contains("position_found=4"), "{error}");

    let savepoint = manifest::encode(manifest::Form::Savepoint, &entry(5, EntryKind::Start, 1, 1)).unwrap();
    fs::write(at(5), savepoint).unwrap();
    assert_eq!(log.newest().await.expect_err("a savepoint's manifest").kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_format_is_named_before_the_rest_is_judged() {
    let newer = b"tidelock-log-entry version=4 blake3=00 and whatever else\nnot json";
    let error = manifest::decode(manifest::Form::LogEntry, "entry", newer).expect_err("a newer format");
    assert!(error.to_string().contains("newer version of Tidelock"), "{error}");
    assert!(error.to_string().contains("format_version=4"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_log_is_not_followed() {
    let log = memory();
    let random = "0".repeat(32);
    for name in [
        "../secret".to_owned(),
        "chunks/../log/00000000000000000001.json".to_owned(),
        "/etc/passwd".to_owned(),
        format!("chunks/00000000000000000001-{random}/x"),
        format!("chunks/1-{random}"),
        String::new(),
    ] {
        let chunk = ChunkRef { name, bytes: 1, crc32c: 0 };
        assert_eq!(
            log.read_chunk(&chunk).await.expect_err("a bad name").kind(),
            ErrorKind::Corrupt,
            "{chunk:?}"
        );
    }
}
