//! Records that go to other workers than those that read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelock::host::{News, Order};

use super::{Count, Event, Fake, MemorySink, MemorySource, Snapshot, committed, count_in};

#[tokio::test(flavor = "multi_thread")]
async fn rebalance_lets_one_split_keep_every_worker_busy_and_each_epoch_whole() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<(u32, Event)>::new());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(3, move |graph| {
        let worker = graph.worker();
        let events = graph.source("in", &job_source).stream().rebalance();
        events.map(move |event| (worker, event)).sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    let (mut snapshot, mut seen) = (Snapshot::default(), BTreeSet::new());
    let mut shares = BTreeMap::<u32, u64>::new();
    for epoch in 1..=6 {
        source.release("a", epoch * 500, false);
        fake.read("in", epoch * 500 - 250).await;
        let reports = fake.checkpoint(epoch).await;
        snapshot.apply(&reports);
        for (worker, event) in committed::<(u32, Event)>(&reports, "out") {
            *shares.entry(worker).or_default() += 1;
            assert!(seen.insert(event.number), "{event:?} is there twice");
        }
        // Whole, though it came by three workers: exactly what was read before the barrier.
        assert!(seen.iter().copied().eq(0..snapshot.positions()["a"]), "epoch {epoch}");
    }
    let total: u64 = shares.values().sum();
    assert!((0..3).all(|worker| shares[&worker] >= total / 4), "{shares:?}");
    fake.finish().await.unwrap();
}

/// Whatever way a record takes, no watermark overtakes it: no window lacks it, and none calls it late.
#[tokio::test(flavor = "multi_thread")]
async fn event_time_stays_right_across_rebalance_and_route() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Count<()>>::new());
    let (job_source, late_sink) = (Arc::clone(&source), MemorySink::<Event>::new());
    let mut fake = Fake::start(3, move |graph| {
        let events = graph.source("in", &job_source).event_time(|event| event.time).stream();
        let spread = events.rebalance().route(|event| event.number % 5);
        let (counts, late) = count_in(spread.key_by(|_| ()), "counts", 100);
        counts.sink("out", &sink);
        late.sink("late", &late_sink);
    })
    .await
    .unwrap();
    fake.open().await;
    for split in ["a", "b"] {
        fake.assign("in", MemorySource::split(split, 0)).await;
    }
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for epoch in 1..=8 {
        // Windows close all the time, because watermarks follow every barrier.
        source.release("a", epoch * 300, false);
        source.release("b", epoch * 300, false);
        let reports = fake.checkpoint(epoch).await;
        rows.extend(committed::<Count<()>>(&reports, "out"));
        late.extend(committed::<Event>(&reports, "late"));
    }
    source.release("a", 2_400, true);
    source.release("b", 2_400, true);
    for _ in 0..2 {
        assert!(matches!(fake.next().await, News::SplitFinished { .. }));
    }
    fake.order(Order::EndOfInput).await;
    let reports = fake.checkpoint(9).await;
    rows.extend(committed::<Count<()>>(&reports, "out"));
    late.extend(committed::<Event>(&reports, "late"));
    assert_eq!(late, []);
    rows.sort_unstable();
    // Ten events of each split in a hundred milliseconds.
    assert_eq!(rows, (0..240).map(|window| ((), window * 100, 20)).collect::<Vec<_>>());
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_leads_to_one_writer_and_keeps_the_order() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Event>::new());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(2, move |graph| {
        let events = graph.source("in", &job_source).stream();
        events.route(|event| format!("bucket-{}", event.number % 8)).sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    for split in ["a", "b"] {
        source.release(split, 400, false);
        fake.assign("in", MemorySource::split(split, 0)).await;
    }
    fake.read("in", 800).await;
    let reports = fake.checkpoint(1).await;
    let mut writers = BTreeMap::<u64, BTreeSet<u32>>::new();
    let mut last = BTreeMap::<(u64, String), u64>::new();
    for report in &reports {
        for event in committed::<Event>(std::slice::from_ref(report), "out") {
            let bucket = event.number % 8;
            writers.entry(bucket).or_default().insert(report.task);
            let before = last.insert((bucket, event.split), event.number);
            assert!(before.is_none_or(|before| before < event.number));
        }
    }
    assert!(writers.len() == 8 && writers.values().all(|writers| writers.len() == 1), "{writers:?}");
    assert_eq!(writers.into_values().flatten().collect::<BTreeSet<_>>().len(), 2, "both have work");
    fake.finish().await.unwrap();
}
