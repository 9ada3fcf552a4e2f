//! The sink side of the contract.
//!
//! ```text
//!   barrier n           entry n durable        entry m > n durable, n no longer listed
//!   ─────┬──────────────────┬──────────────────────────┬──────>
//!    prepare(n)         commit(permit n)          settled(n)
//!    durable in the     visible                   the writer may reuse
//!    target, invisible                            what it prepared with
//! ```
//!
//! Writers live wherever the host puts them; `recover` and `commit` run in the coordinator's process.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::log::ChunkRef;
use crate::{CommitPermit, Epoch, Position, Result, SinkAttempt, Versioned, WriterId};

/// The durable, self-contained description of prepared data: data, never a live handle, so that a
/// fresh process can commit it.
pub trait Committable: Versioned + Clone + fmt::Debug {
    /// The chunks of the job's log that its commit needs: see [`SinkAttempt::chunks`]. They are kept as long as an entry
    /// that lists the committable is retained.
    ///
    /// # Contract
    /// - MUST name every one of them, also where the committable is made of another sink's: those that nobody names may be gone.
    ///
    /// # Crash
    /// Leaves nothing: it only tells what the committable says.
    fn chunks(&self) -> Vec<ChunkRef> {
        Vec::new()
    }
}

/// Prepared data that needs no commit: the committable of sinks in idempotent mode.
impl Committable for () {}

impl Versioned for () {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(crate::unknown_version::<Self>(version))
    }
}

/// What [`SinkWriter::prepare`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared<C> {
    /// How to commit it.
    pub committable: C,
    /// How long the target keeps it at least, counted from the return of `prepare` on the monotonic
    /// clock. `None`: for ever.
    pub expires_in: Option<Duration>,
}

impl<C> Prepared<C> {
    /// Prepared data that the target keeps for ever.
    pub fn lasting(committable: C) -> Self {
        Self { committable, expires_in: None }
    }
}

/// A committable that a snapshot lists, with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending<C> {
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// The attempt that prepared it.
    pub attempt: Position,
    /// The writer that prepared it.
    pub writer: WriterId,
    /// How to commit it.
    pub committable: C,
}

/// What [`Sink::commit`] learned on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Writers of this attempt for whose committables an answer was missing on the way: a request may
    /// still arrive late, so they must go on with a fresh identity.
    pub reinit: BTreeSet<WriterId>,
}

/// A system that records are written to in two phases.
///
/// A sink is made without a uid: `recover` and `open` get it with the attempt, `commit` with its permit.
/// It stands in one place of a graph. A graph that has the same object under two uids is refused, because
/// what the object keeps of its attempt would be that of two sinks.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// What the sink takes.
    type Record: Send + 'static;
    /// How prepared data is committed.
    type Committable: Committable;
    /// Writes and prepares.
    type Writer: SinkWriter<Record = Self::Record, Committable = Self::Committable>;

    /// Makes the target ready for `attempt`, and looks whether all that is pending can be committed.
    ///
    /// # Contract
    /// - MUST first abort what *older* attempts of this job and sink left and `pending` does not list,
    ///   whole names compared: nothing of a newer attempt or of another job is touched.
    /// - MUST then look at every pending committable, change none of them, and fail with
    ///   [`ErrorKind::Expired`](crate::ErrorKind::Expired) where the target threw one away (I7). What
    ///   is committed already is fine.
    /// - MUST fail with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) and the advice to halt, before it
    ///   touches anything, where it sees that an attempt which is not older has something begun that would hide
    ///   or take what this one commits. The coordinator then looks into the log: a newer attempt owns the job, or
    ///   the log is not the one that the other ran with, and then what looks like a leftover may be listed there.
    /// - MUST be callable again at any time of the attempt: it is repeated now and then, because a
    ///   paused older attempt may leave something late (I6). MUST NOT leave anything running when it returns.
    /// - After the end of a job it is called once more, by the number of the closed entry, with nothing pending
    ///   ([`tidy`](crate::coordinator::tidy)).
    ///
    /// # Crash
    /// A part of the leftovers is aborted; the next attempt aborts the rest.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<Self::Committable>]) -> Result<()>;

    /// Opens a writer. Called after everything pending was committed, for each writer once.
    ///
    /// # Contract
    /// - MUST use an identity of its own in the target, named by
    ///   [`SinkAttempt::target_name`](crate::SinkAttempt::target_name).
    ///
    /// # Crash
    /// Leaves at most an identity without data.
    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<Self::Writer>;

    /// How long the target keeps what is prepared, counted from the first record that was written for it.
    /// `None`: for ever. Asked before the job is claimed: a job whose interval and
    /// [`commit_margin`](crate::job::JobConfig::commit_margin) do not fit into it is refused, where it would
    /// otherwise write, wait too long, and restart for ever.
    ///
    /// # Contract
    /// - MUST NOT be longer than what [`Prepared::expires_in`] says of an epoch that took no time.
    ///
    /// # Crash
    /// Leaves nothing: it only tells what is configured.
    fn keeps_prepared(&self) -> Option<Duration> {
        None
    }

    /// Makes prepared data visible. Called in the order of epochs, for every completed epoch, also
    /// with nothing to commit.
    ///
    /// # Contract
    /// - MUST be idempotent, and work in a fresh process that prepared nothing.
    /// - MUST be monotone where the target has no transaction to end: once a later epoch began to
    ///   commit, a late commit of an earlier one changes nothing.
    /// - MUST fail with [`ErrorKind::Expired`](crate::ErrorKind::Expired) where the target threw a
    ///   committable away, never skip it.
    /// - After an error it is called again with the same committables.
    ///
    /// # Crash
    /// A part of the committables is visible; recovery calls it again with all of them.
    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<Self::Committable>>,
    ) -> Result<Committed>;
}

/// Writes records and prepares them. Calls are strictly serial, and a writer lives for the attempt.
#[async_trait]
pub trait SinkWriter: Send + 'static {
    /// What the sink takes.
    type Record: Send + 'static;
    /// How prepared data is committed.
    type Committable: Committable;

    /// Takes records from the front of `records`. What remains afterwards was not written because the
    /// writer has no free place: the host offers it again after the next `settled`.
    ///
    /// # Contract
    /// - MUST NOT wait for `settled`: it cannot come while this call runs.
    /// - MUST NOT make anything visible.
    /// - MUST keep the order of the records.
    ///
    /// # Crash
    /// What was written is a leftover, which recovery aborts.
    async fn write(&mut self, records: &mut Vec<Self::Record>) -> Result<()>;

    /// Makes everything that was written in `epoch` durable in the target and still invisible.
    /// Returns nothing where nothing was written.
    ///
    /// # Contract
    /// - MUST leave the writer clean: nothing written before is in a later committable.
    /// - Everything that was sent must be known to have arrived: a failed delivery is an error here.
    /// - MUST fail, here or in `write`, where the target threw away a part of what was written in the
    ///   epoch: the rest of it alone must never be prepared (I7). Nothing is lost yet, so the advice is to
    ///   restart.
    ///
    /// # Crash
    /// Before the entry that lists it: a leftover. After: recovery commits it.
    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<Self::Committable>>>;

    /// Tells that everything up to `epoch` is committed, and that a later durable entry no longer lists
    /// it: what it was prepared with may be used again. With `reinit` an answer was missing on the way:
    /// begin with a fresh identity, so that a request that arrives late cannot touch new data.
    ///
    /// # Crash
    /// Nothing depends on it.
    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()>;
}
