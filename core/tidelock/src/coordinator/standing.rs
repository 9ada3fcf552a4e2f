//! What an attempt knows of its job's log, by how far it has come.
//!
//! ```text
//!   nothing ──looked──> head ──claim durable──> attempt, newest ──each durable entry──> attempt, newest
//!                        ^                            │
//!                        └── the claim does not count: looked again, nothing is ours
//! ```
//!
//! - The **head** is the entry below the claim, of another attempt: what the claim is made of, and what is restored.
//! - The **newest** entry is ours, and known to be durable: what the next one is made of. With it the attempt has a
//!   number, and a lineage.

use std::sync::Arc;

use crate::log::{Entry, EntryKind};
use crate::{Attempt, Error, ErrorKind, Position, Result};

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
}

impl Standing {
    /// The log was looked at, and nothing in it is ours. I5: a claim that landed in a gap which pruning left does
    /// not count, and nor does what it was made of.
    pub(super) fn looked(&mut self, head: Option<Arc<Entry>>) {
        *self = Self { head, owned: None };
    }

    /// An entry of ours is durable.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where it is the first one and no claim.
    pub(super) fn durable(&mut self, entry: &Arc<Entry>) -> Result<()> {
        if entry.kind != EntryKind::Claim && self.owned.is_none() {
            return Err(Error::new(
                ErrorKind::Bug,
                "append",
                "an entry is durable before the job is claimed",
            )
            .with("position", entry.position));
        }
        // The start entry of a rollback or fork begins a generation; every other one goes on with it.
        let attempt =
            Attempt { job: entry.job.clone(), number: entry.attempt, generation: entry.lineage.generation };
        self.owned = Some(Owned { attempt, newest: Arc::clone(entry) });
        Ok(())
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

    /// Its number; 0, which is no position, before the claim.
    pub(super) fn number(&self) -> Position {
        self.attempt().map_or(Position(0), |attempt| attempt.number)
    }
}
