//! Streams by key, and operators that keep state for each key.

mod closure;
mod driver;
mod emit;
mod operator;
mod state;
mod timers;

use std::fmt;
use std::rc::Rc;

pub(crate) use driver::{Logic, Setting, add};
pub(crate) use emit::Emit;
pub use operator::{Context, KeyedOperator};
pub use state::State;

use crate::exchange::Exchanged;
use crate::key::{Key, group_of, worker_of};
use crate::stream::Stream;

/// Tells the key of a record.
pub(crate) type KeyOf<R, K> = Rc<dyn Fn(&R) -> K>;

/// A stream whose records are at the worker that owns their key. Records with equal keys keep their
/// order where they came from one split.
pub struct KeyedStream<'s, K, R> {
    pub(crate) stream: Stream<'s, R>,
    pub(crate) key: KeyOf<R, K>,
}

impl<K, R> fmt::Debug for KeyedStream<'_, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<'s, R: Exchanged> Stream<'s, R> {
    /// Brings the records of each key together on one worker. The key of a record must always be the
    /// same; cheap keys (numbers, `Arc<str>`) pay off, because it is asked for more than once.
    pub fn key_by<K: Key>(self, key: impl Fn(&R) -> K + 'static) -> KeyedStream<'s, K, R> {
        let key: KeyOf<R, K> = Rc::new(key);
        let (workers, by) = (self.graph.inner.seat.workers, Rc::clone(&key));
        let stream = self.exchange("key_by", move |record| Ok(worker_of(group_of(&by(record))?, workers)));
        KeyedStream { stream, key }
    }
}
