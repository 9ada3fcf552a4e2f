//! How a source is added to a graph.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidelock::{Rejected, Source, SourceControl, Uid};
use timely::dataflow::Stream as TimelyStream;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tokio::sync::mpsc;

use super::alarm::Alarm;
use super::clock::LaneClock;
use super::inbox::Inbox;
use super::intake::{Ahead, Intake};
use super::operator::{Outputs, Phase, SourceOperator};
use super::splits::{Reading, Splits};
use crate::batch::{Batch, Millis};
use crate::graph::Graph;
use crate::marks::Origins;
use crate::stop::Place;
use crate::stream::Stream;
use crate::time::Time;
use crate::wake::Waker;

/// Batches that wait between the readers of a source and their worker: enough that neither waits for
/// the other, few enough that they are not a budget of their own.
const BATCHES_WAITING_MAX: usize = 16;

/// A partition needs its own reader, or it is never read: the bound is far above what one worker
/// has in practice.
const OPEN_SPLITS_MAX: usize = 1024;

/// What a record with parts on the heap is taken to need there, where neither its reader nor
/// [`SourceBuilder::weigh`] says better.
const HEAP_BYTES: usize = 64;

/// What records take by default: their own size, and what their reader says of the heap.
fn weight<R>(records: &[R], heap_bytes: u64) -> u64 {
    let on_heap = match heap_bytes {
        _ if !std::mem::needs_drop::<R>() => 0,
        0 => (HEAP_BYTES * records.len()) as u64,
        told => told,
    };
    std::mem::size_of_val(records) as u64 + on_heap
}

/// A source with its settings, before it becomes a stream.
#[must_use = "a source is read where its stream is used"]
pub struct SourceBuilder<'s, S: Source> {
    graph: Graph<'s>,
    uid: Uid,
    source: Arc<S>,
    intake: Intake<S::Record>,
    reading: Reading,
}

impl<S: Source> fmt::Debug for SourceBuilder<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceBuilder").field("uid", &self.uid).field("reading", &self.reading).finish()
    }
}

impl<'s> Graph<'s> {
    /// Reads from a source. `uid` names its state for ever: see [`Uid`] for what names may contain.
    pub fn source<S: Source>(&self, uid: &str, source: &Arc<S>) -> SourceBuilder<'s, S> {
        SourceBuilder::new(self.clone(), self.uid(uid), Arc::clone(source))
    }
}

impl<'s, S: Source> SourceBuilder<'s, S> {
    fn new(graph: Graph<'s>, uid: Uid, source: Arc<S>) -> Self {
        let reading = Reading {
            out_of_orderness: 0,
            idle_after: None,
            in_order_of_names: false,
            open_splits_max: S::OPEN_SPLITS_MAX.min(OPEN_SPLITS_MAX),
        };
        let mut intake = Intake::new(Box::new(weight::<S::Record>));
        intake.count_left_out(graph.inner.shared.counters.lateness(&uid));
        Self { graph, uid, source, intake, reading }
    }

    /// Reads only the records that `keep` wants. Others have no event time and do not count: a
    /// [`Stream::filter`](crate::Stream::filter) comes too late for a record whose time is nonsense.
    pub fn filter(mut self, keep: impl FnMut(&S::Record) -> bool + 'static) -> Self {
        self.intake.set_filter(Box::new(keep));
        self
    }

    /// Gives every record its event time, in milliseconds since 1970. Windows need it.
    pub fn event_time(mut self, time: impl Fn(&S::Record) -> i64 + 'static) -> Self {
        self.intake.set_timer(Box::new(time));
        self
    }

    /// How far a record's time may lie ahead of this machine's clock, and what becomes of one that is further
    /// ahead. Default: any time is believed, and after one record of the year 9999 everything is late, also
    /// after a restart.
    pub fn event_time_ahead_max(mut self, bound: Duration, then: Ahead) -> Self {
        self.intake.set_ahead_max(bound, then);
        self
    }

    /// How far a record's time may lie before the greatest one that its split had so far. Default 0:
    /// the records of each split are in the order of time.
    pub fn out_of_orderness(mut self, bound: Duration) -> Self {
        self.reading.out_of_orderness = Millis::try_from(bound.as_millis()).unwrap_or(Millis::MAX);
        self
    }

    /// After this time without records a split no longer holds event time back; its next records may
    /// then be late. Where no split holds it back, event time is what the furthest has reached. Default: every
    /// split holds it back until it ends.
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.reading.idle_after = Some(time);
        self
    }

    /// Reads one split after the other, in the order of their names, on each worker. It says as well
    /// that later splits hold later records: one that waits does not hold event time back.
    pub fn in_order_of_names(mut self) -> Self {
        self.reading.in_order_of_names = true;
        self.reading.open_splits_max = 1;
        self
    }

    /// How many splits are open at once on each worker; the others wait for one to end. Default: what the
    /// source says ([`Source::OPEN_SPLITS_MAX`]), and at most 1,024. Splits that never end must all be open.
    pub fn open_splits_max(mut self, splits: usize) -> Self {
        self.reading.open_splits_max = splits.max(1);
        self
    }

    /// The bytes that a record takes in memory, for the budget of bytes in flight. Default: the size of its type, and
    /// what its reader says that it holds on the heap ([`SplitReader::heap_bytes`](tidelock::SplitReader::heap_bytes)).
    /// Where the reader does not say it, 64 bytes for each record that has parts there.
    pub fn weigh(mut self, bytes: impl Fn(&S::Record) -> usize + 'static) -> Self {
        let scale = move |records: &[S::Record], _| {
            records.iter().fold(0, |sum: u64, record| sum.saturating_add(bytes(record) as u64))
        };
        self.intake.set_scale(Box::new(scale));
        self
    }

    /// The records of the source.
    pub fn stream(self) -> Stream<'s, S::Record> {
        let mut builder = self.operator();
        let (records, inner) = builder.new_output();
        self.build(builder, Outputs { records, ahead: None }, inner)
    }

    /// The records of the source, and as a second stream those that [`Ahead::Drop`] leaves out: whole, with their
    /// time and the reason. Both are of one epoch, so a record is in one of them, once.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use tidelock::{DeadLetter, Sink};
    /// # use tidelock_runtime::{Ahead, SourceBuilder};
    /// # fn read<S: tidelock::Source<Record = u64>>(
    /// #     source: SourceBuilder<'_, S>,
    /// #     numbers: Arc<impl Sink<Record = u64>>,
    /// #     letters: Arc<impl Sink<Record = DeadLetter>>,
    /// # ) {
    /// let hour = Duration::from_secs(3600);
    /// let (records, ahead) = source.event_time_ahead_max(hour, Ahead::Drop).stream_or();
    /// records.sink("numbers", &numbers);
    /// ahead.letters().sink("letters", &letters);
    /// # }
    /// ```
    pub fn stream_or(self) -> (Stream<'s, S::Record>, Stream<'s, Rejected<S::Record>>) {
        let mut builder = self.operator();
        let (records, inner) = builder.new_output();
        let (ahead, ahead_inner) = builder.new_output();
        let stream = self.build(builder, Outputs { records, ahead: Some(ahead) }, inner);
        let (graph, origins) = (stream.graph.clone(), stream.origins.clone());
        let after = stream.after.clone();
        (stream, Stream { inner: ahead_inner, graph, origins, after })
    }

    fn operator(&self) -> OperatorBuilder<'s, Time> {
        OperatorBuilder::new(format!("source {}", self.uid), self.graph.scope())
    }

    fn build(
        self,
        builder: OperatorBuilder<'s, Time>,
        mut outputs: Outputs<S::Record>,
        inner: TimelyStream<'s, Time, Batch<S::Record>>,
    ) -> Stream<'s, S::Record> {
        let Self { graph, uid, source, intake, reading } = self;
        let number = graph.new_origin();
        let address = builder.operator_info().address;

        let worker = graph.scope().worker();
        let waker = Waker::new(worker.sync_activator_for(address.to_vec()));
        let inbox = Arc::new(Inbox::default());
        inbox.connect(waker.clone());
        let shared = Arc::clone(&graph.inner.shared);
        shared.budget.register(waker.clone());
        let control: Arc<dyn SourceControl> = Arc::<S>::clone(&source);
        graph.add_source(&uid, control, Arc::clone(&inbox));

        let (to_worker, reads) = mpsc::channel(BATCHES_WAITING_MAX);
        let place = Place { uid: uid.clone(), operator: "source" };
        // Without event time no watermark comes from here, and nobody must wait for one.
        let origins = if intake.has_event_time() { Origins::of(number) } else { Origins::default() };
        let mut operator = SourceOperator {
            counter: shared.counters.reader(&uid),
            uid: uid.clone(),
            source,
            book: Arc::clone(&graph.inner.book),
            inbox,
            splits: Splits::new(reading),
            reads,
            to_worker,
            intake,
            waker,
            activator: worker.activator_for(address),
            lane: graph.inner.seat.lane(number),
            clock: LaneClock::default(),
            alarm: Alarm::default(),
            capability: None,
            ahead_capability: None,
            phase: Phase::Closed,
            shared,
        };
        builder.build(move |mut capabilities| {
            if outputs.ahead.is_some() {
                operator.ahead_capability = capabilities.pop();
            }
            operator.capability = capabilities.pop();
            move |_| {
                if let Err(error) = place.run(|| operator.run(&mut outputs)) {
                    (operator.capability, operator.ahead_capability) = (None, None);
                    operator.shared.stop.fail(Some(operator.uid.clone()), error);
                }
            }
        });
        Stream { inner, graph, origins, after: uid }
    }
}
