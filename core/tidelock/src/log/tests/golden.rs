//! Every format, as it was written: these files are read for ever, and never change.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::restore::read_source;

/// All formats, the one that this build writes last.
const FORMATS: [&str; 3] = ["v1", "v2", "v3"];

fn golden(format: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format).join(name)
}

async fn look(format: &str, name: &str) -> Log {
    Log::look(golden(format, name).to_str().unwrap()).await.unwrap()
}

/// What the files say.
fn expected() -> [Entry; 3] {
    let nonce = |digit: char| Nonce(digit.to_string().repeat(32));
    let chunk = ChunkRef {
        name: format!("chunks/00000000000000000001-{}", "0123456789abcdef".repeat(2)),
        bytes: 36,
        crc32c: crc32c::crc32c(CHUNK),
    };
    let claim = Entry { nonce: nonce('a'), ..entry(1, EntryKind::Claim, 1, 0) };
    let mut checkpoint = Entry { nonce: nonce('b'), ..entry(2, EntryKind::Checkpoint, 1, 7) };
    checkpoint.state = Some(state(vec![chunk.clone()], vec![pending(6, 1, 0), pending(7, 1, 1)]));
    let mut closed = Entry { nonce: nonce('c'), ..entry(3, EntryKind::Closed(Closed::Stopped), 1, 7) };
    closed.lineage = Lineage {
        id: Position(3),
        generation: Generation(1_790_000_000_001),
        origin: Some(checkpoint.snapshot_id()),
    };
    closed.obeyed = vec![RequestId("orders#2".to_owned())];
    closed.state = Some(state(vec![chunk], vec![]));
    closed.abandoned = BTreeMap::from([(uid("out"), vec![pending(7, 1, 1)])]);
    [claim, checkpoint, closed]
}

const CHUNK: &[u8] = b"every byte of this chunk is checked\n";

#[tokio::test]
async fn a_log_of_every_format_is_read() {
    for format in FORMATS {
        let log = look(format, "log").await;
        let mut found = Vec::new();
        for position in log.positions().await.unwrap() {
            found.push(log.read(position).await.unwrap().unwrap());
        }
        assert_eq!(found, expected());
        for entry in &found {
            for segment in entry.state.iter().flat_map(State::segments) {
                let bytes = log.read_segment(segment).await.unwrap();
                if let Segment::Chunk(_) = segment {
                    assert_eq!(bytes, CHUNK);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_savepoint_of_every_format_is_restored() {
    for format in FORMATS {
        let savepoint = golden(format, "savepoint");
        let snapshot = Snapshot::load(savepoint.to_str().unwrap()).await.unwrap();
        let closed = &expected()[2];
        assert_eq!(snapshot.id(), closed.snapshot_id());
        assert_eq!(snapshot.entry().kind, EntryKind::Start);
        let into = memory();
        let state = snapshot.import(&into, Position(1)).await.unwrap();
        assert_eq!(state.uids().cloned().collect::<Vec<_>>(), ["in", "count", "out"].map(uid));
        let mut chunks = 0;
        for segment in state.segments() {
            let bytes = into.read_segment(segment).await.unwrap();
            if let Segment::Chunk(_) = segment {
                assert_eq!(bytes, CHUNK);
                chunks += 1;
            }
        }
        assert_eq!(chunks, 1);
    }
}

/// As long as this build writes this version, it writes the very bytes that others wrote.
#[test]
fn this_build_writes_the_newest_format() {
    for entry in expected() {
        let file = golden(FORMATS[2], &format!("log/log/{:020}.json", entry.position));
        assert_eq!(
            String::from_utf8(manifest::encode(manifest::Form::LogEntry, &entry).unwrap()).unwrap(),
            fs::read_to_string(file).unwrap()
        );
    }
}

/// The state of a source as jobs write it: a base, then what moved and what was forgotten.
#[tokio::test]
async fn a_job_of_every_format_goes_on() {
    const REACHED: Option<i64> = Some(1_790_000_000_007);
    for (format, (reached, chunks)) in FORMATS.into_iter().zip([(None, 0), (REACHED, 0), (REACHED, 1)]) {
        let log = look(format, "job").await;
        let newest = log.newest().await.unwrap().unwrap();
        let state = newest.state.as_ref().unwrap();
        let source = read_source(&log, &state.sources[&uid("in")]).await.unwrap();
        assert_eq!(source.reached, reached, "{format}");
        let splits: Vec<_> =
            source.splits.values().map(|split| (split.id.as_str(), split.split.json.get())).collect();
        assert_eq!(splits, [("a", r#"{"offset":7}"#), ("c", r#"{"offset":3}"#)]);
        let pending: Vec<_> =
            state.sinks[&uid("out")].iter().map(|one| (one.epoch.0, one.writer.0)).collect();
        assert_eq!(pending, [(7, 0), (7, 1)]);
        let needed: Vec<_> = state.sinks[&uid("out")].iter().flat_map(|one| &one.chunks).collect();
        assert_eq!(needed.len(), chunks, "{format}");
        for chunk in needed {
            log.read_chunk(chunk).await.unwrap();
        }
        let error =
            Snapshot::load_from(log.clone(), Some(Position(3))).await.expect_err("it waits for commits");
        assert_eq!(error.kind(), crate::ErrorKind::Conflict);
        // The entry below is settled by it.
        Snapshot::load_from(log, Some(Position(2))).await.unwrap().check_whole().await.unwrap();
    }
}
