//! The operator around every kind of keyed state: alignment, watermarks, freezing and restoring. What
//! happens to a record is up to its [`Logic`].
//!
//! ```text
//!   load ──> apply records ──> fire what a mark made due ──> ... ──> barrier passes ──> freeze ──┐
//!              ^  the early ones first                                                           │
//!              └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Loading, firing and freezing go in slices. Until one of them is done nothing of the input is applied, no mark
//! goes out, and no barrier passes: what is half-way is not seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt;
use tidelock::host::Opening;
use tidelock::{Epoch, Error, ErrorKind, Result, Uid};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use tokio::sync::mpsc;

use super::emit::Emit;
use crate::align::Aligner;
use crate::batch::{Batch, Lane, Mark, Millis};
use crate::book::Book;
use crate::graph::Graph;
use crate::marks::{Marks, Origins};
use crate::seat::Seat;
use crate::shared::Shared;
use crate::slice::Slice;
use crate::state::{Entries, Entry, Floors, Frozen, Keeper, Storage, StoredValue, restore};
use crate::stop::Place;
use crate::stream::Stream;
use crate::time::Time;

/// Frozen epochs that wait for the keeper. The coordinator lets far fewer be in flight.
const FROZEN_WAITING_MAX: usize = 1024;

/// What an operator with state does, apart from when.
pub(crate) trait Logic: 'static {
    /// What it takes.
    type In: 'static;
    /// What it makes.
    type Out: 'static;
    /// A second output.
    type Side: 'static;

    /// Takes a record.
    fn apply(&mut self, record: Self::In, setting: &mut Setting<Self::Out, Self::Side>) -> Result<()>;

    /// The watermark moved: fires what is due. Called until it is ready; nothing else happens in between.
    fn fire(&mut self, setting: &mut Setting<Self::Out, Self::Side>, slice: &mut Slice) -> Result<Poll<()>>;

    /// What changed since the last freeze. Called until it is ready; nothing else happens in between.
    fn freeze(&mut self, slice: &mut Slice) -> Result<Poll<Option<Bytes>>>;

    /// Takes a restored key with its value, before anything else.
    fn load(&mut self, key: &[u8], value: StoredValue<'_>) -> Result<()>;
}

/// Where and when a record is applied or time moves on.
pub(crate) struct Setting<O, S> {
    /// The event time of the record; `None` where the stream has none.
    pub(crate) time: Option<Millis>,
    /// No record before this time is expected for any key; some keys may be ahead: see
    /// [`Setting::watermark_of`].
    pub(crate) watermark: Millis,
    pub(crate) floors: Floors,
    pub(crate) out: Emit<O>,
    pub(crate) side: Emit<S>,
}

impl<O, S> Setting<O, S> {
    /// The watermark of a key: that of the operator, or what its group had reached when it was restored.
    pub(crate) fn watermark_of(&self, group: impl FnOnce() -> Result<u16>) -> Result<Millis> {
        if !self.floors.is_ahead(self.watermark) {
            return Ok(self.watermark);
        }
        Ok(self.floors.of_group(group()?).max(self.watermark))
    }
}

/// What the operator gets once the attempt has begun. It takes it, so that the bytes of the restored state do
/// not stay beside the state for as long as the attempt lasts.
#[derive(Debug)]
struct Loaded {
    epoch: Epoch,
    entries: Option<Bytes>,
    floors: Floors,
}

/// Where it is left for it.
type LoadedPlace = Mutex<Option<Loaded>>;

type Outputs<L> = (Output<Time, Batch<<L as Logic>::Out>>, Output<Time, Batch<<L as Logic>::Side>>);

struct Driver<L: Logic> {
    logic: L,
    shared: Arc<Shared>,
    setting: Setting<L::Out, L::Side>,
    lanes: Lanes,
    storing: Storing,
    loading: Option<Loading>,
    /// Begins with the attempt.
    running: Option<Running<L::In>>,
    /// Those of the output and of the side output, while the graph stands.
    capabilities: Option<[Capability<Time>; 2]>,
}

/// Whose marks come in, and as whose they go out.
struct Lanes {
    incoming: Vec<Lane>,
    outgoing: Lane,
}

/// The ways to the part of the operator that reads and writes the stored state.
struct Storing {
    loaded: Arc<LoadedPlace>,
    frozen: mpsc::Sender<Frozen>,
}

struct Running<R> {
    aligner: Aligner<Batch<R>>,
    marks: Marks,
    /// The watermark that the snapshot has.
    stored_watermark: Millis,
    /// The barrier is through, and the epoch is not frozen yet.
    is_passed: bool,
    todo: Todo<R>,
}

/// Restored state on its way into memory.
struct Loading {
    epoch: Epoch,
    entries: Option<Entries>,
    floors: Floors,
}

/// What came of the open epoch and is not done yet, in this order.
struct Todo<R> {
    /// The watermark moved, and what is due has not all fired.
    fires: bool,
    /// What the operator itself says of event time, once everything before it is done.
    says: VecDeque<Mark>,
    /// The marks of the batch whose records were applied.
    marks: std::vec::IntoIter<(Lane, Mark)>,
    batches: VecDeque<Batch<R>>,
}

impl<R> Default for Todo<R> {
    fn default() -> Self {
        Self { fires: false, says: VecDeque::new(), marks: Vec::new().into_iter(), batches: VecDeque::new() }
    }
}

impl<L: Logic> Driver<L> {
    fn new(logic: L, shared: Arc<Shared>, lanes: Lanes, storing: Storing) -> Self {
        let emit_to = || Arc::clone(&shared.budget);
        let (out, side) = (Emit::new(emit_to()), Emit::new(emit_to()));
        let setting = Setting { time: None, watermark: Millis::MIN, floors: Floors::default(), out, side };
        Self { logic, shared, setting, lanes, storing, loading: None, running: None, capabilities: None }
    }

    /// Begins once the state is loaded.
    fn begin(&mut self, slice: &mut Slice) -> Result<Poll<()>> {
        if self.running.is_some() {
            return Ok(Poll::Ready(()));
        }
        if self.loading.is_none() {
            let loaded = self.storing.loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Nothing flows before it is there.
            let Some(Loaded { epoch, entries, floors }) = loaded else { return Ok(Poll::Ready(())) };
            let entries = entries.map(Entries::of).transpose()?;
            self.loading = Some(Loading { epoch, entries, floors });
        }
        let Some(mut loading) = self.loading.take() else { return Ok(Poll::Ready(())) };
        if let Some(entries) = &mut loading.entries {
            let logic = &mut self.logic;
            let mut load = |entry: Entry<'_>| match entry.value {
                Some(value) => logic.load(entry.key, value),
                None => Ok(()),
            };
            while entries.next(&mut load)? {
                if slice.step() {
                    self.loading = Some(loading);
                    return Ok(Poll::Pending);
                }
            }
        }
        self.start(loading.epoch, loading.floors);
        Ok(Poll::Ready(()))
    }

    fn start(&mut self, epoch: Epoch, floors: Floors) {
        let marks = Marks::new(self.lanes.incoming.iter().copied(), floors.least());
        self.setting.watermark = marks.watermark();
        self.setting.floors = floors;
        for capability in self.capabilities.iter_mut().flatten() {
            capability.downgrade(&epoch.0);
        }
        let stored_watermark = marks.watermark();
        let aligner = self.shared.aligner(epoch);
        self.running =
            Some(Running { aligner, marks, stored_watermark, is_passed: false, todo: Todo::default() });
    }

    /// Takes what is of the open epoch; keeps what came early.
    fn take(&mut self, epoch: Epoch, batch: Batch<L::In>) {
        let running = self.running.as_mut().expect("invariant: nothing flows before the attempt began");
        running.todo.batches.extend(running.aligner.offer(epoch, batch));
    }

    /// Does what came, in its order, until the slice is over.
    fn work(&mut self, slice: &mut Slice) -> Result<Poll<()>> {
        let Some(Running { marks, todo, .. }) = &mut self.running else { return Ok(Poll::Ready(())) };
        loop {
            if let Some(mark) = todo.says.front().copied() {
                if let Mark::At(watermark) = mark
                    && watermark > self.setting.watermark
                {
                    self.setting.watermark = watermark;
                    todo.fires = true;
                }
                if todo.fires && self.logic.fire(&mut self.setting, slice)?.is_pending() {
                    return Ok(Poll::Pending);
                }
                todo.fires = false;
                todo.says.pop_front();
                self.setting.out.mark(self.lanes.outgoing, mark);
                self.setting.side.mark(self.lanes.outgoing, mark);
            } else if let Some((lane, mark)) = todo.marks.next() {
                todo.says.extend(marks.tell(lane, mark));
            } else if slice.is_over() && !todo.batches.is_empty() {
                return Ok(Poll::Pending);
            } else if let Some(Batch { records, marks, credit, .. }) = todo.batches.pop_front() {
                todo.marks = marks.into_iter();
                if !records.is_empty() {
                    let weight = credit.of_each(records.len());
                    self.setting.out.weigh_like(weight);
                    self.setting.side.weigh_like(weight);
                }
                for (record, time) in records {
                    self.setting.time = time;
                    self.logic.apply(record, &mut self.setting)?;
                    slice.step();
                }
            } else {
                return Ok(Poll::Ready(()));
            }
        }
    }

    /// Lets the barrier pass where everything of the open epoch has arrived, and says whether it did. What is
    /// behind the operator goes on while this one freezes.
    fn pass_on(&mut self, frontier: &MutableAntichain<Time>) -> bool {
        let Some(running) = &mut self.running else { return false };
        if !running.aligner.is_complete(frontier) {
            return false;
        }
        running.is_passed = true;
        let next = running.aligner.open().next();
        for capability in self.capabilities.iter_mut().flatten() {
            capability.downgrade(&next.0);
        }
        true
    }

    /// Freezes an epoch that the barrier has passed. Comes before any record is applied.
    fn close(&mut self, slice: &mut Slice) -> Result<Poll<()>> {
        let Some(running) = self.running.as_mut().filter(|running| running.is_passed) else {
            return Ok(Poll::Ready(()));
        };
        let Poll::Ready(delta) = self.logic.freeze(slice)? else { return Ok(Poll::Pending) };
        running.is_passed = false;
        let epoch = running.aligner.open();
        let watermark = self.setting.watermark;
        let moved = std::mem::replace(&mut running.stored_watermark, watermark) != watermark;
        self.setting.floors.raise_all(watermark);
        let frozen = Frozen { epoch, delta, watermarks: moved.then(|| self.setting.floors.clone()) };
        self.storing.frozen.try_send(frozen).map_err(|_| {
            Error::new(ErrorKind::Other, "freeze", "too many epochs wait for their state to be stored")
        })?;
        running.todo.batches = running.aligner.advance();
        Ok(Poll::Ready(()))
    }

    fn send(&mut self, outputs: &mut Outputs<L>) {
        if let Some([out, side]) = &self.capabilities {
            self.setting.out.send(&mut outputs.0, out);
            self.setting.side.send(&mut outputs.1, side);
        }
    }
}

/// Adds an operator with state to the graph. The stream is at the workers that own its keys.
pub(crate) fn add<'s, L: Logic>(
    stream: Stream<'s, L::In>,
    uid: Uid,
    operator: &'static str,
    logic: L,
) -> (Stream<'s, L::Out>, Stream<'s, L::Side>) {
    let Stream { inner, graph, origins, .. } = stream;
    let mut builder = OperatorBuilder::new(format!("{operator} {uid}"), graph.scope());
    let address = builder.operator_info().address;
    let mut input = builder.new_input(inner, Pipeline);
    let (out, out_stream) = builder.new_output();
    let (side, side_stream) = builder.new_output();
    let mut outputs = (out, side);

    let shared = Arc::clone(&graph.inner.shared);
    let storing = add_opener(&graph, &uid);
    let number = graph.new_origin();
    // Where no watermark comes in, none goes out.
    let out_origins = if origins.is_empty() { Origins::default() } else { Origins::of(number) };
    let seat = graph.inner.seat;
    let lanes = Lanes { incoming: origins.lanes(seat).collect(), outgoing: seat.lane(number) };
    let mut driver = Driver::new(logic, Arc::clone(&shared), lanes, storing);
    let place = Place { uid: uid.clone(), operator };
    let activator = graph.scope().worker().activator_for(address);
    activator.activate();
    builder.build(move |capabilities| {
        driver.capabilities = capabilities.try_into().ok();
        move |frontiers: &[MutableAntichain<Time>]| {
            let result = place.run(|| {
                let mut slice = driver.shared.slicing.begin();
                let mut done = driver.begin(&mut slice)?.is_ready()
                    && driver.close(&mut slice)?.is_ready()
                    && driver.work(&mut slice)?.is_ready();
                if done {
                    input.for_each(|capability, batch| {
                        if let Some(time) = capability.least() {
                            driver.take(Epoch(*time), std::mem::take(batch));
                        }
                    });
                    done = driver.work(&mut slice)?.is_ready();
                }
                driver.send(&mut outputs);
                if !done || driver.pass_on(&frontiers[0]) {
                    activator.activate();
                }
                Ok(())
            });
            if let Err(error) = result {
                shared.stop.fail(Some(place.uid.clone()), Error::with(error, "operator", operator));
            }
        }
    });
    let out =
        Stream { inner: out_stream, graph: graph.clone(), origins: out_origins.clone(), after: uid.clone() };
    (out, Stream { inner: side_stream, graph, origins: out_origins, after: uid })
}

/// State is loaded when the attempt begins, and kept from then on.
fn add_opener(graph: &Graph<'_>, uid: &Uid) -> Storing {
    let (frozen, to_keep) = mpsc::channel(FROZEN_WAITING_MAX);
    let loaded = Arc::new(LoadedPlace::default());
    let opener = Opener {
        uid: uid.clone(),
        seat: graph.inner.seat,
        shared: Arc::clone(&graph.inner.shared),
        book: Arc::clone(&graph.inner.book),
        loaded: Arc::clone(&loaded),
        to_keep,
    };
    graph.add_operator(uid, Box::new(move |opening: Arc<Opening>| opener.open(opening).boxed()));
    Storing { loaded, frozen }
}

/// Opens the operator for an attempt.
struct Opener {
    uid: Uid,
    seat: Seat,
    shared: Arc<Shared>,
    book: Arc<Book>,
    loaded: Arc<LoadedPlace>,
    to_keep: mpsc::Receiver<Frozen>,
}

impl Opener {
    async fn open(self, opening: Arc<Opening>) -> Result<()> {
        let Self { uid, seat, shared, book, loaded, to_keep } = self;
        let none = std::collections::BTreeMap::new();
        let parts = opening.operators.get(&uid).unwrap_or(&none);
        let storage = Storage::new(shared.log.clone(), opening.attempt.number);
        let mut restored = restore(&storage, parts, seat).await?;
        let (entries, floors) = (restored.entries.take(), restored.floors.clone());
        let stored = shared.counters.state_bytes_of(&uid);
        let keeper = Keeper::new(uid.clone(), storage, stored, book, restored);
        shared.tasks.spawn(Some(uid), "keep state", keeper.run(to_keep));
        *loaded.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Loaded { epoch: opening.epoch, entries, floors });
        Ok(())
    }
}
