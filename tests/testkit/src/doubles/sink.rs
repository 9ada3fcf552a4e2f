//! A sink in memory: correct, or broken in exactly one way.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    CommitPermit, Committable, Committed, Epoch, Error, ErrorKind, Pending, Position, Prepared, Result,
    Retry, Sink, SinkAttempt, SinkWriter, TargetName, Versioned, WriterId, unknown_version,
};
use tokio::task::yield_now;

use super::SinkDefect as D;
use super::target::{Phase, State, Target, TransactionId};
use crate::harness::Row;

/// How long prepared data is kept, as some defects say.
const HOUR: Duration = Duration::from_secs(3600);

/// How many epochs a writer can have prepared and not settled.
const PLACES: usize = 3;

/// The committable of a [`MemorySink`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCommittable {
    transaction: Option<TransactionId>,
    /// What [`D::KeepsLiveHandle`] has instead of data.
    #[serde(skip)]
    handle: Option<TransactionId>,
}

impl MemoryCommittable {
    fn id(&self) -> Option<&TransactionId> {
        self.transaction.as_ref().or(self.handle.as_ref())
    }
}

impl Versioned for MemoryCommittable {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for MemoryCommittable {}

/// A sink that writes to a [`Target`] in transactions.
#[derive(Debug)]
pub struct MemorySink {
    target: Target,
    defect: Option<D>,
    /// What this process remembers; a correct sink never asks.
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    prepared: BTreeSet<TransactionId>,
    committed: BTreeSet<TransactionId>,
    recovered: Option<Position>,
}

impl MemorySink {
    /// A correct sink.
    pub fn new(target: Target) -> Self {
        Self { target, defect: None, memory: Arc::default() }
    }

    /// A sink that is broken in one way.
    pub fn broken(target: Target, defect: D) -> Self {
        Self { defect: Some(defect), ..Self::new(target) }
    }

    fn has(&self, defect: D) -> bool {
        self.defect == Some(defect)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("invariant: nobody panics while holding the memory")
    }

    /// Whether recovery of `attempt` may abort what `owner` left.
    fn is_leftover(&self, owner: &TargetName, attempt: &SinkAttempt) -> bool {
        let ours = owner.job == attempt.job && owner.uid == attempt.uid;
        match self.defect {
            Some(D::ComparesPrefixes) => {
                owner.attempt < attempt.number
                    && format!("{}{}", owner.job, owner.uid).starts_with(attempt.job.as_str())
            }
            Some(D::SweepsOwn) => ours && owner.attempt <= attempt.number,
            Some(D::SweepsNewer) => ours && owner.attempt != attempt.number,
            Some(D::SweepsOwnWritersOnly) => owner.is_leftover_for(attempt) && owner.writer.0 == 0,
            Some(D::NeverSweeps) => false,
            Some(D::SweepsOnce) if self.memory().recovered.is_some() => false,
            _ => owner.is_leftover_for(attempt),
        }
    }

    fn sweep(&self, state: &mut State, attempt: &SinkAttempt, pending: &[Pending<MemoryCommittable>]) {
        let looked_at =
            if self.has(D::KeepsFirstPendingOnly) { &pending[..pending.len().min(1)] } else { pending };
        let listed: BTreeSet<&TransactionId> =
            looked_at.iter().filter_map(|pending| pending.committable.id()).collect();
        let mut applied = Vec::new();
        state.transactions.retain(|id, transaction| {
            let leftover = transaction.phase != Phase::Committed
                && self.is_leftover(&id.owner, attempt)
                && !listed.contains(id);
            if leftover && transaction.phase == Phase::Prepared && self.has(D::RecoveryCommitsLeftovers) {
                applied.append(&mut transaction.rows);
            }
            !leftover
        });
        state.log.append(&mut applied);
        if self.has(D::RecoveryUndoesUnlisted) && listed.is_empty() && self.is_restart(state, attempt) {
            state.log.clear();
        }
    }

    /// Whether an older attempt of this job and sink has committed something.
    fn is_restart(&self, state: &State, attempt: &SinkAttempt) -> bool {
        state.transactions.iter().any(|(id, transaction)| {
            transaction.phase == Phase::Committed && id.owner.is_leftover_for(attempt)
        })
    }

    /// Ends one transaction, as a correct sink does and as each defect does.
    async fn commit_one(&self, permit: &CommitPermit, pending: &Pending<MemoryCommittable>) -> Result<()> {
        let Some(id) = pending.committable.id() else {
            return Ok(()); // D::KeepsLiveHandle: "the handle is gone, so it must be done".
        };
        if self.has(D::CommitsFromMemory) && !self.memory().prepared.contains(id) {
            return Ok(());
        }
        let phase = self.target.lock().phase(id);
        match self.defect {
            Some(D::ChecksThenCommits) => yield_now().await,
            Some(D::TearsCommit) => self.tear(id).await,
            _ => {}
        }
        let mut state = self.target.lock();
        let phase = if self.has(D::ChecksThenCommits) { phase } else { state.phase(id) };
        match phase {
            None if self.has(D::SkipsExpired) => return Ok(()),
            None if self.has(D::RestartsWhenExpired) => {
                return Err(expired("commit", id).with_retry(Retry::Restart));
            }
            None => return Err(expired("commit", id)),
            Some(Phase::Committed) => self.commit_again(&mut state, id, pending.epoch),
            Some(Phase::Open | Phase::Prepared) => {
                if self.has(D::CommitsShortPages)
                    && let Some(transaction) = state.transactions.get_mut(id)
                {
                    transaction.rows.truncate(100);
                }
                state.apply(id);
                self.commit_more(&mut state, id);
            }
        }
        state.newest_commit = state.newest_commit.max(permit.epoch());
        self.memory().committed.insert(id.clone());
        Ok(())
    }

    /// What broken sinks do with a transaction that is committed already. A correct one does nothing.
    fn commit_again(&self, state: &mut State, id: &TransactionId, epoch: Epoch) {
        let again = match self.defect {
            Some(D::DoublesInOneProcess) => self.memory().committed.contains(id),
            Some(D::DoublesInFreshProcess) => {
                self.memory().recovered.is_some_and(|own| id.owner.attempt < own)
            }
            Some(D::DoublesLateCommits) => epoch < state.newest_commit && self.memory().recovered.is_none(),
            _ => false,
        };
        if again {
            state.apply(id);
        }
        if self.has(D::CommitsByName) {
            let newer = |other: &TransactionId| {
                let TargetName { job, uid, attempt, writer } = &other.owner;
                let name = &id.owner;
                *job == name.job && *uid == name.uid && *writer == name.writer && *attempt > name.attempt
            };
            let prepared =
                state.transactions.iter().find(|(other, t)| newer(other) && t.phase == Phase::Prepared);
            if let Some(other) = prepared.map(|(other, _)| other.clone()) {
                state.apply(&other);
            }
        }
    }

    /// What broken sinks commit beside the transaction that was asked for.
    fn commit_more(&self, state: &mut State, id: &TransactionId) {
        let wanted = match self.defect {
            Some(D::CommitsWhatIsOpen) => Phase::Open,
            Some(D::CommitsAllPrepared) => Phase::Prepared,
            _ => return,
        };
        let mine =
            state.transactions.iter().filter(|(other, t)| other.owner == id.owner && t.phase == wanted);
        let mine: Vec<TransactionId> = mine.map(|(other, _)| other.clone()).collect();
        for other in mine {
            if wanted == Phase::Prepared {
                state.apply(&other);
            } else if let Some(transaction) = state.transactions.get_mut(&other) {
                let rows = std::mem::take(&mut transaction.rows);
                state.log.extend(rows);
            }
        }
    }

    /// Applies a half, waits, and leaves the rest to the usual way: right unless it dies between.
    async fn tear(&self, id: &TransactionId) {
        let half = {
            let mut state = self.target.lock();
            match state.transactions.get_mut(id) {
                Some(transaction) if transaction.phase == Phase::Prepared => {
                    let count = transaction.rows.len() / 2;
                    let half: Vec<Row> = transaction.rows[..count].to_vec();
                    state.log.extend(half.iter().cloned());
                    half.len()
                }
                _ => return,
            }
        };
        yield_now().await;
        if let Some(transaction) = self.target.lock().transactions.get_mut(id) {
            transaction.rows.drain(..half);
        }
    }
}

fn expired(operation: &'static str, id: &TransactionId) -> Error {
    Error::new(ErrorKind::Expired, operation, "the target threw the transaction away")
        .with("transaction", format!("{}/{}", id.owner, id.number))
}

#[async_trait]
impl Sink for MemorySink {
    type Record = Row;
    type Committable = MemoryCommittable;
    type Writer = MemoryWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<MemoryCommittable>]) -> Result<()> {
        yield_now().await;
        let mut state = self.target.lock();
        self.sweep(&mut state, attempt, pending);
        self.memory().recovered = Some(attempt.number);
        for id in pending.iter().filter_map(|pending| pending.committable.id()) {
            match state.phase(id) {
                Some(Phase::Committed) if self.has(D::MissesWhatIsCommitted) => {
                    return Err(expired("recover", id));
                }
                Some(Phase::Prepared) if self.has(D::RecoveryCommits) => state.apply(id),
                None if self.has(D::RecoverySkipsExpired) => {}
                None => return Err(expired("recover", id)),
                Some(_) => {}
            }
        }
        Ok(())
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<MemoryWriter> {
        yield_now().await;
        let identity = if self.has(D::SharesIdentity) { WriterId(writer.0 / 2) } else { writer };
        let owner = attempt.target_name(identity);
        if self.has(D::OpenAbortsOthers) {
            let taken = |id: &TransactionId| {
                let TargetName { job, uid, attempt, writer } = &id.owner;
                *job == owner.job && *uid == owner.uid && *writer == owner.writer && *attempt != owner.attempt
            };
            self.target.lock().transactions.retain(|id, t| !taken(id) || t.phase == Phase::Committed);
        }
        Ok(MemoryWriter {
            target: self.target.clone(),
            defect: self.defect,
            memory: Arc::clone(&self.memory),
            attempt: attempt.number,
            owner,
            current: None,
            unsettled: VecDeque::new(),
            last: Vec::new(),
            kept: Vec::new(),
        })
    }

    fn keeps_prepared(&self) -> Option<Duration> {
        (self.has(D::ForgetsItsDeadline) || self.has(D::PromisesTooLong)).then_some(HOUR)
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<MemoryCommittable>>,
    ) -> Result<Committed> {
        if committables.is_empty() && self.has(D::RefusesEmptyCommit) {
            return Err(Error::new(ErrorKind::Bug, "commit", "there is nothing to commit"));
        }
        for pending in &committables {
            yield_now().await;
            let done = || pending.committable.id().and_then(|id| self.target.lock().phase(id));
            if self.has(D::TakesAPartForAll) && committables.len() > 1 && done() == Some(Phase::Committed) {
                break;
            }
            if self.has(D::CommitsOwnEpochOnly) && pending.epoch != permit.epoch() {
                continue;
            }
            if self.has(D::CommitsKnownWritersOnly) && pending.writer.0 > 0 && !self.prepared_here(pending) {
                continue;
            }
            self.commit_one(permit, pending).await?;
        }
        Ok(Committed::default())
    }
}

impl MemorySink {
    fn prepared_here(&self, pending: &Pending<MemoryCommittable>) -> bool {
        pending.committable.id().is_some_and(|id| self.memory().prepared.contains(id))
    }
}

/// The writer of a [`MemorySink`].
#[derive(Debug)]
pub struct MemoryWriter {
    target: Target,
    defect: Option<D>,
    memory: Arc<Mutex<Memory>>,
    attempt: Position,
    owner: TargetName,
    current: Option<TransactionId>,
    unsettled: VecDeque<(Epoch, TransactionId)>,
    /// The rows of the last prepared epoch, for [`D::KeepsPreparedRows`].
    last: Vec<Row>,
    /// What it writes again when it begins with a fresh identity.
    kept: Vec<Row>,
}

impl MemoryWriter {
    fn has(&self, defect: D) -> bool {
        self.defect == Some(defect)
    }

    fn append(&mut self, rows: impl IntoIterator<Item = Row>) {
        let mut state = self.target.lock();
        let id = match &self.current {
            Some(id) if self.has(D::WritesOnInATornEpoch) && state.phase(id).is_none() => {
                state.begin(self.owner.clone())
            }
            Some(id) => id.clone(),
            None => {
                if self.defect == Some(D::SharesIdentity) {
                    // As where beginning under an identity ends what was begun under it before.
                    state.transactions.retain(|id, t| id.owner != self.owner || t.phase != Phase::Open);
                }
                state.begin(self.owner.clone())
            }
        };
        // Aborted by somebody: the rows go nowhere, and prepare will say so.
        if let Some(transaction) = state.transactions.get_mut(&id) {
            let at = if self.defect == Some(D::ReversesBatches) { 0 } else { transaction.rows.len() };
            transaction.rows.splice(at..at, rows);
        }
        self.current = Some(id);
    }

    /// Makes rows visible past every protocol, as some broken writers do when they end.
    fn leak(&mut self) {
        let Some(id) = self.current.take() else { return };
        let mut state = self.target.lock();
        if let Some(transaction) = state.transactions.remove(&id) {
            state.log.extend(transaction.rows);
        }
    }
}

#[async_trait]
impl SinkWriter for MemoryWriter {
    type Record = Row;
    type Committable = MemoryCommittable;

    async fn write(&mut self, records: &mut Vec<Row>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if self.current.is_none() && self.unsettled.len() >= PLACES {
            match self.defect {
                Some(D::DropsWhenFull) => records.clear(),
                Some(D::WaitsWhenFull) => std::future::pending().await,
                _ => {}
            }
            return Ok(());
        }
        let kept = std::mem::take(&mut self.kept);
        self.append(kept);
        if self.has(D::TornWriteShows) {
            let mut rest = LeakOnDrop { writer: self, armed: true };
            rest.writer.append(records.drain(..records.len() / 2));
            yield_now().await;
            rest.armed = false;
        } else {
            yield_now().await;
        }
        self.append(records.drain(..));
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<MemoryCommittable>>> {
        yield_now().await;
        if self.current.is_none() && self.has(D::PreparesNothing) {
            self.append([]);
        }
        let Some(id) = self.current.take() else { return Ok(Vec::new()) };
        let mut state = self.target.lock();
        let Some(transaction) = state.transactions.get_mut(&id) else {
            return Err(Error::new(ErrorKind::Fenced, "prepare", "the transaction was aborted")
                .with("attempt", self.attempt));
        };
        transaction.phase = Phase::Prepared;
        if self.has(D::KeepsPreparedRows) {
            self.last.clone_from(&transaction.rows);
        }
        drop(state);
        self.memory
            .lock()
            .expect("invariant: nobody panics while holding the memory")
            .prepared
            .insert(id.clone());
        self.unsettled.push_back((epoch, id.clone()));
        let committable = if self.has(D::KeepsLiveHandle) {
            MemoryCommittable { transaction: None, handle: Some(id) }
        } else {
            MemoryCommittable { transaction: Some(id), handle: None }
        };
        let expires_in = match self.defect {
            Some(D::HidesItsDeadline) => Some(HOUR),
            Some(D::PromisesTooLong) => Some(HOUR / 2),
            _ => None,
        };
        Ok(vec![Prepared { committable, expires_in }])
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        yield_now().await;
        self.unsettled.retain(|(unsettled, _)| *unsettled > epoch);
        if reinit && self.has(D::KeepsPreparedRows) {
            self.kept = std::mem::take(&mut self.last);
        }
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        match self.defect {
            Some(D::DropShows) => self.leak(),
            Some(D::DropAborts) => {
                let mut state = self.target.lock();
                for (_, id) in &self.unsettled {
                    if state.phase(id) == Some(Phase::Prepared) {
                        state.transactions.remove(id);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Flushes what was begun when a write is dropped half-way.
struct LeakOnDrop<'w> {
    writer: &'w mut MemoryWriter,
    armed: bool,
}

impl Drop for LeakOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.writer.leak();
        }
    }
}
