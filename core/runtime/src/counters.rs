//! Counters for people: how many records went in and out. Counted by this process, since it started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::Uid;
use tokio::time::Instant;

/// One counter. Cheap to clone; read at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The count so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of a job's sources, functions, windows and sinks, by uid. They go on across restarts within the
/// process, so records that are read again are counted again.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    read: Mutex<BTreeMap<Uid, Counter>>,
    written: Mutex<BTreeMap<Uid, Counter>>,
    late: Mutex<BTreeMap<Uid, Counter>>,
    rejected: Mutex<BTreeMap<Uid, Counter>>,
    state_bytes: Mutex<BTreeMap<Uid, Counter>>,
    checkpointed: Mutex<Option<Instant>>,
}

fn counter(of: &Mutex<BTreeMap<Uid, Counter>>, uid: &Uid) -> Counter {
    of.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.clone()).or_default().clone()
}

fn all(of: &Mutex<BTreeMap<Uid, Counter>>) -> BTreeMap<Uid, u64> {
    let counters = of.lock().unwrap_or_else(PoisonError::into_inner);
    counters.iter().map(|(uid, counter)| (uid.clone(), counter.get())).collect()
}

impl Counters {
    pub(crate) fn reader(&self, uid: &Uid) -> Counter {
        counter(&self.read, uid)
    }

    pub(crate) fn writer(&self, uid: &Uid) -> Counter {
        counter(&self.written, uid)
    }

    pub(crate) fn lateness(&self, uid: &Uid) -> Counter {
        counter(&self.late, uid)
    }

    pub(crate) fn rejection(&self, uid: &Uid) -> Counter {
        counter(&self.rejected, uid)
    }

    pub(crate) fn state_bytes_of(&self, uid: &Uid) -> Counter {
        counter(&self.state_bytes, uid)
    }

    /// A checkpoint is durable.
    pub(crate) fn checkpointed(&self) {
        *self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When the last checkpoint became durable.
    pub(crate) fn last_checkpoint(&self) -> Option<Instant> {
        *self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that each source handed over.
    pub(crate) fn read(&self) -> BTreeMap<Uid, u64> {
        all(&self.read)
    }

    /// Records that the writers of each sink took; committed some time later. Those of a sink that rejects records are counted at the
    /// end of their epoch, when it is known which they are.
    pub(crate) fn written(&self) -> BTreeMap<Uid, u64> {
        all(&self.written)
    }

    /// Records that came too late for the windows of each operator.
    pub(crate) fn late(&self) -> BTreeMap<Uid, u64> {
        all(&self.late)
    }

    /// Records that each function and sink rejected.
    pub(crate) fn rejected(&self) -> BTreeMap<Uid, u64> {
        all(&self.rejected)
    }

    /// Bytes of state that each function and window stored.
    pub(crate) fn state_bytes(&self) -> BTreeMap<Uid, u64> {
        all(&self.state_bytes)
    }
}
