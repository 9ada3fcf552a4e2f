//! What windows make of their records.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::Result;

use crate::key::Key;

/// A stretch of event time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Its first millisecond.
    pub start: i64,
    /// The millisecond after its last.
    pub end: i64,
    /// 0 for its first result; more only where lateness is allowed and a late record came.
    pub revision: u32,
}

/// Gathers the records of one key and window, and makes a result of them.
pub trait Aggregate: 'static {
    /// The key.
    type Key: Key;
    /// What is gathered.
    type In: 'static;
    /// The result.
    type Out: 'static;
    /// What was gathered so far. It is stored in snapshots, so it should be small.
    type Accumulator: Default + Serialize + DeserializeOwned + 'static;
    /// The version of [`Aggregate::Accumulator`] that this build writes. It changes whenever the stored
    /// form does, also when a field is added.
    const STATE_VERSION: u16;

    /// Adds a record.
    fn add(&mut self, accumulator: &mut Self::Accumulator, record: &Self::In);

    /// Makes the result.
    fn finish(&mut self, key: &Self::Key, window: Window, accumulator: &Self::Accumulator) -> Self::Out;

    /// Reads an accumulator that an older version wrote, in postcard's form.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](tidelock::ErrorKind::Corrupt) for a version that was never released.
    fn upgrade(&self, version: u16, _stored: &[u8]) -> Result<Self::Accumulator> {
        Err(tidelock::unknown_version::<Self::Accumulator>(version))
    }
}

/// An [`Aggregate`] whose accumulators can be joined: sessions need it.
pub trait Merge: Aggregate {
    /// Adds all that was gathered in `from`.
    fn merge(&mut self, into: &mut Self::Accumulator, from: Self::Accumulator);
}

/// An aggregate of two functions: see [`fold`].
#[derive(Debug)]
pub struct Fold<K, R, S, O, A, F> {
    add: A,
    finish: F,
    types: PhantomData<fn(K, R, S) -> O>,
}

/// An aggregate of two functions, with an accumulator whose type never changes: it has no version to raise, and
/// becomes an [`Aggregate`] where it must.
///
/// ```
/// use tidelock_runtime::{Tumbling, Window, fold};
/// # fn count(stream: tidelock_runtime::KeyedStream<'_, u32, String>) {
/// let hour = std::time::Duration::from_secs(3600);
/// let (counts, late) = stream.window(
///     "hours",
///     Tumbling::of(hour),
///     fold(|count: &mut u64, _line| *count += 1, |key, window: Window, count| (*key, window.start, *count)),
/// );
/// # }
/// ```
pub fn fold<K, R, S, O, A, F>(add: A, finish: F) -> Fold<K, R, S, O, A, F>
where
    A: FnMut(&mut S, &R),
    F: FnMut(&K, Window, &S) -> O,
{
    Fold { add, finish, types: PhantomData }
}

impl<K, R, S, O, A, F> Aggregate for Fold<K, R, S, O, A, F>
where
    K: Key,
    R: 'static,
    S: Default + Serialize + DeserializeOwned + 'static,
    O: 'static,
    A: FnMut(&mut S, &R) + 'static,
    F: FnMut(&K, Window, &S) -> O + 'static,
{
    type Key = K;
    type In = R;
    type Out = O;
    type Accumulator = S;
    const STATE_VERSION: u16 = 1;

    fn add(&mut self, accumulator: &mut S, record: &R) {
        (self.add)(accumulator, record);
    }

    fn finish(&mut self, key: &K, window: Window, accumulator: &S) -> O {
        (self.finish)(key, window, accumulator)
    }
}
