//! Windows in a whole attempt.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock::host::Order;
use tidelock::*;

use super::{Count, Event, Fake, MemorySink, MemorySource, Snapshot, Twist, committed, count_in};
use crate::slice::Slicing;

type Row = Count<String>;

/// Counts the events of each split in windows of a hundred milliseconds: ten events each. One split is
/// far ahead, snapshots are restored under other numbers of workers, and the end of input closes what
/// is open.
#[tokio::test(flavor = "multi_thread")]
async fn every_window_has_one_result_across_restores_and_the_end_of_input_closes_the_last() {
    let source = Arc::new(MemorySource::default());
    let (mut snapshot, mut rows, mut late) = (Snapshot::default(), Vec::<Row>::new(), Vec::<Event>::new());
    let mut epoch = 1;
    for (workers, a, b, ended) in [(2, 805, 33, false), (3, 805, 444, false), (1, 1_003, 1_001, true)] {
        let (job_source, sink, late_sink) =
            (Arc::clone(&source), MemorySink::new(), MemorySink::<Event>::new());
        let twist = Twist { slicing: Slicing::steps(workers as u32), ..Twist::default() };
        let mut fake = Fake::start_with(workers, twist, move |graph| {
            let events = graph.source("in", &job_source).event_time(|event| event.time).stream();
            let (counts, late) = count_in(events.key_by(|event| event.split.clone()), "counts", 100);
            counts.sink("out", &sink);
            late.sink("late", &late_sink);
        })
        .await
        .unwrap();
        fake.open_with(epoch, &snapshot).await;
        for (split, released) in [("a", a), ("b", b)] {
            let restored = snapshot.splits.get(&SplitId::new(split)).cloned();
            fake.assign("in", restored.unwrap_or_else(|| MemorySource::split(split, 0))).await;
            source.release(split, released, ended);
        }
        let mut finished = 0;
        while ended && finished < 2 {
            finished += usize::from(matches!(fake.next().await, host::News::SplitFinished { .. }));
        }
        if ended {
            fake.order(Order::EndOfInput).await;
        }
        let reached = BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        let mut more = 2;
        while more > 0 {
            let reports = fake.checkpoint(epoch).await;
            snapshot.apply(&reports);
            rows.extend(committed::<Row>(&reports, "out"));
            late.extend(committed::<Event>(&reports, "late"));
            epoch += 1;
            more -= u64::from(snapshot.positions() == reached);
        }
        fake.finish().await.unwrap();
    }
    rows.sort();
    let expected = |split: &str, events: u64| {
        let rows = (0..events.div_ceil(10)).map(|index| {
            let start = i64::try_from(index).unwrap() * 100;
            (split.to_owned(), start, (events - index * 10).min(10))
        });
        rows.collect::<Vec<Row>>()
    };
    assert_eq!(rows, [expected("a", 1_003), expected("b", 1_001)].concat());
    assert_eq!(late, []);
}
