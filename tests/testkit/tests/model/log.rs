//! The job's log: each position is created once, conditionally, by a request that may be applied late.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tidelock::log::{Closed, EntryKind};
use tidelock::protocol::{Head, Lists, Token};
use tidelock::{Epoch, Position};

use super::attempt::Groups;
use super::scope::Defect;
use super::target::Record;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// Who asked for it, and by which request: the nonce.
    pub(crate) nonce: (usize, Token),
    pub(crate) kind: EntryKind,
    pub(crate) epoch: u64,
    /// What it lists, with the committables.
    pub(crate) groups: Groups,
    /// `None`: no attempt resolved the first positions yet.
    pub(crate) positions: Option<Vec<Record>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(crate) entries: BTreeMap<u64, Rc<Entry>>,
    /// Requests that were sent and may be applied at any time, whatever became of who sent them.
    pub(crate) requests: BTreeMap<(usize, Token), (u64, Rc<Entry>)>,
}

impl Entry {
    pub(crate) fn is_claim(&self) -> bool {
        self.kind == EntryKind::Claim
    }

    pub(crate) fn head(&self, position: u64) -> Head {
        let mut lists = Lists::new();
        for (epoch, sink) in self.groups.keys() {
            lists.entry(Epoch(*epoch)).or_default().insert(*sink);
        }
        Head {
            position: Position(position),
            epoch: Epoch(self.epoch),
            lists,
            finished: self.kind == EntryKind::Closed(Closed::Finished),
        }
    }
}

impl Log {
    pub(crate) fn newest(&self) -> Option<(u64, &Rc<Entry>)> {
        self.entries.iter().next_back().map(|(position, entry)| (*position, entry))
    }

    /// What may be deleted once `newest` is durable: all below, but for claims and what stands directly
    /// below one (I5).
    pub(crate) fn prunable(&self, newest: u64, defect: Option<Defect>) -> BTreeSet<u64> {
        let is_claim = |position: u64| self.entries.get(&position).is_some_and(|entry| entry.is_claim());
        let kept = |position: u64| {
            is_claim(position) && defect != Some(Defect::PrunesClaims)
                || is_claim(position + 1) && defect != Some(Defect::PrunesBelowClaims)
        };
        self.entries.range(..newest).map(|(position, _)| *position).filter(|at| !kept(*at)).collect()
    }

    /// Forgets requests that can never be applied, so that equal states are equal. Only where nothing is
    /// pruned: what was taken once is taken for ever there.
    pub(crate) fn tidy(&mut self) {
        let Self { entries, requests } = self;
        requests.retain(|_, (position, _)| !entries.contains_key(position));
    }
}
