//! Entries: created once, read back, listed.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};

use crate::{Error, ErrorKind, Position, Result};

use super::error::{from_read, from_store, is_absent, is_taken};
use super::manifest::{self, Form, damaged};
use super::{Created, Durable, ENTRIES, Entry, Log, Nonce, POSITION_DIGITS, ReadBack, parse_position};

const JSON: &str = ".json";

/// Names in the folder of entries that begin so are ours: see [`Log::make_listing_durable`].
const SYNC: &str = "sync-";

/// How often the newest entry is looked for when it vanishes between listing and reading. It can vanish
/// only because newer ones were appended and it was pruned: more than once in a row is unlikely already.
const NEWEST_TRIES_MAX: u32 = 5;

impl Log {
    /// All positions that have an entry, ascending. Files with other names are not ours and are skipped.
    ///
    /// # Errors
    /// Where the store cannot be listed.
    pub async fn positions(&self) -> Result<Vec<Position>> {
        let folder = self.root.clone().join(ENTRIES);
        let mut positions: Vec<Position> = self
            .store
            .list(Some(&folder))
            .try_filter_map(|meta| std::future::ready(Ok(self.position_of(&folder, &meta.location))))
            .try_collect()
            .await
            .map_err(|error| from_read("list the log", &self.place_of(&folder), error))?;
        positions.sort_unstable();
        Ok(positions)
    }

    fn position_of(&self, folder: &Path, object: &Path) -> Option<Position> {
        let mut parts = object.prefix_match(folder)?;
        let (name, deeper) = (parts.next()?, parts.next());
        let position = name.as_ref().strip_suffix(JSON).and_then(parse_position);
        if deeper.is_none() && position.is_some() {
            return position;
        }
        if !name.as_ref().starts_with(SYNC) {
            tracing::warn!(object = %self.place_of(object), "a file that is not an entry is in the log's folder");
        }
        None
    }

    /// The entry at a position, verified. `None` where nothing stands there.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a damaged one, with what to do.
    pub async fn read(&self, position: Position) -> Result<Option<Entry>> {
        let object = self.entry_object(position);
        let Some(entry) = self.read_manifest(Form::LogEntry, &object).await? else { return Ok(None) };
        if entry.position != position {
            return Err(damaged(&self.place_of(&object), "it is the entry of another position")
                .with("position_expected", position)
                .with("position_found", entry.position));
        }
        Ok(Some(entry))
    }

    /// The entry with the highest position, verified. `None` where the log is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a damaged one: an older entry is chosen only by a person.
    pub async fn newest(&self) -> Result<Option<Entry>> {
        for _ in 0..NEWEST_TRIES_MAX {
            let Some(newest) = self.positions().await?.pop() else { return Ok(None) };
            if let Some(entry) = self.read(newest).await? {
                return Ok(Some(entry));
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "read the log",
            "its newest entry is listed but cannot be read",
        )
        .with("log", &self.place))
    }

    /// Asks once for the entry's position. An error means that the outcome is unknown: ask
    /// [`Log::read_back`], then for the *same* position again (I5).
    ///
    /// # Errors
    /// Whatever came between the request and a clear answer.
    pub async fn create(&self, entry: &Entry) -> Result<Created> {
        let object = self.entry_object(entry.position);
        let bytes = manifest::encode(Form::LogEntry, entry)?;
        match self.put_new(&object, bytes.into()).await {
            // I1: the one place where a create alone proves that the entry is durable and ours.
            Ok(()) => Ok(Created::Ours(Durable::new(entry.position, entry.epoch))),
            Err(error) if is_taken(&error) => Ok(Created::Taken),
            Err(error) => Err(from_store("append an entry", &self.place_of(&object), error)),
        }
    }

    /// Reads what stands at a position, after a create whose outcome is unknown. `ours` are the nonces of
    /// all requests for that position: whichever of them stands there counts.
    ///
    /// # Errors
    /// Where it cannot be read, or what stands there is damaged. The outcome is then still unknown.
    pub async fn read_back(&self, position: Position, ours: &[Nonce]) -> Result<ReadBack> {
        let Some(entry) = self.read(position).await? else { return Ok(ReadBack::Absent) };
        if !ours.contains(&entry.nonce) {
            return Ok(ReadBack::Foreign(Box::new(entry)));
        }
        self.make_listing_durable().await?;
        // I1: it stands there and is ours, with the epoch of the entry that stands, not of the last request.
        Ok(ReadBack::Ours(Durable::new(position, entry.epoch), entry.nonce))
    }

    /// On a local disk an entry can be read before its folder is on the disk, and the create that failed
    /// or was given up may have failed exactly there. Creating any other file in the same folder syncs the
    /// folder, or fails. Object stores answer a read only with what is durable.
    async fn make_listing_durable(&self) -> Result<()> {
        if self.local.is_none() {
            return Ok(());
        }
        let object = self.root.clone().join(ENTRIES).join(format!("{SYNC}{:032x}", self.random()));
        self.put_new(&object, PutPayload::new())
            .await
            .map_err(|error| from_store("sync the log", &self.place_of(&object), error))?;
        // The file has done its work: where it cannot be removed, it stays and harms nobody.
        let _ = self.store.delete(&object).await;
        Ok(())
    }

    pub(super) async fn read_manifest(&self, form: Form, object: &Path) -> Result<Option<Entry>> {
        let place = self.place_of(object);
        let found = match self.store.get(object).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(from_read("read an entry", &place, error)),
        };
        if found.meta.size > manifest::MANIFEST_BYTES_MAX {
            return Err(damaged(&place, "it is larger than any such file").with("bytes", found.meta.size));
        }
        match found.bytes().await {
            Ok(bytes) => manifest::decode(form, &place, &bytes).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(from_read("read an entry", &place, error)),
        }
    }

    /// Creates an object, conditionally: never replaces one.
    pub(super) async fn put_new(&self, object: &Path, payload: PutPayload) -> object_store::Result<()> {
        self.store.put_opts(object, payload, PutMode::Create.into()).await.map(drop)
    }

    pub(super) fn entry_object(&self, position: Position) -> Path {
        let digits = POSITION_DIGITS;
        self.root.clone().join(ENTRIES).join(format!("{position:0digits$}{JSON}"))
    }
}
