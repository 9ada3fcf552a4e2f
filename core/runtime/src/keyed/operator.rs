//! A user's own operator with state for each key, and timers.

use std::convert::Infallible;
use std::fmt;
use std::task::Poll;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use super::driver::{Logic, Setting, add};
use super::emit::Emit;
use super::state::State;
use super::timers::{Due, Firing, Timers};
use super::{KeyOf, KeyedStream};
use crate::batch::Millis;
use crate::key::{Key, group_of};
use crate::slice::Slice;
use crate::state::{Form, StoredValue, Table, Touch, decode};
use crate::stream::Stream;

/// An operator that keeps state for each key.
///
/// It sees the records of a key one after the other, with the state of that key. The state is part of
/// every checkpoint, and only what changed is written. Nothing it does may block: it runs on a worker.
pub trait KeyedOperator: 'static {
    /// The key.
    type Key: Key;
    /// What it takes.
    type In: 'static;
    /// What it makes.
    type Out: 'static;
    /// What it makes beside that, for a stream of its own: records that it cannot take, say. [`Infallible`]
    /// where there is nothing of the kind.
    type Side: 'static;
    /// What it keeps for each key.
    type State: Serialize + DeserializeOwned + 'static;
    /// The version of [`KeyedOperator::State`] that this build writes. It changes whenever the stored
    /// form does, also when a field is added.
    const STATE_VERSION: u16;

    /// Takes a record.
    ///
    /// # Errors
    /// Any error ends the attempt; its retry advice says whether another one follows.
    fn on_record(
        &mut self,
        key: &Self::Key,
        state: &mut State<Self::State>,
        record: Self::In,
        context: &mut Context<'_, Self::Out, Self::Side>,
    ) -> Result<()>;

    /// A timer of the key is due: the watermark has reached `at`.
    ///
    /// # Errors
    /// As [`KeyedOperator::on_record`].
    fn on_timer(
        &mut self,
        _key: &Self::Key,
        _state: &mut State<Self::State>,
        _at: i64,
        _context: &mut Context<'_, Self::Out, Self::Side>,
    ) -> Result<()> {
        Ok(())
    }

    /// Reads state that an older version wrote, in postcard's form.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a version that was never released.
    fn upgrade(&self, version: u16, _stored: &[u8]) -> Result<Self::State> {
        Err(tidelock::unknown_version::<Self::State>(version))
    }
}

/// What an operator may do besides changing its state.
pub struct Context<'c, O, S = Infallible> {
    time: Option<Millis>,
    watermark: Millis,
    timers: &'c mut Timers,
    out: &'c mut Emit<O>,
    side: &'c mut Emit<S>,
}

impl<O, S> fmt::Debug for Context<'_, O, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("time", &self.time)
            .field("watermark", &self.watermark)
            .finish_non_exhaustive()
    }
}

impl<O: 'static, S: 'static> Context<'_, O, S> {
    /// Emits a record. It has the event time of the record or timer that is being worked on.
    pub fn emit(&mut self, record: O) {
        self.out.push(record, self.time);
    }

    /// Emits a record to the operator's second stream: see [`KeyedStream::process_with_side`]. It is of the
    /// same epoch and has the same event time as what is emitted to the first.
    pub fn side(&mut self, record: S) {
        self.side.push(record, self.time);
    }

    /// The event time of the record, or the time of the timer; `None` where the stream has no event
    /// time.
    pub fn time(&self) -> Option<i64> {
        self.time
    }

    /// No record before this time is expected any more; `i64::MIN` where nothing is known.
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    /// Calls [`KeyedOperator::on_timer`] for this key once the watermark has reached `at`: once, however
    /// often it is set. A time that is already reached is due when the watermark moves the next time;
    /// what is set while timers fire at the end of input is not due any more.
    pub fn set_timer(&mut self, at: i64) {
        self.timers.set(at);
    }

    /// Forgets a timer of this key.
    pub fn clear_timer(&mut self, at: i64) {
        self.timers.clear(at);
    }
}

/// What is stored for a key. The timers come first: they can be read where the state is of an older
/// version.
#[derive(Debug, Serialize, Deserialize)]
struct Slot<S> {
    timers: Vec<Millis>,
    state: Option<S>,
}

impl<S> Default for Slot<S> {
    fn default() -> Self {
        Self { state: None, timers: Vec::new() }
    }
}

type GroupOf<K> = fn(&K) -> Result<u16>;

type KeyTable<K, S> = Table<K, Slot<S>, GroupOf<K>>;

struct Keyed<P: KeyedOperator> {
    operator: P,
    key: KeyOf<P::In, P::Key>,
    table: KeyTable<P::Key, P::State>,
    due: Due<P::Key>,
    firing: Option<Firing<P::Key>>,
}

/// What a function is called for.
enum Call<R> {
    Record(R),
    Timer(Millis),
}

impl<P: KeyedOperator> Keyed<P> {
    fn call(
        &mut self,
        key: &P::Key,
        call: Call<P::In>,
        setting: &mut Setting<P::Out, P::Side>,
    ) -> Result<()> {
        let watermark = setting.watermark_of(|| group_of(key))?;
        let (operator, due) = (&mut self.operator, &mut self.due);
        self.table.with(key, |slot| {
            let mut timers = Timers::new(std::mem::take(&mut slot.timers));
            let mut state = State::new(slot.state.take());
            let (time, out, side) = (setting.time, &mut setting.out, &mut setting.side);
            let mut context = Context { time, watermark, timers: &mut timers, out, side };
            let result = match call {
                Call::Record(record) => operator.on_record(key, &mut state, record, &mut context),
                Call::Timer(at) => {
                    context.clear_timer(at);
                    operator.on_timer(key, &mut state, at, &mut context)
                }
            };
            let (set, moved) = timers.note(key, due);
            let (value, changed) = state.into_parts();
            let touch = match (value.is_none() && set.is_empty(), changed || moved) {
                (true, _) => Touch::Removed,
                (false, true) => Touch::Changed,
                (false, false) => Touch::Read,
            };
            (slot.state, slot.timers) = (value, set);
            (result, touch)
        })
    }
}

impl<P: KeyedOperator> Logic for Keyed<P> {
    type In = P::In;
    type Out = P::Out;
    type Side = P::Side;

    fn apply(&mut self, record: P::In, setting: &mut Setting<P::Out, Self::Side>) -> Result<()> {
        let key = (self.key)(&record);
        self.call(&key, Call::Record(record), setting)
    }

    fn fire(&mut self, setting: &mut Setting<P::Out, Self::Side>, slice: &mut Slice) -> Result<Poll<()>> {
        let begin = || Firing::begin(&mut self.due, setting.watermark);
        let mut firing = self.firing.take().unwrap_or_else(begin);
        while let Some((at, key)) = firing.next(&mut self.due) {
            self.fire_one(at, &key, setting)?;
            if slice.step() {
                self.firing = Some(firing);
                return Ok(Poll::Pending);
            }
        }
        Ok(Poll::Ready(()))
    }

    fn freeze(&mut self, slice: &mut Slice) -> Result<Poll<Option<Bytes>>> {
        self.table.freeze(slice)
    }

    fn load(&mut self, key: &[u8], value: StoredValue<'_>) -> Result<()> {
        let key: P::Key = decode(key)?;
        let slot = self.decode(value)?;
        slot.timers.iter().for_each(|at| self.due.set(*at, key.clone()));
        self.table.restore(key, slot);
        Ok(())
    }
}

impl<P: KeyedOperator> Keyed<P> {
    fn fire_one(&mut self, at: Millis, key: &P::Key, setting: &mut Setting<P::Out, P::Side>) -> Result<()> {
        // Another timer of the key may have cleared it meanwhile.
        let is_set = |slot: &mut Slot<P::State>| (slot.timers.binary_search(&at).is_ok(), Touch::Read);
        if self.table.with_existing(key, is_set) == Some(true) {
            setting.time = Some(at);
            self.call(key, Call::Timer(at), setting)?;
        }
        Ok(())
    }

    fn decode(&self, value: StoredValue<'_>) -> Result<Slot<P::State>> {
        if value.version == P::STATE_VERSION {
            return decode(value.bytes);
        }
        let (timers, rest) =
            postcard::take_from_bytes(value.bytes).map_err(|error| damaged().because(error))?;
        let state = match rest.split_first() {
            Some((0, [])) => None,
            Some((1, stored)) => Some(self.operator.upgrade(value.version, stored)?),
            _ => return Err(damaged()),
        };
        Ok(Slot { timers, state })
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "restore", "the stored state of a key is damaged")
}

impl<'s, K: Key, R: 'static> KeyedStream<'s, K, R> {
    /// Adds an operator of one's own. `uid` names its state for ever.
    pub fn process<P>(self, uid: &str, operator: P) -> Stream<'s, P::Out>
    where
        P: KeyedOperator<Key = K, In = R, Side = Infallible>,
    {
        self.process_with_side(uid, operator).0
    }

    /// Adds an operator of one's own with a second output: what it gives to [`Context::side`]. Both streams
    /// have the operator's watermarks, and their records are of one epoch.
    pub fn process_with_side<P>(self, uid: &str, operator: P) -> (Stream<'s, P::Out>, Stream<'s, P::Side>)
    where
        P: KeyedOperator<Key = K, In = R>,
    {
        let uid = self.stream.graph.uid(uid);
        let table = Table::new(Form::of::<P::State>(P::STATE_VERSION), group_of as GroupOf<K>);
        let logic = Keyed { operator, key: self.key, table, due: Due::new(), firing: None };
        add(self.stream, uid, "process", logic)
    }
}
