//! Lookups in a whole attempt.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidelock::host::News;
use tidelock::*;
use tokio::sync::Semaphore;

use super::{Event, Fake, MemorySink, MemorySource, Snapshot, committed};
use crate::Lookups;

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
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::<Row>::new());
    let (job_source, lookup) = (Arc::clone(&source), Arc::clone(lookup));
    let mut fake = Fake::start(workers, move |graph| {
        graph
            .source("in", &job_source)
            .stream()
            .lookup(
                "double",
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
    let (mut fake, source) = start(2, &lookup, Lookups::ordered()).await;
    source.release("a", 30, false);
    assert!(matches!(fake.next().await, News::Failed { .. }));
    let error = format!("{:?}", fake.finish().await.unwrap_err());
    assert!(error.contains("the key was revoked") && error.contains("uid=double"), "{error}");
}
