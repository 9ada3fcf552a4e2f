//! Streams that fork and meet again: records in the order of time are never late, whatever way they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock::host::{News, Order};
use tidelock::*;

use super::{Count, Event, Fake, MemorySink, MemorySource, committed, count_in};
use crate::{Graph, Lookups, Stream};

pub(super) type Row = Count<String>;

/// Knows every number, after a while.
struct Echo;

#[async_trait]
impl Lookup for Echo {
    type Key = u64;
    type Value = u64;

    async fn lookup(&self, keys: &[u64]) -> Result<Vec<Option<u64>>> {
        // Requests overtake each other.
        tokio::time::sleep(Duration::from_micros(keys[0] % 7 * 150)).await;
        Ok(keys.iter().map(|key| Some(*key)).collect())
    }
}

fn look_up<'s>(stream: Stream<'s, Event>, uid: &str, how: Lookups) -> Stream<'s, Event> {
    let how = how.keys_per_request_max(3).cache_for(Duration::ZERO);
    stream.lookup(uid, &Arc::new(Echo), how, |event| Some(event.number), |event, _| event)
}

/// Counts the events of each split in windows of a hundred milliseconds.
pub(super) fn count<'s>(stream: Stream<'s, Event>, uid: &str) -> (Stream<'s, Row>, Stream<'s, Event>) {
    count_in(stream.key_by(|event| event.split.clone()), uid, 100)
}

/// An attempt that reads splits step by step, with a barrier after each.
pub(super) struct Run {
    pub(super) fake: Fake,
    source: Arc<MemorySource>,
    epoch: u64,
    pub(super) counted: BTreeMap<String, u64>,
    late: Vec<Event>,
}

impl Run {
    /// Counts what `ways` makes of the source.
    pub(super) async fn start(
        workers: usize,
        idle_after: Option<Duration>,
        ways: impl for<'s> Fn(Stream<'s, Event>) -> Stream<'s, Event> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(workers, idle_after, move |_, stream| count(ways(stream), "counts")).await
    }

    pub(super) async fn start_with(
        workers: usize,
        idle_after: Option<Duration>,
        build: impl for<'s> Fn(&Graph<'s>, Stream<'s, Event>) -> (Stream<'s, Row>, Stream<'s, Event>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let source = Arc::new(MemorySource::default());
        let (out, late, job_source) =
            (MemorySink::<Row>::new(), MemorySink::<Event>::new(), Arc::clone(&source));
        let mut fake = Fake::start(workers, move |graph| {
            let mut source = graph.source("in", &job_source).event_time(|event| event.time);
            if let Some(idle_after) = idle_after {
                source = source.idle_after(idle_after);
            }
            let (counts, too_late) = build(graph, source.stream());
            counts.sink("out", &out);
            too_late.sink("late", &late);
        })
        .await
        .unwrap();
        fake.open().await;
        Self { fake, source, epoch: 0, counted: BTreeMap::new(), late: Vec::new() }
    }

    pub(super) async fn assign(&self, split: &str, next: u64) {
        self.fake.assign("in", MemorySource::split(split, next)).await;
    }

    pub(super) async fn checkpoint(&mut self) {
        self.epoch += 1;
        let reports = self.fake.checkpoint(self.epoch).await;
        for (split, _, count) in committed::<Row>(&reports, "out") {
            *self.counted.entry(split).or_default() += count;
        }
        self.late.extend(committed::<Event>(&reports, "late"));
    }

    /// Reads the splits to their ends, in so many steps.
    pub(super) async fn read(&mut self, splits: &[(&str, u64)], steps: u64) {
        for step in 1..=steps {
            for (split, count) in splits {
                self.source.release(split, count * step / steps, false);
            }
            self.checkpoint().await;
        }
    }

    /// Ends the splits, and the input. Returns how many events of each split were counted.
    pub(super) async fn end(mut self, splits: &[(&str, u64)]) -> BTreeMap<String, u64> {
        for (split, count) in splits {
            self.source.release(split, *count, true);
        }
        let mut finished = 0;
        while finished < splits.len() {
            finished += usize::from(matches!(self.fake.next().await, News::SplitFinished { .. }));
        }
        self.fake.order(Order::EndOfInput).await;
        self.checkpoint().await;
        self.fake.finish().await.unwrap();
        assert_eq!(self.late.len(), 0, "late: {:?}", self.late);
        self.counted
    }
}

/// How many events of each split there are, on so many ways.
pub(super) fn times(splits: &[(&str, u64)], ways: u64) -> BTreeMap<String, u64> {
    splits.iter().map(|(split, count)| (split.to_string(), count * ways)).collect()
}

async fn nothing_is_late(
    ways: u64,
    build: impl for<'s> Fn(Stream<'s, Event>) -> Stream<'s, Event> + Clone + Send + Sync + 'static,
) {
    let splits = [("a", 1_000), ("b", 700), ("c", 1_300)];
    for workers in [1, 2] {
        let mut run = Run::start(workers, None, build.clone()).await;
        for (split, _) in splits {
            run.assign(split, 0).await;
        }
        run.read(&splits, 10).await;
        assert_eq!(run.end(&splits).await, times(&splits, ways), "with {workers} workers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_order_are_not_late_behind_two_and_three_ways_of_one_source() {
    nothing_is_late(2, |stream| stream.clone().union(stream.map(|event| event))).await;
    nothing_is_late(3, |stream| {
        let short = stream.clone();
        short.union(stream.clone().filter(|_| true)).union(stream.map(|event| event).inspect(|_| {}))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_order_are_not_late_where_one_way_looks_them_up() {
    for how in [Lookups::ordered(), Lookups::unordered()] {
        nothing_is_late(2, move |stream| look_up(stream.clone(), "echo", how).union(stream)).await;
        nothing_is_late(2, move |stream| stream.clone().union(look_up(stream, "echo", how))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_order_are_not_late_where_one_way_crosses_workers_or_both_do() {
    nothing_is_late(2, |stream| {
        let slow = look_up(across(stream.clone()), "echo", Lookups::ordered());
        across(slow).union(stream)
    })
    .await;
    nothing_is_late(2, |stream| {
        let slow = look_up(across(stream.clone()), "echo", Lookups::ordered());
        across(across(slow).union(across(stream)))
    })
    .await;
}

fn across(stream: Stream<'_, Event>) -> Stream<'_, Event> {
    let workers = u64::from(stream.graph.workers());
    stream.exchange("across", move |event| Ok((event.number % workers) as u32))
}

/// A window's results and its late records leave with the same watermarks.
#[tokio::test(flavor = "multi_thread")]
async fn results_in_order_are_not_late_behind_a_union_with_the_late_records() {
    let splits = [("a", 1_000), ("b", 700)];
    for (workers, late_first) in [(1, true), (1, false), (2, true), (2, false)] {
        let mut run = Run::start_with(workers, None, move |_, stream| {
            let (counts, late) = count(stream, "counts");
            let event = |(split, time, number)| Event { split, time, number };
            let counts = counts.map(event);
            let all = if late_first { late.union(counts) } else { counts.union(late) };
            count(all, "counts-of-counts")
        })
        .await;
        for (split, _) in splits {
            run.assign(split, 0).await;
        }
        run.read(&splits, 10).await;
        assert_eq!(run.end(&splits).await, BTreeMap::from([("a".into(), 100), ("b".into(), 70)]));
    }
}

/// "Idle" on the slow way must not count while records are on it.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_not_late_where_their_lane_was_idle_and_one_way_is_slow() {
    // One split, which is idle again and again: alone, it can be late for nobody.
    let splits = [("a", 2_000)];
    let mut run =
        Run::start(1, Some(Duration::from_micros(300)), |stream| stream.clone().union(look_up_again(stream)))
            .await;
    run.assign("a", 0).await;
    run.read(&splits, 40).await;
    assert_eq!(run.end(&splits).await, times(&splits, 2));
    // A worker that had nothing to read gets a split.
    let mut run = Run::start(2, None, |stream| stream.clone().union(look_up_again(stream))).await;
    run.assign("a", 0).await;
    run.read(&[("a", 300)], 3).await;
    run.source.release("a", 300, true);
    run.assign("b", 1_000).await;
    run.read(&[("b", 2_000)], 10).await;
    let counted = run.end(&[("b", 2_000)]).await;
    assert_eq!(counted, BTreeMap::from([("a".into(), 600), ("b".into(), 2_000)]));
}

fn look_up_again(stream: Stream<'_, Event>) -> Stream<'_, Event> {
    look_up(look_up(stream, "echo", Lookups::ordered()), "again", Lookups::unordered())
}

/// Any graph of forks, unions, exchanges, lookups and functions that take their time.
pub(super) fn any_ways<'s>(
    stream: Stream<'s, Event>,
    rng: &mut StdRng,
    depth: u32,
    names: &mut u32,
) -> (Stream<'s, Event>, u64) {
    if depth == 0 {
        return (stream, 1);
    }
    let stream = match rng.random_range(0..7) {
        0 => {
            let (one, ways) = any_ways(stream.clone(), rng, depth - 1, names);
            let (other, other_ways) = any_ways(stream, rng, depth - 1, names);
            return (one.union(other), ways + other_ways);
        }
        1 => {
            let workers = u64::from(stream.graph.workers());
            let shift = rng.random_range(0..7);
            stream.exchange("across", move |event| Ok(((event.number + shift) % workers) as u32))
        }
        2 => {
            *names += 1;
            let how = if rng.random_range(0..2) == 0 { Lookups::ordered() } else { Lookups::unordered() };
            look_up(stream, &format!("echo-{names}"), how)
        }
        3 => {
            let mut rng = StdRng::seed_from_u64(rng.random());
            stream.map(move |event| {
                if rng.random_range(0..300) == 0 {
                    std::thread::sleep(Duration::from_micros(rng.random_range(0..500)));
                }
                event
            })
        }
        4 => stream.rebalance(),
        5 => {
            *names += 1;
            let odd = |event: Event| if event.number % 2 == 1 { Err("odd") } else { Ok(event) };
            let (even, rejected) =
                stream.try_map_or(&format!("odd-{names}"), move |event| odd(event.clone()));
            rejected.map(|rejected| rejected.record).union(even)
        }
        _ => stream.filter(|_| true),
    };
    any_ways(stream, rng, depth - 1, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_order_are_not_late_behind_any_graph() {
    for seed in 0..32 {
        println!("seed {seed}");
        let splits = [("a", 400), ("b", 250), ("c", 500)];
        let workers = 1 + seed as usize % 3;
        let ways = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&ways);
        let mut run = Run::start(workers, None, move |stream| {
            let (stream, ways) = any_ways(stream, &mut StdRng::seed_from_u64(seed), 5, &mut 0);
            told.store(ways, Ordering::SeqCst);
            stream
        })
        .await;
        for (split, _) in splits {
            run.assign(split, 0).await;
        }
        run.read(&splits, 6).await;
        assert_eq!(run.end(&splits).await, times(&splits, ways.load(Ordering::SeqCst)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_union_with_a_stream_that_has_no_event_time_is_refused_and_one_without_it_on_both_sides_is_not() {
    let source = Arc::new(MemorySource::default());
    for timed_first in [true, false] {
        let source = Arc::clone(&source);
        let refused = Fake::start(2, move |graph| {
            let timed = graph.source("timed", &source).event_time(|event| event.time).stream();
            let untimed = graph.source("untimed", &source).stream();
            let both = if timed_first { timed.union(untimed) } else { untimed.union(timed) };
            both.sink("out", &MemorySink::new());
        });
        let error = refused.await.err().unwrap();
        let told = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Config);
        for part in ["with_event_time=timed", "without_event_time=untimed", "Stream::without_event_time"] {
            assert!(told.contains(part), "{part:?} is missing in {told}");
        }
    }
    let (job_source, sink) = (Arc::clone(&source), MemorySink::<Event>::new());
    let mut fake = Fake::start(2, move |graph| {
        let timed = graph.source("timed", &job_source).event_time(|event| event.time).stream();
        let untimed = graph.source("untimed", &job_source).stream();
        timed.without_event_time().union(untimed).filter(|event| event.number % 3 > 0).sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    source.release("a", 300, false);
    source.release("b", 600, false);
    fake.assign("timed", MemorySource::split("a", 0)).await;
    fake.assign("untimed", MemorySource::split("b", 0)).await;
    fake.read("timed", 300).await;
    fake.read("untimed", 600).await;
    assert_eq!(committed::<Event>(&fake.checkpoint(1).await, "out").len(), 600);
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_stream_without_event_time_are_refused() {
    let source = Arc::new(MemorySource::default());
    let refused = Fake::start(1, move |graph| {
        let (counts, _) = count(graph.source("in", &source).stream(), "counts");
        counts.sink("out", &MemorySink::new());
    });
    let error = format!("{:?}", refused.await.err().unwrap());
    assert!(error.contains("windows need event time") && error.contains("uid=counts"), "{error}");
}
