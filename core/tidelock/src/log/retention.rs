//! Deletes what `gc.rs` lets go, beside the running job and never in its way.
//!
//! ```text
//!   load, once for an attempt           note, for each durable entry     due ──> prune ──> done
//!
//!   newest entry                        heads: what the log holds        waiting_entries, oldest first
//!     │ 1. down, reading, until all       │                                │ then
//!     v    retained snapshots are known   │ let_go: not retained, no       v
//!   oldest retained                       │ fence, not pinned          waiting_chunks, to which no head
//!     │ 2. down, attempt by attempt:      └──────────────────────────> refers any more
//!     v    claims and what stands at
//!   older attempts' leftovers             3. chunks of older attempts that no head refers to wait, too
//! ```
//!
//! Step 1 reads a bounded number of entries. Where it does not come to the last retained snapshot, or meets a damaged
//! entry, steps 2 and 3 are left out: what is not known to be free is kept. Step 2 reads two entries of an attempt,
//! the one after its claim, which may say what was abandoned, and the one below it, which belongs to the attempt
//! before: between them stands no claim (I5).
//!
//! The books are kept in memory: the store is listed once for an attempt, not at each checkpoint. Entries
//! go first, oldest first, then the chunks that only they referred to, so that a crash in between leaves
//! chunks too many and never an entry without its chunks. What a crash leaves is found at the next load:
//! chunks of older attempts to which nothing retained refers are swept.
//!
//! A prune that was paused and wakes up beside a newer attempt does no harm: it deletes only what was
//! below the newest entry of its own time, and newer entries refer only to chunks of the entry that was
//! newest when their attempt began, and to their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::{Error, ErrorKind, Position, Result};

use super::chunk::chunk_attempt;
use super::error::{from_store, is_absent};
use super::gc::{EntryHead, prune_plan, retained_positions};
use super::{CHUNKS, Entry, Log};

/// How many entries are read at a load to find the retained snapshots. Reached only by a job that was
/// restarted many times without a checkpoint; nothing older is then touched.
const SNAPSHOT_READS_MAX: usize = 64;

/// How many older attempts a load looks at for what their pruning left behind.
const ATTEMPTS_BACK_MAX: usize = 16;

/// How many objects one prune deletes of each sort: the next one goes on.
const WORK_MAX: usize = 1000;

/// How many chunks wait to be deleted at most. A store that refuses every delete must not fill the
/// memory; what is forgotten is swept by a later attempt.
const WAITING_MAX: usize = 100_000;

/// Objects that may be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneWork {
    /// Entries, oldest first.
    pub entries: Vec<Position>,
    /// Names of chunks to which no retained entry refers.
    pub chunks: Vec<String>,
}

/// What a job's log holds and how much of it is kept: the books of one attempt.
#[derive(Debug)]
pub struct Retention {
    retained: u32,
    heads: BTreeMap<Position, EntryHead>,
    waiting_entries: BTreeSet<Position>,
    waiting_chunks: BTreeSet<String>,
    running: bool,
}

impl Retention {
    /// Looks at the log once, after the first entry that `attempt` appended above its claim: a rollback has
    /// copied what it needs by then. Reads the retained entries, and of older
    /// attempts only what tells claims from the rest.
    ///
    /// # Errors
    /// Where the log cannot be read or listed: nothing is lost by running without.
    /// [`ErrorKind::Fenced`] where a newer attempt owns the job by now.
    pub async fn load(log: &Log, attempt: Position, retained: u32) -> Result<Self> {
        match log.newest().await? {
            // I5: its books would not go back to the claim that stands directly above its own last entry.
            Some(newest) if newest.attempt > attempt => {
                let why = "what is deleted is for the newer attempt to say that owns this job";
                Err(Error::new(ErrorKind::Fenced, "list the log", why)
                    .with("attempt", attempt)
                    .with("newer_attempt", newest.attempt))
            }
            Some(newest) => Self::load_below(log, &newest, attempt, retained).await,
            None => Ok(Self::new(retained)),
        }
    }

    fn new(retained: u32) -> Self {
        Self {
            retained,
            heads: BTreeMap::new(),
            waiting_entries: BTreeSet::new(),
            waiting_chunks: BTreeSet::new(),
            running: false,
        }
    }

    /// What stands at or below `top`. Chunks of attempts before `sweep_below` to which nothing retained
    /// refers wait to be deleted.
    async fn load_below(log: &Log, top: &Entry, sweep_below: Position, retained: u32) -> Result<Self> {
        let mut books = Self::new(retained);
        let listed: BTreeSet<Position> =
            log.positions().await?.into_iter().filter(|position| *position <= top.position).collect();
        books.note(top);
        let Some(oldest) = books.load_snapshots(log, top, &listed).await? else { return Ok(books) };
        books.load_leftovers(log, oldest, &listed).await?;
        books.sweep_chunks(log, sweep_below).await?;
        Ok(books)
    }

    /// Reads downwards from `top` until all retained snapshots are known. Returns the oldest entry that
    /// was read, or `None` where it is not certain which ones are retained: then nothing older than what
    /// was read is deleted.
    async fn load_snapshots(
        &mut self,
        log: &Log,
        top: &Entry,
        listed: &BTreeSet<Position>,
    ) -> Result<Option<Reached>> {
        let mut oldest = Reached { position: top.position, attempt: top.attempt };
        for position in listed.iter().rev().filter(|position| **position < top.position) {
            let epochs: BTreeSet<_> = self.heads.values().filter_map(|head| head.snapshot).collect();
            // One epoch more than retained: only then the last retained one is complete.
            if epochs.len() > self.retained as usize || self.retained == 0 {
                return Ok(Some(oldest));
            }
            if self.heads.len() >= SNAPSHOT_READS_MAX {
                return Ok(None);
            }
            match read_leniently(log, *position).await? {
                Read::Entry(entry) => {
                    oldest = Reached { position: *position, attempt: entry.attempt };
                    self.note(&entry);
                }
                Read::Absent => {}
                Read::Damaged => return Ok(None),
            }
        }
        Ok(Some(oldest))
    }

    /// Goes back attempt by attempt. Between a claim and an entry that names it as its attempt there is no
    /// other claim (I5), so what stands there needs no reading.
    async fn load_leftovers(
        &mut self,
        log: &Log,
        mut at: Reached,
        listed: &BTreeSet<Position>,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS_BACK_MAX {
            let claim = at.attempt;
            if claim > at.position || claim.0 == 0 {
                return Ok(());
            }
            for position in listed.range(claim..at.position).copied() {
                if self.heads.contains_key(&position) {
                    continue;
                }
                // Data is abandoned by the entry directly after a claim.
                if position == claim.next() {
                    match read_leniently(log, position).await? {
                        Read::Entry(entry) => self.note_without_state(&entry),
                        Read::Absent => {}
                        Read::Damaged => return Ok(()),
                    }
                    continue;
                }
                let head = EntryHead { claim: position == claim, ..EntryHead::without_state(position) };
                self.heads.insert(position, head);
            }
            let Some(below) = claim.0.checked_sub(1).map(Position).filter(|below| listed.contains(below))
            else {
                return Ok(());
            };
            let Read::Entry(entry) = read_leniently(log, below).await? else { return Ok(()) };
            self.note_without_state(&entry);
            at = Reached { position: below, attempt: entry.attempt };
        }
        Ok(())
    }

    /// An entry that is older than every retained snapshot.
    fn note_without_state(&mut self, entry: &Entry) {
        let head = EntryHead { snapshot: None, chunks: Arc::default(), ..EntryHead::from(entry) };
        self.heads.entry(entry.position).or_insert(head);
    }

    async fn sweep_chunks(&mut self, log: &Log, below: Position) -> Result<()> {
        let referenced: BTreeSet<&String> = self.heads.values().flat_map(|head| &*head.chunks).collect();
        let folder = log.root.clone().join(CHUNKS);
        let mut objects = log.store.list(Some(&folder));
        let listing = |error| from_store("list the chunks", &log.place_of(&folder), error);
        while let Some(object) = objects.try_next().await.map_err(listing)? {
            let Some(file) = object.location.filename() else { continue };
            let name = format!("{CHUNKS}/{file}");
            let older = chunk_attempt(file).is_some_and(|attempt| attempt < below);
            if older && !referenced.contains(&name) && self.waiting_chunks.len() < WAITING_MAX {
                self.waiting_chunks.insert(name);
            }
        }
        Ok(())
    }

    /// Takes an entry into the books: each that became durable, in order.
    pub fn note(&mut self, entry: &Entry) {
        self.heads.insert(entry.position, EntryHead::from(entry));
    }

    /// Takes entries into the books that became durable while these were loaded, and of which only the newest were
    /// remembered. Those between are known without being read: they are the attempt's own, above its start entry, so there is
    /// no claim among them and nothing that names abandoned data. The chunks that only they refer to are left to the next
    /// attempt, which sweeps them. `false` where one of them may be retained or is `pinned`: then the books must be
    /// loaded anew.
    pub fn bridge(&mut self, remembered: &[Arc<Entry>], pinned: &BTreeSet<Position>) -> bool {
        let known = self.heads.last_key_value().map(|(position, _)| *position);
        let (Some(known), Some(oldest)) = (known, remembered.first().map(|entry| entry.position)) else {
            return false;
        };
        let epochs: BTreeSet<_> =
            remembered.iter().filter_map(|entry| EntryHead::from(&**entry).snapshot).collect();
        // One epoch more than retained: only then the last retained one is complete.
        if epochs.len() <= self.retained as usize || pinned.range(known.next()..oldest).next().is_some() {
            return false;
        }
        for position in (known.0 + 1..oldest.0).map(Position) {
            self.heads.insert(position, EntryHead::without_state(position));
        }
        remembered.iter().for_each(|entry| self.note(entry));
        true
    }

    /// What may be deleted now, except what `pinned` positions need: a savepoint is being copied from
    /// them. `None` where there is nothing, or while an earlier work is not [`done`](Self::done).
    pub fn due(&mut self, pinned: &BTreeSet<Position>) -> Option<PruneWork> {
        if self.running {
            return None;
        }
        self.let_go(pinned);
        if self.waiting_entries.is_empty() && self.waiting_chunks.is_empty() {
            return None;
        }
        self.running = true;
        let entries: Vec<_> = self.waiting_entries.iter().copied().take(WORK_MAX).collect();
        // Chunks only when no entry that waits may refer to them.
        let chunks = if entries.len() == self.waiting_entries.len() { WORK_MAX } else { 0 };
        Some(PruneWork { entries, chunks: self.waiting_chunks.iter().take(chunks).cloned().collect() })
    }

    /// Moves what is no longer kept from the books to what waits to be deleted.
    fn let_go(&mut self, pinned: &BTreeSet<Position>) {
        let heads: Vec<EntryHead> = self.heads.values().cloned().collect();
        let mut kept = retained_positions(&heads, self.retained);
        kept.extend(pinned);
        let mut freed = BTreeSet::new();
        for (position, head) in &mut self.heads {
            if !kept.contains(position) {
                freed.extend(std::mem::take(&mut head.chunks).iter().cloned());
            }
        }
        for position in prune_plan(&heads, self.retained) {
            if !pinned.contains(&position) {
                self.heads.remove(&position);
                if self.waiting_entries.len() < WAITING_MAX {
                    self.waiting_entries.insert(position);
                }
            }
        }
        for head in self.heads.values() {
            freed.retain(|chunk| !head.chunks.contains(chunk));
        }
        let room = WAITING_MAX.saturating_sub(self.waiting_chunks.len());
        self.waiting_chunks.extend(freed.into_iter().take(room));
    }

    /// Takes the outcome of a work. What failed is tried again with a later one.
    pub fn done(&mut self, work: &PruneWork, outcome: &Result<()>) {
        self.running = false;
        match outcome {
            Ok(()) => {
                for position in &work.entries {
                    self.waiting_entries.remove(position);
                }
                for chunk in &work.chunks {
                    self.waiting_chunks.remove(chunk);
                }
            }
            Err(error) => tracing::warn!(%error, "old snapshots could not be deleted; tried again later"),
        }
    }
}

/// How far down the log was read.
#[derive(Debug, Clone, Copy)]
struct Reached {
    position: Position,
    attempt: Position,
}

enum Read {
    Entry(Box<Entry>),
    Absent,
    Damaged,
}

/// A damaged old entry is a matter for a person who wants to restore it, not for the running job.
async fn read_leniently(log: &Log, position: Position) -> Result<Read> {
    match log.read(position).await {
        Ok(Some(entry)) => Ok(Read::Entry(Box::new(entry))),
        Ok(None) => Ok(Read::Absent),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::warn!(%error, "an older entry is damaged; it and what is older is left as it is");
            Ok(Read::Damaged)
        }
        Err(error) => Err(error),
    }
}

impl Log {
    /// Deletes what a retention let go. What is gone already is fine.
    ///
    /// # Errors
    /// Where something could not be deleted: the rest may be deleted or not, and all is tried again.
    pub async fn prune(&self, work: &PruneWork) -> Result<()> {
        for position in &work.entries {
            self.delete(self.entry_object(*position)).await?;
        }
        // The order among chunks does not matter, so that stores may delete many with one request.
        let objects: Vec<_> =
            work.chunks.iter().map(|chunk| self.chunk_object(chunk)).collect::<Result<_>>()?;
        let objects = futures::stream::iter(objects.into_iter().map(Ok)).boxed();
        let mut answers = self.store.delete_stream(objects);
        let mut failed = None;
        while let Some(answer) = answers.next().await {
            if let Err(error) = answer
                && !is_absent(&error)
            {
                failed = failed.or(Some(from_store("delete a chunk", &self.place, error)));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn delete(&self, object: object_store::path::Path) -> Result<()> {
        match self.store.delete(&object).await {
            Err(error) if !is_absent(&error) => {
                Err(from_store("delete an entry", &self.place_of(&object), error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes a cancelled job's snapshots, oldest first: everything below its closed entry but fences,
    /// and every chunk of its attempts to which the closed entry does not refer. Called by the owner, after
    /// the closed entry is durable; an attempt that was fenced has no closed entry.
    ///
    /// # Errors
    /// Where something could not be deleted.
    pub async fn delete_below_closed(&self, closed: &Entry) -> Result<()> {
        // A newer attempt may run already: its chunks have a greater number and are not touched.
        let mut books = Retention::load_below(self, closed, closed.attempt.next(), 0).await?;
        while let Some(work) = books.due(&BTreeSet::new()) {
            let outcome = self.prune(&work).await;
            books.done(&work, &outcome);
            outcome?;
        }
        Ok(())
    }
}
