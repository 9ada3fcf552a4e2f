//! The newest epoch of the mode `ledger`, written to the database while its entry is stored.
//!
//! ```text
//!   barrier n ─┬─ rows to the log, entry n ─────┬─ commit(n): COMMIT
//!              └─ BEGIN, ledger's row, rows ────┘
//! ```
//!
//! A commit begins when the entry is durable. What it does is begun at the barrier already, in a transaction that stays open, so
//! that of the commit one request is left. The rows are in the log all the same: the transaction is a guess of what will be
//! committed, and is rolled back where it is not exactly that. The epoch is then applied from the log, as if nobody had guessed.
//!
//! It is a guess of whoever commits. Where some writers are in other processes, none of them has all of an epoch, and nothing is
//! begun. Nor is it while an earlier epoch is committed, which the open transaction would keep from the ledger's row.
//!
//! The transaction holds locks. Its process may be paused, and the next attempt would wait for them: so the server ends a
//! transaction on which nothing happens for [`IDLE_MAX`], and so does this process.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidelock::write_ahead::{Version, WriteAheadCommittable};
use tidelock::{Epoch, Error, ErrorKind, Pending, Result, SinkAttempt, WriterId};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::change::StoredChange;
use crate::client::Borrowed;
use crate::error::Fault;
use crate::kind::DatabaseKind;
use crate::ledger::{self, write_whole};
use crate::shape::Shape;
use crate::target::Target;

const OPERATION: &str = "write an epoch ahead of its entry";

/// So many bytes of rows a writer keeps for this beside those on their way to the log: an epoch with more is applied from there.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Each writer hands its rows over at once, and does not wait for those of others: an epoch of more writers is applied from the log.
const WRITERS_MAX: usize = 256;

/// How long an entry may take. It holds locks for so long, where whoever would commit it is gone or paused.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Epochs that are begun before they may be committed: one at most.
pub(crate) struct Stage {
    target: Arc<Target>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The attempt whose epochs this process commits.
    attempt: Option<SinkAttempt>,
    /// Its writers in this process.
    here: BTreeSet<WriterId>,
    /// It has writers elsewhere.
    is_vain: bool,
    /// How many commits are under way.
    committing: usize,
    /// The newest epoch that is not to be begun, or not any more.
    given_up: Option<Epoch>,
    open: Option<Open>,
}

/// A transaction that is begun.
struct Open {
    epoch: Epoch,
    /// Whose rows it has.
    writers: BTreeSet<WriterId>,
    rows: Sender<Vec<StoredChange>>,
    /// Its connection with all of its rows written; nothing where the epoch was applied before.
    written: AbortOnDropHandle<Result<Option<Borrowed>>>,
}

/// Lets epochs be begun again when it is dropped.
pub(crate) struct Committing<'s>(&'s Stage);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.state().committing -= 1;
    }
}

impl Stage {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process commits the attempt's epochs. What an earlier attempt had begun is rolled back.
    pub(crate) fn recover(&self, attempt: &SinkAttempt) {
        let mut state = self.state();
        if state.attempt.as_ref() != Some(attempt) {
            let committing = state.committing;
            *state = State { attempt: Some(attempt.clone()), committing, ..State::default() };
            // A file has one writer at a time, who would keep all others out.
            state.is_vain = self.target.dialect.kind == DatabaseKind::Sqlite;
        }
    }

    /// Takes all that a writer wrote in the epoch that it prepares: nothing where it has not all of it.
    fn offer(&self, from: &Offers, epoch: Epoch, rows: Option<Vec<StoredChange>>) {
        let mut state = self.state();
        if state.is_vain || state.attempt.as_ref() != Some(&from.attempt) {
            return;
        }
        state.here.insert(from.writer);
        let is_other = state.open.as_ref().is_some_and(|open| open.epoch != epoch);
        let rows = match rows {
            Some(rows) if !is_other && state.committing == 0 && state.given_up != Some(epoch) => rows,
            _ => {
                state.given_up = Some(epoch);
                // Without these rows the others are in vain.
                state.open.take_if(|open| open.epoch == epoch);
                return;
            }
        };
        let open = state.open.get_or_insert_with(|| {
            let (sender, receiver) = channel(WRITERS_MAX);
            let version = Version { generation: from.attempt.generation, epoch };
            let written = write(
                Arc::clone(&self.target),
                Arc::clone(&from.shape),
                from.attempt.clone(),
                version,
                receiver,
            );
            let written = AbortOnDropHandle::new(tokio::spawn(written));
            Open { epoch, writers: BTreeSet::new(), rows: sender, written }
        });
        // A second time in one epoch: it was said to be empty, and the guess is wrong.
        let is_new = open.writers.insert(from.writer);
        if !is_new || open.rows.try_send(rows).is_err() {
            state.given_up = Some(epoch);
            state.open = None;
        }
    }

    /// A commit begins: nothing else is begun meanwhile.
    pub(crate) fn committing(&self) -> Committing<'_> {
        self.state().committing += 1;
        Committing(self)
    }

    /// Commits an epoch, if what is begun is exactly that. `false`: it is to be applied from the log.
    pub(crate) async fn commit(&self, pending: &[Pending<WriteAheadCommittable>]) -> bool {
        let Some(Open { epoch, rows, written, .. }) = self.take(pending) else { return false };
        // There are no more of them.
        drop(rows);
        let why = match written.await {
            Ok(Ok(Some(mut client))) => match client.run("COMMIT").await {
                Ok(_) => {
                    self.release(client).await;
                    return true;
                }
                // Whatever became of it: the ledger's row says so.
                Err(fault) => fault.during(OPERATION),
            },
            Ok(Ok(None)) => return false,
            Ok(Err(error)) => error,
            Err(failed) => Error::new(ErrorKind::Bug, OPERATION, "the task failed").because(failed),
        };
        tracing::debug!(%epoch, %why, "what was begun before is given up: the epoch is applied from the log");
        false
    }

    /// What is begun, if it is of exactly these committables. It is rolled back otherwise.
    fn take(&self, pending: &[Pending<WriteAheadCommittable>]) -> Option<Open> {
        let mut state = self.state();
        if pending.is_empty() {
            return None;
        }
        let open = state.open.take();
        let attempt = state.attempt.as_ref().map(|attempt| attempt.number);
        let of_attempt = pending.iter().filter(|one| Some(one.attempt) == attempt);
        state.is_vain |= of_attempt.clone().any(|one| !state.here.contains(&one.writer));
        let open = open?;
        let is_it = |one: &&Pending<_>| one.epoch == open.epoch && open.writers.contains(&one.writer);
        let all = of_attempt.filter(is_it).map(|one| one.writer).collect::<BTreeSet<_>>();
        (all == open.writers && pending.len() == all.len()).then_some(open)
    }

    /// Gives a connection back as it was taken.
    async fn release(&self, mut client: Borrowed) {
        let Target { config, dialect, .. } = &*self.target;
        let as_before = dialect.idle_at_most(config.database.idle_in_transaction());
        // Of PostgreSQL the transaction alone was bounded.
        if dialect.kind != DatabaseKind::MySql || client.run(&as_before).await.is_ok() {
            client.give_back();
        }
    }
}

/// Writes an epoch, as it comes, and does not commit it.
async fn write(
    target: Arc<Target>,
    shape: Arc<Shape>,
    attempt: SinkAttempt,
    version: Version,
    mut rows: Receiver<Vec<StoredChange>>,
) -> Result<Option<Borrowed>> {
    let wrong =
        |fault: Fault| fault.during(OPERATION).with("table", &shape.name).with("epoch", version.epoch);
    let mut client = target.pool.get().await?;
    client.run(target.dialect.begin).await.map_err(wrong)?;
    client.run(&target.dialect.idle_at_most(IDLE_MAX)).await.map_err(wrong)?;
    if !ledger::moves(&mut client, &target, (&attempt.job, &attempt.uid), version).await? {
        return Ok(None);
    }
    while let Some(changes) = timeout(IDLE_MAX, rows.recv()).await.map_err(|_| late(version))? {
        write_whole(&mut client, &shape, &changes).await.map_err(wrong)?;
    }
    Ok(Some(client))
}

fn late(version: Version) -> Error {
    Error::new(ErrorKind::Unavailable, OPERATION, "its entry took too long").with("epoch", version.epoch)
}

/// What a writer keeps of its epoch for a [`Stage`].
pub(crate) struct Offers {
    stage: Arc<Stage>,
    attempt: SinkAttempt,
    writer: WriterId,
    shape: Arc<Shape>,
    /// `None`: not all of the epoch is kept.
    rows: Option<Vec<StoredChange>>,
    bytes: usize,
}

impl Offers {
    pub(crate) fn new(
        stage: &Arc<Stage>,
        attempt: &SinkAttempt,
        writer: WriterId,
        shape: &Arc<Shape>,
    ) -> Self {
        let (stage, shape) = (Arc::clone(stage), Arc::clone(shape));
        Self { stage, attempt: attempt.clone(), writer, shape, rows: Some(Vec::new()), bytes: 0 }
    }

    /// Keeps rows of the epoch.
    pub(crate) fn keep(&mut self, changes: &[StoredChange]) {
        if self.rows.is_none() || self.stage.state().is_vain {
            self.rows = None;
            return;
        }
        self.bytes += changes.iter().map(StoredChange::weight).sum::<usize>();
        match &mut self.rows {
            Some(rows) if self.bytes <= BYTES_MAX => rows.extend_from_slice(changes),
            rows => *rows = None,
        }
    }

    /// Not all of the epoch is kept.
    pub(crate) fn give_up(&mut self) {
        self.rows = None;
    }

    /// The epoch's end.
    pub(crate) fn offer(&mut self, epoch: Epoch) {
        self.bytes = 0;
        let rows = self.rows.replace(Vec::new());
        if rows.as_ref().is_none_or(|rows| !rows.is_empty()) {
            self.stage.offer(self, epoch, rows);
        }
    }
}
