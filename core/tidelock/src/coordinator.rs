//! The coordinator: the only async brain of a job.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::host::{News, Order};
use crate::job::{Graph, Job, Settings};
use crate::log::{Closed, SnapshotId};
use crate::{Attempt, Epoch, Result};

/// Drives one attempt. It is one future that spawns nothing: dropping it ends the attempt like a crash.
#[derive(Debug)]
pub struct Coordinator {}

/// The host's ends of the channels: see [`crate::host`].
#[derive(Debug)]
pub struct HostLink {
    /// What the coordinator asks.
    pub orders: mpsc::Receiver<Order>,
    /// What the host tells.
    pub news: mpsc::Sender<News>,
}

/// How an attempt ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub closed: Closed,
    /// Its closed entry.
    pub snapshot: SnapshotId,
    /// There was nothing to do: the job had finished before.
    pub was_finished: bool,
}

/// What a person sees of a running job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The attempt, once claimed.
    pub attempt: Option<Attempt>,
    /// The epoch of the last durable checkpoint.
    pub epoch: Epoch,
    /// Checkpoints completed by this attempt.
    pub checkpoints: u64,
    /// Checkpoints that were given up or not stored.
    pub failures: u64,
    /// Pending commits that recovery of this attempt found.
    pub recovered_commits: u64,
    /// Barrier sent until all reports were in, of the last checkpoint.
    pub prepare: Duration,
    /// Entry appended, of the last checkpoint.
    pub append: Duration,
    /// Commit confirmed, of the last checkpoint.
    pub commit: Duration,
}

/// The user's hand on a running job. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) settings: watch::Sender<Settings>,
    pub(crate) progress: watch::Receiver<Progress>,
}

/// What [`Control`] asks of the coordinator.
#[derive(Debug)]
pub(crate) enum Command {
    Checkpoint(oneshot::Sender<Result<SnapshotId>>),
    Savepoint { url: String, answer: oneshot::Sender<Result<SnapshotId>> },
    Stop { savepoint: Option<String> },
    Cancel,
}

impl Coordinator {
    /// Makes the coordinator of a job whose graph is built, with the ends for the host and the user.
    pub fn new(_job: Job, _graph: Graph) -> (Self, HostLink, Control) {
        unimplemented!()
    }

    /// Claims the job, recovers, and runs it until its end.
    ///
    /// # Errors
    /// Whatever ended the attempt; its [`Retry`](crate::Retry) says whether starting again helps.
    pub async fn run(self) -> Result<Ended> {
        std::future::pending().await
    }
}

impl Control {
    /// Changes interval, pause, timeout and tolerable failures from the next checkpoint on.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.send_replace(settings);
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
        unimplemented!()
    }

    /// Takes a savepoint: a checkpoint, exported to `url` after its commits are confirmed.
    ///
    /// # Errors
    /// Where it cannot be taken or stored; the job goes on.
    pub async fn savepoint(&self, _url: &str) -> Result<SnapshotId> {
        unimplemented!()
    }

    /// Stops at a barrier, everything committed, and exports a savepoint if asked. The end is what
    /// [`Coordinator::run`] returns.
    pub async fn stop(&self, savepoint: Option<&str>) {
        let _ = self.commands.send(Command::Stop { savepoint: savepoint.map(str::to_owned) }).await;
    }

    /// Stops at once. What was not checkpointed is replayed by a later start, if checkpoints are
    /// retained.
    pub async fn cancel(&self) {
        let _ = self.commands.send(Command::Cancel).await;
    }

    /// What the job is doing, to be shown.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}
