//! Lookups: enriching records from a store, without a worker ever waiting for it.
//!
//! ```text
//!   worker:  record ── key ──> cache? ──> join ──> output
//!                               │ no                 ^
//!   tokio:                      └──> desk: one request for equal keys, several keys a request
//! ```
//!
//! A table that fits into memory is cheaper whole: see [`table`].

mod cache;
mod counts;
mod desk;
mod operator;
mod patience;
mod table;
mod table_operator;

use std::sync::Arc;
use std::time::Duration;

use tidelock::{Lookup, LookupTable};

use crate::stream::Stream;
use desk::Desk;
pub(crate) use desk::Desks;
use operator::LookupOperator;
pub use table::Entries;
use table::Shelf;

/// How long a store may fail before the attempt ends, where nothing else is chosen: a server that is restarted is back
/// by then.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// How records are enriched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookups {
    ordered: bool,
    requests_in_flight_max: usize,
    keys_per_request_max: usize,
    cache_for: Duration,
    cache_misses_for: Option<Duration>,
    cached_keys_max: u64,
    stale_for: Duration,
    retry_for: Duration,
}

impl Lookups {
    /// Records keep their order: one waits for all before it.
    pub fn ordered() -> Self {
        Self {
            ordered: true,
            requests_in_flight_max: 8,
            keys_per_request_max: 256,
            cache_for: Duration::from_secs(60),
            cache_misses_for: None,
            cached_keys_max: 100_000,
            stale_for: Duration::ZERO,
            retry_for: RETRY_FOR,
        }
    }

    /// A record goes on as soon as its answer is there. It never crosses an epoch, and no watermark
    /// overtakes it.
    pub fn unordered() -> Self {
        Self { ordered: false, ..Self::ordered() }
    }

    /// How many requests may be under way, in each process. Default 8.
    #[must_use]
    pub fn requests_in_flight_max(mut self, requests: usize) -> Self {
        self.requests_in_flight_max = requests.max(1);
        self
    }

    /// How many keys a request has at most. Default 256.
    #[must_use]
    pub fn keys_per_request_max(mut self, keys: usize) -> Self {
        self.keys_per_request_max = keys.max(1);
        self
    }

    /// How long an answer is used again, also the answer that there is nothing unless
    /// [`cache_misses_for`](Self::cache_misses_for) says otherwise. Default 60 s; zero asks for every record.
    #[must_use]
    pub fn cache_for(mut self, time: Duration) -> Self {
        self.cache_for = time;
        self
    }

    /// How long the answer that there is nothing is used again: what is missing may come at any time. Default: as
    /// long as any answer.
    #[must_use]
    pub fn cache_misses_for(mut self, time: Duration) -> Self {
        self.cache_misses_for = Some(time);
        self
    }

    /// How long past its time an answer may still be used, while the store fails with what may pass: results are made of
    /// what was true then, and the job goes on. Default zero: a job never goes on with what is past its time.
    #[must_use]
    pub fn stale_for(mut self, time: Duration) -> Self {
        self.stale_for = time;
        self
    }

    /// How long a request that fails with what may pass is tried again, before the attempt ends. Default 30 s.
    #[must_use]
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    fn misses_for(&self) -> Duration {
        self.cache_misses_for.unwrap_or(self.cache_for)
    }

    /// How many answers are kept at most, in each process. Default 100,000.
    #[must_use]
    pub fn cached_keys_max(mut self, keys: u64) -> Self {
        self.cached_keys_max = keys;
        self
    }
}

/// How a table that is in memory as a whole is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupTables {
    refresh_every: Duration,
    stale_for: Duration,
}

impl LookupTables {
    /// Loads the table again when so much time has passed since it was loaded last.
    pub fn refreshed_every(time: Duration) -> Self {
        Self { refresh_every: time, stale_for: Duration::ZERO }
    }

    /// How long a table may still be used when it could not be loaded again, before the attempt ends. Default, and at
    /// least, 30 s.
    #[must_use]
    pub fn stale_for(mut self, time: Duration) -> Self {
        self.stale_for = time;
        self
    }
}

impl<'s, R: 'static> Stream<'s, R> {
    /// Enriches each record with what a store has for its key. A record without a key is joined with
    /// nothing, like one whose key the store does not know. `uid` names the lookup in errors; it keeps
    /// no state.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tidelock::Lookup;
    /// # use tidelock_runtime::{Lookups, Stream};
    /// # struct Flight { tailnum: Option<String> }
    /// # fn seats(flights: Stream<'_, Flight>, planes: Arc<impl Lookup<Key = String, Value = u32>>) {
    /// let flights = flights.lookup(
    ///     "planes",
    ///     &planes,
    ///     Lookups::ordered(),
    ///     |flight| flight.tailnum.clone(),
    ///     |flight, seats: Option<&u32>| (flight, seats.copied()),
    /// );
    /// # }
    /// ```
    pub fn lookup<L: Lookup, O: 'static>(
        self,
        uid: &str,
        lookup: &Arc<L>,
        how: Lookups,
        key: impl Fn(&R) -> Option<L::Key> + 'static,
        join: impl FnMut(R, Option<&L::Value>) -> O + 'static,
    ) -> Stream<'s, O> {
        let uid = self.graph.uid(uid);
        self.graph.take_uid(&uid);
        // All workers of the process ask at one desk.
        let shared = Arc::clone(&self.graph.inner.shared);
        let desk = shared.desks.get(&uid, || {
            let desk = Arc::new(Desk::<L>::new(uid.clone(), Arc::clone(lookup), how, shared.call_timeout));
            shared.tasks.spawn(Some(uid.clone()), "look up", Arc::clone(&desk).run());
            desk
        });
        operator::add(self, uid, |waker| LookupOperator::new(desk, how.ordered, waker, key, join))
    }

    /// Enriches each record from a table that is in memory as a whole, and loaded again at an interval. For tables that
    /// fit there this is the cheapest way: a record costs one hash of its key. Records wait for the first load.
    /// `uid` names the lookup in errors and figures; it keeps no state.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use tidelock::LookupTable;
    /// # use tidelock_runtime::{LookupTables, Stream};
    /// # struct Flight { tailnum: Option<String> }
    /// # fn seats(flights: Stream<'_, Flight>, planes: Arc<impl LookupTable<Key = String, Value = u32>>) {
    /// let hourly = LookupTables::refreshed_every(Duration::from_secs(3_600));
    /// let flights = flights.lookup_table("planes", &planes, hourly, |flight, planes| {
    ///     let seats = flight.tailnum.as_deref().and_then(|tailnum| planes.get(tailnum)).copied();
    ///     (flight, seats)
    /// });
    /// # }
    /// ```
    pub fn lookup_table<T: LookupTable, O: 'static>(
        self,
        uid: &str,
        table: &Arc<T>,
        how: LookupTables,
        join: impl FnMut(R, &Entries<'_, T::Key, T::Value>) -> O + 'static,
    ) -> Stream<'s, O> {
        let uid = self.graph.uid(uid);
        self.graph.take_uid(&uid);
        // All workers of the process share one table.
        let shared = Arc::clone(&self.graph.inner.shared);
        let shelf = shared.desks.get(&uid, || {
            let shelf = Arc::new(Shelf::<T>::new(uid.clone(), Arc::clone(table), how, shared.call_timeout));
            shared.tasks.spawn(Some(uid.clone()), "load a table", Arc::clone(&shelf).run());
            shelf
        });
        table_operator::add(self, uid, shelf, join)
    }
}
