//! An object store: an upload in parts is hidden until it is completed.
//!
//! ```text
//!   append    begin the upload of PREFIX/visible name; put the journal object; put full parts
//!   finish    put the last part
//!   commit    look at all; complete each upload and lay a mark beside its journal; remove the journal
//!   settled   remove the marks
//!   recover   abort the uploads that journals of older attempts name and nothing pending needs
//! ```
//!
//! Completing is atomic, and a visible name is never used twice. The journal, a small hidden object with
//! the upload's id, is there because stores differ in whether and how uploads can be listed.
//! A crash between the two requests that begin an upload leaves one without bytes that no journal
//! names: a lifecycle rule of the bucket may remove such, some days after they began.
//!
//! A store may answer a repeated completion with "no such upload". Then the object itself is asked for.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::{join_all, try_join_all};
use object_store::multipart::PartId;
use object_store::path::Path as StorePath;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result, TargetName};
use tokio::time::Instant;

use super::owner::{Owner, Whose};
use super::{ANOTHER_LOG, Fate, Finished, PendingFile, lost, not_ours, tell_taken, written_before};
use crate::committable::Staged;
use crate::config::{FilesSinkConfig, UPLOAD_PARTS_MAX};
use crate::error;
use crate::folder::StoreFolder;
use crate::names;

/// How many requests run at once: enough to hide their latency, few enough not to be throttled.
const REQUESTS_MAX: usize = 16;

/// After which time Azure throws away blocks that were not committed.
const AZURE_KEEPS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A prefix in an object store.
#[derive(Debug, Clone)]
pub(crate) struct StoreTarget {
    folder: StoreFolder,
    part_bytes: usize,
    expires_after: Option<Duration>,
}

/// What a journal says.
#[derive(Serialize, Deserialize)]
struct Journal {
    file: String,
    upload: String,
}

impl StoreTarget {
    pub(crate) fn new(folder: StoreFolder, config: &FilesSinkConfig) -> Self {
        let configured = config.upload_expires_after_ms.map(Duration::from_millis);
        let expires_after = configured.or((!folder.uploads_have_ids).then_some(AZURE_KEEPS));
        Self { folder, part_bytes: config.upload_part_bytes, expires_after }
    }

    pub(crate) fn expires_after(&self) -> Option<Duration> {
        self.expires_after
    }

    pub(crate) fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    pub(crate) fn begin(&self, writer: &TargetName, number: u64, file: &str) -> Upload {
        let journal = names::staged(writer, number);
        Upload { target: self.clone(), file: file.into(), journal, begun: None, rest: Vec::new() }
    }

    pub(crate) async fn finish(&self, files: Vec<(Upload, Vec<u8>)>) -> Result<Vec<Finished>> {
        let mut finished = Vec::with_capacity(files.len());
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() {
            let some = files.by_ref().take(REQUESTS_MAX).map(|(upload, rest)| upload.finish(rest));
            finished.extend(try_join_all(some).await?);
        }
        Ok(finished)
    }

    pub(super) async fn recover(&self, owner: &Owner, pending: &[PendingFile]) -> Result<()> {
        self.sweep(owner, pending).await?;
        for files in pending.chunks(REQUESTS_MAX) {
            try_join_all(files.iter().map(|file| self.probe(file))).await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(&self, pending: Vec<PendingFile>) -> Result<()> {
        // I7: everything is looked at before anything becomes visible.
        let mut looked = Vec::with_capacity(pending.len());
        for files in pending.chunks(REQUESTS_MAX) {
            let fates = try_join_all(files.iter().map(|file| self.look(file))).await?;
            looked.extend(files.iter().zip(fates));
        }
        for files in looked.chunks(REQUESTS_MAX) {
            try_join_all(files.iter().map(|(file, fate)| self.publish(file, *fate))).await?;
        }
        for files in pending.chunks(REQUESTS_MAX) {
            join_all(files.iter().map(|file| self.forget(file))).await;
        }
        Ok(())
    }

    /// Aborts what older attempts of this job and sink left and nothing pending needs. Names are read
    /// whole: what is not ours is not touched. Fails, before it touches anything, where the job has another owner.
    async fn sweep(&self, owner: &Owner, pending: &[PendingFile]) -> Result<()> {
        let journals = pending.iter().filter_map(|file| match &file.committable.staged {
            Staged::Upload { journal, .. } => Some(&**journal),
            Staged::File(_) => None,
        });
        let needed: HashSet<&str> = journals.collect();
        let hidden = self.folder.path(names::HIDDEN)?;
        let mut objects = self.folder.objects.list(Some(&hidden));
        let failed = |error| error::store("look for leftovers", &self.folder.url, error);
        let (mut older, mut strangers) = (Vec::new(), Vec::new());
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let Some(name) = self.folder.name(&object.location) else { continue };
            let mut parts = name.split('/');
            let (Some(names::HIDDEN), Some(writer), Some(_number), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let Some(writer) = TargetName::parse(writer) else { continue };
            match owner.whose(&writer) {
                Whose::Leftover if !needed.contains(name.strip_suffix(names::MARK).unwrap_or(&name)) => {
                    older.push(name);
                }
                Whose::Stranger => strangers.push((writer, name)),
                Whose::Leftover | Whose::LeaveAlone => {}
            }
        }
        owner.refuse(strangers)?;
        for name in older {
            if name.ends_with(names::MARK) {
                self.remove("remove a mark", &name).await?;
            } else {
                self.abort(&name).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, operation: &'static str, name: &str) -> Result<()> {
        let path = self.folder.path(name)?;
        match self.folder.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error::store(operation, path.as_ref(), error)),
        }
    }

    pub(super) async fn settled(&self, staged: Vec<Staged>) {
        let names = staged.iter().filter_map(|staged| match staged {
            Staged::Upload { journal, .. } => Some(names::mark(journal)),
            Staged::File(_) => None,
        });
        let names: Vec<_> = names.collect();
        for names in names.chunks(REQUESTS_MAX) {
            for removed in join_all(names.iter().map(|name| self.remove("remove a mark", name))).await {
                if let Err(error) = removed {
                    tracing::debug!(%error, "the mark of a committed upload was not removed");
                }
            }
        }
    }

    /// Aborts the upload that a journal names, and removes the journal.
    async fn abort(&self, journal: &str) -> Result<()> {
        const OPERATION: &str = "abort an upload";
        let path = self.folder.path(journal)?;
        let failed = |error| error::store(OPERATION, path.as_ref(), error);
        let stored = match self.folder.objects.get(&path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            stored => stored.map_err(failed)?.bytes().await.map_err(failed)?,
        };
        let Journal { file, upload } = serde_json::from_slice(&stored).map_err(|error| {
            Error::new(ErrorKind::Corrupt, OPERATION, "a journal of an upload is damaged; remove it by hand")
                .with("object", &path)
                .because(error)
        })?;
        tracing::info!(file, "aborting an upload that an older attempt left");
        match self.folder.uploads.abort_multipart(&self.folder.path(&file)?, &upload).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        self.remove(OPERATION, journal).await
    }

    /// What became of a pending file, as far as its visible name tells.
    async fn look(&self, pending: &PendingFile) -> Result<Fate> {
        let path = self.folder.path(&pending.committable.file)?;
        match self.folder.objects.head(&path).await {
            Ok(object) if object.size == pending.committable.bytes => Ok(Fate::Visible),
            Ok(_) => {
                let why = "an object has the name of a prepared file and another size: somebody changed it, and can \
                           put back what was there; or another log of this job wrote here";
                Err(not_ours(pending, why).with("remedy", ANOTHER_LOG))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(Fate::Staged),
            Err(error) => Err(error::store("look at an object", path.as_ref(), error)),
        }
    }

    /// Asks whether a file is visible or its upload still exists: the latter by a part that the completion
    /// does not name and the store therefore drops. Where uploads have no id, only the completion can tell.
    async fn probe(&self, pending: &PendingFile) -> Result<()> {
        if self.look(pending).await? == Fate::Visible || !self.folder.uploads_have_ids {
            return Ok(());
        }
        let (path, upload, _) = self.upload(pending)?;
        let index = usize::try_from(UPLOAD_PARTS_MAX).expect("invariant: 9,999 fits");
        match self.folder.uploads.put_part(&path, &upload, index, PutPayload::from_static(b"?")).await {
            Ok(_) => Ok(()),
            Err(error) => self.visible_after_all(pending, "look at an upload", error).await.map(drop),
        }
    }

    /// Makes a file visible, where it is not, and lays its mark.
    async fn publish(&self, pending: &PendingFile, fate: Fate) -> Result<()> {
        let fate = if fate == Fate::Staged { self.complete(pending).await? } else { fate };
        match fate {
            Fate::Taken => tell_taken(pending),
            // I7: only now, because the mark is the proof that it was visible.
            Fate::Staged | Fate::Visible => self.lay_mark(pending).await?,
        }
        Ok(())
    }

    async fn complete(&self, pending: &PendingFile) -> Result<Fate> {
        let (path, upload, parts) = self.upload(pending)?;
        match self.folder.uploads.complete_multipart(&path, &upload, parts).await {
            Ok(_) => Ok(Fate::Visible),
            Err(error) => self.visible_after_all(pending, "complete an upload", error).await,
        }
    }

    async fn lay_mark(&self, pending: &PendingFile) -> Result<()> {
        let path = self.folder.path(&mark_of(pending)?)?;
        let laid = self.folder.objects.put(&path, PutPayload::new()).await;
        laid.map(drop).map_err(|error| error::store("mark an upload", path.as_ref(), error))
    }

    async fn is_marked(&self, pending: &PendingFile) -> Result<bool> {
        let path = self.folder.path(&mark_of(pending)?)?;
        match self.folder.objects.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error::store("look at an upload", path.as_ref(), error)),
        }
    }

    /// An upload could not be used. That is fine where its object is visible, or was; it is a loss where the
    /// store says that there is no such upload and no mark says that it was completed.
    async fn visible_after_all(
        &self,
        pending: &PendingFile,
        operation: &'static str,
        error: object_store::Error,
    ) -> Result<Fate> {
        match (self.look(pending).await?, is_gone(&error)) {
            (Fate::Visible | Fate::Taken, _) => Ok(Fate::Visible),
            (Fate::Staged, true) if self.is_marked(pending).await? => Ok(Fate::Taken),
            (Fate::Staged, true) => Err(lost(pending).with("folder", &self.folder.url).because(error)),
            (Fate::Staged, false) => Err(error::store(operation, &pending.committable.file, error)),
        }
    }

    /// Removes the journal of a committed file. Where that fails, the sweep of a later attempt does it.
    async fn forget(&self, pending: &PendingFile) {
        let Staged::Upload { journal, .. } = &pending.committable.staged else { return };
        let Ok(path) = self.folder.path(journal) else { return };
        match self.folder.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(%path, %error, "the journal of a committed upload could not be removed")
            }
        }
    }

    fn upload(&self, pending: &PendingFile) -> Result<(StorePath, String, Vec<PartId>)> {
        let file = &pending.committable.file;
        match &pending.committable.staged {
            Staged::Upload { id, parts, .. } => {
                let parts = parts.iter().map(|id| PartId { content_id: id.clone() }).collect();
                Ok((self.folder.path(file)?, id.clone(), parts))
            }
            Staged::File(_) => Err(in_a_folder(pending)),
        }
    }
}

/// The mark beside the journal of an upload.
fn mark_of(pending: &PendingFile) -> Result<String> {
    match &pending.committable.staged {
        Staged::Upload { journal, .. } => Ok(names::mark(journal)),
        Staged::File(_) => Err(in_a_folder(pending)),
    }
}

fn in_a_folder(pending: &PendingFile) -> Error {
    let why = "the file was prepared in a local folder, and the sink's folder is an object store now";
    Error::new(ErrorKind::Config, "commit a file", why).with("file", &pending.committable.file)
}

/// Whether the store says that an upload, or a block of it, does not exist.
fn is_gone(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. })
        // Azure has no uploads, and names the missing block only in the text of its answer.
        || error.to_string().contains("InvalidBlockList")
}

/// A file in progress: begun in the store with its first part.
pub(crate) struct Upload {
    target: StoreTarget,
    file: String,
    journal: String,
    begun: Option<Begun>,
    /// Less than a part.
    rest: Vec<u8>,
}

struct Begun {
    path: StorePath,
    id: String,
    parts: Vec<PartId>,
    at: Instant,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Upload {
    /// Adds bytes, and uploads what makes full parts. All parts but the last have one size, which some
    /// stores require.
    pub(crate) async fn append(&mut self, bytes: Vec<u8>) -> Result<()> {
        if self.rest.is_empty() {
            self.rest = bytes;
        } else {
            self.rest.extend_from_slice(&bytes);
        }
        while self.rest.len() >= self.target.part_bytes {
            let rest = self.rest.split_off(self.target.part_bytes);
            let part = std::mem::replace(&mut self.rest, rest);
            self.put(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self, rest: Vec<u8>) -> Result<Finished> {
        self.append(rest).await?;
        let last = std::mem::take(&mut self.rest);
        if !last.is_empty() {
            self.put(last).await?;
        }
        let Some(Begun { id, parts, at, .. }) = self.begun else {
            return Err(
                Error::new(ErrorKind::Bug, "prepare a file", "a file without bytes").with("file", self.file)
            );
        };
        let parts = parts.into_iter().map(|part| part.content_id).collect();
        let expires_in = self.target.expires_after.map(|after| after.saturating_sub(at.elapsed()));
        Ok(Finished { staged: Staged::Upload { journal: self.journal, id, parts }, expires_in })
    }

    async fn put(&mut self, part: Vec<u8>) -> Result<()> {
        let begun = match &mut self.begun {
            Some(begun) => begun,
            none => none.insert(begin(&self.target, &self.file, &self.journal).await?),
        };
        let Begun { path, id, parts, .. } = begun;
        let put = self.target.folder.uploads.put_part(path, id, parts.len(), part.into()).await;
        parts.push(put.map_err(|error| error::store("upload a part", path.as_ref(), error))?);
        Ok(())
    }
}

async fn begin(target: &StoreTarget, file: &str, journal: &str) -> Result<Begun> {
    const OPERATION: &str = "begin an upload";
    let at = Instant::now();
    let path = target.folder.path(file)?;
    match target.folder.objects.head(&path).await {
        Ok(_) => return Err(written_before(path)),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(error::store(OPERATION, path.as_ref(), error)),
    }
    let id = target.folder.uploads.create_multipart(&path).await;
    let id = id.map_err(|error| error::store(OPERATION, path.as_ref(), error))?;
    let journal = target.folder.path(journal)?;
    let says = serde_json::to_vec(&Journal { file: file.into(), upload: id.clone() }).map_err(|error| {
        Error::new(ErrorKind::Bug, OPERATION, "a journal cannot be written as JSON").because(error)
    })?;
    let put = target.folder.objects.put(&journal, says.into()).await;
    put.map_err(|error| error::store(OPERATION, journal.as_ref(), error))?;
    Ok(Begun { path, id, parts: Vec::new(), at })
}

#[cfg(test)]
mod tests;
