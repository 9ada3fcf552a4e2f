//! What an attempt knows of its job's log, by how far it has come.
//!
//! ```text
//!   nothing ──looked──> head ──claim durable──> owned: attempt, newest, proofs ──each durable entry──> owned
//!                        ^                            │
//!                        └── the claim does not count: looked again, nothing is ours
//! ```
//!
//! - The **head** is the entry below the claim, of another attempt: what the claim is made of, and what is restored.
//! - The **newest** entry is ours, and known to be durable: what the next one is made of. With it the attempt has a
//!   number, and a lineage.
//! - The **proofs** are those of our entries whose commits are not confirmed. I1: permits are made of them alone.
//! - A **new lineage** is known from the moment when the state of the start entry is found until that entry is durable
//!   (I8). Every other entry goes on with the lineage of the one below.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::start::{NewLineage, next_generation};
use crate::log::{CommitPermit, Durable, Entry, EntryKind, Lineage, RequestId};
use crate::{Attempt, Epoch, Error, ErrorKind, Generation, Position, Result, Uid};

#[derive(Debug, Default)]
pub(super) struct Standing {
    head: Option<Arc<Entry>>,
    owned: Option<Owned>,
}

/// The claim is durable and ours.
#[derive(Debug)]
struct Owned {
    attempt: Attempt,
    newest: Arc<Entry>,
    proofs: BTreeMap<Position, Durable>,
    begins: Option<NewLineage>,
}

impl Standing {
    /// The log was looked at, and nothing in it is ours. I5: a claim that landed in a gap which pruning left does
    /// not count, and nor does what it was made of.
    pub(super) fn looked(&mut self, head: Option<Arc<Entry>>) {
        *self = Self { head, owned: None };
    }

    /// An entry of ours is durable, and `proof` says so.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where it is the first one and no claim.
    pub(super) fn durable(&mut self, entry: &Arc<Entry>, proof: Durable) -> Result<()> {
        if entry.kind != EntryKind::Claim && self.owned.is_none() {
            return Err(Error::new(
                ErrorKind::Bug,
                "append",
                "an entry is durable before the job is claimed",
            )
            .with("position", entry.position));
        }
        let before = self.owned.take();
        let (mut proofs, begins) = before.map(|owned| (owned.proofs, owned.begins)).unwrap_or_default();
        proofs.insert(proof.position(), proof);
        // The start entry of a rollback or fork begins a generation; every other one goes on with it.
        let attempt =
            Attempt { job: entry.job.clone(), number: entry.attempt, generation: entry.lineage.generation };
        let begins = begins.filter(|_| entry.kind != EntryKind::Start);
        self.owned = Some(Owned { attempt, newest: Arc::clone(entry), proofs, begins });
        Ok(())
    }

    /// What the start entry begins, if it begins a lineage.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where the job is not claimed.
    pub(super) fn begins(&mut self, lineage: Option<NewLineage>) -> Result<()> {
        self.owned.as_mut().ok_or_else(|| not_claimed("start"))?.begins = lineage;
        Ok(())
    }

    /// Every commit up to `epoch` is confirmed: the proofs of its entries are done with.
    pub(super) fn confirmed(&mut self, epoch: Epoch) {
        if let Some(owned) = &mut self.owned {
            owned.proofs.retain(|_, proof| proof.epoch() > epoch);
        }
    }

    /// The permit to commit what the entry at `position` lists for a sink.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where nothing proves that the entry is durable and ours.
    pub(super) fn permit(&self, position: Position, uid: &Uid) -> Result<CommitPermit> {
        let proof = self.owned.as_ref().and_then(|owned| owned.proofs.get(&position));
        proof.map(|proof| proof.permit(uid)).ok_or_else(|| {
            Error::new(ErrorKind::Bug, "commit", "no proof that the entry is durable")
                .with("position", position)
        })
    }

    /// The lineage of the next entry and the requests that its log has obeyed with it; `wall_ms` is for the first
    /// lineage of all.
    pub(super) fn lineage(
        &self,
        kind: EntryKind,
        position: Position,
        wall_ms: u64,
    ) -> (Lineage, Vec<RequestId>) {
        let below = self.below();
        let mut obeyed = below.map(|entry| entry.obeyed.clone()).unwrap_or_default();
        let begins = self.owned.as_ref().and_then(|owned| owned.begins.as_ref());
        let lineage = match (kind, begins, below) {
            (EntryKind::Start, Some(new), _) => {
                obeyed.extend(new.names.iter().cloned());
                Lineage { id: position, generation: new.generation, origin: Some(new.origin.clone()) }
            }
            (_, _, Some(entry)) => entry.lineage.clone(),
            (_, _, None) => {
                let generation = next_generation(Generation(0), wall_ms);
                Lineage { id: position, generation, origin: None }
            }
        };
        (lineage, obeyed)
    }

    /// The entry below the claim; `None` where the log was empty.
    pub(super) fn head(&self) -> Option<&Arc<Entry>> {
        self.head.as_ref()
    }

    /// The newest entry of ours.
    pub(super) fn newest(&self) -> Option<&Arc<Entry>> {
        self.owned.as_ref().map(|owned| &owned.newest)
    }

    /// What the next entry is made of, the claim included.
    pub(super) fn below(&self) -> Option<&Arc<Entry>> {
        self.newest().or(self.head())
    }

    /// The attempt, once claimed.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.owned.as_ref().map(|owned| &owned.attempt)
    }

    /// The same, where the protocol has come so far that it must be claimed.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where it is not.
    pub(super) fn claimed(&self, operation: &'static str) -> Result<&Attempt> {
        self.attempt().ok_or_else(|| not_claimed(operation))
    }

    /// Its number; 0, which is no position, before the claim.
    pub(super) fn number(&self) -> Position {
        self.attempt().map_or(Position(0), |attempt| attempt.number)
    }
}

fn not_claimed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Bug, operation, "the job is not claimed")
}
