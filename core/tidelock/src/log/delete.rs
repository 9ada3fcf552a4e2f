//! Deleting by a person: the same rules as pruning, with a reason for every refusal.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use crate::{Error, ErrorKind, Position, Result};

use super::error::from_store;
use super::gc::EntryHead;
use super::savepoint::chunk_names;
use super::{CHUNKS, Log, PruneWork, Snapshot};

const OPERATION: &str = "delete snapshots";

/// What a person may delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// What goes: entries, and chunks to which nothing else refers.
    pub work: PruneWork,
    /// How many of their chunks stay because other entries refer to them.
    pub shared: usize,
}

impl Log {
    /// Finds out what goes with some entries of a log; [`Log::prune`] deletes it. A running job goes on: it
    /// needs only the newest entry, which is never deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] naming the first entry that must stay, and why;
    /// [`ErrorKind::Corrupt`] where an entry of the log is damaged: it is not known what it refers to.
    pub async fn plan_deletion(&self, positions: &BTreeSet<Position>) -> Result<Deletion> {
        let mut heads = BTreeMap::new();
        for position in self.positions().await? {
            if let Some(entry) = self.read(position).await? {
                heads.insert(position, EntryHead::from(&entry));
            }
        }
        for position in positions {
            refuse_what_must_stay(*position, &heads).map_err(|error| error.with("log", self.place()))?;
        }
        let (gone, stay): (Vec<_>, Vec<_>) =
            heads.values().partition(|head| positions.contains(&head.position));
        let chunks = |heads: &[&EntryHead]| -> BTreeSet<String> {
            heads.iter().flat_map(|head| head.chunks.iter().cloned()).collect()
        };
        let (gone, stay) = (chunks(&gone), chunks(&stay));
        let entries = positions.iter().copied().collect();
        let work = PruneWork { entries, chunks: gone.difference(&stay).cloned().collect() };
        Ok(Deletion { work, shared: gone.intersection(&stay).count() })
    }

    /// Every chunk that is stored, with its size in bytes, whether something refers to it or not.
    ///
    /// # Errors
    /// Where the store cannot be listed.
    pub async fn stored_chunks(&self) -> Result<BTreeMap<String, u64>> {
        let folder = self.root.clone().join(CHUNKS);
        let name = |meta: object_store::ObjectMeta| {
            meta.location.filename().map(|file| (format!("{CHUNKS}/{file}"), meta.size))
        };
        self.store
            .list(Some(&folder))
            .try_filter_map(|meta| std::future::ready(Ok(name(meta))))
            .try_collect()
            .await
            .map_err(|error| from_store("list the chunks", &self.place_of(&folder), error))
    }
}

impl Snapshot {
    /// Deletes a savepoint: its manifest first, so that a half-deleted one is none. Other files in its folder
    /// stay.
    ///
    /// # Errors
    /// Where something could not be deleted.
    pub async fn delete_savepoint(self) -> Result<()> {
        let log = self.log();
        let object = log.snapshot_object();
        log.store
            .delete(&object)
            .await
            .map_err(|error| from_store(OPERATION, &log.place_of(&object), error))?;
        log.prune(&PruneWork { entries: Vec::new(), chunks: chunk_names(self.state()).into_iter().collect() })
            .await
    }
}

fn refuse_what_must_stay(position: Position, heads: &BTreeMap<Position, EntryHead>) -> Result<()> {
    let Some(head) = heads.get(&position) else {
        return Err(
            Error::new(ErrorKind::NotFound, OPERATION, "there is no such entry").with("position", position)
        );
    };
    let why = if heads.keys().next_back() == Some(&position) {
        "the newest entry is what the job recovers from"
    } else if head.claim {
        "a claim keeps paused older attempts out for ever"
    } else if heads.get(&position.next()).is_some_and(|above| above.claim) {
        "what stands directly below a claim keeps paused older attempts out for ever"
    } else if head.abandons {
        "it says which prepared data was given up"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Conflict, OPERATION, format!("this entry is never deleted: {why}"))
        .with("position", position))
}
