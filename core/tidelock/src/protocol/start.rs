//! From nothing to a running job: claim, recover, start (I5, I6, I8, I9).

use super::{Action, DurableEntry, End, Group, Head, Lists, Machine, Phase};
use crate::{Epoch, Position};

impl Machine {
    pub(super) fn begin(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Looking;
        actions.push(Action::Look);
    }

    /// The newest entry is known: claim the position above it, with the same state.
    pub(super) fn on_looked(&mut self, head: Option<Head>, actions: &mut Vec<Action>) {
        if self.phase != Phase::Looking {
            return;
        }
        let head = head.unwrap_or(Head {
            position: Position(0),
            epoch: Epoch(0),
            lists: Lists::new(),
            finished: false,
        });
        if head.finished {
            self.end(End::WasFinished, actions);
            return;
        }
        self.phase = Phase::Claiming;
        self.appender.aim_at(head.position.next());
        self.barrier = head.epoch;
        self.settled = Epoch(0);
        self.ledger = head
            .lists
            .iter()
            .map(|(epoch, sinks)| (*epoch, Group { unconfirmed: sinks.clone(), expires_at: None }))
            .collect();
        self.durable = DurableEntry { position: head.position, epoch: head.epoch, lists: head.lists };
        mutant!(self, NoClaim => self.begin_recovery(actions));
    }

    pub(super) fn on_claimed(&mut self, actions: &mut Vec<Action>) {
        // I5: a claim made in a gap that pruning left would stand below newer entries.
        self.phase = Phase::Verifying;
        actions.push(Action::Relist);
    }

    pub(super) fn on_relisted(&mut self, newest: Position, actions: &mut Vec<Action>) {
        if self.phase != Phase::Verifying {
            return;
        }
        mutant!(self, NoRelist => return self.begin_recovery(actions));
        if newest > self.durable.position {
            self.phase = Phase::Looking;
            actions.push(Action::Look);
            return;
        }
        self.begin_recovery(actions);
    }

    /// I6: claimed; now sweep and look at everything before anything is committed.
    fn begin_recovery(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Recovering;
        mutant!(self, CommitsWithoutLooking => return self.on_recovered());
        actions.push(Action::Recover(self.durable.lists.clone()));
    }

    /// A newer attempt claimed in its turn, above ours: it owns the job. Claiming once more would let two
    /// attempts that start at once push each other away for ever.
    pub(super) fn on_claimed_above(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Verifying {
            self.end(End::Fenced { position: self.durable.position.next() }, actions);
        }
    }

    pub(super) fn on_recovered(&mut self) {
        if self.phase != Phase::Recovering {
            return;
        }
        // I6: commit all that is pending. I1, I8: the claim is ours, durable, and lists it. I4: every sink
        // is asked, because nobody knows whether the attempt before came to it.
        mutant!(self, PendingIsForgotten => self.ledger.clear());
        self.phase = Phase::CommittingPending;
        self.to_commit.push_back(self.durable.clone());
    }

    pub(super) fn resolve_start(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Resolving;
        actions.push(Action::ResolveStart);
    }

    /// I9: the first positions are resolved; an entry must hold them before anything is read. I6, I8:
    /// its ledger is empty by now, so it lists nothing.
    pub(super) fn on_start_resolved(&mut self, epoch: Epoch) {
        if self.phase == Phase::Resolving {
            self.barrier = epoch;
            self.phase = Phase::Starting;
        }
    }

    pub(super) fn on_started(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Opening;
        self.settled = self.durable.epoch;
        actions.push(Action::OpenHost { epoch: self.durable.epoch.next() });
    }

    pub(super) fn on_opened(&mut self) {
        if self.phase == Phase::Opening {
            self.phase = Phase::Running;
        }
    }
}
