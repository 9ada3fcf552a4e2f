//! What of a log may be deleted. A pure decision; `retention.rs` keeps the books and performs it.
//!
//! ```text
//!   position   1      2      3     4     5      6      7     8     9     10
//!              claim  start  ckpt  ckpt  claim  start  ckpt  ckpt  conf  ckpt
//!   epoch             0      1     2     2      2      3     4     4     5
//!   retained 2                                                ^     ^     ^     snapshots: epochs 4 and 5
//!   fences     ^                   ^     ^                                      never deleted
//!   deleted           x      x                  x      x
//! ```
//!
//! - The newest entry is never deleted.
//! - A claim *and the entry directly below it* are never deleted (I5): an older attempt that wakes up asks
//!   for the position after its last one, and finds it taken for ever. Their chunks go with the snapshot:
//!   a fence stays, but can no longer be restored.
//! - An entry that names abandoned data is never deleted: older snapshots must not pass as settled.
//! - A snapshot is an epoch: a confirmation does not push the checkpoint before it out.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Epoch, Position};

use super::savepoint::chunk_names;
use super::{Entry, EntryKind};

/// What the decision needs of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryHead {
    /// Its place in the log.
    pub position: Position,
    /// It is a claim.
    pub claim: bool,
    /// It names abandoned data.
    pub abandons: bool,
    /// The epoch of the snapshot that it is; `None` without state.
    pub snapshot: Option<Epoch>,
    /// The names of the chunks of its state.
    pub chunks: Arc<BTreeSet<String>>,
}

impl EntryHead {
    /// An entry that is no snapshot any more, and nothing else.
    pub(super) fn without_state(position: Position) -> Self {
        Self { position, claim: false, abandons: false, snapshot: None, chunks: Arc::default() }
    }
}

impl From<&Entry> for EntryHead {
    fn from(entry: &Entry) -> Self {
        Self {
            position: entry.position,
            claim: entry.kind == EntryKind::Claim,
            abandons: !entry.abandoned.is_empty(),
            snapshot: entry.state.as_ref().map(|_| entry.epoch),
            chunks: Arc::new(entry.state.as_ref().map(chunk_names).unwrap_or_default()),
        }
    }
}

/// Which entries may be deleted, oldest first, when the newest `retained` snapshots are kept.
pub fn prune_plan(entries: &[EntryHead], retained: u32) -> Vec<Position> {
    let snapshots = retained_positions(entries, retained);
    let fences = fences(entries);
    let deletable = |position: &Position| !snapshots.contains(position) && !fences.contains(position);
    let plan: BTreeSet<_> = entries.iter().map(|head| head.position).filter(deletable).collect();
    plan.into_iter().collect()
}

/// The newest entry, and the entries of the newest `retained` epochs that have state. What they refer to
/// is kept too.
pub fn retained_positions(entries: &[EntryHead], retained: u32) -> BTreeSet<Position> {
    let epochs: BTreeSet<Epoch> = entries.iter().filter_map(|head| head.snapshot).collect();
    let epochs: BTreeSet<Epoch> = epochs.into_iter().rev().take(retained as usize).collect();
    let newest = entries.iter().map(|head| head.position).max();
    let is_snapshot = |head: &&EntryHead| head.snapshot.is_some_and(|epoch| epochs.contains(&epoch));
    entries.iter().filter(is_snapshot).map(|head| head.position).chain(newest).collect()
}

/// Entries that are never deleted because of what they are.
pub fn fences(entries: &[EntryHead]) -> BTreeSet<Position> {
    let claims: BTreeSet<Position> =
        entries.iter().filter(|head| head.claim).map(|head| head.position).collect();
    // I5: the claim, and the entry directly below it.
    let fence = |head: &&EntryHead| head.claim || head.abandons || claims.contains(&head.position.next());
    entries.iter().filter(fence).map(|head| head.position).collect()
}
