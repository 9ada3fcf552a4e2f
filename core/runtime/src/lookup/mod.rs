//! Lookups: enriching records from a store, without a worker ever waiting for it.
//!
//! ```text
//!   worker:  record ── key ──> cache? ──> join ──> output
//!                               │ no                 ^
//!   tokio:                      └──> desk: one request for equal keys, several keys a request
//! ```

mod desk;
mod operator;

use std::sync::Arc;
use std::time::Duration;

use tidelock::Lookup;

use crate::stream::Stream;
use desk::Desk;
pub(crate) use desk::Desks;
use operator::LookupOperator;

/// How records are enriched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookups {
    ordered: bool,
    requests_in_flight_max: usize,
    keys_per_request_max: usize,
    cache_for: Duration,
    cached_keys_max: u64,
}

impl Lookups {
    /// Records keep their order: one waits for all before it.
    pub fn ordered() -> Self {
        Self {
            ordered: true,
            requests_in_flight_max: 8,
            keys_per_request_max: 256,
            cache_for: Duration::from_secs(60),
            cached_keys_max: 100_000,
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

    /// How long an answer is used again, also the answer that there is nothing. Default 60 s; zero
    /// asks for every record.
    #[must_use]
    pub fn cache_for(mut self, time: Duration) -> Self {
        self.cache_for = time;
        self
    }

    /// How many answers are kept at most, in each process. Default 100,000.
    #[must_use]
    pub fn cached_keys_max(mut self, keys: u64) -> Self {
        self.cached_keys_max = keys;
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
            let desk = Arc::new(Desk::<L>::new(Arc::clone(lookup), how));
            shared.tasks.spawn(Some(uid.clone()), "look up", Arc::clone(&desk).run());
            desk
        });
        operator::add(self, uid, |waker| LookupOperator::new(desk, how.ordered, waker, key, join))
    }
}
