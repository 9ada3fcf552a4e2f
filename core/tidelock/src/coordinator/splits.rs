//! The splits of one source, as the coordinator knows them: what is in the snapshot, what was found
//! since, and when discovery must be asked.
//!
//! ```text
//!   discovery ──found──> newcomer ──admitted with an epoch──> current ──finished, in the snapshot──> forgotten
//!                           │                                   │          (where the source asks for it)
//!                           └──────────── assigned, read ───────┘
//! ```
//!
//! A split lives through these steps:
//!
//! 1. `begin_discovery` tells the source what is known: what is read, and what was read to its end.
//! 2. `found` takes the answer. A new split is assigned at once, and is a *newcomer*: in no entry yet.
//! 3. `apply` brings an epoch's reports into `current`, the snapshot. A newcomer is admitted with the epoch in which
//!    it was read first at the earliest; or with the end of the splits that had finished when it was found, because
//!    its parents are among them: never before, or a restore would read children beside their parents, and never
//!    after, or a restore would find neither.
//! 4. `finish` notes at once that a split was read to its end, and wants discovery, which may know children. A report
//!    that says so waits until discovery has answered: `discoveries_wanted` counts requests, `discoveries_answered`
//!    says how many of them are answered, and a request made while one runs is one more.
//! 5. `forget` is obeyed when the end of the split is in the snapshot too, and all that discovery knew when it said so: earlier, a restore would read it
//!    again, perhaps under another name.
//! 6. `is_exhausted`: the source said that no more will come, every request is answered, and all is read.

use std::collections::{BTreeMap, BTreeSet};

use super::split_table::SplitTable;
use crate::restore::SourceState;
use crate::{
    Discovery, Epoch, Error, ErrorKind, Known, Result, Segment, SplitId, SplitState, Stored, StoredSplit,
};

/// A split that was found and is in no entry yet.
#[derive(Debug)]
struct Newcomer {
    state: SplitState,
    /// It enters the entry of this epoch, or of an earlier one that has all of `after`.
    from: Epoch,
    /// Splits that had finished when it was found, and whose end no entry has yet: its parents are among
    /// them. It enters the same entry as their end, never an earlier one.
    after: BTreeSet<SplitId>,
}

/// The splits of one source.
#[derive(Debug, Default)]
pub(super) struct Splits {
    /// As of the last epoch whose reports were applied.
    current: SplitTable,
    newcomers: Vec<Newcomer>,
    /// Known to be finished, perhaps in an epoch that is not stored yet.
    finished: BTreeSet<SplitId>,
    /// Those of them whose end no entry has yet, as they ended.
    ending: BTreeMap<SplitId, Stored>,
    /// What discovery said to forget, each from the epoch on whose entry has all that was known then.
    forget: BTreeMap<SplitId, Epoch>,
    /// No more splits will be found.
    complete: bool,
    discovery: Asked,
}

/// Discovery requests: how many were wanted, how many of those are answered.
#[derive(Debug, Default)]
struct Asked {
    wanted: u64,
    answered: u64,
    running: Option<u64>,
    /// What the running request was told to be finished.
    told: BTreeSet<SplitId>,
}

impl Splits {
    /// Continues from a snapshot.
    pub(super) fn restored(source: SourceState) -> Self {
        let finished = source.splits.values().filter(|split| split.finished);
        let finished = finished.map(|split| split.id.clone()).collect();
        Self { current: SplitTable::restored(source), finished, ..Self::default() }
    }

    /// Splits that are to be read, with their positions.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &SplitState> {
        self.current.values().filter(|split| !split.finished)
    }

    /// The greatest watermark that a split had which was read to its end, those included that are forgotten.
    pub(super) fn reached(&self) -> Option<i64> {
        self.current.reached()
    }

    /// Whether everything was read and no more will come.
    pub(super) fn is_exhausted(&self) -> bool {
        let found = self
            .current
            .values()
            .map(|split| &split.id)
            .chain(self.newcomers.iter().map(|newcomer| &newcomer.state.id));
        let mut found = found.filter(|id| !self.forget.contains_key(*id));
        self.complete
            && self.discovery.wanted == self.discovery.answered
            && found.all(|id| self.finished.contains(id))
    }

    /// A split was read to its end: its children must be looked for. `false` if that is known.
    pub(super) fn finish(&mut self, id: SplitId, split: Stored) -> bool {
        let new = self.finished.insert(id.clone());
        if new && !self.current.is_finished(&id) {
            self.ending.insert(id, split);
        }
        if new && !self.complete {
            self.want_discovery();
        }
        new
    }

    /// Wants discovery to be asked, once more if it is being asked now.
    pub(super) fn want_discovery(&mut self) {
        if !self.complete {
            self.discovery.wanted += 1;
        }
    }

    /// How many requests must be answered before a report that was told now may count.
    pub(super) fn discoveries_wanted(&self) -> u64 {
        self.discovery.wanted
    }

    /// How many requests are answered.
    pub(super) fn discoveries_answered(&self) -> u64 {
        self.discovery.answered
    }

    /// What to tell discovery, if it is to be asked now.
    pub(super) fn begin_discovery(&mut self, first_run: bool) -> Option<Known<Stored>> {
        let asked = &mut self.discovery;
        if asked.running.is_some() || asked.wanted == asked.answered {
            return None;
        }
        asked.running = Some(asked.wanted);
        asked.told = self.finished.clone();
        let known = self.current.values().chain(self.newcomers.iter().map(|newcomer| &newcomer.state));
        let active =
            known.filter(|split| !self.finished.contains(&split.id)).map(|split| split.split.clone());
        let stored = self.current.values().filter(|split| split.finished).map(|split| &split.split);
        let ended = stored.chain(self.ending.values()).cloned();
        Some(Known {
            active: active.collect(),
            finished: self.finished.iter().cloned().collect(),
            ended: ended.collect(),
            first_run,
        })
    }

    /// Discovery answered. Returns the new splits, to be assigned. `next` is the epoch that the next
    /// barrier closes: splits that are assigned now are read in it at the earliest.
    pub(super) fn found(&mut self, found: Discovery<StoredSplit>, next: Epoch) -> Result<Vec<SplitState>> {
        self.discovery.answered = self.discovery.running.take().unwrap_or(self.discovery.answered);
        self.complete |= found.complete;
        let stored = |id: &SplitId| self.current.is_finished(id);
        let after: BTreeSet<SplitId> = self
            .discovery
            .told
            .iter()
            .filter(|id| !stored(id) && !self.forget.contains_key(*id))
            .cloned()
            .collect();
        let mut new = Vec::with_capacity(found.new.len());
        for StoredSplit { id, split } in found.new {
            let known =
                self.current.get(&id).is_some() || self.newcomers.iter().any(|known| known.state.id == id);
            if known {
                return Err(Error::new(
                    ErrorKind::Bug,
                    "discover",
                    "a source returned a split that is known",
                )
                .with("split", id));
            }
            let state = SplitState { id, split, watermark: None, finished: false };
            new.push(state.clone());
            self.newcomers.push(Newcomer { state, from: next, after: after.clone() });
        }
        for id in found.forget.into_iter().filter(|id| self.finished.contains(id)) {
            // What was found before is admitted by this epoch, and what had finished is reported by then.
            self.forget.entry(id).or_insert(next);
        }
        Ok(new)
    }

    /// Applies what the tasks reported for an epoch, and stores what changed.
    pub(super) fn apply(&mut self, epoch: Epoch, reported: Vec<SplitState>) -> Result<()> {
        for split in reported {
            self.take_newcomer(&split.id);
            if split.finished {
                self.ending.remove(&split.id);
            }
            self.current.advance(split)?;
        }
        self.admit(epoch);
        self.forget_stored(epoch);
        self.current.store()
    }

    /// A split that is reported is in the snapshot from now on.
    fn take_newcomer(&mut self, id: &SplitId) {
        if let Some(index) = self.newcomers.iter().position(|newcomer| newcomer.state.id == *id) {
            self.current.insert(self.newcomers.swap_remove(index).state);
        }
    }

    fn admit(&mut self, epoch: Epoch) {
        let current = &self.current;
        let due = |newcomer: &Newcomer| {
            let parents_ended = newcomer.after.iter().all(|id| current.is_finished(id));
            newcomer.from <= epoch || (!newcomer.after.is_empty() && parents_ended)
        };
        let (admitted, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.newcomers).into_iter().partition(due);
        self.newcomers = waiting;
        admitted.into_iter().for_each(|newcomer| self.current.insert(newcomer.state));
    }

    /// Forgets what is finished in the snapshot too, which has what made discovery say so: forgetting earlier would read it again.
    fn forget_stored(&mut self, epoch: Epoch) {
        let is_due = |(id, from): &(&SplitId, &Epoch)| **from <= epoch && self.current.is_finished(id);
        let forgotten: Vec<SplitId> = self.forget.iter().filter(is_due).map(|(id, _)| id.clone()).collect();
        for id in &forgotten {
            self.current.remove(id);
            self.finished.remove(id);
            self.forget.remove(id);
        }
    }

    /// The segments of the source's state, as of the last applied epoch.
    pub(super) fn segments(&self) -> &[Segment] {
        self.current.segments()
    }

    /// The same, to replace large ones by chunks.
    pub(super) fn segments_mut(&mut self) -> &mut [Segment] {
        self.current.segments_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str, place: u64, finished: bool) -> SplitState {
        let json = serde_json::value::to_raw_value(&place).expect("JSON");
        SplitState { id: SplitId::new(id), split: Stored { version: 1, json }, watermark: None, finished }
    }

    fn ended(splits: &mut Splits) -> Vec<String> {
        splits.want_discovery();
        let known = splits.begin_discovery(false).expect("nobody is asked");
        splits.found(Discovery::default(), Epoch(2)).expect("nothing new");
        known.ended.iter().map(|split| split.json.get().to_owned()).collect()
    }

    #[test]
    fn a_split_is_forgotten_in_no_entry_that_lacks_what_made_it_so() {
        // A file was read, and it has another name now: found there, read to its end at once, and forgotten under the old one. All that while epoch 2 was under way.
        let mut splits = Splits::default();
        let find = |splits: &mut Splits, found: Discovery<StoredSplit>, next: u64| {
            splits.want_discovery();
            splits.begin_discovery(false).expect("nobody is asked");
            splits.found(found, Epoch(next)).expect("legal");
        };
        let new = |id: &str| {
            let SplitState { id, split, .. } = state(id, 0, false);
            Discovery { new: vec![StoredSplit { id, split }], ..Discovery::default() }
        };
        find(&mut splits, new("app.log"), 1);
        let end = |splits: &mut Splits, id: &str| {
            let SplitState { id, split, .. } = state(id, 7, true);
            assert!(splits.finish(id, split));
        };
        end(&mut splits, "app.log");
        splits.apply(Epoch(1), vec![state("app.log", 7, true)]).expect("known");
        find(&mut splits, new("app.log.1"), 3);
        end(&mut splits, "app.log.1");
        let forget = vec![SplitId::new("app.log")];
        find(&mut splits, Discovery { forget, ..Discovery::default() }, 3);
        let names = |splits: &Splits| -> Vec<String> {
            splits.current.values().map(|split| split.id.as_str().to_owned()).collect()
        };
        splits.apply(Epoch(2), Vec::new()).expect("known");
        assert_eq!(names(&splits), ["app.log"], "an attempt that begins here would read it anew");
        splits.apply(Epoch(3), vec![state("app.log.1", 7, true)]).expect("known");
        assert_eq!(names(&splits), ["app.log.1"]);
    }

    #[test]
    fn what_a_split_ended_with_is_told_before_an_entry_has_it_and_once_afterwards() {
        let mut splits = Splits::default();
        let SplitState { id, split, .. } = state("parent", 0, false);
        splits.want_discovery();
        splits.begin_discovery(true).expect("nobody is asked");
        let new = vec![StoredSplit { id, split }];
        splits.found(Discovery { new, ..Discovery::default() }, Epoch(1)).expect("new");
        let SplitState { id, split, .. } = state("parent", 7, false);
        assert!(splits.finish(id.clone(), split.clone()));
        assert_eq!(ended(&mut splits), ["7"]);
        assert!(!splits.finish(id.clone(), split), "it is known");
        splits.apply(Epoch(1), vec![state("parent", 7, true)]).expect("known");
        assert_eq!(ended(&mut splits), ["7"]);
        splits.found(Discovery { forget: vec![id], ..Discovery::default() }, Epoch(2)).expect("nothing new");
        splits.apply(Epoch(2), Vec::new()).expect("known");
        assert_eq!(ended(&mut splits), [""; 0]);
    }
}
