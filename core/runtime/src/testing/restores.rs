//! Event time across restores: any graph, restored again and again under other numbers of workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock::host::{News, Order};
use tidelock::*;

use super::ways::{Row, any_ways, count};
use super::{Event, Fake, MemorySink, MemorySource, Snapshot, Twist, committed};

const SPLITS: [(&str, u64); 3] = [("a", 500), ("b", 300), ("c", 420)];

/// What became of all events.
struct Outcome {
    rows: Vec<Row>,
    late: Vec<Event>,
    /// How many ways there are from the source to the windows.
    ways: u64,
}

/// Reads the splits through four attempts. Each takes some checkpoints, is given up in the middle of an epoch, and is
/// followed by one under another number of workers.
async fn run(seed: u64, idle_after: Option<Duration>) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    let (source, ways, log) =
        (Arc::new(MemorySource::default()), Arc::new(AtomicU64::new(0)), Twist::default().log);
    let (mut snapshot, mut epoch, mut released) = (Snapshot::default(), 0, BTreeMap::new());
    let mut outcome = Outcome { rows: Vec::new(), late: Vec::new(), ways: 0 };
    for attempt in 0..4 {
        let (job_source, told) = (Arc::clone(&source), Arc::clone(&ways));
        let twist = Twist { log: log.clone(), ..Twist::default() };
        let mut fake = Fake::start_with(rng.random_range(1..4), twist, move |graph| {
            let mut source = graph.source("in", &job_source).event_time(|event| event.time);
            if let Some(idle_after) = idle_after {
                source = source.idle_after(idle_after);
            }
            let mut rng = StdRng::seed_from_u64(seed);
            let (stream, ways) = any_ways(source.stream(), &mut rng, 4, &mut 0);
            told.store(ways, Ordering::SeqCst);
            let (counts, late) = count(stream, "counts");
            counts.sink("out", &MemorySink::new());
            late.sink("late", &MemorySink::new());
        })
        .await
        .unwrap();
        fake.open_with(epoch + 1, &snapshot).await;
        for (split, _) in SPLITS {
            let restored = snapshot.splits.get(&SplitId::new(split)).cloned();
            fake.assign("in", restored.unwrap_or_else(|| MemorySource::split(split, 0))).await;
        }
        let is_last = attempt == 3;
        for step in 1..=5 {
            for (split, count) in SPLITS {
                let more = rng.random_range(0..count / 8);
                let reached = released.entry(split).or_insert(0);
                *reached = if is_last && step == 5 { count } else { count.min(*reached + more) };
                source.release(split, *reached, is_last && step == 5);
            }
            if is_last && step == 5 {
                end_input(&mut fake).await;
            }
            epoch += 1;
            let reports = fake.checkpoint(epoch).await;
            snapshot.apply(&reports);
            outcome.rows.extend(committed::<Row>(&reports, "out"));
            outcome.late.extend(committed::<Event>(&reports, "late"));
        }
        // What came since the last checkpoint is read again.
        let (split, count) = SPLITS[rng.random_range(0..3)];
        source.release(split, count.min(released[split] + 20), is_last);
        fake.finish().await.unwrap();
    }
    outcome.ways = ways.load(Ordering::SeqCst);
    outcome
}

async fn end_input(fake: &mut Fake) {
    let mut finished = 0;
    while finished < SPLITS.len() {
        finished += usize::from(matches!(fake.next().await, News::SplitFinished { .. }));
    }
    fake.order(Order::EndOfInput).await;
}

/// Every event is in one row or is late, on each of its ways, and no window has a second row.
fn check(outcome: &Outcome) {
    let mut windows = BTreeMap::new();
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for (split, start, count) in &outcome.rows {
        let second = windows.insert((split, start), count);
        assert_eq!(second, None, "the window of {split} at {start} has a second result, of {count}");
        *counted.entry(split).or_default() += count;
    }
    for event in &outcome.late {
        *counted.entry(&event.split).or_default() += 1;
    }
    let expected = SPLITS.iter().map(|(split, count)| (*split, count * outcome.ways)).collect();
    assert_eq!(counted, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_order_are_not_late_through_restores_under_other_numbers_of_workers() {
    for seed in 0..12 {
        println!("seed {seed}");
        let outcome = run(seed, None).await;
        check(&outcome);
        assert_eq!(outcome.late, []);
    }
}

/// With idle splits records may be late, and workers differ in how far they are.
#[tokio::test(flavor = "multi_thread")]
async fn no_window_has_a_second_result_through_restores_where_splits_are_idle_now_and_then() {
    for seed in 0..24 {
        println!("seed {seed}");
        check(&run(seed, Some(Duration::from_micros(200 + seed * 50))).await);
    }
}
