//! An epoch that is much larger than the memory that it may take. A process of its own: its peak is what is measured.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::log::Log;
use tidelock::write_ahead::{Apply, Version, WriteAhead, WriteAheadConfig, Writes};
use tidelock::{
    CommitPermit, Committable as _, Epoch, Generation, JobId, Pending, Position, Result, Sink, SinkAttempt,
    SinkWriter as _, Stored, Uid, Versioned, WriterId, unknown_version,
};

/// How many records there are, and how long each is: 200 MB.
const RECORDS: u64 = 20_000;
const BYTES: usize = 10_000;

/// What all of it may take beyond what the process took before: chunks of 1 MiB on their way, the records of one, and the batch
/// that is offered.
const MEMORY_MAX: usize = 50_000_000;

#[derive(Debug, Serialize, Deserialize)]
struct Text(u64, String);

impl Versioned for Text {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// Random letters.
fn letters() -> String {
    let mut state = 1_u64;
    let letters = (0..10 * BYTES).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 59) % 26).unwrap())
    });
    letters.collect()
}

/// Some of them, from somewhere.
fn text(letters: &str, number: u64) -> Text {
    let from = usize::try_from(number).unwrap() * 7919 % (letters.len() - BYTES);
    Text(number, letters[from..from + BYTES].to_owned())
}

/// Takes records in their order, and lets them go.
#[derive(Default)]
struct Passing(Arc<AtomicU64>);

#[async_trait]
impl Apply for Passing {
    type Record = Text;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(None)
    }

    async fn apply(&self, writes: Writes<Text>) -> Result<()> {
        let mut batches = writes.batches();
        while let Some(batch) = batches.next().await? {
            for Text(number, text) in batch {
                assert_eq!(number, self.0.fetch_add(1, Ordering::SeqCst));
                assert_eq!(text.len(), BYTES);
            }
        }
        Ok(())
    }
}

/// The most memory that this process had so far.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn an_epoch_of_200_mb_passes_through_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path().to_str().unwrap()).await.unwrap();
    let chunks = log.chunk_store(Position(1));
    let (job, uid) = (JobId::new("job").unwrap(), Uid::new("out").unwrap());
    let number = Position(1);
    let attempt = SinkAttempt {
        job,
        uid: uid.clone(),
        number,
        generation: Generation(1),
        chunks: Some(chunks.clone()),
    };
    let target = Passing::default();
    let applied = Arc::clone(&target.0);
    let sink = WriteAhead::new(target, WriteAheadConfig::default()).unwrap();
    let letters = letters();
    let before = peak();
    let mut writer = sink.open(&attempt, WriterId(0)).await.unwrap();
    for batch in 0..RECORDS / 100 {
        let mut records = (batch * 100..(batch + 1) * 100).map(|number| text(&letters, number)).collect();
        writer.write(&mut records).await.unwrap();
    }
    let prepared = writer.prepare(Epoch(1)).await.unwrap();
    let committable = prepared[0].committable.clone();
    assert!(committable.chunks().len() > 150, "{committable:?}");
    let listed = Stored::encode(&committable).unwrap().json.get().len();
    assert!(listed < 100_000, "what an entry would have of it: {listed} bytes");
    let pending = vec![Pending { epoch: Epoch(1), attempt: number, writer: WriterId(0), committable }];
    sink.recover(&attempt, &pending).await.unwrap();
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, Epoch(1));
    sink.commit(&permit.with_chunks(chunks), pending).await.unwrap();
    assert_eq!(applied.load(Ordering::SeqCst), RECORDS);
    let taken = peak() - before;
    println!("the peak rose by {} MB", taken / 1_000_000);
    assert!(taken < MEMORY_MAX, "the peak rose by {taken} bytes");
}
