//! The way of a barrier: from the moment in which the coordinator sends it until it has reached the writers of
//! all workers, and until the checkpoint's parts are all reported. The first moment is the beginning of the
//! coordinator's span `prepare`, the last one its end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use object_store::memory::InMemory;
use tidelock::log::Log;
use tidelock::{Epoch, Result};
use tidelock_runtime::{Graph, Workers};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::numbers::{Count, Numbers, Pace, job};

const WORKERS: usize = 2;
const INTERVAL: Duration = Duration::from_millis(10);
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(20);

/// A way that takes longer counts as this: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// When each barrier was sent, reached the last writer, and was reported by all.
#[derive(Default)]
struct Way {
    sent: Option<Instant>,
    arrived: Option<Instant>,
    reported: Option<Instant>,
}

/// The ways of all barriers of one job, by epoch.
type Ways = Arc<Mutex<BTreeMap<u64, Way>>>;

/// Whose barriers are noted.
static WAYS: Mutex<Option<Ways>> = Mutex::new(None);

fn note(epoch: u64, moment: impl FnOnce(&mut Way, Instant)) {
    let now = Instant::now();
    let ways = WAYS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(ways) = ways {
        moment(ways.lock().unwrap_or_else(PoisonError::into_inner).entry(epoch).or_default(), now);
    }
}

/// Notes when spans of the name `prepare` begin and end. A span's id is its epoch.
struct Spans;

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "prepare"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut epoch = EpochOf(0);
        span.record(&mut epoch);
        note(epoch.0, |way, now| way.sent = Some(now));
        Id::from_u64(epoch.0)
    }

    fn try_close(&self, id: Id) -> bool {
        note(id.into_u64(), |way, now| way.reported = Some(now));
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct EpochOf(u64);

impl Visit for EpochOf {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "epoch" {
            self.0 = format!("{value:?}").parse().unwrap_or(0);
        }
    }
}

/// Nanoseconds of both ways.
struct Times {
    arrived: Histogram<u64>,
    reported: Histogram<u64>,
    records: u64,
}

async fn measure(
    batch: u64,
    pace: Pace,
    build: impl for<'s> Fn(&Graph<'s>, &Arc<Numbers>, &Arc<Count<u64>>) + Send + Sync + 'static,
) -> Result<Times> {
    let arrived = |epoch: Epoch| {
        // The writer that comes last is the one that counts.
        note(epoch.0, |way, now| way.arrived = Some(now));
    };
    let numbers = Arc::new(Numbers { splits: WORKERS as u64, batch, pace });
    let count = Arc::new(Count::new(arrived));
    let job = job(Log::on(Arc::new(InMemory::new()), "log".into()), INTERVAL).await?;
    let (handle, to_count) = (job.handle(), Arc::clone(&count));
    let running =
        tokio::spawn(job.run(Workers::threads(WORKERS), move |graph| build(graph, &numbers, &to_count)));
    tokio::time::sleep(WARM_UP).await;
    let (ways, before) = (Ways::default(), count.written());
    *WAYS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ways));
    tokio::time::sleep(MEASURED).await;
    *WAYS.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let records = count.written() - before;
    handle.cancel().await?;
    running.await.expect("invariant: a job does not panic")?;

    let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("invariant: legal bounds");
    let mut times = Times { arrived: histogram(), reported: histogram(), records };
    let nanoseconds = |from: Instant, to: Instant| u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
    for way in ways.lock().unwrap_or_else(PoisonError::into_inner).values() {
        // The first and the last one are half seen.
        if let Way { sent: Some(sent), arrived: Some(arrived), reported: Some(reported) } = way {
            times.arrived.saturating_record(nanoseconds(*sent, *arrived));
            times.reported.saturating_record(nanoseconds(*sent, *reported));
        }
    }
    Ok(times)
}

fn stateless(graph: &Graph<'_>, numbers: &Arc<Numbers>, count: &Arc<Count<u64>>) {
    graph.source("numbers", numbers).stream().map(|number| number + 1).sink("count", count);
}

/// With an exchange, so that every worker waits for every other.
fn keyed(graph: &Graph<'_>, numbers: &Arc<Numbers>, count: &Arc<Count<u64>>) {
    let stream = graph.source("numbers", numbers).stream();
    stream
        .key_by(|number| number % 1_000)
        .stateful("sum", |_, sum, number, context| {
            let sum = sum.get_or_insert(0_u64);
            *sum = sum.wrapping_add(number);
            context.emit(*sum);
            Ok(())
        })
        .sink("count", count);
}

fn row(name: &str, times: &Times) {
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    let Times { arrived, reported, records } = times;
    println!(
        "| {name} | {:.1} | {} | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms | {:.3} ms |",
        *records as f64 / MEASURED.as_secs_f64() / 1e6,
        arrived.len(),
        ms(arrived, 0.5),
        ms(arrived, 0.99),
        ms(arrived, 1.0),
        ms(reported, 0.5),
        ms(reported, 0.99),
    );
}

pub(crate) async fn run() -> Result<()> {
    tracing::subscriber::set_global_default(Spans).expect("invariant: nobody else subscribed");
    println!("| {WORKERS} workers | M records/s | barriers | arrived p50 | p99 | max | reported p50 | p99 |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let pace = |batch_every_ms| Pace::Every(Duration::from_millis(batch_every_ms));
    for (name, batch, pace) in [
        ("no records", 1, pace(3_600_000)),
        ("batches of 50 each ms", 50, pace(1)),
        ("batches of 500 each ms", 500, pace(1)),
        ("as fast as it goes", 1024, Pace::Free),
    ] {
        row(&format!("map; {name}"), &measure(batch, pace.clone(), stateless).await?);
        row(&format!("keyed sum; {name}"), &measure(batch, pace, keyed).await?);
    }
    Ok(())
}
