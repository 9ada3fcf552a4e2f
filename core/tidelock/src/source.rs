//! The source side of the contract.
//!
//! ```text
//!   Source::discover ──> splits ──> Source::open(split) ──> SplitReader::next ──> Batch { records, resume }
//!        ^                                                                            │
//!        └── known splits, from the snapshot <──── barrier: the latest `resume` <─────┘
//! ```
//!
//! A split *contains* its position. A source has no other state, and keeps no position anywhere but in
//! the snapshot (I2).

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Result, SourceName, Versioned};

/// The name of a split within its source, stable for ever: a partition, a shard, a file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SplitId(std::sync::Arc<str>);

impl SplitId {
    /// A split id of any text: it is never part of a name in a target.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(id.as_ref().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A unit of source work *with* its position, and its stop position if it has one.
pub trait Split: Versioned + Clone + fmt::Debug {
    /// The name of the split. It does not change as the position moves.
    fn id(&self) -> SplitId;
}

/// What the coordinator knows of a source's splits when it asks for new ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<S> {
    /// Splits that are being read or wait to be, with the position that was last reported.
    pub active: Vec<S>,
    /// Splits that were read to their end and are not forgotten yet.
    pub finished: Vec<SplitId>,
    /// The same as they ended: the evidence of what was read, for a source whose splits can be replaced under their names, and what
    /// the splits that go on from them begin with. The end of one that has only just finished is in no entry yet.
    pub ended: Vec<S>,
    /// Whether this is the very first discovery of the job: the configured start position applies
    /// now. Later a new split starts at its beginning, or records would be lost.
    pub first_run: bool,
}

/// What a source found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery<S> {
    /// Splits that are not known yet, with the position where reading starts, resolved to a concrete
    /// one (I9): `latest` is decided once, here.
    pub new: Vec<S>,
    /// Finished splits that can never be found again: the finished set does not grow for ever. They are forgotten in an entry that has all
    /// that was known when this was said.
    pub forget: Vec<SplitId>,
    /// The source is bounded, and these are its last splits: when all splits are finished, so is the
    /// source. Discovery is then not asked again.
    pub complete: bool,
}

impl<S> Default for Discovery<S> {
    fn default() -> Self {
        Self { new: Vec::new(), forget: Vec::new(), complete: false }
    }
}

/// Some records of a split, and the split as it must be reopened *after* them.
///
/// Records and position are one value, so a reader that prefetches cannot snapshot a position ahead
/// of what it handed over. `records` may be empty where only the position moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<R, S> {
    /// The records, in the order of the split.
    pub records: Vec<R>,
    /// The split from which reading goes on after them.
    pub resume: S,
}

/// A system that records are read from.
///
/// Discovery runs in the coordinator's process only; `open` runs wherever the split was assigned.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What the source produces. Every connector's record derives `Serialize` and `Deserialize`; a
    /// runtime asks for them only where records cross workers.
    type Record: Send + 'static;
    /// Its unit of work with a position.
    type Split: Split;
    /// Reads one split.
    type Reader: SplitReader<Record = Self::Record, Split = Self::Split>;

    /// How many of its splits are worth opening at once on one worker, unless the user says otherwise. Splits
    /// that end can wait for one another: a few keep a worker busy, and each that is open costs a handle or a
    /// buffer. Default: all, because a split that never ends is read only while it is open.
    const OPEN_SPLITS_MAX: usize = usize::MAX;

    /// Finds splits that are not known yet.
    ///
    /// # Contract
    /// - MUST NOT return a split that is active or finished.
    /// - MUST resolve every new split to a concrete position.
    /// - MUST apply the configured start position only if `known.first_run`; a split that appears
    ///   later starts at its beginning.
    /// - MUST answer the same again while nothing changed outside: it is asked at intervals, and at
    ///   once when a split finishes.
    ///
    /// # Crash
    /// Nothing was promised before the entry that lists the new splits is durable: they are found
    /// again, and on a first run resolved again.
    async fn discover(&self, known: &Known<Self::Split>) -> Result<Discovery<Self::Split>>;

    /// Opens a split at the position that it contains.
    ///
    /// # Contract
    /// - MUST fail where that position is no longer there: records would be lost silently.
    /// - The number of splits open at once is bounded by the host.
    ///
    /// # Crash
    /// Leaves nothing: opening changes nothing outside.
    async fn open(&self, split: Self::Split) -> Result<Self::Reader>;

    /// Tells that the snapshot with these positions is durable, so that the system may drop what lies
    /// before them, or show them to a lag monitor.
    ///
    /// # Contract
    /// - MUST NOT be needed for correctness: it may be lost, late or repeated.
    /// - What it writes is never read back as a position (I2).
    ///
    /// # Crash
    /// Nothing depends on it.
    async fn acknowledge(&self, _durable: &[Self::Split]) -> Result<()> {
        Ok(())
    }
}

/// Reads one split from its position on.
#[async_trait]
pub trait SplitReader: Send + 'static {
    /// What the source produces.
    type Record: Send + 'static;
    /// The split that is read.
    type Split: Split;

    /// The next records, or `None` at the end of the split. Waits where there is nothing yet.
    ///
    /// # Contract
    /// - MUST return records in the order of the split, each once, none left out.
    /// - MUST return a bounded number of records, in bounded memory.
    /// - The host never drops the future half-way except at the end of the attempt.
    ///
    /// # Crash
    /// Leaves nothing outside: what was returned and not snapshotted is returned again.
    async fn next(&mut self) -> Result<Option<Batch<Self::Record, Self::Split>>>;

    /// What the records of the last batch hold on the heap, in bytes, about: the bytes that they were read from will
    /// do. A host bounds what is in flight by it.
    ///
    /// # Contract
    /// - MUST be cheap, and of the size of what it speaks of. 0 says that it is not known, and the host guesses.
    ///
    /// # Crash
    /// Nothing depends on it.
    fn heap_bytes(&self) -> u64 {
        0
    }

    /// Tells whose the split is, once and before the first `next`: for the names of what is written beside the records,
    /// such as dead letters. A reader that wraps another one passes it on.
    ///
    /// # Contract
    /// - MUST change nothing of what is read, and do no I/O.
    ///
    /// # Crash
    /// Nothing depends on it.
    fn belongs_to(&mut self, _source: &SourceName) {}
}
