//! Whole jobs with the real coordinator, on sources and sinks in memory. Here: everything once, through failures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so")]

mod failing;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock::job::{JobConfig, Settings};
use tidelock::log::{Closed, Log};
use tidelock::{Discovery, Error, ErrorKind, JobId, Known, Result, Source, Uid};
use tidelock_runtime::{Job, Restarts, Tumbling, Window, Workers, fold};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;
use tidelock_testkit::oracle::Input;

/// A [`MemorySource`] all of whose splits are there from the beginning.
struct Bounded(MemorySource);

#[async_trait]
impl Source for Bounded {
    type Record = <MemorySource as Source>::Record;
    type Split = <MemorySource as Source>::Split;
    type Reader = <MemorySource as Source>::Reader;

    async fn discover(&self, known: &Known<Self::Split>) -> Result<Discovery<Self::Split>> {
        let found = Source::discover(&self.0, known).await?;
        Ok(Discovery { complete: true, ..found })
    }

    async fn open(&self, split: Self::Split) -> Result<Self::Reader> {
        Source::open(&self.0, split).await
    }
}

fn config() -> JobConfig {
    let mut config = JobConfig::new(JobId::new("job").unwrap(), "memory");
    let mut settings = Settings::default();
    settings.interval = Duration::from_millis(5);
    config.settings = settings;
    config.discovery_interval = Duration::from_millis(20);
    config
}

fn log() -> Log {
    Log::on(Arc::new(InMemory::new()), "log".into())
}

fn restarts() -> Restarts {
    Restarts {
        attempts_max: 100,
        wait_first: Duration::from_millis(1),
        wait_max: Duration::from_millis(5),
        ..Restarts::default()
    }
}

/// A failure that the next attempt may not have.
fn passing(number: u64) -> Error {
    Error::new(ErrorKind::Unavailable, "test", format!("failure {number}"))
}

/// Rows by key, with the places of each in the order in which they became visible.
fn by_split(rows: &[Row]) -> BTreeMap<String, Vec<u64>> {
    let mut splits: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in rows {
        splits.entry(row.key.clone()).or_default().push(row.value);
    }
    splits
}

async fn exactly_once_through_failures(workers: usize, seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (feed, target) = (Feed::new(), Target::new());
    let mut expected = BTreeMap::new();
    for split in ["a", "b", "c"] {
        let length = rng.random_range(1_000..3_000);
        feed.append(split, 0..length);
        feed.end(split);
        expected.insert(split.to_owned(), (0..length).collect::<Vec<_>>());
    }
    let total: usize = expected.values().map(Vec::len).sum();
    let source = Arc::new(Bounded(MemorySource::new(feed)));
    let sink = Arc::new(MemorySink::new(target.clone()));
    // Fails again and again, each time after a random number of records.
    let until_failure = Arc::new(AtomicU64::new(rng.random_range(50..1_500)));
    let failures = Arc::new(AtomicU64::new(0));
    let fuses: Vec<u64> = (0..12).map(|_| rng.random_range(50..2_500)).collect();
    let job = Job::open_on(config(), log()).await.unwrap().restarts(restarts());
    let (counted, handle) = (Arc::clone(&failures), job.handle());
    let ended = job
        .run(Workers::threads(workers), move |graph| {
            let (fuse, failures, fuses) = (Arc::clone(&until_failure), Arc::clone(&failures), fuses.clone());
            graph
                .source("in", &source)
                .stream()
                .try_map(move |input| {
                    if fuse.fetch_sub(1, Ordering::SeqCst) == 1 {
                        let failure = failures.fetch_add(1, Ordering::SeqCst);
                        let next = fuses.get(usize::try_from(failure).unwrap()).copied();
                        fuse.store(next.unwrap_or(u64::MAX), Ordering::SeqCst);
                        return Err(passing(failure));
                    }
                    Ok(Row::new(input.split, input.place))
                })
                .sink("out", &sink);
        })
        .await
        .unwrap();
    assert_eq!(ended.closed, Closed::Finished);
    assert!(counted.load(Ordering::SeqCst) > 0, "nothing failed, so nothing was shown");
    assert_eq!(by_split(&target.visible()), expected);
    assert!(target.leftovers().is_empty());
    assert!(handle.records_written()[&Uid::new("out").unwrap()] >= total as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_once_through_failures_on_one_worker() {
    for seed in 0..3 {
        exactly_once_through_failures(1, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_once_through_failures_on_two_workers() {
    for seed in 10..13 {
        exactly_once_through_failures(2, seed).await;
    }
}

/// Rows of windows: how many records of each key have their time in each hundred places.
async fn windows_are_exact_through_failures(workers: usize, bytes_in_flight_max: u64, seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (feed, target) = (Feed::new(), Target::new());
    let mut expected = BTreeMap::<String, u64>::new();
    for split in ["a", "b", "c"] {
        let length = rng.random_range(1_000..2_000);
        feed.append(split, 0..length);
        feed.end(split);
        for place in 0..length {
            *expected.entry(format!("{}-{}", place % 7, place / 100 * 100)).or_default() += 1;
        }
    }
    let source = Arc::new(Bounded(MemorySource::new(feed)));
    let sink = Arc::new(MemorySink::new(target.clone()));
    let failures = Arc::new(AtomicU64::new(8));
    let seen = Arc::new(AtomicU64::new(0));
    let fuse: Vec<u64> = (0..8).map(|_| rng.random_range(100..3_000)).collect();
    let job = Job::open_on(config(), log()).await.unwrap();
    let job = job.restarts(restarts()).bytes_in_flight_max(bytes_in_flight_max);
    let left = Arc::clone(&failures);
    let ended = job.run(Workers::threads(workers), move |graph| {
        let (failures, seen, fuse) = (Arc::clone(&failures), Arc::clone(&seen), fuse.clone());
        let (rows, late) = graph
            .source("in", &source)
            .event_time(|input| i64::try_from(input.place).unwrap())
            .stream()
            .try_map(move |input| {
                let nth = failures.load(Ordering::SeqCst);
                if nth > 0 && seen.fetch_add(1, Ordering::SeqCst) == fuse[usize::try_from(nth).unwrap() - 1] {
                    seen.store(0, Ordering::SeqCst);
                    failures.fetch_sub(1, Ordering::SeqCst);
                    return Err(passing(nth));
                }
                Ok(input)
            })
            .key_by(|input| input.place % 7)
            .window(
                "hundreds",
                Tumbling::of(Duration::from_millis(100)),
                fold(
                    |count: &mut u64, _: &Input| *count += 1,
                    |key: &u64, window: Window, count: &u64| {
                        Row::new(format!("{key}-{}", window.start), *count)
                    },
                ),
            );
        rows.sink("rows", &sink);
        late.inspect(|input| panic!("{input} is late"));
    });
    assert_eq!(ended.await.unwrap().closed, Closed::Finished);
    assert!(left.load(Ordering::SeqCst) < 8, "nothing failed, so nothing was shown");
    let rows = target.visible();
    let counts: BTreeMap<String, u64> = rows.iter().map(|row| (row.key.clone(), row.value)).collect();
    assert_eq!(counts, expected);
    assert_eq!(rows.len(), expected.len(), "a window has two rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_is_exact_and_written_once_through_failures() {
    for (workers, seed) in [(1, 20), (2, 21), (3, 22), (2, 23)] {
        windows_are_exact_through_failures(workers, 64 << 20, seed).await;
    }
}

/// One batch exceeds the budget: records flow one batch at a time, and still nothing waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_budget_stops_nothing_for_ever() {
    for (workers, seed) in [(1, 30), (3, 31)] {
        windows_are_exact_through_failures(workers, 1, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_job_goes_on_where_it_stopped_with_other_workers() {
    let (feed, target, log) = (Feed::new(), Target::new(), log());
    for workers in [1, 2, 1] {
        let until = feed_more(&feed);
        let source = Arc::new(MemorySource::new(feed.clone()));
        let sink = Arc::new(MemorySink::new(target.clone()));
        let job = Job::open_on(config(), log.clone()).await.unwrap();
        assert_eq!(job.restored().is_some(), until > 1_000);
        let handle = job.handle();
        let running = tokio::spawn(job.run(Workers::threads(workers), move |graph| {
            graph
                .source("in", &source)
                .stream()
                .map(|input| Row::new(input.split, input.place))
                .sink("out", &sink);
        }));
        while target.visible().len() < usize::try_from(until).unwrap() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        handle.stop(None).await.unwrap();
        let ended = running.await.unwrap().unwrap();
        assert_eq!(ended.closed, Closed::Stopped);
    }
    assert_eq!(by_split(&target.visible()), BTreeMap::from([("a".to_owned(), (0..3_000).collect())]));
}

/// Appends a thousand inputs; returns how many there are.
fn feed_more(feed: &Feed) -> u64 {
    static LENGTH: AtomicU64 = AtomicU64::new(0);
    let before = LENGTH.fetch_add(1_000, Ordering::SeqCst);
    feed.append("a", before..before + 1_000);
    before + 1_000
}
