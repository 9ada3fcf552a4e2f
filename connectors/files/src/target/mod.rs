//! Where the sink writes: a local folder or an object store, behind one set of verbs.
//!
//! ```text
//!   begin ──> append ... ──> finish            commit                   recover
//!   hidden                   durable, hidden   visible                  leftovers of older attempts removed,
//!                                                                       everything pending looked at
//! ```

mod local;
mod store;

use tidelock::{Error, ErrorKind, Pending, Result, Retry, SinkAttempt, TargetName};

use crate::committable::{FileCommittable, Staged};
use crate::config::FilesSinkConfig;
use crate::folder::{Folder, StoreFolder};

type PendingFile = Pending<FileCommittable>;

/// Where the sink writes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Local(local::LocalTarget),
    Store(store::StoreTarget),
}

/// A file in progress. Nothing exists of it in the target until it has bytes.
pub(crate) enum InProgress {
    Local(local::LocalFile),
    Store(Box<store::Upload>),
}

impl Target {
    pub(crate) fn new(config: &FilesSinkConfig) -> Result<Self> {
        Ok(match Folder::new(&config.folder, &config.store_options)? {
            Folder::Local(root) => Self::Local(local::LocalTarget::new(root)),
            Folder::Store(folder) => Self::in_store(folder, config),
        })
    }

    pub(crate) fn in_store(folder: StoreFolder, config: &FilesSinkConfig) -> Self {
        Self::Store(store::StoreTarget::new(folder, config))
    }

    /// See [`Sink::recover`](tidelock::Sink::recover).
    pub(crate) async fn recover(&self, attempt: &SinkAttempt, pending: &[PendingFile]) -> Result<()> {
        match self {
            Self::Local(local) => local.recover(attempt, pending).await,
            Self::Store(store) => store.recover(attempt, pending).await,
        }
    }

    /// Makes the place for a writer's files.
    pub(crate) async fn open(&self, writer: &TargetName) -> Result<()> {
        match self {
            Self::Local(local) => local.open(writer).await,
            // An object store has no folders.
            Self::Store(_) => Ok(()),
        }
    }

    /// Begins a file that will be visible as `file`. Does no I/O.
    pub(crate) fn begin(&self, writer: &TargetName, number: u64, file: &str) -> InProgress {
        match self {
            Self::Local(local) => InProgress::Local(local.begin(writer, number, file)),
            Self::Store(store) => InProgress::Store(Box::new(store.begin(writer, number, file))),
        }
    }

    /// After how many bytes it is worth while to call [`InProgress::append`].
    pub(crate) fn append_bytes(&self) -> usize {
        match self {
            Self::Local(_) => local::APPEND_BYTES,
            Self::Store(store) => store.part_bytes(),
        }
    }

    /// Makes files durable and closes them, each with its last bytes.
    pub(crate) async fn finish(&self, files: Vec<(InProgress, Vec<u8>)>) -> Result<Vec<Finished>> {
        match self {
            Self::Local(local) => {
                let files = files.into_iter().map(|(file, rest)| match file {
                    InProgress::Local(file) => (file, rest),
                    InProgress::Store(_) => unreachable!("invariant: the target began its files itself"),
                });
                local.finish(files.collect()).await
            }
            Self::Store(store) => {
                let files = files.into_iter().map(|(file, rest)| match file {
                    InProgress::Store(file) => (*file, rest),
                    InProgress::Local(_) => unreachable!("invariant: the target began its files itself"),
                });
                store.finish(files.collect()).await
            }
        }
    }

    /// After which time, counted from a file's first byte, the target throws it away.
    pub(crate) fn expires_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Local(_) => None,
            Self::Store(store) => store.expires_after(),
        }
    }

    /// See [`Sink::commit`](tidelock::Sink::commit).
    pub(crate) async fn commit(&self, pending: Vec<PendingFile>) -> Result<()> {
        match self {
            Self::Local(local) => local.commit(pending).await,
            Self::Store(store) => store.commit(pending).await,
        }
    }
}

impl InProgress {
    /// Adds bytes.
    pub(crate) async fn append(&mut self, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::Local(file) => file.append(bytes).await,
            Self::Store(upload) => upload.append(bytes).await,
        }
    }
}

/// A file that is durable and hidden.
pub(crate) struct Finished {
    pub(crate) staged: Staged,
    /// How long the target keeps it.
    pub(crate) expires_in: Option<std::time::Duration>,
}

/// What became of a pending file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It waits to be committed.
    Staged,
    /// It is visible.
    Visible,
}

/// I7: a prepared file that is gone halts the job, with all that is known of it.
fn lost(pending: &PendingFile) -> Error {
    evidence(
        Error::new(
            ErrorKind::Expired,
            "commit a file",
            "a prepared file is gone: it is neither in progress nor visible. Somebody removed it, or removed the visible \
             file before its commit was confirmed. Put it back, or abandon it by name",
        ),
        pending,
    )
}

/// Content under one of our names that is not what we prepared.
fn not_ours(pending: &PendingFile, message: &str) -> Error {
    evidence(Error::new(ErrorKind::Conflict, "commit a file", message).with_retry(Retry::Halt), pending)
}

fn evidence(error: Error, pending: &PendingFile) -> Error {
    let FileCommittable { file, staged, bytes, crc32c, records } = &pending.committable;
    let staged = match staged {
        Staged::File(name) => name,
        Staged::Upload { id, .. } => id,
    };
    error
        .with("file", file)
        .with("staged", staged)
        .with("bytes", bytes)
        .with("crc32c", format!("{crc32c:08x}"))
        .with("records", records)
        .with("epoch", pending.epoch)
        .with("attempt", pending.attempt)
        .with("writer", pending.writer)
}
