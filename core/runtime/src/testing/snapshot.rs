//! A snapshot as reports build it up: what the coordinator does, in a few lines.

use std::collections::BTreeMap;

use tidelock::host::{Change, PartChange, Report, SplitState};
use tidelock::{Segment, SplitId, Uid};

use super::memory::MemorySplit;
use crate::batch::Millis;

#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) splits: BTreeMap<SplitId, SplitState>,
    pub(crate) operators: BTreeMap<Uid, BTreeMap<String, Vec<Segment>>>,
    /// The greatest watermark that a split of each source had which ended.
    pub(crate) reached: BTreeMap<Uid, Millis>,
}

impl Snapshot {
    /// Applies the reports of one epoch.
    pub(crate) fn apply(&mut self, reports: &[Report]) {
        for report in reports {
            for (uid, splits) in &report.sources {
                for split in splits {
                    self.splits.insert(split.id.clone(), split.clone());
                    if let Some(watermark) = split.watermark.filter(|_| split.finished) {
                        let reached = self.reached.entry(uid.clone()).or_insert(watermark);
                        *reached = watermark.max(*reached);
                    }
                }
            }
            for (uid, changes) in &report.operators {
                let parts = self.operators.entry(uid.clone()).or_default();
                for PartChange { part, change } in changes.clone() {
                    match change {
                        Change::Base(segment) => drop(parts.insert(part, vec![segment])),
                        Change::Delta(segment) => parts.entry(part).or_default().push(segment),
                        Change::Remove => drop(parts.remove(&part)),
                    }
                }
            }
        }
    }

    /// The positions of the splits that moved.
    pub(crate) fn positions(&self) -> BTreeMap<String, u64> {
        let decode = |split: &SplitState| split.split.decode::<MemorySplit>().unwrap();
        self.splits.values().map(decode).map(|split| (split.id, split.next)).collect()
    }
}
