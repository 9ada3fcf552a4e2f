//! Where the sink writes: a local folder or an object store, behind one set of verbs.
//!
//! ```text
//!   begin ──> append ... ──> finish            commit                   recover
//!   hidden                   durable, hidden   visible                  leftovers of older attempts removed,
//!                                                                       everything pending looked at
//! ```
//!
//! Readers may take a file away as soon as they see it, and a crash may come before its commit is confirmed. So a
//! *mark* is laid beside what was in progress as soon as it is visible: where both are gone and the mark is there, the
//! file was visible, and somebody took it. A mark that was laid before would prove an intent and hide a loss. Where a
//! reader takes a file between the two steps and the process dies there, it counts as lost: the job halts, and a person
//! decides (I7). Marks are removed when no entry can list their files any more.

mod local;
mod owner;
mod store;

use tidelock::{Error, ErrorKind, Pending, Result, Retry, SinkAttempt, TargetName, WriterId};

use crate::committable::{FileCommittable, Staged};
use crate::config::FilesSinkConfig;
use crate::folder::{Folder, StoreFolder};
use owner::Begun;

type PendingFile = Pending<FileCommittable>;

/// Where the sink writes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    place: Place,
    begun: Begun,
}

#[derive(Debug, Clone)]
enum Place {
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
            Folder::Local(root) => {
                Self { place: Place::Local(local::LocalTarget::new(root)), begun: Begun::default() }
            }
            Folder::Store(folder) => Self::in_store(folder, config),
        })
    }

    pub(crate) fn in_store(folder: StoreFolder, config: &FilesSinkConfig) -> Self {
        Self { place: Place::Store(store::StoreTarget::new(folder, config)), begun: Begun::default() }
    }

    /// See [`Sink::recover`](tidelock::Sink::recover).
    pub(crate) async fn recover(&self, attempt: &SinkAttempt, pending: &[PendingFile]) -> Result<()> {
        let owner = self.begun.owner(attempt);
        match &self.place {
            Place::Local(local) => local.recover(owner, pending).await,
            Place::Store(store) => store.recover(&owner, pending).await,
        }?;
        self.begun.begin(attempt.target_name(WriterId(0)));
        Ok(())
    }

    /// Makes the place for a writer's files.
    pub(crate) async fn open(&self, writer: &TargetName) -> Result<()> {
        self.begun.begin(writer.clone());
        match &self.place {
            Place::Local(local) => local.open(writer).await,
            // An object store has no folders.
            Place::Store(_) => Ok(()),
        }
    }

    /// Begins a file that will be visible as `file`. Does no I/O.
    pub(crate) fn begin(&self, writer: &TargetName, number: u64, file: &str) -> InProgress {
        match &self.place {
            Place::Local(local) => InProgress::Local(local.begin(writer, number, file)),
            Place::Store(store) => InProgress::Store(Box::new(store.begin(writer, number, file))),
        }
    }

    /// After how many bytes it is worth while to call [`InProgress::append`].
    pub(crate) fn append_bytes(&self) -> usize {
        match &self.place {
            Place::Local(_) => local::APPEND_BYTES,
            Place::Store(store) => store.part_bytes(),
        }
    }

    /// Makes files durable and closes them, each with its last bytes.
    pub(crate) async fn finish(&self, files: Vec<(InProgress, Vec<u8>)>) -> Result<Vec<Finished>> {
        match &self.place {
            Place::Local(local) => {
                let files = files.into_iter().map(|(file, rest)| match file {
                    InProgress::Local(file) => (file, rest),
                    InProgress::Store(_) => unreachable!("invariant: the target began its files itself"),
                });
                local.finish(files.collect()).await
            }
            Place::Store(store) => {
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
        match &self.place {
            Place::Local(_) => None,
            Place::Store(store) => store.expires_after(),
        }
    }

    /// See [`Sink::commit`](tidelock::Sink::commit).
    pub(crate) async fn commit(&self, pending: Vec<PendingFile>) -> Result<()> {
        match &self.place {
            Place::Local(local) => local.commit(pending).await,
            Place::Store(store) => store.commit(pending).await,
        }
    }

    /// No entry lists these any more: what recovery would have needed of them is removed. Where that fails, the sweep
    /// of a later attempt does it.
    pub(crate) async fn settled(&self, staged: Vec<Staged>) {
        match &self.place {
            Place::Local(local) => local.settled(staged).await,
            Place::Store(store) => store.settled(staged).await,
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
    /// It was visible, and somebody took it away.
    Taken,
}

/// A reader that takes what it sees is no loss, and is told, because it might be another's doing.
fn tell_taken(pending: &PendingFile) {
    let FileCommittable { file, records, .. } = &pending.committable;
    tracing::warn!(
        file,
        records,
        epoch = %pending.epoch,
        attempt = %pending.attempt,
        "a file that was made visible is gone before its commit was confirmed: whoever took it has it"
    );
}

/// I7: a prepared file that is gone halts the job, with all that is known of it.
fn lost(pending: &PendingFile) -> Error {
    evidence(
        Error::new(
            ErrorKind::Expired,
            "commit a file",
            "a prepared file is gone: it is not in progress any more, and nothing shows that it became visible. Either the \
             setting `folder` is another one than before: configure that, start the job and stop it, and then change the setting. Or somebody \
             removed the file, or a reader took it in the moment in which the job died: put it back, or abandon it by name",
        ),
        pending,
    )
}

/// What a person can do about a file under one of our names that this log knows nothing of.
const ANOTHER_LOG: &str = "start the job with the log that it ran with before. If that log is lost, give the job another id, or \
                           an empty folder for its output; and in both cases an empty checkpoints folder";

/// Content under one of our names that is not what we prepared.
fn not_ours(pending: &PendingFile, message: &str) -> Error {
    let error = Error::new(ErrorKind::Conflict, "commit a file", message).with_retry(Retry::Halt);
    evidence(error, pending)
}

/// A name is used once for each attempt of a log, and attempts are numbered by the log: whoever finds the name of a file
/// that he begins runs on another log than the one that wrote it. I7: that is found out before anything is promised.
fn written_before(file: impl std::fmt::Display) -> Error {
    let why = "a visible file has the name of one that is begun: the job ran on another log before, which is not the one \
               that it runs on now";
    Error::new(ErrorKind::Conflict, "write a file", why)
        .with_retry(Retry::Halt)
        .with("file", file)
        .with("remedy", ANOTHER_LOG)
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
