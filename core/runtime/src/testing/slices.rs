//! An operator with much to do lets the others on its worker have their turns.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidelock::*;

use super::{Event, Fake, MemorySink, MemorySource, Twist, committed};
use crate::slice::Slicing;
use crate::{Context, KeyedOperator, State};

const KEYS: u64 = 2_000;

/// Has one timer for each key, all at one time. From its first timer on it waits, a little with each, until a
/// record came through elsewhere on the worker.
struct Slow {
    elsewhere: Arc<AtomicU64>,
    source: Arc<MemorySource>,
    fired: Arc<AtomicU64>,
}

impl KeyedOperator for Slow {
    type Key = u64;
    type In = Event;
    type Out = u64;
    type Side = Infallible;
    type State = ();
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        _: &u64,
        _: &mut State<()>,
        _: Event,
        context: &mut Context<'_, u64>,
    ) -> Result<()> {
        context.set_timer(i64::try_from(KEYS).unwrap() * 10);
        Ok(())
    }

    fn on_timer(
        &mut self,
        key: &u64,
        _: &mut State<()>,
        _: i64,
        context: &mut Context<'_, u64>,
    ) -> Result<()> {
        self.source.release("b", 1, false);
        if self.elsewhere.load(Ordering::SeqCst) == 0 {
            self.fired.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        context.emit(*key);
        Ok(())
    }
}

/// A process whose worker fires for long answers the others, and its barriers are cut.
#[tokio::test(flavor = "multi_thread")]
async fn other_operators_have_their_turn_while_one_fires_and_its_epoch_stays_whole() {
    let (source, sink) = (Arc::new(MemorySource::default()), MemorySink::new());
    let (elsewhere, fired) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (job_source, job_elsewhere, job_fired) =
        (Arc::clone(&source), Arc::clone(&elsewhere), Arc::clone(&fired));
    let twist = Twist { slicing: Slicing::steps(1), ..Twist::default() };
    let mut fake = Fake::start_with(1, twist, move |graph| {
        let (elsewhere, source, fired) =
            (Arc::clone(&job_elsewhere), Arc::clone(&job_source), Arc::clone(&job_fired));
        graph
            .source("in", &job_source)
            .event_time(|event| event.time)
            .stream()
            .key_by(|event| event.number)
            .process("slow", Slow { elsewhere, source, fired })
            .sink("out", &sink);
        let elsewhere = Arc::clone(&job_elsewhere);
        graph.source("other", &job_source).stream().inspect(move |_| {
            elsewhere.fetch_add(1, Ordering::SeqCst);
        });
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    fake.assign("other", MemorySource::split("b", 0)).await;
    source.release("a", KEYS, false);
    fake.read("in", KEYS).await;
    fake.checkpoint(1).await;
    // The watermark that makes all timers due, and a barrier close behind it.
    source.release("a", KEYS + 1, false);
    fake.read("in", KEYS + 1).await;
    let mut reports = fake.checkpoint(2).await;
    reports.extend(fake.checkpoint(3).await);
    let mut keys = committed::<u64>(&reports, "out");
    keys.sort_unstable();
    assert_eq!(keys, (0..=KEYS).collect::<Vec<_>>());
    let waited = fired.load(Ordering::SeqCst);
    assert!((1..=KEYS / 2).contains(&waited), "{waited} of {KEYS} fired before anything else had its turn");
    fake.finish().await.unwrap();
}

/// What a worker holds, as hundreds of millions of keys: it takes its time to go.
struct Heavy;

impl Drop for Heavy {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_secs(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drops_much_for_long_is_not_stuck() {
    let source = Arc::new(MemorySource::default());
    let twist = Twist { end_timeout: Duration::from_secs(3), ..Twist::default() };
    let mut fake = Fake::start_with(1, twist, move |graph| {
        let held = Heavy;
        let numbers = graph.source("in", &source).stream().map(move |event| {
            let Heavy = &held;
            event.number
        });
        numbers.sink("out", &MemorySink::new());
    })
    .await
    .unwrap();
    fake.open().await;
    fake.finish().await.unwrap();
}

/// As one that computes for ever would be, were a test able to end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_a_function_blocks_is_stuck() {
    let source = Arc::new(MemorySource::default());
    let (block, blocked) = std::sync::mpsc::sync_channel::<()>(0);
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let twist = Twist { end_timeout: Duration::from_millis(100), ..Twist::default() };
    let job_source = Arc::clone(&source);
    let mut fake = Fake::start_with(1, twist, move |graph| {
        let blocked = Arc::clone(&blocked);
        let numbers = graph.source("in", &job_source).stream();
        numbers
            .inspect(move |_| blocked.lock().unwrap().recv().unwrap_or_default())
            .sink("out", &MemorySink::<Event>::new());
    })
    .await
    .unwrap();
    fake.open().await;
    fake.assign("in", MemorySource::split("a", 0)).await;
    source.release("a", 1, false);
    fake.read("in", 1).await;
    let error = fake.finish().await.unwrap_err();
    assert!(error.to_string().contains("a function in the graph blocks it"), "{error:?}");
    drop(block);
}
