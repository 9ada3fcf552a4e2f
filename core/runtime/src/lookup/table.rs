//! A table that is in memory as a whole, and loaded again now and then.
//!
//! ```text
//!   worker:  batch ── entries of this moment ──> join ──> output
//!                          ^
//!   tokio:   load ── swap ─┘ ── wait ── load ── …
//! ```
//!
//! A batch sees one state of the table, from its first record to its last. Nothing is asked, counted or cloned for a
//! record: what it costs is the hash of its key.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tidelock::{Error, ErrorKind, LookupTable, Result, Retry, Uid, in_time};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::counts::Counts;
use super::patience::{Patience, later};
use super::{LookupTables, RETRY_FOR};
use crate::wake::Waker;

/// How many entries are put into the map before somebody else has a turn.
const ENTRIES_PER_TURN: usize = 4_096;

/// Between two looks whether the last batch is done with an older state.
const LAST_BATCH_PAUSE: Duration = Duration::from_millis(10);

/// One state of a table.
pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// What a [`LookupTable`] had when it was loaded last, for the records of one batch.
#[derive(Debug)]
pub struct Entries<'t, K, V> {
    map: &'t Map<K, V>,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

impl<'t, K: Eq + Hash, V> Entries<'t, K, V> {
    pub(super) fn new(map: &'t Map<K, V>) -> Self {
        Self { map, hits: Cell::new(0), misses: Cell::new(0) }
    }

    /// What the table has for a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&'t V>
    where
        K: Borrow<Q>,
    {
        let found = self.map.get(key);
        let counted = if found.is_some() { &self.hits } else { &self.misses };
        counted.set(counted.get() + 1);
        found
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn count(self, counts: &Counts) {
        counts.batch(self.hits.get(), self.misses.get());
    }
}

/// A table as the workers of one process share it.
pub(super) struct Shelf<T: LookupTable> {
    uid: Uid,
    table: Arc<T>,
    how: LookupTables,
    /// A load that takes longer ends the attempt.
    call_timeout: Duration,
    pub(super) counts: Counts,
    now: Mutex<Now<T::Key, T::Value>>,
}

struct Now<K, V> {
    /// None until it was loaded for the first time.
    map: Option<Arc<Map<K, V>>>,
    /// Who waits for that.
    waiting: Vec<Waker>,
}

impl<T: LookupTable> Shelf<T> {
    pub(super) fn new(uid: Uid, table: Arc<T>, how: LookupTables, call_timeout: Duration) -> Self {
        let now = Mutex::new(Now { map: None, waiting: Vec::new() });
        Self { counts: Counts::new(&uid), uid, table, how, call_timeout, now }
    }

    /// Wakes an operator when the table is there for the first time.
    pub(super) fn wake_when_loaded(&self, waker: Waker) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).waiting.push(waker);
    }

    /// The latest state, if there is one yet.
    pub(super) fn map(&self) -> Option<Arc<Map<T::Key, T::Value>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).map.clone()
    }

    /// Loads the table as long as anybody may look into it.
    pub(super) async fn run(self: Arc<Self>) -> Result<()> {
        let begun = Instant::now();
        let mut may_fail_until = begun + RETRY_FOR;
        loop {
            let entries = self.load(may_fail_until).await?;
            let loaded = Instant::now();
            let map = self.map_of(entries).await?;
            self.swap(map).await;
            sleep(self.how.refresh_every).await;
            may_fail_until =
                later(loaded, self.how.refresh_every.saturating_add(self.how.stale_for.max(RETRY_FOR)));
        }
    }

    async fn load(&self, may_fail_until: Instant) -> Result<Vec<(T::Key, T::Value)>> {
        let mut patience = Patience::until(may_fail_until);
        loop {
            let asked = Instant::now();
            let error = match in_time("load a table", self.call_timeout, self.table.load()).await {
                Ok(entries) => {
                    self.counts.answered(asked.elapsed());
                    return Ok(entries);
                }
                Err(error) => error,
            };
            self.counts.failed(asked.elapsed());
            if error.retry() != Retry::Retry {
                return Err(error);
            }
            let Some(pause) = patience.pause() else { return Err(error) };
            warn!(uid = %self.uid, %error, ?pause, "the table of a lookup cannot be loaded: it is tried again");
            sleep(pause).await;
        }
    }

    async fn map_of(&self, entries: Vec<(T::Key, T::Value)>) -> Result<Map<T::Key, T::Value>> {
        let mut map = Map::with_capacity_and_hasher(entries.len(), RandomState::default());
        for (at, (key, value)) in entries.into_iter().enumerate() {
            if map.insert(key, value).is_some() {
                let why = "a key is there twice: which of its values counts, nobody knows";
                return Err(Error::new(ErrorKind::Data, "load a table", why));
            }
            if at % ENTRIES_PER_TURN == 0 {
                yield_now().await;
            }
        }
        Ok(map)
    }

    async fn swap(&self, map: Map<T::Key, T::Value>) {
        self.counts.loaded(map.len());
        let (older, waiting) = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            (now.map.replace(Arc::new(map)), std::mem::take(&mut now.waiting))
        };
        waiting.iter().for_each(Waker::wake);
        let Some(older) = older else { return };
        // Freeing a large table takes long: not on a worker, which has it until the end of a batch at most, and not here.
        while Arc::strong_count(&older) > 1 {
            sleep(LAST_BATCH_PAUSE).await;
        }
        let _freed = spawn_blocking(move || drop(older)).await;
    }
}
