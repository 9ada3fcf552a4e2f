//! The external system of [`MemorySource`](super::MemorySource): splits that outlive their readers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct SplitState {
    /// The first place that is still there.
    pub(super) first: u64,
    /// One after the last place.
    pub(super) end: u64,
    pub(super) ended: bool,
    /// What was acknowledged. A correct source never asks.
    pub(super) acknowledged: u64,
    /// How far anybody read. A correct source never asks.
    pub(super) read: u64,
}

/// Splits of inputs, in memory. It lives as long as anybody has a clone of it, which is what makes it
/// external: sources come and go.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    splits: Arc<Mutex<BTreeMap<String, SplitState>>>,
    pub(super) changed: Arc<Notify>,
}

impl Feed {
    /// A feed without splits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends inputs to a split, and makes the split where it does not exist.
    pub fn append(&self, split: &str, places: Range<u64>) {
        self.lock().entry(split.to_owned()).or_default().end = places.end;
        self.changed.notify_waiters();
    }

    /// Ends a split after what was appended to it.
    pub fn end(&self, split: &str) {
        self.lock().entry(split.to_owned()).or_default().ended = true;
        self.changed.notify_waiters();
    }

    /// Drops the inputs of a split that come before `place`.
    pub fn drop_before(&self, split: &str, place: u64) {
        self.lock().entry(split.to_owned()).or_default().first = place;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SplitState>> {
        self.splits.lock().expect("invariant: nobody panics while holding the splits")
    }
}
