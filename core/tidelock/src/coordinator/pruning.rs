//! Deleting old snapshots beside the running job.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::run::Running;
use super::work::{Done, Work};
use crate::log::{Entry, Log, PruneWork, Retention};
use crate::{Position, Result};

/// The books of what the log holds, once they are loaded.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    books: Option<Retention>,
    /// Entries that became durable before the books were loaded. Bounded: the books hold few more.
    unnoted: Vec<Arc<Entry>>,
    /// Entries that are being exported.
    exporting: BTreeSet<Position>,
}

/// After so many entries without books they are loaded by the next attempt.
const UNNOTED_MAX: usize = 1000;

impl Pruning {
    pub(super) fn export_began(&mut self, position: Position) {
        self.exporting.insert(position);
    }

    pub(super) fn export_ended(&mut self, position: Position) {
        self.exporting.remove(&position);
    }
}

/// Reads the books.
pub(super) async fn load(log: Log, attempt: Position, retained: u32) -> Done {
    Done::BooksLoaded(Retention::load(&log, attempt, retained).await)
}

async fn prune(log: Log, work: PruneWork) -> Done {
    let outcome = log.prune(&work).await;
    Done::Pruned { work, outcome }
}

impl Running {
    pub(super) fn load_books(&mut self) {
        let (log, attempt, retained) = (self.log.clone(), self.attempt_number(), self.config.retained);
        self.work.push(Box::pin(load(log, attempt, retained)));
    }

    pub(super) fn on_books_loaded(&mut self, books: Result<Retention>) {
        match books {
            Ok(mut books) => {
                self.pruning.unnoted.drain(..).for_each(|entry| books.note(&entry));
                self.pruning.books = Some(books);
                self.prune();
            }
            // Nothing is lost by keeping more than wanted.
            Err(error) => tracing::warn!(%error, "old snapshots are kept: the log could not be listed"),
        }
    }

    /// An entry is durable: perhaps an older one is no longer kept.
    pub(super) fn note_entry(&mut self, entry: &Arc<Entry>) {
        match &mut self.pruning.books {
            Some(books) => books.note(entry),
            None if self.pruning.unnoted.len() < UNNOTED_MAX => self.pruning.unnoted.push(Arc::clone(entry)),
            None => {}
        }
        self.prune();
    }

    pub(super) fn prune(&mut self) {
        let pinned: BTreeSet<Position> =
            self.waiting.pinned().chain(self.pruning.exporting.iter().copied()).collect();
        if let Some(work) = self.pruning.books.as_mut().and_then(|books| books.due(&pinned)) {
            let pruned: Work = Box::pin(prune(self.log.clone(), work));
            self.work.push(pruned);
        }
    }

    pub(super) fn on_pruned(&mut self, work: &PruneWork, outcome: &Result<()>) {
        if let Some(books) = &mut self.pruning.books {
            books.done(work, outcome);
        }
        if outcome.is_ok() {
            self.prune();
        }
    }
}
