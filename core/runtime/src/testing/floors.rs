//! Workers whose watermarks differ: nothing is late and no window has a second result because of a restore.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use tidelock::host::{News, Order};
use tidelock::*;

use super::{Count, Event, Fake, MemorySink, MemorySource, Snapshot, committed, count_in};
use crate::KeyedStream;
use crate::key::{group_of, worker_of};

type Row = Count<u64>;

/// A key that belongs to this one of two workers.
fn key_of(worker: u32) -> u64 {
    (0..).find(|key: &u64| worker_of(group_of(key).unwrap(), 2) == worker).unwrap()
}

/// The events of `a` and `c` belong to the first of two workers, those of `b` and `d` to the second.
fn key(event: &Event) -> u64 {
    key_of(u32::from(event.split == "b" || event.split == "d"))
}

struct Run {
    fake: Fake,
    source: Arc<MemorySource>,
}

/// Counts events in windows. Where the workers are `apart`, nothing crosses them, and each has the watermark of
/// its own splits.
async fn start(workers: usize, apart: bool, epoch: u64, snapshot: &Snapshot) -> Run {
    let source = Arc::new(MemorySource::default());
    let (job_source, out, late_out) =
        (Arc::clone(&source), MemorySink::<Row>::new(), MemorySink::<Event>::new());
    let mut fake = Fake::start(workers, move |graph| {
        let events = graph.source("in", &job_source).event_time(|event| event.time).stream();
        let keyed =
            if apart { KeyedStream { stream: events, key: Rc::new(key) } } else { events.key_by(key) };
        let (counts, late) = count_in(keyed, "counts", 100);
        counts.sink("out", &out);
        late.sink("late", &late_out);
    })
    .await
    .unwrap();
    fake.open_with(epoch, snapshot).await;
    Run { fake, source }
}

impl Run {
    /// Assigns a split where it stands, or from `next` on, and lets it be read.
    async fn read(&self, snapshot: &Snapshot, split: &str, next: u64, released: u64, ended: bool) {
        let restored = snapshot.splits.get(&SplitId::new(split)).cloned();
        self.fake.assign("in", restored.unwrap_or_else(|| MemorySource::split(split, next))).await;
        self.source.release(split, released, ended);
    }
}

/// The snapshot of two workers of which one is far ahead, the next epoch, and the results so far.
async fn one_is_ahead() -> (Snapshot, u64, Vec<Row>) {
    let (mut snapshot, mut epoch, mut rows) = (Snapshot::default(), 1, Vec::new());
    let mut run = start(2, true, epoch, &snapshot).await;
    run.read(&snapshot, "a", 0, 100, false).await;
    run.read(&snapshot, "b", 0, 10, false).await;
    let reached = BTreeMap::from([("a".to_owned(), 100), ("b".to_owned(), 10)]);
    // One more barrier after everything was read: its watermark comes after its records.
    let mut more = 2;
    while more > 0 {
        let reports = run.fake.checkpoint(epoch).await;
        snapshot.apply(&reports);
        rows.extend(committed::<Row>(&reports, "out"));
        epoch += 1;
        more -= u64::from(snapshot.positions() == reached);
    }
    run.fake.finish().await.unwrap();
    let before: Vec<Row> = (0..9).map(|index| (key_of(0), index * 100, 10)).collect();
    assert_eq!(rows, before, "the first worker is at 990, the second at 90");
    (snapshot, epoch, rows)
}

fn parts(snapshot: &Snapshot) -> BTreeSet<String> {
    let parts = snapshot.operators[&Uid::new("counts").unwrap()].keys().cloned();
    parts.filter(|part| part.starts_with("watermark")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_apart_are_restored_as_they_were_under_any_number_of_workers() {
    for path in [vec![2], vec![1], vec![3], vec![1, 3], vec![3, 2, 1]] {
        let (mut snapshot, mut epoch, mut rows) = one_is_ahead().await;
        assert_eq!(
            parts(&snapshot),
            ["watermarks/0-63/128", "watermarks/64-127/128"].map(String::from).into()
        );
        let (last, before) = path.split_last().unwrap();
        // Rescaled without a record in between: who was ahead must still be.
        for workers in before {
            let mut run = start(*workers, false, epoch, &snapshot).await;
            snapshot.apply(&run.fake.checkpoint(epoch).await);
            epoch += 1;
            assert_eq!(parts(&snapshot).len(), *workers);
            run.fake.finish().await.unwrap();
        }
        let mut run = start(*last, false, epoch, &snapshot).await;
        run.read(&snapshot, "a", 0, 100, true).await;
        run.read(&snapshot, "b", 0, 100, true).await;
        // Late for the key that is ahead, and in time for the other one.
        run.read(&snapshot, "c", 0, 50, true).await;
        run.read(&snapshot, "d", 9, 60, true).await;
        let mut finished = 0;
        while finished < 4 {
            finished += usize::from(matches!(run.fake.next().await, News::SplitFinished { .. }));
        }
        run.fake.order(Order::EndOfInput).await;
        let reports = run.fake.checkpoint(epoch).await;
        rows.extend(committed::<Row>(&reports, "out"));
        let late = committed::<Event>(&reports, "late");
        run.fake.finish().await.unwrap();

        assert_eq!(late.iter().filter(|event| event.split == "c").count(), 50, "on {path:?} workers");
        assert_eq!(late.len(), 50, "on {path:?} workers");
        rows.sort_unstable();
        // Of the slower key, ten events a window come from `b`, and as many from `d` between 90 and 600.
        let slower = (0..10).map(|index| match index {
            0 => (key_of(1), 0, 11),
            1..=5 => (key_of(1), index * 100, 20),
            _ => (key_of(1), index * 100, 10),
        });
        let mut expected: Vec<Row> =
            (0..10).map(|index| (key_of(0), index * 100, 10)).chain(slower).collect();
        expected.sort_unstable();
        assert_eq!(rows, expected, "on {path:?} workers");
    }
}

/// Before each worker stored its own watermark, one stood for all: it still does.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_one_watermark_for_all_groups_is_loaded() {
    let (mut old, epoch, _) = one_is_ahead().await;
    let operator = old.operators.get_mut(&Uid::new("counts").unwrap()).unwrap();
    operator.retain(|part, _| !part.starts_with("watermarks/"));
    let one = serde_json::value::to_raw_value(&500).unwrap();
    operator.insert("watermark".to_owned(), vec![Segment::Json(one)]);
    for workers in [2, 1] {
        let mut snapshot = old.clone();
        let mut run = start(workers, false, epoch, &snapshot).await;
        // Half of them are before 500.
        run.read(&Snapshot::default(), "c", 0, 100, false).await;
        run.fake.read("in", 100).await;
        let reports = run.fake.checkpoint(epoch).await;
        snapshot.apply(&reports);
        assert_eq!(committed::<Event>(&reports, "late").len(), 50);
        assert_eq!(parts(&snapshot).len(), workers, "the old part is replaced: {:?}", parts(&snapshot));
        run.fake.finish().await.unwrap();
    }
}
