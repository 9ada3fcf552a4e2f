//! The splits of one source in the snapshot, and the segments that they are stored in.
//!
//! ```text
//!   [ base | changes | changes | tail ]      later segments replace earlier ones, split by split
//!                                 └ small, inline, written again with the next changes
//! ```
//!
//! A checkpoint writes what changed: the tail. When it grows large it becomes a segment of its own (a
//! chunk); when the changes outgrow the base, or the chain grows long, a new base takes their place.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::log::INLINE_MAX;
use crate::restore::SourceState;
use crate::{Error, ErrorKind, Result, Segment, SplitId, SplitState};

/// Up to this many splits are written whole with each entry: one small list is cheaper to write and to
/// read than a chain.
const WHOLE_MAX: usize = 64;
/// A longer chain is replaced by a base, so that a restore reads a bounded number of segments.
const CHAIN_MAX: usize = 64;

#[derive(Debug)]
struct Slot {
    state: SplitState,
    /// How many segments were closed when it last moved: the tail holds those that moved since the last.
    moved: u64,
}

/// The splits in the order in which they were found. Ten thousand may move between two barriers, so each is
/// found by one hash and replaced in place.
#[derive(Debug, Default)]
pub(super) struct SplitTable {
    slots: Vec<Slot>,
    /// Never iterated: its order is not ours.
    index: HashMap<SplitId, usize>,
    chain: Vec<Segment>,
    base_bytes: u64,
    closed_bytes: u64,
    /// Segments closed so far.
    closed: u64,
    tail_open: bool,
    /// Splits that segments before the tail may still have, and that are gone.
    tail_forgotten: BTreeSet<SplitId>,
    /// The greatest watermark that a split had which is gone: event time does not go back because of that.
    forgotten_reached: Option<i64>,
    dirty: bool,
}

/// [`SplitChanges`](crate::restore::SplitChanges), written without copying the states.
#[derive(Serialize)]
struct Changes<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    splits: Vec<&'a SplitState>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    forgotten: &'a BTreeSet<SplitId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<i64>,
}

impl SplitTable {
    /// Continues from a snapshot.
    pub(super) fn restored(SourceState { splits, reached }: SourceState) -> Self {
        Self { forgotten_reached: reached, ..splits.into_values().collect() }
    }

    /// The greatest watermark that a split had which was read to its end, whether it is still there or not.
    pub(super) fn reached(&self) -> Option<i64> {
        let ended = self.values().filter(|split| split.finished).map(|split| split.watermark);
        ended.fold(self.forgotten_reached, Option::max)
    }

    pub(super) fn get(&self, id: &SplitId) -> Option<&SplitState> {
        self.index.get(id).map(|index| &self.slots[*index].state)
    }

    pub(super) fn is_finished(&self, id: &SplitId) -> bool {
        self.get(id).is_some_and(|split| split.finished)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &SplitState> {
        self.slots.iter().map(|slot| &slot.state)
    }

    /// Takes a split that is new in the snapshot. One that was forgotten before may come back: a file of the
    /// same name, a topic that was made again. It is new, and no longer forgotten.
    pub(super) fn insert(&mut self, state: SplitState) {
        self.tail_forgotten.remove(&state.id);
        self.index.insert(state.id.clone(), self.slots.len());
        self.slots.push(Slot { state, moved: self.closed });
        self.dirty = true;
    }

    /// Takes the new position of a split.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] for a split that is not in the table.
    pub(super) fn advance(&mut self, state: SplitState) -> Result<()> {
        let slot =
            self.index.get(&state.id).and_then(|index| self.slots.get_mut(*index)).ok_or_else(|| {
                Error::new(ErrorKind::Bug, "report", "a task reported a split that was not assigned")
                    .with("split", &state.id)
            })?;
        // A watermark never goes back, whatever a task reports after a restart of its reader.
        let watermark = state.watermark.max(slot.state.watermark);
        slot.state = SplitState { watermark, ..state };
        slot.moved = self.closed;
        self.dirty = true;
        Ok(())
    }

    /// Forgets a split.
    pub(super) fn remove(&mut self, id: &SplitId) {
        if let Some(removed) = self.index.remove(id) {
            self.tail_forgotten.insert(id.clone());
            let gone = self.slots.swap_remove(removed);
            self.forgotten_reached = self.forgotten_reached.max(gone.state.watermark);
            if let Some(slot) = self.slots.get(removed) {
                self.index.insert(slot.state.id.clone(), removed);
            }
            self.dirty = true;
        }
    }

    /// Stores what changed since the last call.
    pub(super) fn store(&mut self) -> Result<()> {
        if !self.dirty && !self.chain.is_empty() {
            return Ok(());
        }
        self.dirty = false;
        let whole = self.chain.is_empty()
            || self.slots.len() <= WHOLE_MAX
            || self.chain.len() >= CHAIN_MAX
            || self.closed_bytes > self.base_bytes;
        if whole { self.store_base() } else { self.store_tail() }
    }

    fn store_base(&mut self) -> Result<()> {
        let segment = segment(self.values().collect(), &BTreeSet::new(), self.forgotten_reached)?;
        self.base_bytes = segment.size();
        self.closed_bytes = 0;
        self.chain.clear();
        self.chain.push(segment);
        self.close_tail();
        Ok(())
    }

    fn store_tail(&mut self) -> Result<()> {
        let moved = self.slots.iter().filter(|slot| slot.moved == self.closed).map(|slot| &slot.state);
        let tail = segment(moved.collect(), &self.tail_forgotten, self.forgotten_reached)?;
        if self.tail_open {
            self.chain.pop();
        }
        self.tail_open = true;
        let size = tail.size();
        self.chain.push(tail);
        if size > INLINE_MAX {
            self.closed_bytes += size;
            self.close_tail();
        }
        Ok(())
    }

    fn close_tail(&mut self) {
        self.closed += 1;
        self.tail_open = false;
        self.tail_forgotten.clear();
    }

    /// The segments, as of the last [`SplitTable::store`].
    pub(super) fn segments(&self) -> &[Segment] {
        &self.chain
    }

    /// The same, to replace large ones by chunks.
    pub(super) fn segments_mut(&mut self) -> &mut [Segment] {
        &mut self.chain
    }
}

impl FromIterator<SplitState> for SplitTable {
    fn from_iter<I: IntoIterator<Item = SplitState>>(splits: I) -> Self {
        let mut table = Self::default();
        splits.into_iter().for_each(|split| table.insert(split));
        table
    }
}

fn segment(splits: Vec<&SplitState>, forgotten: &BTreeSet<SplitId>, reached: Option<i64>) -> Result<Segment> {
    let json = to_raw_value(&Changes { splits, forgotten, reached }).map_err(|error| {
        Error::new(ErrorKind::Bug, "store", "split states cannot be stored as JSON").because(error)
    })?;
    Ok(Segment::Json(json))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::restore::SplitChanges;
    use crate::{Stored, from_json};

    fn split(number: usize, offset: u64) -> SplitState {
        let json = serde_json::value::RawValue::from_string(format!(r#"{{"offset":{offset}}}"#)).unwrap();
        let id = SplitId::new(format!("split-{number}"));
        let watermark = i64::try_from(offset).ok();
        SplitState { id, split: Stored { version: 1, json }, watermark, finished: true }
    }

    /// What a restore reads.
    fn read(segments: &[Segment]) -> SourceState {
        let mut source = SourceState::default();
        for segment in segments {
            let Segment::Json(json) = segment else { panic!("no chunk here") };
            let changes: SplitChanges = from_json(json.get()).unwrap();
            let both = |id: &SplitId| changes.splits.iter().any(|split| split.id == *id);
            assert!(!changes.forgotten.iter().any(both), "a split is there, or it is forgotten");
            changes.apply_to(&mut source);
        }
        source
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert,
        Advance(usize),
        Forget(usize),
        /// One that was forgotten is found again.
        ComesBack(usize),
        Store,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Insert),
            10 => (0..400_usize).prop_map(Step::Advance),
            2 => (0..400_usize).prop_map(Step::Forget),
            2 => (0..400_usize).prop_map(Step::ComesBack),
            4 => Just(Step::Store),
        ];
        proptest::collection::vec(step, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_is_stored_is_what_is_there(start in 0..300_usize, steps in steps()) {
            let mut table: SplitTable = (0..start).map(|number| split(number, 0)).collect();
            let mut forgotten: Vec<usize> = Vec::new();
            let mut next = start;
            let mut reached = (start > 0).then_some(0);
            for (offset, step) in (1..).zip(steps) {
                match step {
                    Step::Insert => {
                        table.insert(split(next, 0));
                        reached = reached.max(Some(0));
                        next += 1;
                    }
                    Step::Advance(number) => {
                        if table.get(&split(number, 0).id).is_some() {
                            table.advance(split(number, offset)).unwrap();
                            reached = reached.max(i64::try_from(offset).ok());
                        }
                    }
                    Step::Forget(number) => {
                        let id = split(number, 0).id;
                        if table.get(&id).is_some() {
                            table.remove(&id);
                            forgotten.push(number);
                        }
                    }
                    Step::ComesBack(which) => {
                        if !forgotten.is_empty() {
                            table.insert(split(forgotten.swap_remove(which % forgotten.len()), offset));
                            reached = reached.max(i64::try_from(offset).ok());
                        }
                    }
                    Step::Store => {
                        table.store().unwrap();
                        let there: BTreeMap<_, _> = table.values().map(|split| (split.id.clone(), split.clone())).collect();
                        let stored = read(table.segments());
                        prop_assert_eq!(&stored.splits, &there);
                        prop_assert_eq!(SplitTable::restored(stored).reached(), reached, "a split that is gone counts");
                        prop_assert!(table.segments().len() <= CHAIN_MAX + 1);
                    }
                }
            }
        }
    }
}
