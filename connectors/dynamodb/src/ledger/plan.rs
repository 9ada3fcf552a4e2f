//! How the changes of an epoch are cut: into lanes, and each lane into chunks. A chunk is one transaction.
//!
//! ```text
//!   changes in their order ──by the key──┬─> lane 0: [chunk 0][chunk 1][chunk 2..   one after the other
//!                                        ├─> lane 1: [chunk 0][chunk 1..            beside it
//!                                        └─> ..
//! ```
//!
//! A pure function of the changes and the number of lanes: a replay, by whichever process, build and machine, cuts as it was cut before,
//! because the ledger says of a chunk nothing but its number. So **whatever decides here must never change under the same [`RULES`]**: the bounds,
//! the hash, the size of a change, and which changes are merged.

use std::collections::HashMap;

use tidelock::Result;

use super::merge::merge;
use super::state::Lanes;
use crate::change::{Change, ItemChange, ItemUpdate};
use crate::item::{Item, item_bytes};
use crate::key::{Key, KeySchema};

/// By which rules an epoch is cut that nobody began: stands in the ledger with the epoch that is begun.
pub(super) const RULES: u16 = 2;

/// DynamoDB takes 100 actions, and one is the ledger's.
const ACTIONS_MAX: usize = 99;

/// How many bytes a chunk has at most, as DynamoDB counts them where it stores them. A change that was merged counts as often as it came. `None`: by
/// rules that this build does not know.
fn bytes_max(rules: u16) -> Option<usize> {
    match rules {
        // DynamoDB takes 4 MB, and some of it is the ledger's.
        1 => Some(3_800_000),
        // And it takes 16 MB on their way: there a value that counts as one byte has nine or ten, and each of an update's attributes some forty more.
        2 => Some(1_500_000),
        _ => None,
    }
}

/// Whether this build can cut an epoch as it was begun.
pub(super) fn is_known(rules: u16) -> bool {
    bytes_max(rules).is_some()
}

/// A part of an epoch that is applied in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Counted from 0 within its lane.
    pub(super) number: u64,
    /// How many changes its lane has up to and with this chunk, before they were merged.
    pub(super) until: u64,
    /// Each of another item.
    pub(super) changes: Vec<Change>,
}

/// Cuts the changes of an epoch.
#[derive(Debug)]
pub(super) struct Plan<'s> {
    schema: &'s KeySchema,
    bytes_max: usize,
    lanes: Vec<Open>,
}

/// The chunk of a lane that is not full yet.
#[derive(Debug, Default)]
struct Open {
    number: u64,
    until: u64,
    bytes: usize,
    places: HashMap<Key, usize>,
    changes: Vec<Change>,
}

impl<'s> Plan<'s> {
    /// Into these lanes, by rules that are [known](is_known).
    pub(super) fn new(Lanes { count, rules }: Lanes, schema: &'s KeySchema) -> Self {
        let bytes_max = bytes_max(rules).unwrap_or_default();
        Self { schema, bytes_max, lanes: (0..count.max(1)).map(|_| Open::default()).collect() }
    }

    /// Takes the next change. Returns the chunk that is full by it, and its lane.
    pub(super) fn take(&mut self, record: ItemChange) -> Result<Option<(usize, Chunk)>> {
        let key = self.schema.key_of_change(&record)?;
        let lane = self.lane_of(&key)?;
        let full = self.lanes[lane].take(key, record.change, self.bytes_max);
        Ok(full.map(|chunk| (lane, chunk)))
    }

    /// What is left when there are no more changes.
    pub(super) fn end(self) -> impl Iterator<Item = (usize, Chunk)> {
        let left = self.lanes.into_iter().enumerate().filter(|(_, open)| !open.changes.is_empty());
        left.map(|(lane, mut open)| (lane, open.close()))
    }

    fn lane_of(&self, key: &Key) -> Result<usize> {
        if self.lanes.len() == 1 {
            return Ok(0);
        }
        // As JSON: a form that is the same on every machine, and for every build.
        let text = serde_json::to_vec(&key.to_item(self.schema)).map_err(|error| {
            tidelock::Error::new(tidelock::ErrorKind::Bug, "cut an epoch", "a key has no form as JSON")
                .because(error)
        })?;
        Ok(crc32c::crc32c(&text) as usize % self.lanes.len())
    }
}

impl Open {
    fn take(&mut self, key: Key, mut change: Change, bytes_max: usize) -> Option<Chunk> {
        let bytes = bytes_of(&change);
        let mut full = None;
        if self.bytes + bytes > bytes_max && !self.changes.is_empty() {
            full = Some(self.close());
        } else if let Some(&place) = self.places.get(&key) {
            match merge(&mut self.changes[place], change) {
                Ok(()) => {
                    self.bytes += bytes;
                    self.until += 1;
                    return None;
                }
                Err(later) => (change, full) = (later, Some(self.close())),
            }
        } else if self.changes.len() == ACTIONS_MAX {
            full = Some(self.close());
        }
        self.bytes += bytes;
        self.until += 1;
        self.places.insert(key, self.changes.len());
        self.changes.push(change);
        full
    }

    fn close(&mut self) -> Chunk {
        let Self { number, until, .. } = *self;
        let closed = std::mem::take(self);
        (self.number, self.until) = (number + 1, until);
        Chunk { number, until, changes: closed.changes }
    }
}

/// What a change counts of the bytes of a transaction.
fn bytes_of(change: &Change) -> usize {
    match change {
        Change::Put(item) | Change::Delete(item) => item_bytes(item),
        Change::Update(ItemUpdate { key, set, remove, add }) => {
            let values: usize = [key, set, add].map(|item: &Item| item_bytes(item)).iter().sum();
            values + remove.iter().map(String::len).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests;
