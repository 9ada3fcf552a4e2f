//! What goes into the machine and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{Closed, EntryKind};
use crate::{Epoch, Position};

/// A sink, by its place among the job's sinks.
pub type SinkIndex = u16;

/// Names one create request. The edge maps it to a nonce.
pub type Token = u64;

/// Which sinks have something pending, by epoch.
pub type Lists = BTreeMap<Epoch, BTreeSet<SinkIndex>>;

/// Milliseconds on the coordinator's monotonic clock.
pub type Millis = u64;

/// Bounds that the machine keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How many tasks report for each epoch.
    pub tasks: u32,
    /// How many sinks the job has.
    pub sinks: SinkIndex,
    /// How many epochs may be in flight.
    pub epochs_in_flight_max: u32,
    /// How many checkpoints in a row may fail.
    pub tolerable_failures: u32,
    /// What must remain of a committable's life when its entry is appended.
    pub commit_margin: Millis,
}

/// What the machine must know of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Head {
    /// Its place.
    pub position: Position,
    /// The epoch that it covers.
    pub epoch: Epoch,
    /// What it lists as pending.
    pub lists: Lists,
    /// The job had finished with it.
    pub finished: bool,
}

/// An entry that the machine wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Draft {
    /// Why.
    pub kind: EntryKind,
    /// The epoch that it covers.
    pub epoch: Epoch,
    /// What it lists as pending.
    pub lists: Lists,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Begin.
    Begin,
    /// The newest entry was read, or there is none.
    Looked(Option<Head>),
    /// A create was answered: the entry is durable and ours.
    Created(Token),
    /// A create was answered: something stands there already.
    Taken(Token),
    /// A create was not answered, or with an error: its outcome is unknown.
    Unknown(Token),
    /// The asked position was read: one of our requests stands there.
    FoundOurs(Token),
    /// The asked position was read: somebody else's entry stands there.
    FoundForeign,
    /// The asked position was read: nothing stands there, or it cannot be read now.
    FoundNothing,
    /// The log was listed after the claim.
    Relisted {
        /// The highest position.
        newest: Position,
    },
    /// The log was listed after the claim, and the next attempt's claim stands directly above it.
    ClaimedAbove,
    /// Every sink swept its leftovers and looked at all that is pending.
    Recovered,
    /// The positions that the job starts from are known.
    StartResolved {
        /// The epoch that the start entry covers.
        epoch: Epoch,
    },
    /// The host opened everything.
    Opened,
    /// A barrier is due, by the clock or by request.
    BarrierDue,
    /// Every split is finished and no more will come.
    InputEnded,
    /// A person wants the job to stop at a barrier.
    StopWanted,
    /// A person wants the job to stop at once.
    CancelWanted,
    /// A task reported.
    Reported {
        /// The epoch that it closed.
        epoch: Epoch,
        /// Which task.
        task: u32,
        /// The sinks that it prepared something for.
        prepared: BTreeSet<SinkIndex>,
        /// When the first of that expires.
        expires_at: Option<Millis>,
    },
    /// A checkpoint took too long.
    TimedOut(Epoch),
    /// A sink confirmed a commit.
    Committed {
        /// The sink.
        sink: SinkIndex,
        /// The epoch of the entry whose commit it was.
        epoch: Epoch,
    },
    /// Somebody waits for a settled epoch.
    SettleWanted,
    /// The bound of failures in a row was changed.
    TolerableFailures(u32),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// List the log and read its newest entry.
    Look,
    /// Ask for an entry at a position.
    Append {
        /// The name of the request.
        token: Token,
        /// Where.
        position: Position,
        /// What.
        draft: Draft,
        /// How often this position was asked for before.
        retry: u32,
    },
    /// Read what stands at the asked position.
    ReadBack(Position),
    /// List the log again.
    Relist,
    /// Let every sink sweep leftovers and look at what is pending.
    Recover(Lists),
    /// Find the positions that the job starts from: restore, roll back, fork, or discover.
    ResolveStart,
    /// Let the host open writers and operators, then assign splits.
    OpenHost {
        /// The epoch that is written first.
        epoch: Epoch,
    },
    /// Send a barrier.
    Barrier {
        /// The epoch that it closes.
        epoch: Epoch,
        /// Nothing follows it.
        last: bool,
    },
    /// The entry of a request is durable and ours.
    Durable {
        /// The request.
        token: Token,
        /// Its place.
        position: Position,
    },
    /// Let a sink commit.
    Commit {
        /// The sink.
        sink: SinkIndex,
        /// The epoch of the durable entry.
        epoch: Epoch,
        /// The place of the durable entry.
        position: Position,
        /// The epochs whose committables are to be committed.
        groups: Vec<Epoch>,
    },
    /// Every sink confirmed the commit of an entry.
    Confirmed {
        /// The entry's epoch.
        epoch: Epoch,
    },
    /// Tell the writers that everything up to an epoch is settled.
    Settled {
        /// The epoch.
        epoch: Epoch,
    },
    /// A checkpoint is given up.
    GivenUp {
        /// Its epoch.
        epoch: Epoch,
    },
    /// End the host: nothing more is read or written.
    StopHost,
    /// The attempt is over.
    End(End),
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// The closed entry is durable.
    Closed(Closed),
    /// The job had finished before; nothing was changed.
    WasFinished,
    /// A newer attempt owns the job.
    Fenced {
        /// Where its entry stands.
        position: Position,
    },
    /// Too many checkpoints in a row failed.
    TooManyFailures {
        /// The last one.
        epoch: Epoch,
    },
    /// Prepared data would expire before it could be committed.
    WouldExpire {
        /// The epoch that it belongs to.
        epoch: Epoch,
    },
    /// The host broke its promises: see [`crate::host`].
    HostBroke {
        /// Which promise.
        promise: &'static str,
    },
}
