//! Keyed state with a function instead of an operator.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::Result;

use super::operator::{Context, KeyedOperator};
use super::{KeyedStream, State};
use crate::key::Key;
use crate::stream::Stream;

struct Closure<K, R, S, O, D, F> {
    logic: F,
    types: PhantomData<Types<K, R, S, O, D>>,
}

type Types<K, R, S, O, D> = fn(K, R, S) -> (O, D);

impl<K, R, S, O, D, F> KeyedOperator for Closure<K, R, S, O, D, F>
where
    K: Key,
    R: 'static,
    S: Serialize + DeserializeOwned + 'static,
    O: 'static,
    D: 'static,
    F: FnMut(&K, &mut State<S>, R, &mut Context<'_, O, D>) -> Result<()> + 'static,
{
    type Key = K;
    type In = R;
    type Out = O;
    type Side = D;
    type State = S;
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        key: &K,
        state: &mut State<S>,
        record: R,
        context: &mut Context<'_, O, D>,
    ) -> Result<()> {
        (self.logic)(key, state, record, context)
    }
}

impl<'s, K: Key, R: 'static> KeyedStream<'s, K, R> {
    /// Works on each record with the state of its key: [`KeyedOperator`] without timers and with a state
    /// whose type never changes: it has no version to raise, and becomes a [`KeyedOperator`] where it must.
    ///
    /// ```
    /// # fn count(stream: tidelock_runtime::KeyedStream<'_, u32, String>) {
    /// let numbered = stream.stateful("number", |_key, count, line, context| {
    ///     let number = count.get_or_insert(0_u64);
    ///     *number += 1;
    ///     context.emit((*number, line));
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn stateful<S, O>(
        self,
        uid: &str,
        logic: impl FnMut(&K, &mut State<S>, R, &mut Context<'_, O>) -> Result<()> + 'static,
    ) -> Stream<'s, O>
    where
        S: Serialize + DeserializeOwned + 'static,
        O: 'static,
    {
        self.process(uid, Closure { logic, types: PhantomData })
    }

    /// The same with a second output, for what is given to [`Context::side`]: records that do not fit to
    /// what is known of their key, say.
    ///
    /// ```
    /// # fn rise(levels: tidelock_runtime::KeyedStream<'_, u32, u64>) {
    /// let (rising, falling) = levels.stateful_with_side("rising", |_tank, last, level, context| {
    ///     if last.is_some_and(|last| level < last) {
    ///         context.side(level);
    ///         return Ok(());
    ///     }
    ///     **last = Some(level);
    ///     context.emit(level);
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn stateful_with_side<S, O, D>(
        self,
        uid: &str,
        logic: impl FnMut(&K, &mut State<S>, R, &mut Context<'_, O, D>) -> Result<()> + 'static,
    ) -> (Stream<'s, O>, Stream<'s, D>)
    where
        S: Serialize + DeserializeOwned + 'static,
        O: 'static,
        D: 'static,
    {
        self.process_with_side(uid, Closure { logic, types: PhantomData })
    }
}
