//! Snapshots that a person chooses: savepoints, and settled entries of a log.
//!
//! ```text
//!   SAVEPOINT/                          shares nothing: copy it, move it, keep it
//!     chunks/…                          copied first, verified on the way
//!     snapshot.json                     last: without it there is no savepoint
//!
//!   LOG#12                              entry 12 of a log, while the log retains it
//! ```
//!
//! Both are settled: they list nothing that waits to be committed, so that restoring one touches nothing
//! of the job that made it (I8). An entry of a log counts as settled when a newer entry no longer lists
//! what it listed: by I3 that was committed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::retry::in_time;
use crate::{Error, ErrorKind, Position, Result, Retry};

use super::error::{from_read, from_store, is_absent, is_taken};
use super::manifest::{self, Form};
use super::{ChunkRef, Entry, EntryKind, Log, Segment, SnapshotId, State};

/// The manifest of a savepoint.
const SNAPSHOT: &str = "snapshot.json";

/// How long one step of a copy may take, such as one chunk: a store that never answers must not hold up a job
/// that was stopped.
const STEP_TIMEOUT: Duration = Duration::from_secs(600);

/// How many chunks are looked for at once.
const HEADS_AT_ONCE: usize = 16;

/// A snapshot that can be restored by choice: complete, verified, settled.
#[derive(Debug, Clone)]
pub struct Snapshot {
    from: Log,
    entry: Entry,
    state: State,
}

impl Snapshot {
    /// Loads a savepoint's folder, or `LOG#POSITION`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none; [`ErrorKind::Conflict`] for an entry that is not
    /// settled yet; [`ErrorKind::Corrupt`] for a damaged one.
    pub async fn load(url: &str) -> Result<Self> {
        Self::loading(url).await
    }

    /// Boxed: it is compiled here, and not anew in each crate that awaits it.
    fn loading(url: &str) -> BoxFuture<'_, Result<Self>> {
        async move {
            let (folder, position) = split_position(url);
            Self::load_from(Log::look(folder).await?, position).await
        }
        .boxed()
    }

    /// The same from a place that is open already.
    ///
    /// # Errors
    /// As [`Snapshot::load`].
    pub async fn load_from(from: Log, position: Option<Position>) -> Result<Self> {
        Found::find(from, position).await?.settled().await
    }

    /// Says whether a savepoint could be written to `url` now: for a job that will take one when it stops, and
    /// should not learn only then that the folder is taken.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a folder that is not empty or a place that cannot be a log's.
    pub async fn check_free(url: &str) -> Result<()> {
        match Log::look(url).await {
            Ok(place) => place.check_empty().await,
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Its name.
    pub fn id(&self) -> SnapshotId {
        self.entry.snapshot_id()
    }

    /// The entry that it was made from. Its state may list what was committed meanwhile: see
    /// [`Snapshot::state`].
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Where it was loaded from: its chunks are read there.
    pub fn log(&self) -> &Log {
        &self.from
    }

    /// Its state, with nothing pending. Chunks in it are those of the place that it was loaded from.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Looks whether every chunk is there: a job asks when it is opened, and again right before it claims.
    /// Their bytes are verified when they are read.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] naming a chunk that is gone.
    pub async fn check_whole(&self) -> Result<()> {
        let log = &self.from;
        let chunks = chunk_names(&self.state).into_iter().map(|name| async move {
            let object = log.chunk_object(&name)?;
            match log.store.head(&object).await {
                Ok(_) => Ok(()),
                Err(error) if is_absent(&error) => Err(missing(
                    log,
                    "this snapshot was pruned: a chunk of it is gone, perhaps since it was looked at, because \
                     the job runs on. Nothing was rolled back: choose a newer entry, which `tidelock snapshots \
                     list` shows, or a savepoint, which is never pruned; without a choice the job goes on from \
                     its newest entry",
                )
                .with("snapshot", self.id())
                .with("chunk", name)),
                Err(error) => Err(from_read("load a snapshot", &log.place_of(&object), error)),
            }
        });
        futures::stream::iter(chunks).buffer_unordered(HEADS_AT_ONCE).try_collect().await
    }

    /// Copies its chunks into a job's log, verified on the way, and returns the state that refers to the
    /// copies: the first entry of a lineage is complete by itself.
    ///
    /// # Errors
    /// Where a chunk is damaged or gone, or cannot be written.
    pub async fn import(&self, into: &Log, attempt: Position) -> Result<State> {
        let copied = copy_state(&self.from, into, attempt, &self.state, &mut Vec::new()).await;
        if copied.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            // A prune that was under way when the job was claimed: say so, and what to do.
            self.check_whole().await?;
        }
        copied
    }

    /// Writes it as a savepoint to an empty folder.
    ///
    /// # Errors
    /// As [`Log::export`].
    pub async fn export(&self, to: &Log) -> Result<SnapshotId> {
        self.from.export_to(&self.entry, &self.state, to).await
    }
}

/// A snapshot that was found by its manifest: its name is known, and no more was looked at.
#[derive(Debug)]
pub(crate) struct Found {
    from: Log,
    entry: Entry,
}

impl Found {
    async fn find(from: Log, position: Option<Position>) -> Result<Self> {
        let entry = match position {
            Some(position) => from.read(position).await?.ok_or_else(|| {
                missing(&from, "the log has no entry at this position (any more)").with("position", position)
            })?,
            None => match from.read_manifest(Form::Savepoint, &from.snapshot_object()).await? {
                Some(entry) => entry,
                None => return Err(no_savepoint(&from).await),
            },
        };
        Ok(Self { from, entry })
    }

    /// Its name.
    pub(crate) fn id(&self) -> SnapshotId {
        self.entry.snapshot_id()
    }

    /// The snapshot, settled and whole.
    pub(crate) async fn load(self) -> Result<Snapshot> {
        let snapshot = self.settled().await?;
        snapshot.check_whole().await.map(|()| snapshot)
    }

    async fn settled(self) -> Result<Snapshot> {
        let Self { from, entry } = self;
        let Some(mut state) = entry.state.clone() else {
            return Err(missing(
                &from,
                "this entry has no positions: no attempt had resolved its first ones",
            )
            .with("position", entry.position));
        };
        from.check_settled(&entry).await?;
        state.sinks.values_mut().for_each(Vec::clear);
        Ok(Snapshot { from, entry, state })
    }
}

/// Splits `LOG#POSITION`. A `#` that no number follows is part of the place.
pub fn split_position(url: &str) -> (&str, Option<Position>) {
    let found = url.rsplit_once('#').and_then(|(log, digits)| Some((log, digits.parse().ok()?)));
    found.map_or((url, None), |(log, number)| (log, Some(Position(number))))
}

impl Log {
    /// Finds the snapshot that a configuration names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none.
    pub(crate) async fn find_snapshot(&self, url: &str) -> Result<Found> {
        let (folder, position) = split_position(url);
        let from = self.other(folder, super::store::Missing::Refuse).await?;
        Found::find(from, position).await
    }

    /// Writes a savepoint: a folder of its own that holds `state`, which is that of `entry` with every
    /// commit confirmed. The entry must be protected from pruning meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a folder that is not empty; whatever hinders copying. What was copied
    /// until then is removed again where that is possible.
    pub async fn export(&self, entry: &Entry, state: &State, url: &str) -> Result<SnapshotId> {
        let to = self.other(url, super::store::Missing::Create).await?;
        self.export_to(entry, state, &to).await
    }

    /// The same to a place that is open already.
    ///
    /// # Errors
    /// As [`Log::export`].
    pub async fn export_to(&self, entry: &Entry, state: &State, to: &Log) -> Result<SnapshotId> {
        if !state.is_settled() {
            return Err(Error::new(
                ErrorKind::Bug,
                "write a savepoint",
                "a savepoint never lists what waits to be committed",
            ));
        }
        in_time("write a savepoint", STEP_TIMEOUT, to.check_empty()).await?;
        let mut written = Vec::new();
        let outcome = self.write_savepoint(entry, state, to, &mut written).await;
        if outcome.is_err() {
            // Without a manifest there is no savepoint; the chunks only hinder the next try.
            for chunk in &written {
                if let Ok(object) = to.chunk_object(&chunk.name) {
                    let _ = to.store.delete(&object).await;
                }
            }
        }
        outcome
    }

    async fn write_savepoint(
        &self,
        entry: &Entry,
        state: &State,
        to: &Log,
        written: &mut Vec<ChunkRef>,
    ) -> Result<SnapshotId> {
        let state = copy_state(self, to, entry.attempt, state, written).await?;
        let savepoint = Entry {
            kind: EntryKind::Start,
            nonce: to.nonce(),
            state: Some(state),
            abandoned: BTreeMap::new(),
            ..entry.clone()
        };
        let object = to.snapshot_object();
        let bytes = manifest::encode(Form::Savepoint, &savepoint)?;
        let put = async { Ok(to.put_new(&object, bytes.into()).await) };
        let put = in_time("write a savepoint", STEP_TIMEOUT, put).await?;
        let Err(error) = put else { return Ok(savepoint.snapshot_id()) };
        // A remote store's client sends a request again by itself: what stands there may be ours.
        let stands =
            if to.local.is_some() { None } else { to.read_manifest(Form::Savepoint, &object).await? };
        match stands {
            Some(stands) if stands.nonce == savepoint.nonce => Ok(savepoint.snapshot_id()),
            _ if is_taken(&error) => Err(not_empty(to)),
            _ => Err(from_store("write a savepoint", &to.place_of(&object), error)),
        }
    }

    pub(super) fn snapshot_object(&self) -> Path {
        self.root.clone().join(SNAPSHOT)
    }

    async fn check_empty(&self) -> Result<()> {
        let first = self
            .store
            .list(Some(&self.root))
            .try_next()
            .await
            .map_err(|error| from_store("write a savepoint", &self.place, error))?;
        if first.is_some() { Err(not_empty(self)) } else { Ok(()) }
    }

    /// Whether everything that an entry lists was committed by now (I8).
    async fn check_settled(&self, entry: &Entry) -> Result<()> {
        if entry.state.as_ref().is_none_or(State::is_settled) {
            return Ok(());
        }
        for position in self.positions().await? {
            if position <= entry.position {
                continue;
            }
            let Some(newer) = self.read(position).await? else { continue };
            match settled_by(entry, &newer) {
                SettledBy::Yes => return Ok(()),
                SettledBy::NotYet => {}
                SettledBy::Never => {
                    return Err(Error::new(
                        ErrorKind::Expired,
                        "load a snapshot",
                        "what this entry had prepared was abandoned later, so its positions are ahead of \
                         what is visible: choose an older one",
                    )
                    .with("log", &self.place)
                    .with("position", entry.position)
                    .with("abandoned_at", newer.position));
                }
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "load a snapshot",
            "this entry is not settled: what it lists may not be committed yet. While the job runs, wait until a \
             newer entry no longer lists it; where it is the newest of a job that ended, start the job without \
             choosing a snapshot, which commits it; or choose an older one",
        )
        // Nobody may be running who would settle it: a supervisor that starts again for ever is no help.
        .with_retry(Retry::Halt)
        .with("log", &self.place)
        .with("position", entry.position))
    }
}

/// What a newer entry says about the committables of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledBy {
    /// It lists none of them: they were committed (I3).
    Yes,
    /// It still lists some, or has no state.
    NotYet,
    /// A person gave some of them up.
    Never,
}

/// Whether `newer`, an entry above `older` in the same log, shows that what `older` lists was
/// committed.
pub fn settled_by(older: &Entry, newer: &Entry) -> SettledBy {
    let pending = older.state.iter().flat_map(|state| &state.sinks);
    let mut answer = if newer.state.is_some() { SettledBy::Yes } else { SettledBy::NotYet };
    for (uid, pending) in pending {
        for one in pending {
            // The stored form may differ, such as inline or in a chunk: the origin is what names it.
            let same = |other: &super::PendingState| {
                (other.epoch, other.attempt, other.writer) == (one.epoch, one.attempt, one.writer)
            };
            if newer.abandoned.get(uid).is_some_and(|given_up| given_up.iter().any(same)) {
                return SettledBy::Never;
            }
            let listed = newer.state.as_ref().and_then(|state| state.sinks.get(uid));
            if listed.is_some_and(|listed| listed.iter().any(same)) {
                answer = SettledBy::NotYet;
            }
        }
    }
    answer
}

/// The chunks of a state, each once.
pub(super) fn chunk_names(state: &State) -> BTreeSet<String> {
    state.chunks().map(|chunk| chunk.name.clone()).collect()
}

/// Copies every chunk of a state, each once, and returns the state that refers to the copies. The state is settled: what
/// a committable needs is named within it, and could not be copied.
async fn copy_state(
    from: &Log,
    to: &Log,
    attempt: Position,
    state: &State,
    written: &mut Vec<ChunkRef>,
) -> Result<State> {
    let mut copies: BTreeMap<String, ChunkRef> = BTreeMap::new();
    let mut copied = state.clone();
    for segment in copied.segments_mut() {
        let Segment::Chunk(chunk) = segment else { continue };
        let copy = match copies.get(&chunk.name) {
            Some(copy) => copy.clone(),
            None => {
                let copy = async { to.write_chunk(attempt, from.read_chunk(chunk).await?).await };
                let copy = in_time("copy a chunk", STEP_TIMEOUT, copy).await?;
                written.push(copy.clone());
                copies.insert(chunk.name.clone(), copy.clone());
                copy
            }
        };
        *chunk = copy;
    }
    Ok(copied)
}

fn missing(log: &Log, why: &str) -> Error {
    Error::new(ErrorKind::NotFound, "load a snapshot", why).with("folder", &log.place)
}

fn not_empty(log: &Log) -> Error {
    Error::new(
        ErrorKind::Config,
        "write a savepoint",
        "the folder is not empty: a savepoint has a folder of its own, so choose a new name",
    )
    .with("folder", &log.place)
}

/// Says what is there instead of a savepoint.
async fn no_savepoint(log: &Log) -> Error {
    match log.positions().await {
        Ok(positions) if !positions.is_empty() => {
            let newest = positions.last().copied().unwrap_or_default();
            missing(log, "this is a log, not a savepoint: name one of its entries as LOG#POSITION")
                .with("newest_position", newest)
        }
        _ => missing(
            log,
            "there is no savepoint: a folder without snapshot.json is none, or an unfinished one",
        ),
    }
}
