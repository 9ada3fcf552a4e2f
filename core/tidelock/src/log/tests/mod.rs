//! The log on a real folder and in memory.

mod abandon;
mod damage;
mod flawed;
mod golden;
mod listed;
mod local;
mod open;
mod probe;
mod retention;
mod savepoint;

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::{Epoch, Generation, JobId, Position, Uid, WriterId};

pub(super) fn memory() -> Log {
    Log::on(Arc::new(InMemory::new()), Path::from("jobs/orders"))
}

pub(super) fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

/// An entry without state.
pub(super) fn entry(position: u64, kind: EntryKind, attempt: u64, epoch: u64) -> Entry {
    Entry {
        job: JobId::new("orders").unwrap(),
        position: Position(position),
        kind,
        nonce: Nonce(format!("nonce-{position}")),
        attempt: Position(attempt),
        lineage: Lineage { id: Position(1), generation: Generation(1_790_000_000_000), origin: None },
        created_at: "2026-11-23T06:00:00Z".parse().unwrap(),
        epoch: Epoch(epoch),
        obeyed: Vec::new(),
        state: None,
        abandoned: BTreeMap::new(),
    }
}

pub(super) fn json(text: &str) -> Segment {
    Segment::Json(serde_json::value::RawValue::from_string(text.to_owned()).unwrap())
}

pub(super) fn pending(epoch: u64, attempt: u64, writer: u32) -> PendingState {
    PendingState {
        epoch: Epoch(epoch),
        attempt: Position(attempt),
        writer: WriterId(writer),
        version: 1,
        committable: json(r#"{"file":"part-0"}"#),
        chunks: Vec::new(),
    }
}

/// A state with one of everything.
pub(super) fn state(chunks: Vec<ChunkRef>, pending: Vec<PendingState>) -> State {
    let splits = json(r#"[{"id":"a","split":{"v":1,"json":{"offset":7}}}]"#);
    let parts = BTreeMap::from([
        ("0-63".to_owned(), chunks.into_iter().map(Segment::Chunk).collect()),
        ("64-127".to_owned(), vec![Segment::Bytes(vec![0, 1, 254, 255].into())]),
    ]);
    State {
        sources: BTreeMap::from([(uid("in"), vec![splits])]),
        operators: BTreeMap::from([(uid("count"), parts)]),
        sinks: BTreeMap::from([(uid("out"), pending)]),
    }
}

pub(super) async fn append(log: &Log, entry: &Entry) {
    match log.create(entry).await.unwrap() {
        Created::Ours(durable) => assert_eq!(durable.position(), entry.position),
        Created::Taken => panic!("position {} is taken", entry.position),
    }
}

/// Claim, start, checkpoint with a pending committable and a chunk, confirmation.
pub(super) async fn small_log(log: &Log) {
    let chunk = log.write_chunk(Position(1), vec![7; 100].into()).await.unwrap();
    append(log, &entry(1, EntryKind::Claim, 1, 0)).await;
    let mut start = entry(2, EntryKind::Start, 1, 0);
    start.state = Some(state(vec![], vec![]));
    append(log, &start).await;
    let mut checkpoint = entry(3, EntryKind::Checkpoint, 1, 1);
    checkpoint.state = Some(state(vec![chunk.clone()], vec![pending(1, 1, 0)]));
    append(log, &checkpoint).await;
    let mut confirmation = entry(4, EntryKind::Confirmation, 1, 1);
    confirmation.state = Some(state(vec![chunk], vec![]));
    append(log, &confirmation).await;
}
