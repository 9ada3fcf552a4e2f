//! Appending to the log: one position at a time, each known to be ours before the next is asked for.

use std::ops::RangeBounds;

use super::{Action, Draft, DurableEntry, End, Lists, Machine, Millis, Phase, Token};
use crate::log::{Closed, EntryKind};
use crate::{Epoch, Position};

/// The state of the position that is asked for next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Appender {
    /// The position to ask for. Every one below is known to be ours.
    pub(super) next: Position,
    /// Requests that asked for `next`. Each may still be applied, however late; whichever stands
    /// counts (I5).
    asked: Vec<(Token, Draft)>,
    /// A request or a read-back is under way.
    busy: bool,
    tokens: Token,
}

impl Appender {
    /// Starts over at another position. Used by claims alone: nothing of ours can stand at the old one,
    /// or it stands there as a claim that does not count.
    pub(super) fn aim_at(&mut self, next: Position) {
        self.next = next;
        self.asked.clear();
        self.busy = false;
    }

    /// Nothing stands there. The next append asks for the same position.
    pub(super) fn on_nothing(&mut self) {
        self.busy = false;
    }

    fn ask(&mut self, draft: Draft, actions: &mut Vec<Action>) {
        self.tokens += 1;
        let retry = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        self.asked.push((self.tokens, draft.clone()));
        self.busy = true;
        actions.push(Action::Append { token: self.tokens, position: self.next, draft, retry });
    }

    fn has_asked(&self, token: Token) -> bool {
        self.asked.iter().any(|(asked, _)| *asked == token)
    }
}

impl Machine {
    /// The position is taken, or nobody knows: I5 settles it by reading back.
    pub(super) fn on_unclear(&mut self, token: Token, actions: &mut Vec<Action>) {
        mutant!(self, UnclearIsOurs => return self.on_ours(token, actions));
        mutant!(self, UnclearIsForeign => return self.on_foreign(actions));
        if self.appender.has_asked(token) {
            actions.push(Action::ReadBack(self.appender.next));
        }
    }

    pub(super) fn on_nothing(&mut self) {
        self.appender.on_nothing();
        mutant!(self, AsksAhead => self.appender.aim_at(self.appender.next.next()));
    }

    /// Another attempt's entry stands where ours should.
    pub(super) fn on_foreign(&mut self, actions: &mut Vec<Action>) {
        let position = self.appender.next;
        if self.phase == Phase::Claiming {
            // Not ours yet: whoever was faster may be the attempt that we are about to fence.
            self.phase = Phase::Looking;
            actions.push(Action::Look);
        } else {
            // I5: the first entry of another attempt above ours is its claim. It owns the job.
            self.end(End::Fenced { position }, actions);
        }
    }

    /// One of our requests stands at the asked position.
    pub(super) fn on_ours(&mut self, token: Token, actions: &mut Vec<Action>) {
        let Some(index) = self.appender.asked.iter().position(|(asked, _)| *asked == token) else {
            return; // An answer to a request for a position that was settled by another one.
        };
        mutant!(self, NewestRequestCounts => self.appender.asked.drain(index..self.appender.asked.len() - 1));
        let (_, draft) = self.appender.asked.swap_remove(index);
        let position = self.appender.next;
        self.appender.aim_at(position.next());
        self.durable = DurableEntry { position, epoch: draft.epoch, lists: draft.lists };
        actions.push(Action::Durable { token, position });
        match draft.kind {
            EntryKind::Claim => self.on_claimed(actions),
            EntryKind::Start => self.on_started(actions),
            EntryKind::Checkpoint => self.on_checkpoint_durable(actions),
            EntryKind::Confirmation => self.tell_settled(actions),
            EntryKind::Closed(closed) => self.end(End::Closed(closed), actions),
        }
    }

    /// Asks for the next entry, if one is wanted and none is under way.
    pub(super) fn append_next(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if self.appender.busy {
            return; // I5: p+1 is asked for only when p is known to be ours.
        }
        mutant!(self, ReadsBeforeStartEntry => if self.phase == Phase::Starting { return self.on_started(actions) });
        let draft = match self.phase {
            Phase::Claiming => Some(self.draft(EntryKind::Claim, self.durable.epoch)),
            Phase::Starting => Some(self.draft(EntryKind::Start, self.barrier)),
            Phase::Running | Phase::Closing => self.checkpoint_or_less(now, actions),
            _ => None,
        };
        if let Some(draft) = draft
            && self.phase != Phase::Ended
        {
            mutant!(self, CommitsBeforeDurable => self.commit_draft(&draft, actions));
            self.appender.ask(draft, actions);
        }
    }

    fn checkpoint_or_less(&mut self, now: Millis, actions: &mut Vec<Action>) -> Option<Draft> {
        if let Some(epoch) = self.next_complete_epoch() {
            let draft = self.draft(EntryKind::Checkpoint, epoch);
            if let Some(epoch) = self.would_expire(now, &draft.lists) {
                self.end(End::WouldExpire { epoch }, actions);
                return None;
            }
            return Some(draft);
        }
        if let Some(closed) = self.closing
            && self.may_close()
        {
            return Some(self.draft(EntryKind::Closed(closed), self.durable.epoch));
        }
        // A confirmation helps only if something that the newest entry lists is confirmed by now.
        let draft = self.draft(EntryKind::Confirmation, self.durable.epoch);
        (self.settle_wanted && draft.lists != self.durable.lists).then_some(draft)
    }

    /// An entry for `epoch` with everything that it must list.
    fn draft(&self, kind: EntryKind, epoch: Epoch) -> Draft {
        // I3: whatever was prepared up to this epoch and is not confirmed, also by a checkpoint that
        // failed or was given up. No entry lists an epoch above its own.
        mutant!(self, ListsOwnEpochAlone => return Draft { kind, epoch, lists: self.unconfirmed(epoch..=epoch) });
        mutant!(self, ListsEpochsAbove => return Draft { kind, epoch, lists: self.unconfirmed(..) });
        mutant!(self, ClaimListsNothing => if kind == EntryKind::Claim { return Draft { kind, epoch, lists: Lists::new() } });
        let lists = self.unconfirmed(..=epoch);
        Draft { kind, epoch, lists }
    }

    pub(super) fn unconfirmed(&self, epochs: impl RangeBounds<Epoch>) -> Lists {
        self.ledger.range(epochs).map(|(epoch, group)| (*epoch, group.unconfirmed.clone())).collect()
    }

    /// The lowest epoch of `lists` that would not live until its commit.
    fn would_expire(&self, now: Millis, lists: &Lists) -> Option<Epoch> {
        let deadline = now.saturating_add(self.limits.commit_margin);
        let lives = |epoch: &Epoch| {
            self.ledger
                .get(epoch)
                .and_then(|group| group.expires_at)
                .is_none_or(|expires| expires >= deadline)
        };
        lists.keys().find(|epoch| !lives(epoch)).copied()
    }

    fn may_close(&self) -> bool {
        let last_is_covered = self.open.is_empty() && !self.last_barrier_wanted;
        let nothing_to_commit = self.to_commit.is_empty() && self.committing.is_none();
        let cancelled = self.closing == Some(Closed::Cancelled);
        nothing_to_commit && (last_is_covered || cancelled)
    }
}
