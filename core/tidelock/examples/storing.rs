//! What it costs that an epoch of the write-ahead sink is stored before it is applied: in the entry of the log, and as chunks
//! beside it.
//!
//! `cargo run --release -p tidelock --example storing [FOLDER]`

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::host::PreparedState;
use tidelock::log::{Entry, EntryKind, Lineage, Log, PendingState, State};
use tidelock::write_ahead::{Apply, Version, WriteAhead, WriteAheadConfig, Writes};
use tidelock::{
    CommitPermit, Epoch, Generation, JobId, Pending, Position, Result, Segment, Sink, SinkAttempt,
    SinkWriter as _, Uid, Versioned, WriterId, unknown_version,
};
use tokio::time::Instant;

const ROUNDS: u64 = 40;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    cents: i64,
    note: String,
}

impl Versioned for Order {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// About 100 bytes of values.
fn order(id: u64) -> Order {
    const WORDS: [&str; 8] = ["parcel", "neighbour", "gate", "fragile", "door", "before", "twice", "blue"];
    let mut dice = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        WORDS[usize::try_from(dice % 8).unwrap_or(0)]
    };
    let note: Vec<_> = (0..11).map(|_| word()).collect();
    Order { id, customer: format!("customer-{:06}", id * 7919 % 100_000), cents: 1_999, note: note.join(" ") }
}

/// Takes every record, and does nothing with it: what a database does comes on top.
struct Nowhere;

#[async_trait]
impl Apply for Nowhere {
    type Record = Order;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(None)
    }

    async fn apply(&self, writes: Writes<Order>) -> Result<()> {
        let mut batches = writes.batches();
        while let Some(batch) = batches.next().await? {
            std::hint::black_box(batch);
        }
        Ok(())
    }
}

/// What the steps of an epoch took.
#[derive(Default)]
struct Taken {
    write: Vec<Duration>,
    prepare: Vec<Duration>,
    append: Vec<Duration>,
    read: Vec<Duration>,
}

fn p50(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

async fn measure(folder: &str, rows: u64, in_entry: bool) -> Result<()> {
    let log = Log::open(folder).await?;
    let (job, uid, number) = (JobId::new("storing")?, Uid::new("out")?, Position(1));
    let chunks = log.chunk_store(number);
    let generation = Generation(1);
    let mut config = WriteAheadConfig::default();
    config.in_entry_bytes_max = if in_entry { usize::MAX } else { 0 };
    config.chunk_bytes = if in_entry { usize::MAX } else { config.chunk_bytes };
    let sink = WriteAhead::new(Nowhere, config)?;
    let attempt =
        SinkAttempt { job: job.clone(), uid: uid.clone(), number, generation, chunks: Some(chunks.clone()) };
    let mut writer = sink.open(&attempt, WriterId(0)).await?;
    let (mut taken, mut bytes) = (Taken::default(), 0);
    for epoch in 1..=ROUNDS {
        let mut records: Vec<_> = (0..rows).map(|row| order(epoch * rows + row)).collect();
        let began = Instant::now();
        writer.write(&mut records).await?;
        taken.write.push(began.elapsed());
        let began = Instant::now();
        let prepared = writer.prepare(Epoch(epoch)).await?;
        let state = PreparedState::of(WriterId(0), &prepared[0])?;
        taken.prepare.push(began.elapsed());
        let pending = PendingState {
            epoch: Epoch(epoch),
            attempt: number,
            writer: state.writer,
            version: state.committable.version,
            committable: Segment::Json(state.committable.json),
            chunks: state.chunks,
        };
        let state = State { sinks: BTreeMap::from([(uid.clone(), vec![pending])]), ..State::default() };
        bytes = state.bytes();
        let entry = Entry {
            job: job.clone(),
            position: Position(epoch),
            kind: EntryKind::Checkpoint,
            nonce: log.nonce(),
            attempt: number,
            lineage: Lineage { id: number, generation, origin: None },
            created_at: jiff::Timestamp::now(),
            epoch: Epoch(epoch),
            obeyed: Vec::new(),
            state: Some(state),
            abandoned: BTreeMap::new(),
        };
        let began = Instant::now();
        log.create(&entry).await?;
        taken.append.push(began.elapsed());
        let committable = prepared[0].committable.clone();
        let pending =
            vec![Pending { epoch: Epoch(epoch), attempt: number, writer: WriterId(0), committable }];
        let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid.clone(), Epoch(epoch));
        let began = Instant::now();
        sink.commit(&permit.with_chunks(chunks.clone()), pending).await?;
        taken.read.push(began.elapsed());
    }
    let Taken { write, prepare, append, read } = &mut taken;
    println!(
        "{rows:>6} rows, {:>8}: {bytes:>8} bytes stored; write {:6.2}, prepare {:6.2}, append {:6.2}, read back {:6.2} ms (p50)",
        if in_entry { "in entry" } else { "in chunks" },
        p50(write),
        p50(prepare),
        p50(append),
        p50(read)
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let root = std::env::args().nth(1).unwrap_or_else(|| "storing".to_owned());
    for rows in [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000] {
        for in_entry in [true, false] {
            let folder = format!("{root}/{rows}-{in_entry}");
            measure(&folder, rows, in_entry).await?;
        }
    }
    println!("remove {root} when you have looked at it");
    Ok(())
}
