//! Lookups in a whole attempt.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidelock::*;
use tokio::sync::Semaphore;

use super::figures::Figures;
use super::{Event, Fake, MemorySink, MemorySource, Snapshot, Twist, committed};
use crate::{LookupTables, Lookups};

/// Knows the double of every even number. Notes what it is asked.
struct Doubles {
    /// An answer takes a permit.
    permits: Semaphore,
    requests: Mutex<Vec<Vec<u64>>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    fails: Mutex<Vec<Error>>,
}

impl Doubles {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Semaphore::new(permits),
            requests: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            fails: Mutex::default(),
        })
    }
}

#[async_trait]
impl Lookup for Doubles {
    type Key = u64;
    type Value = u64;

    async fn lookup(&self, keys: &[u64]) -> Result<Vec<Option<u64>>> {
        self.requests.lock().unwrap().push(keys.to_vec());
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        // Requests with few keys overtake those with many.
        tokio::time::sleep(Duration::from_micros(keys.len() as u64 * 50)).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match self.fails.lock().unwrap().pop() {
            Some(error) => Err(error),
            None => Ok(keys.iter().map(|key| key.is_multiple_of(2).then_some(key * 2)).collect()),
        }
    }
}

type Row = (u64, Option<u64>);

async fn start(workers: usize, lookup: &Arc<Doubles>, how: Lookups) -> (Fake, Arc<MemorySource>) {
    start_as("double", workers, lookup, how).await
}

async fn start_as(
    uid: &'static str,
    workers: usize,
    lookup: &Arc<Doubles>,
    how: Lookups,
) -> (Fake, Arc<MemorySource>) {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Row>::new());
    let (job_source, lookup) = (Arc::clone(&source), Arc::clone(lookup));
    let mut fake = Fake::start(workers, move |graph| {
        graph
            .source("in", &job_source)
            .stream()
            .lookup(
                uid,
                &lookup,
                how,
                // Every fifth event has no key; every key comes several times.
                |event: &Event| (!event.number.is_multiple_of(5)).then_some(event.number / 3),
                |event, double| (event.number, double.copied()),
            )
            .sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    (fake, source)
}

fn expected(number: u64) -> Row {
    let key = number / 3;
    (number, (!number.is_multiple_of(5) && key.is_multiple_of(2)).then_some(key * 2))
}

/// Reads everything through a few checkpoints.
async fn rows(mut fake: Fake, count: u64) -> Vec<Row> {
    let (mut rows, mut snapshot) = (Vec::new(), Snapshot::default());
    for epoch in 1.. {
        let reports = fake.checkpoint(epoch).await;
        snapshot.apply(&reports);
        rows.extend(committed::<Row>(&reports, "out"));
        // A snapshot never has a position whose records still wait for an answer.
        assert_eq!(rows.len() as u64, snapshot.positions().get("a").copied().unwrap_or(0), "epoch {epoch}");
        if rows.len() as u64 == count {
            break;
        }
    }
    fake.finish().await.unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_lookup_keeps_the_order_and_an_unordered_one_loses_nothing() {
    for how in [Lookups::ordered(), Lookups::unordered(), Lookups::unordered().cache_for(Duration::ZERO)] {
        let lookup = Doubles::new(1_000_000);
        let (fake, source) = start(1, &lookup, how.keys_per_request_max(3)).await;
        source.release("a", 2_000, false);
        let mut rows = rows(fake, 2_000).await;
        if how == Lookups::ordered() {
            assert!(rows.is_sorted());
        }
        rows.sort_unstable();
        assert_eq!(rows, (0..2_000).map(expected).collect::<Vec<_>>());
        let requests = lookup.requests.lock().unwrap();
        assert!(requests.iter().all(|keys| (1..=3).contains(&keys.len())));
        assert!(lookup.most_under_way.load(Ordering::SeqCst) <= 8);
        // A cached answer is not asked for again, a miss neither; without a cache it may be.
        let mut asked: BTreeMap<u64, usize> = BTreeMap::new();
        requests.iter().flatten().for_each(|key| *asked.entry(*key).or_default() += 1);
        if how.cache_for(Duration::from_secs(60)) == how {
            assert!(asked.values().all(|times| *times == 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_that_wait_at_once_are_asked_for_once() {
    let lookup = Doubles::new(0);
    let how = Lookups::unordered().cache_for(Duration::ZERO);
    let (fake, source) = start(1, &lookup, how).await;
    source.release("a", 9, false);
    fake.read("in", 9).await;
    lookup.permits.add_permits(1_000);
    let mut rows = rows(fake, 9).await;
    rows.sort_unstable();
    assert_eq!(rows, (0..9).map(expected).collect::<Vec<_>>());
    let requests = lookup.requests.lock().unwrap();
    let mut keys: Vec<u64> = requests.iter().flatten().copied().collect();
    keys.sort_unstable();
    assert_eq!(keys, [0, 1, 2], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_waits_for_the_answers_of_its_epoch() {
    let lookup = Doubles::new(0);
    let (mut fake, source) = start(2, &lookup, Lookups::unordered()).await;
    source.release("a", 7, false);
    fake.read("in", 7).await;
    fake.barrier(1).await;
    let silence = tokio::time::timeout(Duration::from_millis(50), fake.news.recv()).await;
    assert!(silence.is_err(), "{silence:?} before the answers");
    lookup.permits.add_permits(1_000);
    let reports = fake.reports(1).await;
    assert_eq!(committed::<Row>(&reports, "out").len(), 7);
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_may_pass_is_tried_again_and_another_ends_the_attempt() {
    let lookup = Doubles::new(1_000);
    let passing = Error::new(ErrorKind::RateLimited, "look up", "slow down").with_retry(Retry::Retry);
    lookup.fails.lock().unwrap().push(passing);
    let (fake, source) = start(1, &lookup, Lookups::ordered()).await;
    source.release("a", 30, false);
    assert_eq!(rows(fake, 30).await.len(), 30);

    let lookup = Doubles::new(1_000);
    lookup.fails.lock().unwrap().push(Error::new(ErrorKind::Auth, "look up", "the key was revoked"));
    let (fake, source) = start(2, &lookup, Lookups::ordered()).await;
    source.release("a", 30, false);
    let error = format!("{:?}", fake.ended().await.unwrap_err());
    assert!(error.contains("the key was revoked") && error.contains("uid=double"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_longer_than_the_patience_ends_the_attempt() {
    let lookup = Doubles::new(1_000);
    let away = || Error::new(ErrorKind::Unavailable, "look up", "nobody there").with_retry(Retry::Retry);
    lookup.fails.lock().unwrap().extend((0..100).map(|_| away()));
    let how = Lookups::ordered().retry_for(Duration::from_millis(200));
    let (fake, source) = start(1, &lookup, how).await;
    source.release("a", 30, false);
    let error = format!("{:?}", fake.ended().await.unwrap_err());
    assert!(error.contains("nobody there"), "{error}");
    assert!(lookup.requests.lock().unwrap().len() > 1, "tried again before");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_fails_records_go_on_with_stale_answers_where_that_was_chosen() {
    let lookup = Doubles::new(1_000_000);
    // Each answer is past its time at once, so every batch asks.
    let how = Lookups::ordered().cache_for(Duration::ZERO).stale_for(Duration::from_secs(3_600));
    let (fake, source) = start(1, &lookup, how).await;
    source.release("a", 30, false);
    fake.read("in", 30).await;
    while lookup.requests.lock().unwrap().iter().flatten().count() < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // All ten keys are known. From here on the store answers nobody.
    let away = || Error::new(ErrorKind::Unavailable, "look up", "nobody there").with_retry(Retry::Retry);
    while lookup.under_way.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    lookup.fails.lock().unwrap().extend((0..1_000).map(|_| away()));
    source.release("b", 30, false);
    fake.assign("in", MemorySource::split("b", 0)).await;
    fake.read("in", 60).await;
    let mut fake = fake;
    let mut rows = committed::<Row>(&fake.checkpoint(1).await, "out");
    rows.sort_unstable();
    let mut twice: Vec<Row> = (0..30).chain(0..30).map(expected).collect();
    twice.sort_unstable();
    assert_eq!(rows, twice);
    fake.finish().await.unwrap();
}

/// A store that takes every question and answers none.
struct Silent;

#[async_trait]
impl Lookup for Silent {
    type Key = u64;
    type Value = u64;

    async fn lookup(&self, _keys: &[u64]) -> Result<Vec<Option<u64>>> {
        std::future::pending().await
    }
}

#[async_trait]
impl LookupTable for Silent {
    type Key = u64;
    type Value = u64;

    async fn load(&self) -> Result<Vec<(u64, u64)>> {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_ends_the_attempt_with_an_error_that_names_the_lookup() {
    for whole in [false, true] {
        let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Row>::new());
        source.release("a", 6, false);
        let twist = Twist { call_timeout: Duration::from_millis(50), ..Twist::default() };
        let mut fake = Fake::start_with(1, twist, move |graph| {
            let (events, silent) = (graph.source("in", &source).stream(), Arc::new(Silent));
            let joined = if whole {
                let hourly = LookupTables::refreshed_every(Duration::from_secs(3_600));
                events.lookup_table("silent", &silent, hourly, |event: Event, table| {
                    (event.number, table.get(&event.number).copied())
                })
            } else {
                let key = |event: &Event| Some(event.number);
                let join = |event: Event, found: Option<&u64>| (event.number, found.copied());
                events.lookup("silent", &silent, Lookups::ordered(), key, join)
            };
            joined.sink("out", &sink);
        })
        .await
        .unwrap();
        // The load begins with the attempt.
        if !whole {
            fake.open().await;
            fake.assign("in", MemorySource::split("a", 0)).await;
        }
        let error = fake.ended().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart));
        let error = format!("{error:?}");
        assert!(error.contains("no answer in time") && error.contains("uid=silent"), "{error}");
    }
}

/// A table of the doubles of even numbers, which knows how often it was loaded.
struct Growing {
    loads: AtomicUsize,
    may_load: Semaphore,
    fails: Mutex<Vec<Error>>,
}

impl Growing {
    fn new(permits: usize) -> Arc<Self> {
        let (loads, may_load) = (AtomicUsize::new(0), Semaphore::new(permits));
        Arc::new(Self { loads, may_load, fails: Mutex::default() })
    }
}

#[async_trait]
impl LookupTable for Growing {
    type Key = u64;
    type Value = (u64, usize);

    async fn load(&self) -> Result<Vec<(u64, (u64, usize))>> {
        self.may_load.acquire().await.unwrap().forget();
        if let Some(error) = self.fails.lock().unwrap().pop() {
            return Err(error);
        }
        let load = self.loads.fetch_add(1, Ordering::SeqCst) + 1;
        Ok((0..1_000).step_by(2).map(|key| (key, (key * 2, load))).collect())
    }
}

async fn start_table(table: &Arc<Growing>, how: LookupTables) -> (Fake, Arc<MemorySource>) {
    start_table_as("table", table, how).await
}

async fn start_table_as(
    uid: &'static str,
    table: &Arc<Growing>,
    how: LookupTables,
) -> (Fake, Arc<MemorySource>) {
    type Joined = (u64, Option<(u64, usize)>);
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Joined>::new());
    let (job_source, table) = (Arc::clone(&source), Arc::clone(table));
    let mut fake = Fake::start(2, move |graph| {
        let events = graph.source("in", &job_source).stream();
        let joined = events.lookup_table(uid, &table, how, |event: Event, table| {
            (event.number, table.get(&event.number).copied())
        });
        joined.sink("out", &sink);
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    (fake, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_the_first_load_of_a_table_and_a_later_one_is_seen_by_later_records() {
    let table = Growing::new(0);
    let (mut fake, source) =
        start_table(&table, LookupTables::refreshed_every(Duration::from_millis(1))).await;
    source.release("a", 6, false);
    fake.read("in", 6).await;
    fake.barrier(1).await;
    let silence = tokio::time::timeout(Duration::from_millis(50), fake.news.recv()).await;
    assert!(silence.is_err(), "{silence:?} before the table is there");
    table.may_load.add_permits(1);
    let mut rows = committed::<(u64, Option<(u64, usize)>)>(&fake.reports(1).await, "out");
    rows.sort_unstable();
    let expected = (0..6_u64).map(|number| (number, number.is_multiple_of(2).then_some((number * 2, 1))));
    assert_eq!(rows, expected.collect::<Vec<_>>());

    table.may_load.add_permits(1);
    while table.loads.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut seen = 1;
    for epoch in 2.. {
        source.release("a", 6 * epoch, false);
        fake.read("in", 6 * epoch).await;
        let rows = committed::<(u64, Option<(u64, usize)>)>(&fake.checkpoint(epoch).await, "out");
        seen = rows.iter().filter_map(|(_, found)| found.map(|(_, load)| load)).max().unwrap_or(seen);
        if seen == 2 || epoch == 100 {
            break;
        }
    }
    assert_eq!(seen, 2);
    fake.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_loaded_for_now_is_tried_again_and_one_that_never_can_ends_the_attempt() {
    let table = Growing::new(1_000);
    let away = Error::new(ErrorKind::Unavailable, "load", "nobody there").with_retry(Retry::Retry);
    table.fails.lock().unwrap().push(away);
    let (mut fake, source) =
        start_table(&table, LookupTables::refreshed_every(Duration::from_secs(60))).await;
    source.release("a", 6, false);
    fake.read("in", 6).await;
    assert_eq!(committed::<(u64, Option<(u64, usize)>)>(&fake.checkpoint(1).await, "out").len(), 6);
    fake.finish().await.unwrap();

    let table = Growing::new(0);
    table.fails.lock().unwrap().push(Error::new(ErrorKind::NotFound, "load", "no such table"));
    let (fake, _) = start_table(&table, LookupTables::refreshed_every(Duration::from_secs(60))).await;
    table.may_load.add_permits(1);
    let error = format!("{:?}", fake.ended().await.unwrap_err());
    assert!(error.contains("no such table") && error.contains("uid=table"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_misses_failures_and_requests_are_counted_under_the_uid() {
    let figures = Figures::of_process();
    let away = || Error::new(ErrorKind::Unavailable, "look up", "nobody there").with_retry(Retry::Retry);
    let lookup = Doubles::new(1_000_000);
    lookup.fails.lock().unwrap().push(away());
    let (mut fake, source) = start_as("counted", 1, &lookup, Lookups::ordered()).await;
    source.release("a", 30, false);
    fake.read("in", 30).await;
    assert_eq!(committed::<Row>(&fake.checkpoint(1).await, "out").len(), 30);
    let (hits, misses) = (
        figures.of("tidelock_lookup_hits_total", "counted"),
        figures.of("tidelock_lookup_misses_total", "counted"),
    );
    // Six of thirty have no key, and count as neither.
    assert_eq!(hits + misses, 24);
    assert!(misses >= 10, "ten keys");
    source.release("b", 30, false);
    fake.assign("in", MemorySource::split("b", 0)).await;
    fake.read("in", 60).await;
    assert_eq!(committed::<Row>(&fake.checkpoint(2).await, "out").len(), 30);
    assert_eq!(figures.of("tidelock_lookup_hits_total", "counted"), hits + 24, "all are known");
    assert_eq!(figures.of("tidelock_lookup_misses_total", "counted"), misses);
    assert_eq!(figures.of("tidelock_lookup_failures_total", "counted"), 1);
    let requests = lookup.requests.lock().unwrap().len() as u64;
    assert_eq!(figures.of("tidelock_lookup_request_seconds", "counted"), requests);
    fake.finish().await.unwrap();

    let table = Growing::new(1_000);
    table.fails.lock().unwrap().push(away());
    let hourly = LookupTables::refreshed_every(Duration::from_secs(3_600));
    let (mut fake, source) = start_table_as("counted-table", &table, hourly).await;
    source.release("a", 30, false);
    fake.read("in", 30).await;
    fake.checkpoint(1).await;
    let figure = |name| figures.of(name, "counted-table");
    assert_eq!((figure("tidelock_lookup_hits_total"), figure("tidelock_lookup_misses_total")), (15, 15));
    assert_eq!((figure("tidelock_lookup_failures_total"), figure("tidelock_lookup_request_seconds")), (1, 2));
    assert_eq!(f64::from_bits(figure("tidelock_lookup_table_entries")), 500.0);
    fake.finish().await.unwrap();
}
