//! The hand on a running job, across its restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock::coordinator::{Control, Progress};
use tidelock::job::Settings;
use tidelock::log::SnapshotId;
use tidelock::{Error, ErrorKind, Result, Uid};
use tokio::sync::watch;

use crate::counters::Counters;

/// Stops a job, takes savepoints, and shows how it goes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    control: watch::Sender<Option<Control>>,
    /// How the user wants the job to end, once he does.
    end: watch::Sender<Option<End>>,
    counters: Arc<Counters>,
}

/// A wish that outlives the attempt it was told to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Stop { savepoint: Option<String> },
    Cancel,
}

impl Handle {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { control: watch::Sender::new(None), end: watch::Sender::new(None), counters }
    }

    pub(crate) fn shared_counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A new attempt begins. A wish that was told to the one before, or to none, is told again: first the
    /// control is known and then the wish is looked for, and who wishes does it the other way round.
    pub(crate) fn attach(&self, control: Control) {
        self.control.send_replace(Some(control.clone()));
        let Some(end) = self.end.borrow().clone() else { return };
        tokio::spawn(async move {
            match end {
                End::Stop { savepoint } => control.stop(savepoint.as_deref()).await,
                End::Cancel => control.cancel().await,
            }
        });
    }

    /// Returns once the user wants the job to end.
    pub(crate) async fn end_requested(&self) {
        // The sender lives as long as `self`.
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }

    /// The current attempt's control. Waits for the first attempt to begin.
    async fn control(&self) -> Result<Control> {
        let mut attempts = self.control.subscribe();
        let control = attempts.wait_for(Option::is_some).await;
        let ended = || Error::new(ErrorKind::Other, "control", "the job has ended");
        control.ok().and_then(|control| control.clone()).ok_or_else(ended)
    }

    /// Stops at a barrier, with everything committed, and exports a savepoint to `savepoint` if given.
    /// [`Job::run`](crate::Job::run) then returns. Event time does not advance to the end: a later
    /// start goes on as if there had been no stop.
    ///
    /// # Errors
    /// Where the job never began.
    pub async fn stop(&self, savepoint: Option<&str>) -> Result<()> {
        self.end.send_replace(Some(End::Stop { savepoint: savepoint.map(str::to_owned) }));
        self.control().await?.stop(savepoint).await;
        Ok(())
    }

    /// Stops at once. What was not checkpointed is replayed by a later start.
    ///
    /// # Errors
    /// Where the job never began.
    pub async fn cancel(&self) -> Result<()> {
        self.end.send_replace(Some(End::Cancel));
        self.control().await?.cancel().await;
        Ok(())
    }

    /// Begins a checkpoint now and returns when it is durable.
    ///
    /// # Errors
    /// Where the checkpoint failed or the job ended.
    pub async fn checkpoint(&self) -> Result<SnapshotId> {
        self.control().await?.checkpoint().await
    }

    /// Exports a savepoint to `url`; the job goes on.
    ///
    /// # Errors
    /// Where it cannot be taken or stored.
    pub async fn savepoint(&self, url: &str) -> Result<SnapshotId> {
        self.control().await?.savepoint(url).await
    }

    /// Changes how the job checkpoints, from the next checkpoint on.
    ///
    /// # Errors
    /// Where the job never began, and where a start with these settings would be refused.
    pub async fn set_settings(&self, settings: Settings) -> Result<()> {
        self.control().await?.set_settings(settings)
    }

    /// What the current attempt is doing; nothing before the first one began.
    pub fn progress(&self) -> Progress {
        self.control.borrow().as_ref().map(|control| control.progress().borrow().clone()).unwrap_or_default()
    }

    /// How many records each source handed over in this process.
    pub fn records_read(&self) -> BTreeMap<Uid, u64> {
        self.counters.read()
    }

    /// How many records the writers of each sink took in this process.
    pub fn records_written(&self) -> BTreeMap<Uid, u64> {
        self.counters.written()
    }

    /// How many records came too late for the windows of each operator.
    pub fn records_late(&self) -> BTreeMap<Uid, u64> {
        self.counters.late()
    }

    /// How many records each function and each sink rejected in this process: see
    /// [`Stream::try_map_or`](crate::Stream::try_map_or) and [`Stream::sink_or`](crate::Stream::sink_or).
    pub fn records_rejected(&self) -> BTreeMap<Uid, u64> {
        self.counters.rejected()
    }
}
