//! Records that a function or a sink cannot take: in the epoch of the others, each once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock::host::{News, Order};
use tidelock::*;

use super::{Count, Event, Fake, MemorySink, MemorySource, Snapshot, committed, count_in};
use crate::Stream;

fn is_poison(event: &Event) -> bool {
    event.number % 10 == 3
}

/// Writes all that is good to `out`, and what is not to `letters`.
type Shape = fn(Stream<'_, Event>, Arc<MemorySink<Event>>, Arc<MemorySink<Rejected<Event>>>);

fn by_function(
    events: Stream<'_, Event>,
    sink: Arc<MemorySink<Event>>,
    letters: Arc<MemorySink<Rejected<Event>>>,
) {
    let (good, bad) = events.try_map_or("out", |event| match is_poison(event) {
        true => Err("this is poison"),
        false => Ok(event.clone()),
    });
    good.sink("good", &sink);
    bad.sink("letters", &letters);
}

fn by_sink(
    events: Stream<'_, Event>,
    sink: Arc<MemorySink<Event>>,
    letters: Arc<MemorySink<Rejected<Event>>>,
) {
    events.sink_or("out", &sink).sink("letters", &letters);
}

/// Many epochs are under way at once. Each must hold what its positions say: the good ones in one sink, the bad
/// ones in the other, none in both and none in neither.
async fn every_epoch_is_whole(workers: usize, sink: MemorySink<Event>, shape: Shape, out: &str) {
    let source = Arc::new(MemorySource::default());
    let (sink, letters) = (Arc::new(sink), MemorySink::<Rejected<Event>>::new());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(workers, move |graph| {
        let events = graph.source("in", &job_source).event_time(|event| event.time).stream();
        shape(events, Arc::clone(&sink), Arc::clone(&letters));
    })
    .await
    .unwrap();
    fake.open_with(41, &Snapshot::default()).await;
    for split in ["a", "b", "c"] {
        fake.assign("in", MemorySource::split(split, 0)).await;
    }
    for split in ["a", "b", "c"] {
        source.release(split, 2_000, false);
    }
    let (mut snapshot, mut good, mut bad) = (Snapshot::default(), Vec::new(), Vec::new());
    let mut waiting = BTreeMap::<u64, Vec<_>>::new();
    let (mut sent, mut next, mut settled) = (40, 41, 40);
    while good.len() + bad.len() < 6_000 {
        while sent < next + 3 {
            sent += 1;
            fake.barrier(sent).await;
        }
        match fake.next().await {
            News::Report(report) => waiting.entry(report.epoch.0).or_default().push(report),
            News::NoFreePlace => {
                settled = next - 1;
                fake.order(Order::Settled { epoch: Epoch(settled), reinit: BTreeMap::new() }).await;
            }
            other => panic!("{other:?}"),
        }
        while waiting.get(&next).is_some_and(|reports| reports.len() == workers) {
            let reports = waiting.remove(&next).unwrap();
            snapshot.apply(&reports);
            good.extend(committed::<Event>(&reports, out));
            bad.extend(committed::<Rejected<Event>>(&reports, "letters"));
            let read: u64 = snapshot.positions().values().sum();
            assert_eq!((good.len() + bad.len()) as u64, read, "epoch {next}");
            next += 1;
            if settled < next - 1 {
                settled = next - 1;
                fake.order(Order::Settled { epoch: Epoch(settled), reinit: BTreeMap::new() }).await;
            }
        }
    }
    assert!(good.iter().all(|event| !is_poison(event)));
    for Rejected { uid, reason, record, .. } in &bad {
        assert!(is_poison(record) && uid.as_str() == "out" && reason.contains("this is poison"), "{reason}");
    }
    let mut all: Vec<Event> = good.into_iter().chain(bad.into_iter().map(|letter| letter.record)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6_000);
    fake.finish().await.unwrap();
}

fn poisonable() -> MemorySink<Event> {
    MemorySink { poison: is_poison, ..MemorySink::with_places(usize::MAX) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_rejects_is_in_the_epoch_of_the_others() {
    for workers in [1, 3] {
        every_epoch_is_whole(workers, MemorySink::with_places(usize::MAX), by_function, "good").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_rejects_is_in_the_epoch_of_the_others() {
    for workers in [1, 3] {
        every_epoch_is_whole(workers, poisonable(), by_sink, "out").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_rejects_while_it_prepares_is_in_the_epoch_of_the_others() {
    for workers in [1, 3] {
        let sink = MemorySink { finds_out_late: true, ..poisonable() };
        every_epoch_is_whole(workers, sink, by_sink, "out").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_waits_for_a_place_rejects_nothing_twice() {
    every_epoch_is_whole(2, MemorySink { places: 1, ..poisonable() }, by_sink, "out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_rejects_a_bad_record_ends_the_attempt_and_names_the_sink() {
    let (source, sink) = (Arc::new(MemorySource::default()), Arc::new(poisonable()));
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(2, move |graph| graph.source("in", &job_source).stream().sink("out", &sink))
        .await
        .unwrap();
    fake.open().await;
    source.release("a", 100, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    let error = fake.ended().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
    assert!(format!("{error:?}").contains("uid=out"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_counted_also_where_they_are_skipped_and_whenever_they_are_found_out() {
    for finds_out_late in [false, true] {
        rejects_are_counted(MemorySink { finds_out_late, ..poisonable() }).await;
    }
}

async fn rejects_are_counted(sink: MemorySink<Event>) {
    let (source, sink) = (Arc::new(MemorySource::default()), Arc::new(sink));
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(1, move |graph| {
        let events = graph.source("in", &job_source).stream();
        let (kept, unsure) = events.try_filter_or("sure", |event| match event.number % 10 {
            5 => Err("who knows"),
            digit => Ok(digit != 7),
        });
        unsure.skip();
        let (twice, none) =
            kept.try_flat_map_or("twice", |event| Ok::<_, String>([event.clone(), event.clone()]));
        none.skip();
        twice.sink_or("out", &sink).skip();
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 1_000, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.read("in", 1_000).await;
    let reports = fake.checkpoint(1).await;
    // Of each ten, one is unsure, one is filtered out, and one is poison, twice.
    assert_eq!(committed::<Event>(&reports, "out").len(), 1_400);
    let counts: BTreeMap<_, _> =
        fake.counters.rejected().into_iter().map(|(uid, count)| (uid.to_string(), count)).collect();
    assert_eq!(counts, [("sure", 100), ("twice", 0), ("out", 200)].map(|(uid, n)| (uid.into(), n)).into());
    assert_eq!(fake.counters.written()[&Uid::new("out").unwrap()], 1_400);
    fake.finish().await.unwrap();
}

/// The second stream of a function and of an operator has event time like the first.
#[tokio::test(flavor = "multi_thread")]
async fn event_time_goes_along_with_what_is_rejected() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Count<()>>::new());
    let (job_source, late_sink) = (Arc::clone(&source), MemorySink::<u64>::new());
    let mut fake = Fake::start(2, move |graph| {
        let events = graph.source("in", &job_source).event_time(|event| event.time).stream();
        let (good, bad) = events.try_map_or("parse", |event| match is_poison(event) {
            true => Err("this is poison"),
            false => Ok(event.number),
        });
        good.sink("good", &MemorySink::new());
        let (_, odd) = bad.key_by(|letter| letter.record.number % 4).stateful_with_side(
            "odd",
            |_, _: &mut crate::State<()>, letter, context| {
                assert_eq!(context.time(), letter.time);
                context.emit(());
                context.side(letter.record.number);
                Ok(())
            },
        );
        let (counts, late) = count_in(odd.key_by(|_| ()), "counts", 1_000);
        counts.sink("out", &sink);
        late.sink("late", &late_sink);
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    let (mut rows, mut late) = (Vec::new(), Vec::new());
    let mut epoch = 0;
    while rows.len() < 9 {
        epoch += 1;
        source.release("a", (epoch * 200).min(1_000), false);
        let reports = fake.checkpoint(epoch).await;
        rows.extend(committed::<Count<()>>(&reports, "out"));
        late.extend(committed::<u64>(&reports, "late"));
    }
    assert!(late.is_empty(), "{late:?}");
    // A hundred events a second, of which ten are poison; nothing has closed the last window.
    assert_eq!(rows, (0..9).map(|window| ((), window * 1_000, 10)).collect::<Vec<_>>());
    fake.finish().await.unwrap();
}
