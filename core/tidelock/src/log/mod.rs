//! A job's log on an object store: the only thing that decides what is committed and what is restored.
//!
//! ```text
//!   ROOT/                                       a local folder, or a URL such as s3://bucket/folder
//!     log/00000000000000000001.json             claim of attempt 1
//!     log/00000000000000000002.json             its start: the first positions
//!     log/00000000000000000003.json             a checkpoint          ── names ──┐
//!     log/00000000000000000004.json             a checkpoint          ── names ──┤
//!     chunks/00000000000000000001-9f2c…         a chunk of attempt 1  <──────────┘
//!
//!   log/….json     tidelock-log-entry version=3 crc32c=0badcafe bytes=417
//!                  {"job":"orders","position":3,"kind":"checkpoint","nonce":"…", … }
//! ```
//!
//! - A position is created conditionally, once, and never changed afterwards (I5). The newest entry
//!   alone decides; it names the whole state.
//! - Every byte of a manifest is checked by its first line, every byte of a chunk by the manifest that
//!   names it. Names are relative to ROOT: copy the folder anywhere, and it is still whole.
//! - An append is one request. Where its answer is lost, [`Log::read_back`] tells by the nonce whose
//!   entry stands there; a retry inside the store's client may answer "already exists" to our own request.
//! - Files with other names are skipped: a local disk may hold `NAME#1`, a create that was cut off.
//! - Retention is decided in `gc.rs`: a claim *and the entry directly below it* are never deleted, so
//!   that a paused older attempt finds its next position taken for ever.
//!
//! We purposely do not repair: a damaged entry halts, and only a person chooses an older one.

mod abandon;
mod chunk;
mod chunk_store;
mod delete;
mod entries;
mod entry;
mod error;
mod gc;
mod listed;
mod manifest;
mod permit;
mod probe;
mod retention;
mod savepoint;
mod segment;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

pub use abandon::Abandonment;
pub use chunk_store::ChunkStore;
pub use delete::Deletion;
pub use entry::{Closed, Entry, EntryKind, Lineage, Nonce, PendingState, RequestId, SnapshotId, State};
pub use gc::{EntryHead, fences, prune_plan, retained_positions};
pub use listed::Listed;
pub use permit::{CommitPermit, Durable};
pub use retention::{PruneWork, Retention};
pub use savepoint::{SettledBy, Snapshot, settled_by, split_position};
pub(crate) use segment::INLINE_MAX;
pub use segment::{ChunkRef, Segment};

use crate::{Position, Result};

/// The folder of entries.
const ENTRIES: &str = "log";
/// The folder of chunks.
const CHUNKS: &str = "chunks";
/// The folder of probes, empty except for what a crash left.
const PROBES: &str = "probe";

/// A position in a name: as many digits as the largest number has, so that names sort as numbers do.
const POSITION_DIGITS: usize = 20;

/// The answer to one create request.
#[derive(Debug)]
pub enum Created {
    /// The entry is durable and ours.
    Ours(Durable),
    /// Something stands at the position: read it back to learn whose.
    Taken,
}

/// What stands at a position.
#[derive(Debug)]
pub enum ReadBack {
    /// An entry with one of the nonces that we asked with: it counts.
    Ours(Durable, Nonce),
    /// An entry of somebody else.
    Foreign(Box<Entry>),
    /// Nothing *yet*: a request that is still on its way may arrive later.
    Absent,
}

/// A job's log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// What a person calls it.
    place: Arc<str>,
    /// Its folder on a file system, whose reads see what is not durable yet.
    local: Option<Arc<FilePath>>,
    random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// How other places are opened, where a test says so.
    places: Option<Arc<Places>>,
}

type Places = dyn Fn(&str) -> Result<Log> + Send + Sync;

impl Log {
    /// Opens the log at a URL or a local path. A local folder that does not exist is created.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an unknown scheme, a store that this build
    /// does not have, or a place that cannot be a folder.
    pub async fn open(url: &str) -> Result<Self> {
        store::open(url, store::Missing::Create).await.map(Self::at)
    }

    /// Opens the log at a URL or a local path to look at it: nothing is created.
    ///
    /// # Errors
    /// As [`Log::open`], and [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is no
    /// such local folder.
    pub async fn look(url: &str) -> Result<Self> {
        store::open(url, store::Missing::Refuse).await.map(Self::at)
    }

    /// A log under `root` of a given store. What the store answers to a read must be durable.
    pub fn on(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        let name = format!("{store}/{root}");
        Self::at(store::Place { store, root, name, local: None })
    }

    fn at(place: store::Place) -> Self {
        let store::Place { store, root, name, local } = place;
        let local = local.map(Into::into);
        Self { store, root, place: name.into(), local, random: Arc::new(rand::random), places: None }
    }

    /// Replaces the source of randomness for names and nonces: for tests that replay a seed.
    #[must_use]
    pub fn with_random(mut self, random: impl Fn() -> u128 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Replaces how savepoints named by URL are opened, beside this log: for tests on a store of their own.
    #[must_use]
    pub fn with_places(mut self, places: impl Fn(&str) -> Result<Self> + Send + Sync + 'static) -> Self {
        self.places = Some(Arc::new(places));
        self
    }

    async fn other(&self, url: &str, missing: store::Missing) -> Result<Self> {
        match &self.places {
            Some(places) => places(url),
            None => store::open(url, missing).await.map(Self::at),
        }
    }

    /// A fresh nonce, one for each create request.
    pub fn nonce(&self) -> Nonce {
        Nonce(format!("{:032x}", self.random()))
    }

    fn random(&self) -> u128 {
        (self.random)()
    }

    /// The log's own name: the URL or path that it was opened with.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Where an object is, for people.
    fn place_of(&self, object: &Path) -> String {
        let relative: Vec<_> = object.prefix_match(&self.root).into_iter().flatten().collect();
        relative.iter().fold(self.place.to_string(), |place, part| format!("{place}/{}", part.as_ref()))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Reads a position as names spell it: all digits, and neither 0, which is no position, nor the last
/// number, which has no next one.
fn parse_position(digits: &str) -> Option<Position> {
    let canonical = digits.len() == POSITION_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| canonical)?;
    (number != 0 && number != u64::MAX).then_some(Position(number))
}
