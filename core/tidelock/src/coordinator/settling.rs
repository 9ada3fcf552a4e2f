//! From a confirmed commit to "settled", which the writers wait for: they use again then what they prepared with.
//!
//! - A writer whose commit was not answered at once begins with a fresh identity when its epoch is settled: a request
//!   of the first try may arrive late.
//! - Settled needs a durable entry that no longer lists the epoch. The next checkpoint is one; where none comes soon,
//!   an entry is wanted for that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Committed, Epoch, Uid, WriterId};

/// A writer that waits for a settled epoch waits at most this long for one where the next checkpoint is
/// far off.
const SETTLE_IDLE_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Settling {
    /// Writers that begin with a fresh identity, by the epoch that must be settled first.
    reinit: BTreeMap<Epoch, BTreeMap<Uid, BTreeSet<WriterId>>>,
    /// When an entry is wanted for the settling alone.
    idle_at: Option<Instant>,
}

impl Settling {
    /// A sink committed: the writers that it named begin afresh, and all that it was about where a try had failed.
    pub(super) fn committed(
        &mut self,
        epoch: Epoch,
        uid: Uid,
        committed: Committed,
        failed_before: Option<Vec<WriterId>>,
    ) {
        let mut reinit = committed.reinit;
        reinit.extend(failed_before.unwrap_or_default());
        if !reinit.is_empty() {
            self.reinit.entry(epoch).or_default().entry(uid).or_default().extend(reinit);
        }
    }

    /// All sinks committed, and that is not settled yet.
    pub(super) fn confirmed(&mut self, now: Instant) {
        self.idle_at.get_or_insert(now + SETTLE_IDLE_AFTER);
    }

    /// Everything up to `epoch` is settled. Returns who begins afresh.
    pub(super) fn settled(&mut self, epoch: Epoch) -> BTreeMap<Uid, Vec<WriterId>> {
        self.idle_at = None;
        let later = self.reinit.split_off(&epoch.next());
        let mut reinit: BTreeMap<_, Vec<WriterId>> = BTreeMap::new();
        for (uid, writers) in std::mem::replace(&mut self.reinit, later).into_values().flatten() {
            reinit.entry(uid).or_default().extend(writers);
        }
        reinit
    }

    /// When an entry will be wanted for the settling alone.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        self.idle_at
    }

    /// Whether it is wanted now; said once.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.idle_at.take_if(|at| now >= *at).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_begins_afresh_is_told_once_and_with_its_own_epoch() {
        let uid = Uid::new("sink").expect("legal");
        let named = |writer| Committed { reinit: [WriterId(writer)].into() };
        let mut settling = Settling::default();
        settling.committed(Epoch(1), uid.clone(), named(0), None);
        settling.committed(Epoch(2), uid.clone(), Committed::default(), Some(vec![WriterId(1)]));
        settling.committed(Epoch(3), uid.clone(), Committed::default(), None);
        assert_eq!(settling.settled(Epoch(1)), BTreeMap::from([(uid.clone(), vec![WriterId(0)])]));
        assert_eq!(settling.settled(Epoch(3)), BTreeMap::from([(uid, vec![WriterId(1)])]));
        assert_eq!(settling.settled(Epoch(4)), BTreeMap::new());
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_wanted_once_for_what_is_confirmed_and_not_settled() {
        let mut settling = Settling::default();
        let now = Instant::now();
        settling.confirmed(now);
        settling.confirmed(now + SETTLE_IDLE_AFTER);
        assert_eq!(settling.idle_at(), Some(now + SETTLE_IDLE_AFTER));
        assert!(!settling.is_idle(now));
        assert!(settling.is_idle(now + SETTLE_IDLE_AFTER));
        assert!(!settling.is_idle(now + SETTLE_IDLE_AFTER));
        settling.confirmed(now);
        settling.settled(Epoch(1));
        assert!(!settling.is_idle(now + SETTLE_IDLE_AFTER));
    }
}
