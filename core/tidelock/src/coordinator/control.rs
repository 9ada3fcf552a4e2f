//! The user's hand on a running job, and what the user sees of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::deadlines::Deadlines;
use crate::host::{News, Order};
use crate::job::Settings;
use crate::log::{Closed, SnapshotId};
use crate::{Attempt, Epoch, Error, ErrorKind, Result, Retry, SplitId, Uid};

/// The host's ends of the channels: see [`crate::host`]. Once the coordinator has decided how the job ends and needs
/// nothing of the host any more, both of them are closed, while it still writes the closed entry and savepoints.
#[derive(Debug)]
pub struct HostLink {
    /// What the coordinator asks.
    pub orders: mpsc::Receiver<Order>,
    /// What the host tells.
    pub news: mpsc::Sender<News>,
}

/// How an attempt ended by itself. Its `Display` is a sentence for the person who started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub closed: Closed,
    /// Its closed entry.
    pub snapshot: SnapshotId,
    /// There was nothing to do: the job had finished before.
    pub was_finished: bool,
    /// Where it had finished before: the splits that came since, by source, as far as a source can know.
    /// Nobody reads them.
    pub unread: BTreeMap<Uid, Vec<SplitId>>,
}

/// How many splits a sentence names.
const NAMED_MAX: usize = 3;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.snapshot.epoch;
        match self.closed {
            Closed::Finished if self.was_finished => write!(
                f,
                "nothing to do: all input was read before, up to epoch {epoch}; to read it again give the job \
                 another checkpoints folder or another job id"
            )?,
            Closed::Finished => {
                write!(f, "finished: all input is read and all output visible, epoch {epoch}")?
            }
            Closed::Stopped => write!(f, "stopped: the next start goes on after epoch {epoch}")?,
            Closed::Cancelled => write!(f, "cancelled: the next start goes on after epoch {epoch}")?,
        }
        for (uid, splits) in &self.unread {
            let named = splits.iter().take(NAMED_MAX).map(SplitId::to_string).collect::<Vec<_>>().join(", ");
            let more = if splits.len() > NAMED_MAX { ", ..." } else { "" };
            write!(
                f,
                "; not read, because it came after the end: {} of {uid} ({named}{more})",
                splits.len()
            )?;
        }
        Ok(())
    }
}

/// What a person sees of a running job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The attempt, once claimed.
    pub attempt: Option<Attempt>,
    /// The snapshot that it restored, once known.
    pub restored: Option<SnapshotId>,
    /// The epoch of the last durable checkpoint.
    pub epoch: Epoch,
    /// Checkpoints completed by this attempt.
    pub checkpoints: u64,
    /// Checkpoints that were given up or not stored.
    pub failures: u64,
    /// Committables that recovery of this attempt found pending and committed.
    pub recovered: u64,
    /// Of the last checkpoint: from its barrier until all tasks had reported.
    pub prepare: Duration,
    /// Of the last checkpoint: until its entry was durable.
    pub append: Duration,
    /// Of the last confirmed checkpoint: until all sinks had committed.
    pub commit: Duration,
}

/// The user's hand on a running job. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    settings: watch::Sender<Settings>,
    progress: watch::Receiver<Progress>,
    deadlines: Deadlines,
}

/// Where the answer to a command goes.
pub(super) type Answer = oneshot::Sender<Result<SnapshotId>>;

/// What [`Control`] asks of the coordinator.
#[derive(Debug)]
pub(super) enum Command {
    Checkpoint(Answer),
    Savepoint { url: String, answer: Answer },
    Stop { savepoint: Option<String>, heard: oneshot::Sender<()> },
    Cancel,
}

impl Control {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        settings: watch::Sender<Settings>,
        progress: watch::Receiver<Progress>,
        deadlines: Deadlines,
    ) -> Self {
        Self { commands, settings, progress, deadlines }
    }

    /// Changes interval, pause, timeout and tolerable failures from the next checkpoint on.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what a start with these settings would refuse, such as an interval that
    /// leaves no time to commit what a sink's target keeps only for a while. Nothing is changed then.
    pub fn set_settings(&self, settings: Settings) -> Result<()> {
        self.deadlines.check(&settings)?;
        self.settings.send_replace(settings);
        Ok(())
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// Begins a checkpoint now and returns when it is durable.
    ///
    /// # Errors
    /// Where the checkpoint failed or the job ended.
    pub async fn checkpoint(&self) -> Result<SnapshotId> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Checkpoint(answer), answered).await
    }

    /// Takes a savepoint: a checkpoint, exported to `url` after its commits are confirmed.
    ///
    /// # Errors
    /// Where it cannot be taken or stored; the job goes on.
    pub async fn savepoint(&self, url: &str) -> Result<SnapshotId> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Savepoint { url: url.to_owned(), answer }, answered).await
    }

    async fn ask(
        &self,
        command: Command,
        answered: oneshot::Receiver<Result<SnapshotId>>,
    ) -> Result<SnapshotId> {
        let ended = || {
            Error::new(
                ErrorKind::Conflict,
                "ask the job",
                "the job ended before it could answer; nothing was taken",
            )
        };
        self.commands.send(command).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Stops at a barrier, everything committed, and exports a savepoint if asked. The end is what
    /// [`Coordinator::run`](super::Coordinator::run) returns: an error, where a savepoint of the end was not
    /// written. Of several who ask, each gets the savepoint that it asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where the job had ended before it heard of the savepoint, which is not written then.
    /// Without a savepoint, a job that has ended needs no stopping.
    pub async fn stop(&self, savepoint: Option<&str>) -> Result<()> {
        let (heard, hears) = oneshot::channel();
        let command = Command::Stop { savepoint: savepoint.map(str::to_owned), heard };
        // Where it has ended, the answer is dropped with the command.
        let _ = self.commands.send(command).await;
        let Some(url) = savepoint else { return Ok(()) };
        hears.await.map_err(|_| no_savepoint(url))
    }

    /// Stops at once. What was not checkpointed is replayed by a later start, if checkpoints are
    /// retained. A savepoint that somebody asked for with [`Control::stop`] is no longer waited for, and
    /// [`Coordinator::run`](super::Coordinator::run) says so.
    pub async fn cancel(&self) {
        let _ = self.commands.send(Command::Cancel).await;
    }

    /// What the job is doing, to be shown.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

/// Nobody is there to write it.
fn no_savepoint(url: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "stop",
        "the job had ended before it heard of this savepoint, which is not written: copy its last entry with \
         `tidelock snapshots copy LOG#POSITION FOLDER`",
    )
    .with_retry(Retry::Halt)
    .with("savepoint", url)
}
