//! How many requests are under way, and of a key one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;
use tidelock::{Epoch, Retry, SinkWriter as _};
use tidelock_dynamodb::{ItemChange, ItemUpdate};
use tidelock_processes::{PATIENCE, seed};
use tidelock_testkit::{Fault, HttpFaults};
use tokio::time::timeout;

use super::place::{Expected, KEY, Place, attempt, gone, key, opened, put, refused, throttled, write};

/// What is under way, as it is seen between sink and server.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    now: usize,
    most: usize,
    keys: BTreeMap<String, u32>,
    /// Keys that were under way twice.
    twice: Vec<String>,
}

/// A request that is under way, until it is dropped.
struct Going(Watch, Vec<String>);

impl Watch {
    /// Watches all writes from now on.
    pub(crate) fn over(faults: &HttpFaults) -> Self {
        let watch = Self::default();
        let watching = watch.clone();
        faults.hook(move |request| {
            let going = watching.begin(keys_of(request.body()));
            Some(Box::new(move |_| drop(going)))
        });
        watch
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, keys: Vec<String>) -> Going {
        let mut seen = self.seen();
        if !keys.is_empty() {
            seen.now += 1;
            seen.most = seen.most.max(seen.now);
        }
        for key in &keys {
            let count = seen.keys.entry(key.clone()).or_default();
            *count += 1;
            if *count > 1 {
                seen.twice.push(key.clone());
            }
        }
        drop(seen);
        Going(self.clone(), keys)
    }

    /// Waits until nothing is under way.
    pub(crate) async fn nothing(&self) {
        while self.seen().now > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn check(&self, most: usize) {
        let seen = self.seen();
        assert!(seen.twice.is_empty(), "under way twice: {:?}", seen.twice);
        assert!(seen.most <= most, "{} were under way at once", seen.most);
        assert!(seen.most > 0, "nothing was seen");
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut seen = self.0.seen();
        if !self.1.is_empty() {
            seen.now -= 1;
        }
        for key in &self.1 {
            if let Some(count) = seen.keys.get_mut(key) {
                *count -= 1;
            }
        }
    }
}

/// The keys of the items that a request writes.
pub(crate) fn keys_of(body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Json>(body) else { return Vec::new() };
    let of_item = |item: &Json| item[KEY]["S"].as_str().map(str::to_owned);
    let of_batches = body["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
    let of_writes = of_batches.flat_map(|writes| writes.as_array().into_iter().flatten());
    let of_writes =
        of_writes.flat_map(|write| [&write["PutRequest"]["Item"], &write["DeleteRequest"]["Key"]]);
    [&body["Item"], &body["Key"]].into_iter().chain(of_writes).filter_map(of_item).collect()
}

/// Records of few keys, with versions that grow.
fn records(round: u64) -> Vec<ItemChange> {
    let record = |at: u64| {
        let (of, value) = (format!("k{}", at % 20), round * 1_000 + at);
        let record = match at % 5 {
            0 => put(&of, value),
            1 => gone(&of),
            _ => ItemChange::update(ItemUpdate::of(key(&of)).set(format!("a{}", at % 3), value)),
        };
        record.with_version(value + 1)
    };
    (0..100).map(record).collect()
}

fn chances() -> Vec<(Fault, f64)> {
    let internal = refused(500, "InternalServerError");
    vec![(Fault::Lost, 0.1), (Fault::Doubled, 0.1), (Fault::Slow, 0.1), (throttled(), 0.1), (internal, 0.1)]
}

/// Where versions are those of records, several requests of a key follow each other within a call.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_one_request_is_under_way_and_no_more_than_may_be_of_all() {
    let seed = seed("under way");
    for by_record in [false, true] {
        let mut place = Place::versioned().await;
        if by_record {
            place = place.by_record();
        }
        place.config.requests_in_flight_max = 7;
        let faults = place.behind_faults().await;
        let watch = Watch::over(&faults);
        faults.random(seed, chances());
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let mut expected = Expected::default();
        for round in 0..5 {
            expected.take(&records(round));
            write(&mut writer, records(round)).await.unwrap();
        }
        watch.check(7);
        expected.check(&place, "at the end").await;
    }
}

/// A call returns when nothing of it is held any more, and the next one finds its keys under way.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_one_request_is_under_way_also_from_one_call_to_the_next() {
    let seed = seed("under way from call to call");
    for by_record in [false, true] {
        let mut place = Place::versioned().await;
        if by_record {
            place = place.by_record();
        }
        place.config.requests_in_flight_max = 7;
        let faults = place.behind_faults().await;
        let watch = Watch::over(&faults);
        faults.random(seed, chances());
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let mut expected = Expected::default();
        for epoch in 0..2 {
            for round in 0..4 {
                let mut records = records(4 * epoch + round);
                // Some calls have a few records alone, and leave lanes without work.
                records.truncate(if round % 3 == 2 { 4 } else { 100 });
                expected.take(&records);
                writer.write(&mut records).await.unwrap();
                assert!(records.is_empty());
            }
            assert!(writer.prepare(Epoch(epoch + 1)).await.unwrap().is_empty());
            expected.check(&place, "when an epoch has ended").await;
        }
        watch.check(7);
    }
}

/// Nobody answers, and what may be under way is. What is held behind it waits, and so does the barrier.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_returns_when_all_of_it_is_under_way_and_the_barrier_passes_when_all_has_arrived() {
    let mut place = Place::versioned().await;
    place.config.requests_in_flight_max = 3;
    let faults = place.behind_faults().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let is_answering = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&is_answering);
    faults.hook(move |_| {
        tokio::task::block_in_place(|| {
            while !answers.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        None
    });
    let mut first = vec![put("a", 1), put("b", 1), put("c", 1)];
    // It would never return if it waited for answers.
    timeout(PATIENCE, writer.write(&mut first)).await.expect("it returns").unwrap();
    assert!(place.seen().await.is_empty(), "nobody answered");
    let rest = tokio::spawn(async move {
        writer.write(&mut vec![put("a", 2), put("d", 2), put("a", 3)]).await.unwrap();
        writer.prepare(Epoch(1)).await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!rest.is_finished(), "there is no place for more");
    is_answering.store(true, Ordering::SeqCst);
    rest.await.unwrap().unwrap();
    let values = [("a", 3), ("b", 1), ("c", 1), ("d", 2)];
    for (of, value) in values {
        assert_eq!(place.value(of).await, Some(value), "{of}");
    }
}

/// Whatever a request of an earlier call meets, no epoch is said to have arrived that has not.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_its_way_is_told_by_a_later_call_and_nothing_is_prepared_after_it() {
    let place = Place::versioned().await;
    let (mut older, mut newer) =
        (opened(&place.sink(), &attempt(1)).await, opened(&place.sink(), &attempt(2)).await);
    write(&mut newer, vec![put("k0", 1)]).await.unwrap();
    let mut failed = None;
    for round in 0..3 {
        let mut records = vec![put("k0", round), put("k1", round)];
        failed = failed.or(older.write(&mut records).await.err());
    }
    let error = match failed {
        Some(error) => error,
        None => older.prepare(Epoch(1)).await.expect_err("a newer attempt wrote"),
    };
    assert!(error.retry() == Retry::Halt && error.to_string().contains("key=k0"), "{error}");
    assert!(older.prepare(Epoch(1)).await.is_err(), "not everything has arrived");
    assert!(older.write(&mut vec![put("k2", 1)]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_writers_of_a_process_share_what_may_be_under_way() {
    use tidelock::{Sink as _, WriterId};
    let mut place = Place::versioned().await;
    place.config.requests_in_flight_max = 3;
    let faults = place.behind_faults().await;
    let watch = Watch::over(&faults);
    let sink = place.sink();
    let mut first = opened(&sink, &attempt(1)).await;
    let mut second = sink.open(&attempt(1), WriterId(1)).await.unwrap();
    let of = |name: &str| (0..60).map(|at| put(&format!("{name}{at}"), at)).collect::<Vec<_>>();
    let (one, other) = tokio::join!(write(&mut first, of("a")), write(&mut second, of("b")));
    one.unwrap();
    other.unwrap();
    watch.check(3);
    assert_eq!(place.seen().await.len(), 120);
}

/// A table that throttles everything for a while is asked by fewer and fewer, and everything arrives.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_throttled_arrives_when_it_is_not_any_more() {
    for mut place in [Place::versioned().await, Place::batched().await] {
        let faults = place.behind_faults().await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let records: Vec<ItemChange> = (0..100).map(|at| put(&format!("k{at}"), at)).collect();
        let mut expected = Expected::default();
        expected.take(&records);
        faults.plan(&throttled(), 30);
        write(&mut writer, records).await.unwrap();
        assert_eq!(faults.count(), 30);
        expected.check(&place, "at the end").await;
    }
}
