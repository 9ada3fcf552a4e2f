//! Ways in which the machine may break itself, for tests alone: the model shows that each is found. A
//! build without the feature `mutants` has neither the field nor the branches.

use super::{Action, Draft, DurableEntry, Machine, Phase};

/// Which line that keeps an invariant does not do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// I1: an entry's data is committed as soon as the entry is asked for.
    CommitsBeforeDurable,
    /// I3: what a given-up checkpoint prepared is forgotten.
    ForgetsGivenUp,
    /// I3: an entry lists its own epoch alone.
    ListsOwnEpochAlone,
    /// I3: an entry lists epochs above its own.
    ListsEpochsAbove,
    /// I3: a claim lists nothing.
    ClaimListsNothing,
    /// I5: a new attempt does not claim.
    NoClaim,
    /// I5: a claim counts without listing the log again.
    NoRelist,
    /// I5: an append whose outcome is not clear is believed to be ours, without reading back.
    UnclearIsOurs,
    /// I5: an append whose outcome is not clear is believed to be lost to another attempt.
    UnclearIsForeign,
    /// I5: whichever of our requests stands, the newest is believed to.
    NewestRequestCounts,
    /// I5: the next position is asked for before this one is known to be ours.
    AsksAhead,
    /// I6: what is pending is committed without sweeping and looking.
    CommitsWithoutLooking,
    /// I6: what is pending is not committed.
    PendingIsForgotten,
    /// I6: the job starts, with nothing pending, before what is pending is confirmed.
    StartsBeforeConfirmed,
    /// I8: everything that is prepared is committed, listed or not.
    CommitsUnlisted,
    /// I9: the job reads before an entry holds its first positions.
    ReadsBeforeStartEntry,
    /// Settled is told when a commit is confirmed.
    SettledWhenConfirmed,
    /// Settled is told when an entry is durable, whatever it lists.
    SettledWhenDurable,
}

/// What is more than a line.
impl Machine {
    pub(super) fn commit_draft(&mut self, draft: &Draft, actions: &mut Vec<Action>) {
        if self.phase == Phase::Running && self.committing.is_none() {
            let (position, epoch, lists) = (self.appender.next, draft.epoch, draft.lists.clone());
            self.to_commit.push_back(DurableEntry { position, epoch, lists });
            self.begin_commit(actions);
        }
    }

    pub(super) fn commit_unlisted(&mut self) {
        let lists = self.unconfirmed(..);
        if let Some(entry) = self.to_commit.back_mut() {
            entry.lists = lists;
        }
    }

    pub(super) fn start_before_confirmed(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::CommittingPending {
            self.ledger.clear();
            self.resolve_start(actions);
        }
    }
}
