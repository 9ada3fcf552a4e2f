//! The protocol as a pure state machine: events in, actions out. No clock, no I/O, no async.
//!
//! ```text
//!   Look ─> claim ─> list again ─> sweep, look at pending ─> commit all ─> Start entry ─> open the host
//!                                                                                             │
//!      ┌───────────────────────────────<───────────────────────────────────────────┐          │
//!      v                                                                           │          v
//!   Barrier n ─> reports of all tasks ─> entry n ─> Durable ─> Commit n ─> Confirmed n ─> running
//!                                          │                                  │
//!                                          └── entry n+1 no longer lists n <──┘ ─> Settled n
//! ```
//!
//! Epochs overlap: barrier n+1 may be sent while n is stored and committed. Appends and commits stay in
//! order: one append and one commit are under way at once.
//!
//! The coordinator feeds the machine and performs its actions; the simulation drives both; the model
//! explores the machine itself. What is not decided here: when a barrier is due, what a checkpoint's
//! bytes are, and how often a request is retried.

/// `mutant!(machine, Name => change)`: the place of an invariant that a [`Mutant`] breaks.
macro_rules! mutant {
    ($machine:ident, $name:ident => $change:expr) => {
        #[cfg(feature = "mutants")]
        if $machine.mutant == Some($crate::protocol::Mutant::$name) {
            $change;
        }
    };
}

mod append;
mod message;
#[cfg(feature = "mutants")]
mod mutant;
mod run;
mod start;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use message::{Action, Draft, End, Event, Head, Limits, Lists, Millis, SinkIndex, Token};

#[cfg(feature = "mutants")]
pub use mutant::Mutant;

use crate::log::Closed;
use crate::{Epoch, Position};
use append::Appender;

/// Where an attempt is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Nothing happened yet.
    New,
    /// The newest entry is being read.
    Looking,
    /// The claim is being appended.
    Claiming,
    /// The claim is ours; the log is listed again.
    Verifying,
    /// Leftovers are aborted and what is pending is looked at.
    Recovering,
    /// What is pending is being committed.
    CommittingPending,
    /// The first positions are being found.
    Resolving,
    /// The start entry is being appended.
    Starting,
    /// The host opens.
    Opening,
    /// Epochs are written.
    Running,
    /// The host is gone; what is durable is committed and the closed entry appended.
    Closing,
    /// Over.
    Ended,
}

/// An epoch whose barrier was sent and that no durable entry covers yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OpenEpoch {
    reported: BTreeSet<u32>,
    last: bool,
    given_up: bool,
}

/// What was prepared in an epoch and is not confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Group {
    unconfirmed: BTreeSet<SinkIndex>,
    expires_at: Option<Millis>,
}

/// An entry of ours that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DurableEntry {
    position: Position,
    epoch: Epoch,
    lists: Lists,
}

/// A commit under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Committing {
    entry: DurableEntry,
    waiting: BTreeSet<SinkIndex>,
}

/// One attempt's protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    limits: Limits,
    phase: Phase,
    appender: Appender,
    /// The newest entry that is known to be durable and ours, or the one that was claimed.
    durable: DurableEntry,
    /// The epoch of the last barrier; of the start entry before the first.
    barrier: Epoch,
    open: BTreeMap<Epoch, OpenEpoch>,
    /// I3: everything prepared by this attempt or listed by the claim, until its commit is confirmed.
    ledger: BTreeMap<Epoch, Group>,
    /// Durable entries whose commit has not begun, in their order.
    to_commit: VecDeque<DurableEntry>,
    committing: Option<Committing>,
    settled: Epoch,
    settle_wanted: bool,
    failures: u32,
    /// The job shall end so; its last barrier is sent or it needs none.
    closing: Option<Closed>,
    last_barrier_wanted: bool,
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl Machine {
    /// A machine that waits for [`Event::Begin`].
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::New,
            appender: Appender::default(),
            durable: DurableEntry { position: Position(0), epoch: Epoch(0), lists: Lists::new() },
            barrier: Epoch(0),
            open: BTreeMap::new(),
            ledger: BTreeMap::new(),
            to_commit: VecDeque::new(),
            committing: None,
            settled: Epoch(0),
            settle_wanted: false,
            failures: 0,
            closing: None,
            last_barrier_wanted: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// A machine that breaks an invariant. For tests alone.
    #[cfg(feature = "mutants")]
    pub fn mutated(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// Whether the attempt is over.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether the attempt's claim is known to count. Before that, a newer entry may be older than the claim.
    pub fn has_claimed(&self) -> bool {
        !matches!(self.phase, Phase::New | Phase::Looking | Phase::Claiming | Phase::Verifying)
    }

    /// Whether epochs are being written.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether what older attempts prepared is being committed: by all sinks side by side, and nothing is written yet.
    pub fn commits_pending(&self) -> bool {
        self.phase == Phase::CommittingPending
    }

    /// Whether a barrier that is due now would be sent at once.
    pub fn may_send_barrier(&self) -> bool {
        self.phase == Phase::Running
            && self.closing.is_none()
            && self.in_flight() < self.limits.epochs_in_flight_max as usize
    }

    /// The epoch that the next barrier closes.
    pub fn next_epoch(&self) -> Epoch {
        self.barrier.next()
    }

    /// Whether everything that is durable is also committed and settled.
    pub fn is_settled(&self) -> bool {
        self.durable.lists.is_empty() && self.committing.is_none() && self.to_commit.is_empty()
    }

    /// Takes one event and adds what must be done to `actions`, in order. `now` is used for deadlines
    /// alone.
    pub fn step(&mut self, now: Millis, event: Event, actions: &mut Vec<Action>) {
        if self.phase == Phase::Ended {
            return;
        }
        match event {
            Event::Begin => self.begin(actions),
            Event::Looked(head) => self.on_looked(head, actions),
            Event::Created(token) | Event::FoundOurs(token) => self.on_ours(token, actions),
            Event::Taken(token) | Event::Unknown(token) => self.on_unclear(token, actions),
            Event::FoundForeign => self.on_foreign(actions),
            Event::FoundNothing => self.on_nothing(),
            Event::Relisted { newest } => self.on_relisted(newest, actions),
            Event::ClaimedAbove => self.on_claimed_above(actions),
            Event::Recovered => self.on_recovered(),
            Event::StartResolved { epoch } => self.on_start_resolved(epoch),
            Event::Opened => self.on_opened(),
            Event::BarrierDue => self.on_barrier_due(actions),
            Event::InputEnded => self.close(Closed::Finished),
            Event::StopWanted => self.close(Closed::Stopped),
            Event::CancelWanted => {
                self.closing = Some(Closed::Cancelled);
                self.last_barrier_wanted = false;
            }
            Event::Reported { epoch, task, prepared, expires_at } => {
                self.on_reported(epoch, task, &prepared, expires_at, actions);
            }
            Event::TimedOut(epoch) => self.on_timed_out(epoch, actions),
            Event::Committed { sink, epoch } => self.on_committed(sink, epoch, actions),
            Event::SettleWanted => self.settle_wanted = true,
            Event::TolerableFailures(failures) => self.limits.tolerable_failures = failures,
        }
        self.go_on(now, actions);
    }

    /// Does whatever has become possible. Every event ends here, so that no wish is ever forgotten
    /// because it came at the wrong moment.
    fn go_on(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.cancel(actions);
        if self.committing.is_none() {
            self.begin_commit(actions);
        }
        self.send_last_barrier(actions);
        self.append_next(now, actions);
    }

    fn end(&mut self, end: End, actions: &mut Vec<Action>) {
        self.phase = Phase::Ended;
        actions.push(Action::End(end));
    }
}
