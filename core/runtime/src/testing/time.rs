//! Event time does not depend on when a barrier comes, nor on one record with a wrong clock.

use std::sync::Arc;
use std::time::Duration;

use tidelock::host::{News, Order};
use tidelock::*;

use super::ways::{Row, Run, count, times};
use super::{Event, Fake, MemorySink, MemorySource, Snapshot, committed};
use crate::{Ahead, Graph, SourceBuilder};

/// How the source is to be read.
trait Set:
    for<'s> Fn(SourceBuilder<'s, MemorySource>) -> SourceBuilder<'s, MemorySource> + Send + Sync + 'static
{
}

impl<S> Set for S where
    S: for<'s> Fn(SourceBuilder<'s, MemorySource>) -> SourceBuilder<'s, MemorySource> + Send + Sync + 'static
{
}

/// An attempt that counts the events of a source in windows of a hundred milliseconds.
struct Counting {
    fake: Fake,
    source: Arc<MemorySource>,
    epoch: u64,
    snapshot: Snapshot,
}

impl Counting {
    async fn start(workers: usize, set: impl Set) -> Self {
        Self::restore(workers, Snapshot::default(), 0, set).await
    }

    /// Goes on behind an epoch.
    async fn restore(workers: usize, snapshot: Snapshot, epoch: u64, set: impl Set) -> Self {
        let source = Arc::new(MemorySource::default());
        let job_source = Arc::clone(&source);
        let build = move |graph: &Graph<'_>| {
            let builder = graph.source("in", &job_source).event_time(|event| event.time);
            let (counts, late) = count(set(builder).stream(), "counts");
            counts.sink("out", &MemorySink::new());
            late.sink("late", &MemorySink::new());
        };
        let mut fake = Fake::start(workers, build).await.unwrap();
        fake.open_with(epoch + 1, &snapshot).await;
        Self { fake, source, epoch, snapshot }
    }

    /// Assigns splits of so many events.
    async fn assign(&mut self, splits: &[(&str, u64)], ended: bool) {
        for (split, count) in splits {
            self.source.release(split, *count, ended);
            self.fake.assign("in", MemorySource::split(split, 0)).await;
        }
        if !ended {
            let all = splits.iter().map(|(_, count)| count).sum();
            return self.fake.read("in", all).await;
        }
        for _ in splits {
            assert!(matches!(self.fake.next().await, News::SplitFinished { .. }));
        }
    }

    /// The rows and the late events of the epoch.
    async fn checkpoint(&mut self) -> (Vec<Row>, Vec<Event>) {
        self.epoch += 1;
        let reports = self.fake.checkpoint(self.epoch).await;
        self.snapshot.apply(&reports);
        (committed(&reports, "out"), committed(&reports, "late"))
    }
}

/// The windows of a split that are over at a watermark.
fn over(split: &str, watermark: i64) -> Vec<Row> {
    (0..watermark / 100).map(|index| (split.to_owned(), index * 100, 10)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_ends_or_falls_idle_before_the_first_barrier_keeps_its_watermark() {
    for (in_order, ended) in [(true, true), (false, true), (false, false)] {
        let mut counting = Counting::start(1, move |source| match (in_order, ended) {
            (true, _) => source.in_order_of_names(),
            (false, true) => source,
            (false, false) => source.idle_after(Duration::from_nanos(1)),
        })
        .await;
        counting.assign(&[("a", 51)], ended).await;
        let (rows, _) = counting.checkpoint().await;
        assert_eq!(rows, over("a", 500), "in order: {in_order}, ended: {ended}");
        // The snapshot that has its end has the watermark too.
        let Counting { fake, snapshot, .. } = counting;
        fake.finish().await.unwrap();
        let mut again = Counting::restore(1, snapshot, 1, |source| source).await;
        again.assign(&[("earlier", 51)], false).await;
        let (rows, late) = again.checkpoint().await;
        assert_eq!((rows.len(), late.len()), (0, 50), "in order: {in_order}, ended: {ended}");
        again.fake.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_splits_have_ended_time_is_what_the_furthest_reached() {
    for workers in [1, 2] {
        for splits in [[("a", 101), ("b", 31)], [("b", 31), ("a", 101)]] {
            let mut counting = Counting::start(workers, |source| source).await;
            counting.assign(&splits, true).await;
            let mut rows = Vec::new();
            for epoch in 1..5 {
                rows.extend(counting.checkpoint().await.0);
                // Their children are known, and there are none.
                counting.fake.order(Order::Completed { epoch: Epoch(epoch) }).await;
            }
            rows.sort();
            let ended = [("b".to_owned(), 300, 1)];
            assert_eq!(
                rows,
                [over("a", 1_000), over("b", 300), ended.to_vec()].concat(),
                "{workers} workers"
            );
            counting.fake.finish().await.unwrap();
        }
    }
}

fn in_order_where(in_order: bool) -> impl Set {
    move |source| if in_order { source.in_order_of_names() } else { source }
}

/// The attempt dies when the ends of the splits are in the snapshot, and nothing yet of what is due because of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_when_all_splits_had_ended_comes_after_a_restore() {
    for (before, after, in_order) in [(1, 1, false), (1, 2, false), (2, 1, false), (2, 3, true), (1, 1, true)]
    {
        let told = format!("{before} and then {after} workers, in order: {in_order}");
        let set = in_order_where(in_order);
        let mut first = Counting::start(before, set).await;
        first.assign(&[("a", 101), ("b", 31)], true).await;
        let (mut rows, late) = first.checkpoint().await;
        assert_eq!(late, [], "{told}");
        let Counting { fake, snapshot, .. } = first;
        fake.finish().await.unwrap();

        // No split is left to be assigned.
        let mut again = Counting::restore(after, snapshot, 1, in_order_where(in_order)).await;
        for _ in 0..2 {
            rows.extend(again.checkpoint().await.0);
        }
        rows.sort();
        let ended = [("b".to_owned(), 300, 1)];
        assert_eq!(rows, [over("a", 1_000), over("b", 300), ended.to_vec()].concat(), "{told}");
        again.assign(&[("earlier", 51)], false).await;
        assert_eq!(again.checkpoint().await.1.len(), 51, "event time went back: {told}");
        again.fake.finish().await.unwrap();
    }
}

/// Two sources, of which the first ends far ahead and the second is still read, or has ended too.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_a_source_that_ended_holds_nothing_back_and_hurries_nothing() {
    for (workers, both_ended) in [(1, false), (2, false), (1, true), (2, true)] {
        let sources = [Arc::new(MemorySource::default()), Arc::new(MemorySource::default())];
        let [ahead, behind] = sources.clone();
        let build = move |graph: &Graph<'_>| {
            let ahead = graph.source("ahead", &ahead).event_time(|event| event.time).stream();
            let behind = graph.source("behind", &behind).event_time(|event| event.time).stream();
            let (counts, late) = count(ahead.union(behind), "counts");
            counts.sink("out", &MemorySink::new());
            late.sink("late", &MemorySink::new());
        };
        let mut fake = Fake::start(workers, build.clone()).await.unwrap();
        fake.open().await;
        for (uid, source, split, count, ended) in
            [("ahead", &sources[0], "a", 101, true), ("behind", &sources[1], "b", 31, both_ended)]
        {
            source.release(split, count, ended);
            fake.assign(uid, MemorySource::split(split, 0)).await;
            if ended {
                assert!(matches!(fake.next().await, News::SplitFinished { .. }));
            } else {
                fake.read(uid, count).await;
            }
        }
        let mut snapshot = Snapshot::default();
        let reports = fake.checkpoint(1).await;
        snapshot.apply(&reports);
        let mut rows: Vec<Row> = committed(&reports, "out");
        fake.finish().await.unwrap();

        let mut again = Fake::start(workers, build).await.unwrap();
        again.open_with(2, &snapshot).await;
        if !both_ended {
            again.assign("behind", snapshot.splits[&SplitId::new("b")].clone()).await;
            sources[1].release("b", 51, false);
            again.read("behind", 20).await;
        }
        for epoch in [2, 3] {
            let reports = again.checkpoint(epoch).await;
            rows.extend(committed::<Row>(&reports, "out"));
            assert_eq!(committed::<Event>(&reports, "late"), []);
        }
        rows.sort();
        let expected = match both_ended {
            true => [over("a", 1_000), over("b", 300), vec![("b".to_owned(), 300, 1)]].concat(),
            false => [over("a", 500), over("b", 500)].concat(),
        };
        assert_eq!(rows, expected, "{workers} workers");
        again.finish().await.unwrap();
    }
}

/// The last moment of the year 9999.
const FAR: i64 = 253_402_300_799_000;

/// A hundred events; the clock of the fiftieth is wrong.
async fn with_one_far_ahead(set: impl Set) -> Counting {
    let mut counting = Counting::start(1, move |source| {
        set(source.event_time(|event| if event.number == 50 { FAR } else { event.time }))
    })
    .await;
    counting.assign(&[("a", 101)], false).await;
    counting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_far_ahead_of_the_clock_is_left_out_filtered_or_held_as_was_chosen() {
    let hour = Duration::from_secs(3_600);
    let without_it = |mut rows: Vec<Row>| {
        rows[5].2 += 1;
        rows == over("a", 1_000)
    };
    let mut dropping = with_one_far_ahead(move |source| source.event_time_ahead_max(hour, Ahead::Drop)).await;
    let (rows, late) = dropping.checkpoint().await;
    assert!(without_it(rows) && late.is_empty());
    assert_eq!(dropping.fake.counters.late()[&Uid::new("in").unwrap()], 1);
    dropping.fake.finish().await.unwrap();

    let mut filtering = with_one_far_ahead(|source| source.filter(|event| event.number != 50)).await;
    let (rows, late) = filtering.checkpoint().await;
    assert!(without_it(rows) && late.is_empty());
    filtering.fake.finish().await.unwrap();

    let mut holding = with_one_far_ahead(move |source| source.event_time_ahead_max(hour, Ahead::Hold)).await;
    holding.checkpoint().await;
    let watermark = holding.snapshot.splits[&SplitId::new("a")].watermark.unwrap();
    assert!(watermark > 1_000_000_000_000 && watermark < FAR, "{watermark}");
    holding.fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_far_ahead_of_the_clock_has_a_stream_of_its_own_and_is_there_once() {
    let source = Arc::new(MemorySource::default());
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start(1, move |graph| {
        let events = graph.source("in", &job_source).event_time(|event| match event.number {
            50 | 51 => FAR,
            _ => event.time,
        });
        let hour = Duration::from_secs(3_600);
        let (events, ahead) = events.event_time_ahead_max(hour, Ahead::Drop).stream_or();
        events.map(|event| event.number).sink("out", &MemorySink::new());
        // It has the watermarks of the source, as the other one has.
        let (counts, late) = count(ahead.map(|rejected| rejected.record), "ahead");
        counts.sink("counts", &MemorySink::new());
        late.sink("late", &MemorySink::new());
        let events = graph.source("again", &job_source).event_time(|_| FAR);
        let (_, ahead) = events.event_time_ahead_max(hour, Ahead::Drop).stream_or();
        ahead.letters().sink("letters", &MemorySink::new());
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.assign("again", MemorySource::split("b", 0)).await;
    source.release("a", 101, true);
    source.release("b", 1, true);
    for _ in 0..2 {
        assert!(matches!(fake.next().await, News::SplitFinished { .. }));
    }
    let mut reports = fake.checkpoint(1).await;
    let letters: Vec<DeadLetter> = committed(&reports, "letters");
    assert_eq!((letters.len(), letters[0].uid.as_str(), letters[0].time), (1, "again", Some(FAR)));
    assert!(letters[0].reason.contains("ahead of the clock"), "{letters:?}");
    // Its barriers are cut, and the end of input reaches it.
    fake.order(Order::EndOfInput).await;
    reports.extend(fake.checkpoint(2).await);
    let mut numbers: Vec<u64> = committed(&reports, "out");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).chain(52..101).collect::<Vec<_>>());
    let counts: Vec<Row> = committed(&reports, "counts");
    assert_eq!(counts.iter().map(|row| row.2).sum::<u64>(), 2, "{counts:?}");
    assert_eq!(fake.counters.late()[&Uid::new("in").unwrap()], 2);
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_far_ahead_of_the_clock_ends_the_job_where_asked() {
    let hour = Duration::from_secs(3_600);
    let source = Arc::new(MemorySource::default());
    source.release("a", 101, false);
    let mut fake = Fake::start(1, move |graph| {
        let events =
            graph.source("in", &source).event_time(|event| event.time + (event.number / 50) as i64 * FAR);
        events.event_time_ahead_max(hour, Ahead::Fail).stream().sink("out", &MemorySink::new());
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    let error = fake.ended().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Halt);
    let told = format!("{error:?}");
    for part in ["ahead of the clock", "split=a", "uid=in", "event_time=2534023"] {
        assert!(told.contains(part), "{part:?} is missing in {told}");
    }
}

/// An operator behind a source that has nothing to read says so too.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_source_holds_nothing_back_behind_an_operator_either() {
    let splits = [("a", 1_001)];
    for workers in [1, 2] {
        let mut run = Run::start_with(workers, None, |graph, stream| {
            let silent = Arc::new(MemorySource::default());
            let silent = graph.source("silent", &silent).event_time(|event| event.time).stream();
            let (counted, _) = count(silent, "counts-of-nothing");
            let nothing = counted.map(|(split, time, number)| Event { split, time, number });
            count(nothing.union(stream), "counts")
        })
        .await;
        run.assign("a", 0).await;
        run.read(&splits, 10).await;
        // What the last records are ahead of is told at a barrier, and counted by the next ones.
        for _ in 0..100 {
            run.checkpoint().await;
            if run.counted == times(&[("a", 1_000)], 1) {
                break;
            }
        }
        assert_eq!(run.counted, times(&[("a", 1_000)], 1), "{workers} workers");
        assert_eq!(run.end(&splits).await, times(&splits, 1));
    }
}
