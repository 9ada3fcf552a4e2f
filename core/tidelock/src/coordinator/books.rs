//! What pruning knows of the log: its books, and what became durable while they were loaded.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::Position;
use crate::log::{Entry, Retention};

/// How many entries are remembered until the books are loaded: each names its chunks, which a load does not
/// read of entries that are not retained.
const UNNOTED_MAX: usize = 1000;

/// The books of what the log holds, on their way.
#[derive(Debug, Default)]
pub(super) enum Books {
    /// No start entry is durable yet.
    #[default]
    NotWanted,
    /// They are being loaded.
    Loading,
    /// They could not be loaded; then once more.
    Again(Instant),
    Loaded(Retention),
    /// A newer attempt owns the log: what is deleted is for it to say.
    NotOurs,
}

/// What pruning knows.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    pub(super) books: Books,
    /// Loads that failed in a row.
    pub(super) failures: u32,
    /// The last entries that became durable before the books were loaded.
    pub(super) unnoted: VecDeque<Arc<Entry>>,
    /// How many became durable since the load under way began: it may not have seen them.
    pub(super) since: usize,
    /// Entries that are being exported.
    pub(super) exporting: BTreeSet<Position>,
}

impl Pruning {
    pub(super) fn export_began(&mut self, position: Position) {
        self.exporting.insert(position);
    }

    pub(super) fn export_ended(&mut self, position: Position) {
        self.exporting.remove(&position);
    }

    /// Takes what became durable while the books were loaded into them. `false` where too little of it is remembered: they
    /// must be loaded anew.
    pub(super) fn note_all(&mut self, books: &mut Retention, pinned: &BTreeSet<Position>) -> bool {
        let remembered = self.unnoted.make_contiguous();
        if self.since <= UNNOTED_MAX {
            remembered.iter().for_each(|entry| books.note(entry));
        } else if !books.bridge(remembered, pinned) {
            return false;
        }
        self.unnoted.clear();
        true
    }

    /// When the books are loaded once more.
    pub(super) fn load_again_at(&self) -> Option<Instant> {
        match self.books {
            Books::Again(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn note(&mut self, entry: &Arc<Entry>) {
        match &mut self.books {
            Books::Loaded(books) => books.note(entry),
            Books::NotOurs => {}
            Books::NotWanted | Books::Loading | Books::Again(_) => {
                self.since += 1;
                self.unnoted.push_back(Arc::clone(entry));
                if self.unnoted.len() > UNNOTED_MAX {
                    self.unnoted.pop_front();
                }
            }
        }
    }
}
