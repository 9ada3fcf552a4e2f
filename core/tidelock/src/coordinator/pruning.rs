//! Deleting old snapshots beside the running job.
//!
//! ```text
//!   start entry durable ──> load the books ──> loaded: each durable entry may let older ones go
//!                             │   ^
//!                   it failed v   │ later, with backoff: a store that was away for a while must not make the
//!                           again ┘ log grow for the life of the attempt
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::books::Books;
use super::run::Running;
use super::work::{Done, Work};
use crate::log::{Entry, Log, PruneWork, Retention};
use crate::retry::in_time;
use crate::{ErrorKind, Position, Result};

/// The pause before the books are loaded again: doubled each time, jittered.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// The longest such pause: at the shortest intervals some ten thousand entries gather in it.
const AGAIN_MAX: Duration = Duration::from_secs(120);

async fn load(log: Log, attempt: Position, retained: u32, call_timeout: Duration) -> Done {
    Done::BooksLoaded(in_time("list the log", call_timeout, Retention::load(&log, attempt, retained)).await)
}

async fn prune(log: Log, work: PruneWork, call_timeout: Duration) -> Done {
    let outcome = in_time("delete old snapshots", call_timeout, log.prune(&work)).await;
    Done::Pruned { work, outcome }
}

impl Running {
    pub(super) fn load_books(&mut self) {
        self.pruning.books = Books::Loading;
        self.pruning.since = 0;
        let (log, attempt, retained) = (self.log.clone(), self.attempt_number(), self.config.retained);
        self.work.push(Box::pin(load(log, attempt, retained, self.deadlines.call_timeout())));
    }

    pub(super) fn on_books_loaded(&mut self, books: Result<Retention>) {
        match books {
            Ok(mut books) => {
                self.pruning.failures = 0;
                let pinned = self.pinned();
                if self.pruning.note_all(&mut books, &pinned) {
                    self.pruning.books = Books::Loaded(books);
                    self.prune();
                } else {
                    self.load_books();
                }
            }
            Err(error) if error.kind() == ErrorKind::Fenced => {
                tracing::warn!(%error, "old snapshots are kept");
                self.pruning.books = Books::NotOurs;
                self.pruning.unnoted.clear();
            }
            // Nothing is lost by keeping more than wanted for a while.
            Err(error) => {
                let pause = self.clocks.pause(AGAIN_MIN..=AGAIN_MAX, self.pruning.failures);
                tracing::warn!(%error, ?pause, "old snapshots are kept until the log can be listed");
                self.pruning.failures += 1;
                self.pruning.books = Books::Again(Instant::now() + pause);
            }
        }
    }

    /// An entry is durable: perhaps an older one is no longer kept.
    pub(super) fn note_entry(&mut self, entry: &Arc<Entry>) {
        self.pruning.note(entry);
        self.prune();
    }

    /// Entries that are copied, or will be.
    fn pinned(&self) -> BTreeSet<Position> {
        self.waiting.pinned().chain(self.pruning.exporting.iter().copied()).collect()
    }

    pub(super) fn prune(&mut self) {
        let pinned = self.pinned();
        let Books::Loaded(books) = &mut self.pruning.books else { return };
        if let Some(work) = books.due(&pinned) {
            let call_timeout = self.deadlines.call_timeout();
            let pruned: Work = Box::pin(prune(self.log.clone(), work, call_timeout));
            self.work.push(pruned);
        }
    }

    pub(super) fn on_pruned(&mut self, work: &PruneWork, outcome: &Result<()>) {
        if let Books::Loaded(books) = &mut self.pruning.books {
            books.done(work, outcome);
        }
        if outcome.is_ok() {
            self.prune();
        }
    }
}
