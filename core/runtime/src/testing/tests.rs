//! Promises of a whole attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelock::host::{News, Order};
use tidelock::*;

use super::{Event, Fake, MemorySink, MemorySource, Snapshot, Twist, committed};

/// How many events of each split there are, after checking that they are the first ones in order.
fn prefixes(events: &[Event]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        let count = counts.entry(event.split.clone()).or_insert(0);
        assert_eq!(event.number, *count, "the order of a split is kept");
        *count += 1;
    }
    counts
}

async fn every_epoch_holds_what_its_positions_say(workers: usize) {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Event>::new());
    let (job_source, job_sink) = (Arc::clone(&source), Arc::clone(&sink));
    let mut fake = Fake::start(workers, move |graph| {
        graph.source("in", &job_source).stream().map(|event| event).filter(|_| true).sink("out", &job_sink);
    })
    .await
    .unwrap();
    assert_eq!(fake.graph.tasks as usize, workers);
    fake.open().await;
    for split in ["a", "b", "c"] {
        fake.assign("in", MemorySource::split(split, 0)).await;
    }
    let (mut written, mut snapshot) = (Vec::new(), Snapshot::default());
    for epoch in 1..20 {
        source.release("a", epoch * 100, epoch == 19);
        source.release("b", epoch * 3, epoch == 19);
        let reports = fake.checkpoint(epoch).await;
        written.extend(committed::<Event>(&reports, "out"));
        snapshot.apply(&reports);
        let reached = snapshot.positions();
        // What does not move and was never reported stands where it was assigned.
        let counts = prefixes(&written);
        for (split, position) in &reached {
            assert_eq!(counts.get(split).copied().unwrap_or(0), *position, "split {split}, epoch {epoch}");
        }
        assert!(counts.keys().all(|split| reached.contains_key(split)));
    }
    source.release("c", 0, true);
    let mut epoch = 20;
    while snapshot.positions() != BTreeMap::from([("a".into(), 1900), ("b".into(), 57), ("c".into(), 0)]) {
        let reports = fake.checkpoint(epoch).await;
        written.extend(committed::<Event>(&reports, "out"));
        snapshot.apply(&reports);
        epoch += 1;
    }
    assert_eq!(prefixes(&written), BTreeMap::from([("a".into(), 1900), ("b".into(), 57)]));
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_epoch_holds_what_its_positions_say_on_one_worker() {
    every_epoch_holds_what_its_positions_say(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_epoch_holds_what_its_positions_say_on_three_workers() {
    every_epoch_holds_what_its_positions_say(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_overlap_and_reports_come_in_order() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Event>::new());
    let (job_source, job_sink) = (Arc::clone(&source), Arc::clone(&sink));
    let mut fake =
        Fake::start(2, move |graph| graph.source("in", &job_source).stream().sink("out", &job_sink))
            .await
            .unwrap();
    fake.open_with(41, &Snapshot::default()).await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    source.release("a", 500, true);
    for epoch in 41..61 {
        fake.barrier(epoch).await;
    }
    let mut next = [41, 41];
    while next != [61, 61] {
        match fake.next().await {
            News::Report(report) => {
                let next = &mut next[report.task as usize];
                assert_eq!(report.epoch, Epoch(*next));
                *next += 1;
            }
            other => assert!(matches!(other, News::SplitFinished { .. })),
        }
    }
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_without_a_free_place_says_so_and_loses_nothing() {
    let source = Arc::new(MemorySource::default());
    let sink = Arc::new(MemorySink::<Event>::with_places(1));
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(1, move |graph| graph.source("in", &job_source).stream().sink("out", &sink))
        .await
        .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    let (mut written, mut epoch) = (Vec::new(), 0);
    for released in [10, 20] {
        source.release("a", released, false);
        while (written.len() as u64) < released {
            epoch += 1;
            // Only the first prepared epoch has a place; its settling is told here each time.
            fake.barrier(epoch).await;
            loop {
                match fake.next().await {
                    News::NoFreePlace => {
                        fake.order(Order::Settled { epoch: Epoch(epoch - 1), reinit: BTreeMap::new() }).await;
                    }
                    News::Report(report) => break written.extend(committed::<Event>(&[report], "out")),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(prefixes(&written), BTreeMap::from([("a".into(), 20)]));
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_stop_reading_while_too_much_is_in_flight() {
    let source = Arc::new(MemorySource::default());
    // No place at all: the writer takes nothing until something settles, which it never does.
    let sink = Arc::new(MemorySink::<Event>::with_places(0));
    let job_source = Arc::clone(&source);
    let twist = Twist { bytes_in_flight_max: 100 * 120, ..Twist::default() };
    let mut fake = Fake::start_with(1, twist, move |graph| {
        graph.source("in", &job_source).weigh(|_| 120).stream().sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 1_000_000, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    let read = || fake.counters.read()[&Uid::new("in").unwrap()];
    while read() < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // It stops with the batch that exceeds the budget: batches have seven records.
    assert!(read() < 107, "{} records in flight", read());
    fake.finish().await.unwrap();
}

/// 1,000 events of a megabyte are a gigabyte, whatever their type says: in a job that keeps state as well, whose
/// operator gives them on.
#[tokio::test(flavor = "multi_thread")]
async fn large_records_count_by_what_their_reader_says() {
    for keyed in [false, true] {
        let source = Arc::new(MemorySource { heap_bytes: 1 << 20, ..MemorySource::default() });
        let sink = Arc::new(MemorySink::<Event>::with_places(0));
        let job_source = Arc::clone(&source);
        let twist = Twist { bytes_in_flight_max: 50 << 20, ..Twist::default() };
        let mut fake = Fake::start_with(1, twist, move |graph| {
            let events = graph.source("in", &job_source).stream();
            let events = if keyed {
                events.key_by(|event| event.split.clone()).stateful("keyed", |_, count, event, context| {
                    *count.get_or_insert(0_u64) += 1;
                    context.emit(event);
                    Ok(())
                })
            } else {
                events
            };
            events.sink("out", &sink);
        })
        .await
        .unwrap();
        fake.open().await;
        source.release("a", 1_000, false);
        fake.assign("in", MemorySource::split("a", 0)).await;
        fake.read("in", 49).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let read = fake.counters.read()[&Uid::new("in").unwrap()];
        // Batches have seven events, and the one that exceeds the budget still comes.
        assert!(read <= 63, "{read} events in flight, keyed: {keyed}");
        fake.finish().await.unwrap();
    }
}

/// Runs a job until it fails, and returns why.
async fn failure(
    workers: usize,
    source: MemorySource,
    sink: MemorySink<Event>,
    shape: impl Fn(crate::Stream<'_, Event>) -> crate::Stream<'_, Event> + Send + Sync + 'static,
) -> Error {
    let (source, sink) = (Arc::new(source), Arc::new(sink));
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(workers, move |graph| {
        shape(graph.source("in", &job_source).stream()).sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 1_000, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.ended().await.unwrap_err()
}

fn assert_names(error: &Error, parts: &[&str]) {
    let text = format!("{error:?}");
    assert!(parts.iter().all(|part| text.contains(part)), "{text} lacks one of {parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_once_whose_it_is_before_it_reads() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Event>::new());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(1, move |graph| {
        graph.source("in", &job_source).stream().sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 100, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.read("in", 100).await;
    let name = SourceName { job: JobId::new("test").unwrap(), uid: Uid::new("in").unwrap() };
    assert_eq!(*source.named.lock().unwrap(), [name]);
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_fails_ends_the_attempt_with_uid_and_cause() {
    for workers in [1, 2] {
        let source = MemorySource { fail_at: Some(100), ..MemorySource::default() };
        let error = failure(workers, source, MemorySink::with_places(9), |stream| stream).await;
        assert_names(&error, &["the disk is gone", "uid=in"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_panics_ends_the_attempt_with_uid_and_cause() {
    let source = MemorySource { panic_at: Some(100), ..MemorySource::default() };
    let error = failure(2, source, MemorySink::with_places(9), |stream| stream).await;
    assert_names(&error, &["the reader has a defect", "uid=in"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fails_ends_the_attempt_with_uid_and_cause() {
    let sink = MemorySink { fail_at_write: true, ..MemorySink::with_places(9) };
    let error = failure(2, MemorySource::default(), sink, |stream| stream).await;
    assert_names(&error, &["the target is gone", "uid=out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_panics_ends_the_attempt_with_place_and_cause() {
    for workers in [1, 2] {
        let error = failure(workers, MemorySource::default(), MemorySink::with_places(9), |stream| {
            stream.map(|event| {
                assert!(event.number < 50, "number {} is unlucky", event.number);
                event
            })
        })
        .await;
        assert_names(&error, &["is unlucky", "uid=in", "operator=map"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_fails_ends_the_attempt_with_place_and_cause() {
    let error = failure(2, MemorySource::default(), MemorySink::with_places(9), |stream| {
        stream.try_map(|event| match event.number {
            50.. => Err(Error::new(ErrorKind::Data, "parse", "not a number")),
            _ => Ok(event),
        })
    })
    .await;
    assert_names(&error, &["not a number", "uid=in", "operator=try_map"]);
    assert_eq!(error.retry(), Retry::Halt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_graph_is_refused_before_anything_is_claimed() {
    let source = Arc::new(MemorySource::default());
    let one = Arc::clone(&source);
    let twice = Fake::start(2, move |graph| {
        graph.source("in", &one).stream();
        graph.source("in", &one).stream();
    });
    assert_names(&twice.await.err().unwrap(), &["same uid", "uid=in"]);
    let one = Arc::clone(&source);
    let illegal = Fake::start(1, move |graph| drop(graph.source("in.out", &one).stream()));
    assert_names(&illegal.await.err().unwrap(), &["uid", "in.out"]);
    let one = Arc::clone(&source);
    let different = Fake::start(2, move |graph| {
        graph.source(if graph.worker() == 0 { "left" } else { "right" }, &one).stream();
    });
    assert_names(&different.await.err().unwrap(), &["the same one on every worker"]);
    let panics = Fake::start(2, move |_| panic!("no graph today"));
    assert_names(&panics.await.err().unwrap(), &["no graph today"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_are_read_in_the_order_of_their_names_where_asked() {
    let source = Arc::new(MemorySource::default());
    let job_source = Arc::clone(&source);
    let mut fake =
        Fake::start(1, move |graph| drop(graph.source("in", &job_source).in_order_of_names().stream()))
            .await
            .unwrap();
    fake.open().await;
    for split in ["a", "b", "c", "d"] {
        source.release(split, 10, true);
    }
    for split in ["a", "d", "b", "c"] {
        fake.assign("in", MemorySource::split(split, 0)).await;
    }
    for _ in 0..4 {
        assert!(matches!(fake.next().await, News::SplitFinished { .. }));
    }
    let opened = source.opened.lock().unwrap().clone();
    // Whether `d` came before `b` and `c` were known is a race; nothing else is.
    assert_eq!(opened[0], "a");
    assert!(opened.windows(2).filter(|pair| pair[0] > pair[1]).count() <= 1, "{opened:?}");
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_timely_can_take_part() {
    use timely::dataflow::operators::vec::Map;

    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<u64>::new());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(2, move |graph| {
        let events = graph.source("in", &job_source).stream();
        events.with_timely(|stream| stream.map(|event| event.number)).sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 100, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.read("in", 100).await;
    let reports = fake.checkpoint(1).await;
    assert_eq!(committed::<u64>(&reports, "out"), (0..100).collect::<Vec<_>>());
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_can_be_split_joined_and_made_longer() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<u64>::new());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(2, move |graph| {
        let events = graph.source("in", &job_source).event_time(|event| event.time).stream();
        let even = events.clone().filter(|event| event.number.is_multiple_of(2)).map(|event| event.number);
        let thrice = events.flat_map(|event| vec![event.number + 1_000; 3]);
        even.union(thrice).sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 10, false);
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.read("in", 10).await;
    let mut written = committed::<u64>(&fake.checkpoint(1).await, "out");
    written.sort_unstable();
    let thrice = (1_000..1_010).flat_map(|number| [number; 3]);
    assert_eq!(written, [0, 2, 4, 6, 8].into_iter().chain(thrice).collect::<Vec<_>>());
    fake.finish().await.unwrap();
}
