//! The newest epoch of the mode `ledger`, written to the database while its entry is stored.
//!
//! ```text
//!   rows ─┬─> the log ───────────────── barrier n ── entry n ───┬─ commit(n): COMMIT
//!         └─> BEGIN, many of them ───── ledger's row, the rest ─┘
//! ```
//!
//! A commit begins when the entry is durable. What it does is begun before, in a transaction that stays open, so that of the commit one
//! request is left. Few rows are written at the barrier, many as they come: else an entry would be durable long before they are. The rows are in the log all the same: the transaction is a guess of what will be
//! committed, and is rolled back where it is not exactly that. The epoch is then applied from the log, as if nobody had guessed.
//!
//! It is a guess of whoever commits. Where some writers are in other processes, none of them has all of an epoch, and nothing is
//! begun. Nor is it while an earlier epoch is committed, which the open transaction would keep from the ledger's row.
//!
//! The transaction holds locks, so epochs that last long are begun at their barrier however many rows they have. Its process may be paused, and the next attempt would wait for them: so the server ends a
//! transaction on which nothing happens for [`IDLE_MAX`], and so does this process.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidelock::write_ahead::{Version, WriteAheadCommittable};
use tidelock::{Epoch, Error, ErrorKind, Pending, Result, SinkAttempt, WriterId};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};
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

/// Each writer hands its rows over at once, and does not wait for those of others: an epoch of more pieces is applied from the log.
const PIECES_MAX: usize = 256;

/// So many rows are sent before the barrier: what is left for it takes a few milliseconds.
const MANY: usize = 1024;

/// An epoch that lasts longer is not begun before its barrier: others would wait for its locks. It lasts as long as the one before.
const SHORT: Duration = Duration::from_secs(2);

/// What was sent of one that lasts longer than this after all is rolled back. It is more than [`SHORT`], because epochs of about
/// that are now a little shorter and then a little longer, and many of them would be sent in vain.
const LONG: Duration = Duration::from_secs(3);

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
    /// How many transactions were begun.
    begun: u64,
    /// Epochs that are applied from the log, and are not applied yet. What is begun after them does not last: they take its place.
    given_up: BTreeSet<Epoch>,
    open: Option<Open>,
}

impl State {
    /// Rows that a writer gave before the end of its epoch are in a transaction that is no longer there.
    fn has_lost(&self, from: &Offers) -> bool {
        from.sent.is_some() && from.sent != self.open.as_ref().map(|open| open.id)
    }
}

/// A transaction that is begun.
struct Open {
    /// Tells it from the one before, whose rows are gone.
    id: u64,
    /// `None`: no writer is at the end of the epoch yet.
    epoch: Option<Epoch>,
    /// Whose rows it has before the end of their epoch.
    early: BTreeSet<WriterId>,
    /// Of whom it has all rows of the epoch.
    writers: BTreeSet<WriterId>,
    rows: Sender<Piece>,
    /// Its connection with all of its rows written; nothing where the epoch was applied before.
    written: AbortOnDropHandle<Result<Option<Borrowed>>>,
}

/// What a transaction is told.
enum Piece {
    Rows(Vec<StoredChange>),
    /// Which epoch it is.
    Is(Version),
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
            let (committing, begun) = (state.committing, state.begun);
            *state = State { attempt: Some(attempt.clone()), committing, begun, ..State::default() };
            // A file has one writer at a time, who would keep all others out.
            state.is_vain = self.target.dialect.kind == DatabaseKind::Sqlite;
        }
    }

    /// Takes rows of an epoch that goes on, unless they have to wait: while an earlier one is begun, theirs would wait for its locks, and it
    /// for theirs where it has to be applied from the log. `false`: rows that were taken before are gone.
    fn take_early(&self, from: &mut Offers) -> bool {
        let mut state = self.state();
        if state.has_lost(from) || state.is_vain || state.attempt.as_ref() != Some(&from.attempt) {
            return false;
        }
        let is_ended = state.open.as_ref().is_some_and(|open| open.epoch.is_some());
        if state.committing > 0 || is_ended || !state.given_up.is_empty() {
            return true;
        }
        let open = self.open(&mut state, from);
        open.early.insert(from.writer);
        from.sent = Some(open.id);
        let rows = from.rows.as_mut().map(std::mem::take).unwrap_or_default();
        let is_taken = open.rows.try_send(Piece::Rows(rows)).is_ok();
        if !is_taken {
            state.open = None;
        }
        is_taken
    }

    /// Rolls back what a writer gave of an epoch of which it has no longer all.
    fn withdraw(&self, sent: u64) {
        self.state().open.take_if(|open| open.id == sent);
    }

    /// Takes the rest of what a writer wrote in the epoch that it prepares: nothing where it has not all of it. `false`: the epoch is
    /// applied from the log.
    fn offer(&self, from: &Offers, epoch: Epoch, rows: Option<Vec<StoredChange>>) -> bool {
        let mut state = self.state();
        if state.is_vain || state.attempt.as_ref() != Some(&from.attempt) {
            return false;
        }
        state.here.insert(from.writer);
        let is_other = state.open.as_ref().is_some_and(|open| open.epoch.is_some_and(|begun| begun != epoch));
        let is_after = state.given_up.first().is_some_and(|given_up| *given_up <= epoch);
        let must_wait = is_other || is_after || state.has_lost(from) || state.committing > 0;
        let Some(rows) = rows.filter(|_| !must_wait) else {
            state.given_up.insert(epoch);
            // Without these rows the others of the epoch are in vain, and so is what is begun after it.
            let is_in_vain = |open: &mut Open| {
                open.epoch.is_some_and(|begun| begun >= epoch) || from.sent == Some(open.id)
            };
            state.open.take_if(is_in_vain);
            return false;
        };
        let open = self.open(&mut state, from);
        let mut pieces = Vec::new();
        if open.epoch.replace(epoch).is_none() {
            pieces.push(Piece::Is(Version { generation: from.attempt.generation, epoch }));
        }
        pieces.push(Piece::Rows(rows));
        // A second time in one epoch: it was said to be empty, and the guess is wrong.
        let is_new = open.writers.insert(from.writer);
        let is_taken = is_new && pieces.into_iter().all(|piece| open.rows.try_send(piece).is_ok());
        if !is_taken {
            state.given_up.insert(epoch);
            state.open = None;
        }
        is_taken
    }

    /// The transaction that is begun, or a new one.
    fn open<'s>(&self, state: &'s mut State, from: &Offers) -> &'s mut Open {
        let State { open, begun, .. } = state;
        open.get_or_insert_with(|| {
            *begun += 1;
            let (sender, receiver) = channel(PIECES_MAX);
            let (target, shape) = (Arc::clone(&self.target), Arc::clone(&from.shape));
            let written = tokio::spawn(write(target, shape, from.attempt.clone(), receiver));
            let (early, writers) = (BTreeSet::new(), BTreeSet::new());
            let written = AbortOnDropHandle::new(written);
            Open { id: *begun, epoch: None, early, writers, rows: sender, written }
        })
    }

    /// A commit begins: nothing else is begun meanwhile.
    pub(crate) fn committing(&self) -> Committing<'_> {
        self.state().committing += 1;
        Committing(self)
    }

    /// Commits an epoch, if what is begun is exactly that. `false`: it is to be applied from the log, until which nothing is begun.
    pub(crate) async fn commit(&self, epoch: Epoch, pending: &[Pending<WriteAheadCommittable>]) -> bool {
        let is_done = self.try_commit(pending).await;
        if !is_done {
            self.state().given_up.insert(epoch);
        }
        is_done
    }

    /// An epoch was applied from the log, and all before it.
    pub(crate) fn applied(&self, epoch: Epoch) {
        self.state().given_up.retain(|given_up| *given_up > epoch);
    }

    async fn try_commit(&self, pending: &[Pending<WriteAheadCommittable>]) -> bool {
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
        tracing::debug!(?epoch, %why, "what was begun before is given up: the epoch is applied from the log");
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
        let is_it = |one: &&Pending<_>| Some(one.epoch) == open.epoch && open.writers.contains(&one.writer);
        let all = of_attempt.filter(is_it).map(|one| one.writer).collect::<BTreeSet<_>>();
        // Rows of a writer that has not ended this epoch are those of its next one.
        let is_whole = open.early.is_subset(&open.writers);
        (is_whole && all == open.writers && pending.len() == all.len()).then_some(open)
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
    mut pieces: Receiver<Piece>,
) -> Result<Option<Borrowed>> {
    let wrong = |fault: Fault| fault.during(OPERATION).with("table", &shape.name);
    let mut client = target.pool.get().await?;
    client.run(target.dialect.begin).await.map_err(wrong)?;
    client.run(&target.dialect.idle_at_most(IDLE_MAX)).await.map_err(wrong)?;
    while let Some(piece) = timeout(IDLE_MAX, pieces.recv()).await.map_err(|_| late())? {
        match piece {
            Piece::Rows(changes) => write_whole(&mut client, &shape, &changes).await.map_err(wrong)?,
            Piece::Is(version) => {
                if !ledger::moves(&mut client, &target, (&attempt.job, &attempt.uid), version).await? {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(client))
}

fn late() -> Error {
    Error::new(ErrorKind::Unavailable, OPERATION, "its entry took too long")
}

/// What a writer keeps of its epoch for a [`Stage`].
pub(crate) struct Offers {
    stage: Arc<Stage>,
    attempt: SinkAttempt,
    writer: WriterId,
    shape: Arc<Shape>,
    /// What is not sent yet. `None`: not all of the epoch is here.
    rows: Option<Vec<StoredChange>>,
    bytes: usize,
    /// The transaction that has the rows before these.
    sent: Option<u64>,
    began: Instant,
    /// Whether the epoch may be begun before its barrier: the one before was short, and was begun as a whole. What made that one be applied
    /// from the log, such as its size, is so in this one too, and its rows would be written twice.
    begins_early: bool,
}

impl Offers {
    pub(crate) fn new(
        stage: &Arc<Stage>,
        attempt: &SinkAttempt,
        writer: WriterId,
        shape: &Arc<Shape>,
    ) -> Self {
        Self {
            stage: Arc::clone(stage),
            attempt: attempt.clone(),
            writer,
            shape: Arc::clone(shape),
            rows: Some(Vec::new()),
            bytes: 0,
            sent: None,
            began: Instant::now(),
            begins_early: false,
        }
    }

    /// Keeps rows of the epoch, and sends them where they are many.
    pub(crate) fn keep(&mut self, changes: &[StoredChange]) {
        if self.stage.state().is_vain {
            self.rows = None;
        }
        let Some(rows) = &mut self.rows else { return };
        self.bytes += changes.iter().map(StoredChange::weight).sum::<usize>();
        if self.bytes > BYTES_MAX {
            self.give_up();
            return;
        }
        rows.extend_from_slice(changes);
        let lasts = self.began.elapsed();
        if self.sent.is_some() && lasts > LONG {
            // It lasts longer than the one before.
            self.give_up();
        } else if self.begins_early && lasts <= SHORT && rows.len() >= MANY {
            let stage = Arc::clone(&self.stage);
            if !stage.take_early(self) {
                self.give_up();
            }
        }
    }

    /// Not all of the epoch is here.
    pub(crate) fn give_up(&mut self) {
        self.rows = None;
        if let Some(sent) = self.sent {
            self.stage.withdraw(sent);
        }
    }

    /// The epoch's end.
    pub(crate) fn offer(&mut self, epoch: Epoch) {
        let rows = self.rows.replace(Vec::new());
        let is_nothing = self.sent.is_none() && rows.as_ref().is_some_and(Vec::is_empty);
        let is_taken = is_nothing || self.stage.offer(self, epoch, rows);
        (self.bytes, self.sent) = (0, None);
        // With one connection whoever looks at the database would wait for the epoch's end.
        let has_more = self.stage.target.config.database.connections_max > 1;
        self.begins_early = is_taken && has_more && self.began.elapsed() <= SHORT;
        self.began = Instant::now();
    }
}
