//! The operator around every kind of keyed state: alignment, watermarks, freezing and restoring. What
//! happens to a record is up to its [`Logic`].

use std::sync::{Arc, Mutex, PoisonError};

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
use crate::batch::{Batch, Lane, Millis};
use crate::book::Book;
use crate::graph::{Graph, Time};
use crate::marks::{Marks, Origins, lane_of};
use crate::shared::Shared;
use crate::state::{Floors, Frozen, Keeper, restore};
use crate::stop::Place;
use crate::stream::Stream;

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

    /// The watermark moved: fires what is due.
    fn advance(&mut self, setting: &mut Setting<Self::Out, Self::Side>) -> Result<()>;

    /// What changed since the last freeze.
    fn freeze(&mut self) -> Result<Option<Bytes>>;

    /// Takes restored entries, before anything else.
    fn load(&mut self, entries: &Bytes) -> Result<()>;
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
    lane: Lane,
    origins: Origins,
    worker: (u32, u32),
    loaded: Arc<LoadedPlace>,
    /// Begins with the attempt.
    running: Option<Running<L::In>>,
    frozen: mpsc::Sender<Frozen>,
    capability: Option<Capability<Time>>,
    side_capability: Option<Capability<Time>>,
}

struct Running<R> {
    aligner: Aligner<Batch<R>>,
    marks: Marks,
    /// The watermark that the snapshot has.
    stored_watermark: Millis,
    /// The barrier is through, and the epoch is not frozen yet.
    is_passed: bool,
}

impl<L: Logic> Driver<L> {
    fn new(
        logic: L,
        shared: Arc<Shared>,
        lane: Lane,
        origins: Origins,
        worker: (u32, u32),
        loaded: Arc<LoadedPlace>,
        frozen: mpsc::Sender<Frozen>,
    ) -> Self {
        let emit_to = || Arc::clone(&shared.budget);
        let (out, side) = (Emit::new(emit_to()), Emit::new(emit_to()));
        let setting = Setting { time: None, watermark: Millis::MIN, floors: Floors::default(), out, side };
        let (running, capability, side_capability) = (None, None, None);
        Self {
            logic,
            shared,
            setting,
            lane,
            origins,
            worker,
            loaded,
            running,
            frozen,
            capability,
            side_capability,
        }
    }

    /// Begins once the state is loaded; nothing arrives before.
    fn begin(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(loaded) = loaded else { return Ok(()) };
        if let Some(entries) = &loaded.entries {
            self.logic.load(entries)?;
        }
        let (worker, workers) = self.worker;
        let marks = Marks::new(self.origins.lanes(worker, workers), loaded.floors.least());
        self.setting.watermark = marks.watermark();
        self.setting.floors = loaded.floors;
        for capability in [&mut self.capability, &mut self.side_capability].into_iter().flatten() {
            capability.downgrade(&loaded.epoch.0);
        }
        let stored_watermark = marks.watermark();
        let aligner = self.shared.aligner(loaded.epoch);
        self.running = Some(Running { aligner, marks, stored_watermark, is_passed: false });
        Ok(())
    }

    fn take(&mut self, epoch: Epoch, batch: Batch<L::In>) -> Result<()> {
        let running = self.running.as_mut().expect("invariant: nothing flows before the attempt began");
        match running.aligner.offer(epoch, batch) {
            Some(batch) => self.apply(batch),
            None => Ok(()),
        }
    }

    fn apply(&mut self, batch: Batch<L::In>) -> Result<()> {
        let Batch { records, marks, .. } = batch;
        for (record, time) in records {
            self.setting.time = time;
            self.logic.apply(record, &mut self.setting)?;
        }
        for (lane, mark) in marks {
            let running = self.running.as_mut().expect("invariant: the operator runs");
            if let Some(watermark) = running.marks.tell(lane, mark) {
                self.setting.watermark = watermark;
                self.logic.advance(&mut self.setting)?;
                self.setting.out.mark(self.lane, watermark);
                self.setting.side.mark(self.lane, watermark);
            }
        }
        Ok(())
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
        for capability in [&mut self.capability, &mut self.side_capability].into_iter().flatten() {
            capability.downgrade(&next.0);
        }
        true
    }

    /// Freezes an epoch that the barrier has passed. Comes before any record is applied.
    fn close(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        if !std::mem::take(&mut running.is_passed) {
            return Ok(());
        }
        let epoch = running.aligner.open();
        let watermark = self.setting.watermark;
        let moved = std::mem::replace(&mut running.stored_watermark, watermark) != watermark;
        self.setting.floors.raise_all(watermark);
        let delta = self.logic.freeze()?;
        let frozen = Frozen { epoch, delta, watermarks: moved.then(|| self.setting.floors.clone()) };
        self.frozen.try_send(frozen).map_err(|_| {
            Error::new(ErrorKind::Other, "freeze", "too many epochs wait for their state to be stored")
        })?;
        for batch in running.aligner.advance() {
            self.apply(batch)?;
        }
        Ok(())
    }

    fn send(&mut self, outputs: &mut Outputs<L>) {
        if let (Some(capability), Some(side)) = (&self.capability, &self.side_capability) {
            self.setting.out.send(&mut outputs.0, capability);
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
    let (worker, workers) = (graph.inner.worker, graph.inner.workers);
    let (frozen, to_keep) = mpsc::channel(FROZEN_WAITING_MAX);
    let loaded = Arc::new(LoadedPlace::default());
    add_opener(&graph, &uid, to_keep, Arc::clone(&loaded));
    let number = graph.new_origin();
    // Where no watermark comes in, none goes out.
    let out_origins = if origins.is_empty() { Origins::default() } else { Origins::of(number) };
    let lane = lane_of(number, worker, workers);
    let mut driver =
        Driver::new(logic, Arc::clone(&shared), lane, origins, (worker, workers), loaded, frozen);
    let place = Place { uid: uid.clone(), operator };
    let activator = graph.scope().worker().activator_for(address);
    activator.activate();
    builder.build(move |mut capabilities| {
        driver.side_capability = capabilities.pop();
        driver.capability = capabilities.pop();
        move |frontiers: &[MutableAntichain<Time>]| {
            let result = place.run(|| {
                driver.begin()?;
                driver.close()?;
                let mut result = Ok(());
                input.for_each(|capability, batch| {
                    if let (Ok(()), Some(time)) = (&result, capability.least()) {
                        result = driver.take(Epoch(*time), std::mem::take(batch));
                    }
                });
                result?;
                driver.send(&mut outputs);
                if driver.pass_on(&frontiers[0]) {
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
fn add_opener(graph: &Graph<'_>, uid: &Uid, to_keep: mpsc::Receiver<Frozen>, loaded: Arc<LoadedPlace>) {
    let workers = (graph.inner.worker, graph.inner.workers);
    let (shared, book) = (Arc::clone(&graph.inner.shared), Arc::clone(&graph.inner.book));
    let name = uid.clone();
    let opener =
        move |opening: Arc<Opening>| open(shared, book, name, workers, opening, to_keep, loaded).boxed();
    graph.add_operator(uid, Box::new(opener));
}

async fn open(
    shared: Arc<Shared>,
    book: Arc<Book>,
    uid: Uid,
    (worker, workers): (u32, u32),
    opening: Arc<Opening>,
    to_keep: mpsc::Receiver<Frozen>,
    loaded: Arc<LoadedPlace>,
) -> Result<()> {
    let attempt = opening.attempt.number;
    let none = std::collections::BTreeMap::new();
    let parts = opening.operators.get(&uid).unwrap_or(&none);
    let mut restored = restore(&shared.log, attempt, parts, worker, workers).await?;
    let (entries, floors) = (restored.entries.take(), restored.floors.clone());
    let keeper = Keeper::new(uid.clone(), shared.log.clone(), attempt, (worker, workers), book, restored);
    shared.tasks.spawn(Some(uid), "keep state", keeper.run(to_keep));
    *loaded.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(Loaded { epoch: opening.epoch, entries, floors });
    Ok(())
}
