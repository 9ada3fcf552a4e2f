//! The external system of [`MemorySink`](super::MemorySink): transactions that outlive whoever began
//! them, as a broker's or a database's do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tidelock::{Epoch, TargetName};

use super::SinkDefect;
use crate::harness::Row;

/// The name of a transaction in a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransactionId {
    /// Who began it.
    pub owner: TargetName,
    /// Its number among all of the target.
    pub number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Prepared,
    Committed,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) rows: Vec<Row>,
    pub(super) phase: Phase,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) transactions: BTreeMap<TransactionId, Transaction>,
    pub(super) log: Vec<Row>,
    pub(super) newest_commit: Epoch,
    last_number: u64,
}

/// A log of rows with transactions, in memory. It lives as long as anybody has a clone of it, which is
/// what makes it external: sources and sinks come and go.
#[derive(Debug, Clone, Default)]
pub struct Target {
    state: Arc<Mutex<State>>,
}

impl Target {
    /// An empty target.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a normal reader sees: the rows of committed transactions, in the order of their commits.
    pub fn visible(&self) -> Vec<Row> {
        self.lock().log.clone()
    }

    /// Who has a transaction here that is not committed.
    pub fn leftovers(&self) -> Vec<TargetName> {
        let state = self.lock();
        let open = state.transactions.iter().filter(|(_, transaction)| transaction.phase != Phase::Committed);
        open.map(|(id, _)| id.owner.clone()).collect()
    }

    /// Throws away every transaction that is not committed, as a broker does after its timeout.
    pub fn expire(&self) {
        self.lock().transactions.retain(|_, transaction| transaction.phase == Phase::Committed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("invariant: nobody panics while holding the state")
    }

    /// What a reader sees of a target with this defect.
    pub(super) fn visible_with(&self, defect: Option<SinkDefect>) -> Vec<Row> {
        let state = self.lock();
        let shown = match defect {
            Some(SinkDefect::ShowsWritten) => Phase::Open,
            Some(SinkDefect::ShowsPrepared) => Phase::Prepared,
            _ => return state.log.clone(),
        };
        let dirty = state.transactions.values().filter(|transaction| transaction.phase == shown);
        let dirty = dirty.flat_map(|transaction| transaction.rows.iter().cloned());
        state.log.iter().cloned().chain(dirty).collect()
    }
}

impl State {
    /// Begins a transaction.
    pub(super) fn begin(&mut self, owner: TargetName) -> TransactionId {
        self.last_number += 1;
        let id = TransactionId { owner, number: self.last_number };
        self.transactions.insert(id.clone(), Transaction { rows: Vec::new(), phase: Phase::Open });
        id
    }

    pub(super) fn phase(&self, id: &TransactionId) -> Option<Phase> {
        self.transactions.get(id).map(|transaction| transaction.phase)
    }

    /// Makes the rows of a transaction visible and remembers that it is done.
    pub(super) fn apply(&mut self, id: &TransactionId) {
        if let Some(transaction) = self.transactions.get_mut(id) {
            transaction.phase = Phase::Committed;
            self.log.extend(transaction.rows.iter().cloned());
        }
    }
}
