//! Writing epochs: barriers, reports, commits, failures, and the end.
//!
//! The rules, in the order in which an epoch meets them:
//!
//! 1. A barrier is sent only while fewer than `epochs_in_flight_max` epochs are in flight: sent, and neither confirmed
//!    nor given up.
//! 2. Every task reports every epoch once, in the order of epochs. A host that does otherwise ends the attempt.
//! 3. From its report on, what was prepared is in the ledger, and every entry that covers its epoch lists it until its
//!    commit is confirmed, whatever becomes of its own checkpoint (I3).
//! 4. An epoch is stored when all tasks have reported it, also with nothing prepared (I4), and nothing is listed that
//!    would expire before its commit: see `append.rs`, which asks for one position at a time (I5).
//! 5. Only what a durable entry of ours lists is committed (I1, I8): the oldest entry first, all sinks of an entry
//!    side by side, each also with nothing to commit (I4). The next entry's commit begins when all have confirmed.
//! 6. Settled is what is confirmed *and* no longer listed by the newest durable entry: only then may writers use again
//!    what they prepared it with.
//! 7. A checkpoint that takes too long is given up: no new request is made for it, but one that was made may still
//!    stand, and counts then. More than `tolerable_failures` in a row, or the last barrier's, end the attempt.
//! 8. A job that stops or has read everything sends one last barrier, and closes when all is committed. A job that is
//!    cancelled sends none: what is durable is committed, and nothing else is.

use std::collections::BTreeSet;

use super::{Action, Committing, DurableEntry, End, Machine, Millis, OpenEpoch, Phase, SinkIndex};
use crate::Epoch;
use crate::log::Closed;

impl Machine {
    /// Epochs in flight: from the barrier until the commit is confirmed or the checkpoint failed.
    pub(super) fn in_flight(&self) -> usize {
        let writing = self.open.values().filter(|epoch| !epoch.given_up).count();
        writing + self.to_commit.len() + usize::from(self.committing.is_some())
    }

    pub(super) fn on_barrier_due(&mut self, actions: &mut Vec<Action>) {
        if self.may_send_barrier() {
            self.send_barrier(false, actions);
        }
    }

    fn send_barrier(&mut self, last: bool, actions: &mut Vec<Action>) {
        self.barrier = self.barrier.next();
        let epoch = self.barrier;
        self.open.insert(epoch, OpenEpoch { reported: BTreeSet::new(), last, given_up: false });
        actions.push(Action::Barrier { epoch, last });
    }

    /// The job shall end at a barrier. I4: the last epoch gets its entry too.
    pub(super) fn close(&mut self, closed: Closed) {
        if self.closing.is_none() {
            self.closing = Some(closed);
            self.last_barrier_wanted = true;
        }
    }

    pub(super) fn send_last_barrier(&mut self, actions: &mut Vec<Action>) {
        let room = self.in_flight() < self.limits.epochs_in_flight_max as usize;
        if self.phase == Phase::Running && self.last_barrier_wanted && room {
            self.last_barrier_wanted = false;
            self.send_barrier(true, actions);
        }
    }

    /// The job shall end at once: epochs without an entry are dropped, what is durable is committed.
    /// Wanted before the job runs, it is done as soon as it does.
    pub(super) fn cancel(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Running && self.closing == Some(Closed::Cancelled) {
            self.phase = Phase::Closing;
            // No new request for them. One that was asked for already may still stand, and counts then.
            self.open.values_mut().for_each(|epoch| epoch.given_up = true);
            actions.push(Action::StopHost);
        }
    }

    pub(super) fn on_reported(
        &mut self,
        epoch: Epoch,
        task: u32,
        prepared: &BTreeSet<SinkIndex>,
        expires_at: Option<Millis>,
        actions: &mut Vec<Action>,
    ) {
        if self.phase != Phase::Running {
            return;
        }
        let in_order = self.open.range(..epoch).all(|(_, earlier)| earlier.reported.contains(&task));
        let first = self.open.get_mut(&epoch).is_some_and(|open| open.reported.insert(task));
        if !first || !in_order || task >= self.limits.tasks {
            let promise = "every task reports once for each epoch, in the order of epochs";
            self.end(End::HostBroke { promise }, actions);
            return;
        }
        if !prepared.is_empty() {
            // I3: from here on it is listed until it is confirmed, whatever becomes of the checkpoint.
            let group = self.ledger.entry(epoch).or_default();
            group.unconfirmed.extend(prepared);
            group.expires_at = [group.expires_at, expires_at].into_iter().flatten().min();
        }
    }

    /// The next epoch that can be stored.
    pub(super) fn next_complete_epoch(&self) -> Option<Epoch> {
        let complete = |open: &OpenEpoch| open.reported.len() == self.limits.tasks as usize;
        self.open.iter().find(|(_, open)| complete(open) && !open.given_up).map(|(epoch, _)| *epoch)
    }

    pub(super) fn on_checkpoint_durable(&mut self, actions: &mut Vec<Action>) {
        self.failures = 0;
        self.open = self.open.split_off(&self.durable.epoch.next());
        self.to_commit.push_back(self.durable.clone());
        mutant!(self, CommitsUnlisted => self.commit_unlisted());
        self.tell_settled(actions);
    }

    /// Settled is what is confirmed and not listed by the newest durable entry.
    pub(super) fn tell_settled(&mut self, actions: &mut Vec<Action>) {
        let DurableEntry { epoch, lists, .. } = &self.durable;
        let settled = lists.keys().next().map_or(*epoch, |first| Epoch(first.0.saturating_sub(1)));
        mutant!(self, SettledWhenDurable => actions.push(Action::Settled { epoch: *epoch }));
        if settled > self.settled {
            self.settled = settled;
            self.settle_wanted = false;
            actions.push(Action::Settled { epoch: settled });
        }
    }

    /// I1, I8: only what a durable entry of ours lists is committed, in the order of entries.
    pub(super) fn begin_commit(&mut self, actions: &mut Vec<Action>) {
        let Some(entry) = self.to_commit.pop_front() else { return };
        // I4: every sink is asked, also with nothing to commit.
        let waiting: BTreeSet<SinkIndex> = (0..self.limits.sinks).collect();
        for sink in &waiting {
            // Everything that the entry lists for the sink, leftovers of failed checkpoints included,
            // but for what was confirmed since.
            let unconfirmed =
                |epoch: &Epoch| self.ledger.get(epoch).is_some_and(|group| group.unconfirmed.contains(sink));
            let listed = entry.lists.iter().filter(|(_, sinks)| sinks.contains(sink));
            actions.push(Action::Commit {
                sink: *sink,
                epoch: entry.epoch,
                position: entry.position,
                groups: listed.map(|(epoch, _)| *epoch).filter(unconfirmed).collect(),
            });
        }
        self.committing = Some(Committing { entry, waiting });
        self.confirm_if_all_answered(actions);
    }

    pub(super) fn on_committed(&mut self, sink: SinkIndex, epoch: Epoch, actions: &mut Vec<Action>) {
        let Some(committing) = self.committing.as_mut().filter(|committing| committing.entry.epoch == epoch)
        else {
            return;
        };
        if !committing.waiting.remove(&sink) {
            return;
        }
        for listed in committing.entry.lists.keys() {
            if let Some(group) = self.ledger.get_mut(listed) {
                group.unconfirmed.remove(&sink);
            }
        }
        self.ledger.retain(|_, group| !group.unconfirmed.is_empty());
        self.confirm_if_all_answered(actions);
    }

    fn confirm_if_all_answered(&mut self, actions: &mut Vec<Action>) {
        mutant!(self, StartsBeforeConfirmed => self.start_before_confirmed(actions));
        let Some(committing) = self.committing.take_if(|committing| committing.waiting.is_empty()) else {
            return;
        };
        actions.push(Action::Confirmed { epoch: committing.entry.epoch });
        mutant!(self, SettledWhenConfirmed => actions.push(Action::Settled { epoch: committing.entry.epoch }));
        if self.phase == Phase::CommittingPending {
            self.resolve_start(actions);
        }
    }

    pub(super) fn on_timed_out(&mut self, epoch: Epoch, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get_mut(&epoch).filter(|open| !open.given_up) else { return };
        self.failures += 1;
        // The last barrier cannot be repeated: the sources have stopped behind it.
        if open.last || self.failures > self.limits.tolerable_failures {
            self.end(End::TooManyFailures { epoch }, actions);
            return;
        }
        open.given_up = true;
        mutant!(self, ForgetsGivenUp => self.ledger.remove(&epoch));
        actions.push(Action::GivenUp { epoch });
    }
}
