//! The headers of one part of an epoch, and what is acknowledged of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidelock::Result;
use tokio::time::Instant;

use super::order::PutOrder;
use crate::header::Header;
use crate::place::Place;
use crate::puts::{At, Stamp};
use crate::trail::Trail;

/// So many records may come behind the first that is not acknowledged: readers remember them one by one while its shard is throttled.
const AHEAD_MAX: u64 = 50_000;

/// What the parts of a numbering share, epoch after epoch.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// From when on its times count.
    pub(super) began: Instant,
    pub(super) trail: Arc<Mutex<Trail>>,
    pub(super) order: Arc<Mutex<PutOrder>>,
}

impl Progress {
    pub(super) fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    fn trail(&self) -> MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers the records of one part.
pub(super) struct Numbers {
    /// That of the first one.
    header: Header,
    progress: Progress,
    /// All before it are acknowledged.
    first: u64,
    /// Those behind it that are.
    beyond: BTreeSet<u64>,
}

impl Numbers {
    /// All of earlier epochs is acknowledged now.
    pub(super) fn new(header: Header, progress: Progress) -> Self {
        let now_ms = progress.ms(Instant::now());
        progress.trail().note(now_ms, Place::first_of(header.place.epoch));
        Self { header, progress, first: 0, beyond: BTreeSet::new() }
    }
}

impl Stamp for Numbers {
    fn stamp(&mut self, index: u64, data: &Bytes) -> Bytes {
        self.header.place.index = index;
        self.header.floor = self.progress.trail().floor(self.progress.ms(Instant::now()));
        self.header.before(data)
    }

    fn put(&mut self, index: u64, at: &At<'_>) -> Result<()> {
        let now_ms = self.progress.ms(Instant::now());
        let mut order = self.progress.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.put(at.shard, at.sequence_number, (self.progress.ms(at.sent), now_ms))?;
        drop(order);
        self.beyond.insert(index);
        while self.beyond.remove(&self.first) {
            self.first += 1;
        }
        let Place { epoch, .. } = self.header.place;
        self.progress.trail().note(now_ms, Place { epoch, index: self.first });
        Ok(())
    }

    fn has_room(&self, next: u64) -> bool {
        next < self.first + AHEAD_MAX
    }
}
