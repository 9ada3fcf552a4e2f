//! Keyed state across barriers, restores and other numbers of workers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidelock::*;

use super::{Event, Fake, MemorySink, MemorySource, Snapshot, Twist, committed};
use crate::slice::Slicing;
use crate::state::{decode, entries};
use crate::{Context, KeyedOperator, State};

/// Counts the events of each split for every key, and passes them on.
pub(super) struct Tally;

impl KeyedOperator for Tally {
    type Key = u64;
    type In = Event;
    type Out = Event;
    type Side = Infallible;
    type State = BTreeMap<String, u64>;
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        _: &u64,
        state: &mut State<Self::State>,
        event: Event,
        context: &mut Context<'_, Event>,
    ) -> Result<()> {
        *state.get_or_insert_default().entry(event.split.clone()).or_insert(0) += 1;
        context.emit(event);
        Ok(())
    }
}

/// What the tallies of a snapshot add up to, by split. Reads the stored form.
pub(super) fn tallies(snapshot: &Snapshot, uid: &str) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
    let parts = snapshot.operators.get(&Uid::new(uid).unwrap());
    for segment in parts.into_iter().flatten().flat_map(|(_, segments)| segments) {
        let Segment::Bytes(bytes) = segment else { continue };
        for entry in entries(bytes).unwrap() {
            let entry = entry.unwrap();
            let (_, count): (Vec<i64>, Option<BTreeMap<String, u64>>) =
                decode(entry.value.unwrap().bytes).unwrap();
            counts.insert(decode(entry.key).unwrap(), count.unwrap());
        }
    }
    let mut sums = BTreeMap::new();
    for (split, count) in counts.into_values().flatten() {
        *sums.entry(split).or_insert(0) += count;
    }
    sums
}

/// Passes on the number of each event among those of its key, and forgets a key at every tenth.
struct Number;

impl KeyedOperator for Number {
    type Key = u64;
    type In = Event;
    type Out = (u64, u64);
    type Side = Infallible;
    type State = u64;
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        key: &u64,
        state: &mut State<u64>,
        _: Event,
        context: &mut Context<'_, (u64, u64)>,
    ) -> Result<()> {
        let count = state.unwrap_or(0) + 1;
        context.emit((*key, count));
        **state = (count < 10).then_some(count);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_goes_on_under_another_number_of_workers() {
    let source = Arc::new(MemorySource::default());
    let (mut snapshot, mut counts) = (Snapshot::default(), BTreeMap::<u64, Vec<u64>>::new());
    let twist = Twist::default();
    let log = twist.log.clone();
    let mut epoch = 1;
    for workers in [2, 1, 3, 3, 1] {
        let (job_source, sink) = (Arc::clone(&source), MemorySink::new());
        // Slices of a few steps: state that is half loaded, fired or frozen must not be seen.
        let slicing = Slicing::steps(workers as u32 * 2);
        let twist = Twist { log: log.clone(), slicing, ..Twist::default() };
        let mut fake = Fake::start_with(workers, twist, move |graph| {
            graph
                .source("in", &job_source)
                .stream()
                .key_by(|event| event.number % 1_000)
                .process("number", Number)
                .sink("out", &sink);
        })
        .await
        .unwrap();
        fake.open_with(epoch, &snapshot).await;
        let split = snapshot.splits.values().next().cloned();
        let begin = snapshot.positions().get("a").copied().unwrap_or(0);
        fake.assign("in", split.unwrap_or_else(|| MemorySource::split("a", 0))).await;
        for _ in 0..12 {
            source.release("a", epoch * 501, false);
            fake.read("in", epoch * 501 - begin).await;
            let reports = fake.checkpoint(epoch).await;
            snapshot.apply(&reports);
            for (key, count) in committed::<(u64, u64)>(&reports, "out") {
                counts.entry(key).or_default().push(count);
            }
            epoch += 1;
        }
        let parts: Vec<_> = snapshot.operators[&Uid::new("number").unwrap()].keys().cloned().collect();
        assert_eq!(parts.len(), workers, "{parts:?}");
        fake.finish().await.unwrap();
    }
    let total: usize = counts.values().map(Vec::len).sum();
    assert_eq!(total as u64, snapshot.positions()["a"]);
    assert_eq!(total as u64, 60 * 501);
    for (key, counts) in counts {
        let expected: Vec<u64> = (0..counts.len() as u64).map(|index| index % 10 + 1).collect();
        assert_eq!(counts, expected, "key {key}");
    }
}

/// A state whose middle field is written and never read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Total {
    count: u64,
    #[serde(skip_deserializing)]
    latest: u64,
    sum: u64,
}

/// A restore would read another sum: no snapshot is promised with such a state in it.
#[tokio::test(flavor = "multi_thread")]
async fn state_that_could_not_be_restored_ends_the_job_before_its_first_snapshot() {
    let source = Arc::new(MemorySource::default());
    let (job_source, sink) = (Arc::clone(&source), MemorySink::new());
    let mut fake = Fake::start(1, move |graph| {
        graph
            .source("in", &job_source)
            .stream()
            .key_by(|event| event.split.clone())
            .stateful("total", |_, state: &mut State<Total>, event, context| {
                let total = state.get_or_insert_default();
                (total.count, total.latest, total.sum) =
                    (total.count + 1, event.number, total.sum + event.number);
                context.emit(total.sum);
                Ok(())
            })
            .sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    source.release("a", 8, false);
    fake.read("in", 8).await;
    fake.barrier(1).await;
    let reported = loop {
        match fake.next().await {
            host::News::Report(report) => break Some(report),
            host::News::Failed { .. } => break None,
            _ => {}
        }
    };
    assert!(reported.is_none(), "{reported:?}");
    let error = fake.ended().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
    let said = error.to_string();
    assert!(["uid=total", "Total", "skip_deserializing"].iter().all(|word| said.contains(word)), "{said}");
}

/// Emits the number of events of a key in each hundred milliseconds, by timer.
struct Every100;

impl KeyedOperator for Every100 {
    type Key = String;
    type In = Event;
    type Out = (String, i64, u64);
    type Side = Infallible;
    type State = u64;
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        _: &String,
        state: &mut State<u64>,
        event: Event,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        *state.get_or_insert_default() += 1;
        context.set_timer((event.time / 100 + 1) * 100);
        Ok(())
    }

    fn on_timer(
        &mut self,
        key: &String,
        state: &mut State<u64>,
        at: i64,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        let count = state.take().unwrap_or(0);
        context.emit((key.clone(), at, count));
        Ok(())
    }
}

/// Timers fire when the watermark of all splits has passed them, and survive a restore.
#[tokio::test(flavor = "multi_thread")]
async fn timers_follow_the_slowest_split_and_survive_a_restore() {
    let source = Arc::new(MemorySource::default());
    let (mut snapshot, mut fired) = (Snapshot::default(), Vec::new());
    let mut epoch = 1;
    // Events are ten milliseconds apart. `a` is far ahead of `b` at first.
    for (workers, released) in
        [(2, [("a", 500), ("b", 35)]), (1, [("a", 500), ("b", 70)]), (3, [("a", 500), ("b", 600)])]
    {
        let (job_source, sink) = (Arc::clone(&source), MemorySink::new());
        let twist = Twist { slicing: Slicing::steps(workers as u32), ..Twist::default() };
        let mut fake = Fake::start_with(workers, twist, move |graph| {
            graph
                .source("in", &job_source)
                .event_time(|event| event.time)
                .stream()
                .key_by(|event| event.split.clone())
                .process("every-100", Every100)
                .sink("out", &sink);
        })
        .await
        .unwrap();
        fake.open_with(epoch, &snapshot).await;
        for split in ["a", "b"] {
            let restored = snapshot.splits.get(&SplitId::new(split)).cloned();
            fake.assign("in", restored.unwrap_or_else(|| MemorySource::split(split, 0))).await;
        }
        for (split, count) in released {
            source.release(split, count, false);
        }
        let reached = BTreeMap::from(released.map(|(split, count)| (split.to_owned(), count)));
        // One more barrier after everything was read: its watermark comes after its records.
        let mut more = 2;
        while more > 0 {
            let reports = fake.checkpoint(epoch).await;
            snapshot.apply(&reports);
            fired.extend(committed::<(String, i64, u64)>(&reports, "out"));
            epoch += 1;
            more -= u64::from(snapshot.positions() == reached);
        }
        let slowest = released.map(|(_, count)| count as i64 * 10 - 10).into_iter().min().unwrap();
        for split in ["a", "b"] {
            let of_split: Vec<_> =
                fired.iter().filter(|(key, ..)| key == split).map(|(_, at, _)| *at).collect();
            let expected: Vec<i64> = (1..=slowest / 100).map(|hundred| hundred * 100).collect();
            assert_eq!(of_split, expected, "split {split} with {workers} workers");
        }
        fake.finish().await.unwrap();
    }
    // `a` had all its events before its first timer fired, so the first one found them all.
    let counted: u64 = fired.iter().filter(|(key, ..)| key == "a").map(|(.., count)| count).sum();
    assert_eq!(counted, 500);
}
