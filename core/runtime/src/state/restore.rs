//! What an operator on one worker finds in a snapshot.
//!
//! ```text
//!   parts of the snapshot      0-63/128   64-127/128             0-42/128   43-85/128   86-127/128
//!   workers now                   2, worker 1                       2, worker 1: groups 64-127
//!                                            │                                  └────┬────┘
//!   read                       its own part, 64-127              those with groups of its own
//!   merge                      last word on each key, of its own groups, without what was removed
//!   kept                       the part's segments as they are   one new segment, which is stored
//!   first report must          nothing                           make its part; worker 0: remove the old ones
//! ```
//!
//! 1. Watermarks are taken from all parts that hold any: see [`Floors`].
//! 2. The segments of the parts with groups of this worker are read and merged: `entries`, for the table in memory.
//! 3. Under the same number of workers the list of segments stays as it is. Otherwise what was merged becomes the one
//!    segment of a new part, and the first report puts the new parts in the place of the old ones: of all workers in one
//!    epoch, so that no snapshot has a group twice or not at all. Until then the log still has the old parts, and a
//!    crash begins here again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use tidelock::host::{Change, PartChange};
use tidelock::{Error, ErrorKind, Result, Segment};

use super::floors::Floors;
use super::parts::{parse_part, part_name, read_watermarks, store_watermarks, watermarks_name};
use super::storage::{Kept, Storage};
use crate::batch::Millis;
use crate::seat::Seat;

#[derive(Debug)]
pub(crate) struct Restored {
    /// The worker's groups.
    pub(super) groups: Range<u16>,
    /// Everything in the worker's groups, each key once.
    pub(crate) entries: Option<Bytes>,
    /// How far each of the worker's groups was.
    pub(crate) floors: Floors,
    /// The segments that the worker's part consists of.
    pub(super) kept: Vec<Kept>,
    /// What the first report must change before anything else.
    pub(super) first: Vec<PartChange>,
}

/// Reads the state of a worker.
pub(crate) async fn restore(
    storage: &Storage,
    parts: &BTreeMap<String, Vec<Segment>>,
    seat: Seat,
) -> Result<Restored> {
    let groups = seat.groups();
    let own = part_name(&groups);
    let floors = Floors::of(&groups);
    let (kept, first) = (Vec::new(), Vec::new());
    let mut restored = Restored { groups: groups.clone(), entries: None, floors, kept, first };
    let mut segments = Vec::new();
    for (name, stored) in parts {
        if let Some(stretches) = read_watermarks(storage, name, stored).await? {
            restored.floors.raise(&stretches);
            continue;
        }
        let held = parse_part(name)?;
        if held.start < groups.end && groups.start < held.end {
            if parts.contains_key(&own) && *name != own {
                let error = Error::new(ErrorKind::Corrupt, "restore", "two parts hold the same key groups");
                return Err(error.with("part", name).with("other_part", own));
            }
            segments.extend(stored.iter().cloned());
        }
    }
    restored.entries = storage.merged(&segments, groups.clone(), false).await?;
    if parts.contains_key(&own) {
        restored.kept = segments.into_iter().map(Kept::of).collect();
    } else if let Some(entries) = &restored.entries {
        let kept = storage.store(entries.clone()).await;
        restored.first.push(PartChange { part: own, change: Change::Base(kept.segment.clone()) });
        restored.kept = vec![kept];
    }
    if !parts.contains_key(&watermarks_name(&groups)) && restored.floors.is_ahead(Millis::MIN) {
        restored.first.push(store_watermarks(&groups, &restored.floors)?);
    }
    if seat.worker == 0 {
        let ranges = seat.with_all_others().map(Seat::groups);
        let current: BTreeSet<String> =
            ranges.flat_map(|groups| [part_name(&groups), watermarks_name(&groups)]).collect();
        let old = parts.keys().filter(|name| !current.contains(*name));
        restored.first.extend(old.map(|name| PartChange { part: name.clone(), change: Change::Remove }));
    }
    Ok(restored)
}
