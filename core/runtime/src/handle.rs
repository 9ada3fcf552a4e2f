//! The hand on a running job, across its restarts and in each of its processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelock::coordinator::{Control, Progress};
use tidelock::job::Settings;
use tidelock::log::SnapshotId;
use tidelock::{Error, ErrorKind, Result, Retry, Uid};
use tokio::sync::watch;

use crate::ask::{Ask, End, Far, Said, ended};
use crate::counters::Counters;

/// The key by which an error names a savepoint that was not written.
pub(crate) const SAVEPOINT: &str = "savepoint";

/// Stops a job, takes savepoints, and shows how it goes. Cheap to clone. Where a job runs in several
/// processes, the handle of each does the same: what is asked in one of them goes to process 0.
#[derive(Debug, Clone)]
pub struct Handle {
    hold: watch::Sender<Hold>,
    /// How the user wants the job to end, once he does.
    end: watch::Sender<Option<End>>,
    /// The savepoints of the end that an attempt has heard of: what [`Job::run`](crate::Job::run) returns is about them.
    heard: watch::Sender<BTreeSet<String>>,
    /// What the user changed the settings to: an attempt begins with those of the configuration.
    settings: watch::Sender<Option<Settings>>,
    counters: Arc<Counters>,
}

/// What the handle holds.
#[derive(Debug, Clone)]
enum Hold {
    /// No attempt has begun.
    Nothing,
    /// The coordinator, in this process.
    Near(Control),
    /// The coordinator, in process 0.
    Far(Far),
    /// The job has ended, and this was the last to be seen of it.
    Ended(Progress),
}

impl Handle {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        let (end, settings) = (watch::Sender::new(None), watch::Sender::new(None));
        let (hold, heard) = (watch::Sender::new(Hold::Nothing), watch::Sender::default());
        Self { hold, end, heard, settings, counters }
    }

    /// The error with which the job ends, and in it the savepoints of the end that were asked for here. Where it names
    /// one already, whoever wrote the others named all that are missing.
    pub(crate) fn name_savepoints(&self, error: Error) -> Error {
        if error.context().any(|(key, _)| key == SAVEPOINT) {
            return error;
        }
        let end = self.end.borrow();
        let wished = end.iter().flat_map(|end| &end.savepoints);
        wished.fold(error, |error, url| error.with(SAVEPOINT, url))
    }

    pub(crate) fn shared_counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A new attempt begins, with its coordinator in this process.
    pub(crate) fn attach(&self, control: Control) {
        self.begin(Hold::Near(control));
    }

    /// A new attempt begins, with its coordinator in process 0.
    pub(crate) fn attach_far(&self, far: Far) {
        self.begin(Hold::Far(far));
    }

    /// What was wished of the attempt before, or of none, is wished again: first the hold is known and then
    /// the wish is looked for, and who wishes does it the other way round.
    fn begin(&self, hold: Hold) {
        self.hold.send_replace(hold);
        let settings = self.settings.borrow().clone();
        let end = self.end.borrow().clone();
        if settings.is_none() && end.is_none() {
            return;
        }
        let handle = self.clone();
        tokio::spawn(async move {
            // Where nobody hears it the attempt is over, and the next one is told.
            if let Some(settings) = settings {
                let _ = handle.ask(Ask::SetSettings(settings)).await;
            }
            if let Some(end) = end {
                let _ = handle.tell_end(&end).await;
            }
        });
    }

    /// Nothing begins any more.
    pub(crate) fn close(&self) {
        let progress = self.progress();
        self.hold.send_replace(Hold::Ended(progress));
    }

    #[cfg(test)]
    pub(crate) fn is_stopping(&self) -> bool {
        self.end.borrow().as_ref().is_some_and(|end| !end.at_once)
    }

    /// Returns once the user wants the job to end.
    pub(crate) async fn end_requested(&self) {
        // The sender lives as long as `self`.
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }

    /// Asks whoever leads the job. Waits for the first attempt to begin.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Said> {
        let mut held = self.hold.subscribe();
        let held = held.wait_for(|hold| !matches!(hold, Hold::Nothing)).await.map(|hold| hold.clone());
        match held {
            Ok(Hold::Near(control)) => ask.of(&control).await,
            Ok(Hold::Far(far)) => far.ask(ask).await,
            Ok(Hold::Nothing | Hold::Ended(_)) | Err(_) => Err(ended()),
        }
    }

    async fn wish(&self, end: End) -> Result<()> {
        self.end.send_modify(|wished| wished.get_or_insert_default().join(end.clone()));
        loop {
            let mut held = self.hold.subscribe();
            match self.tell_end(&end).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    if end.savepoints.is_subset(&self.heard.borrow()) {
                        // It has ended, as was wished.
                        return Ok(());
                    }
                    // The attempt did not hear of the savepoint. Another one does, if there is one.
                    let over = matches!(&*held.borrow_and_update(), Hold::Ended(_));
                    if over || held.changed().await.is_err() {
                        return Err(no_savepoint().because(error));
                    }
                }
                told => return told,
            }
        }
    }

    async fn tell_end(&self, end: &End) -> Result<()> {
        self.ask(Ask::End(end.clone())).await?;
        self.heard.send_modify(|heard| heard.extend(end.savepoints.iter().cloned()));
        Ok(())
    }

    async fn take(&self, ask: Ask) -> Result<SnapshotId> {
        match self.ask(ask).await? {
            Said::Taken(snapshot) => Ok(snapshot),
            said => Err(no_answer(&said)),
        }
    }

    /// Stops at a barrier, with everything committed, and exports a savepoint to `savepoint` if given.
    /// [`Job::run`](crate::Job::run) then returns, in every process. Event time does not advance to the
    /// end: a later start goes on as if there had been no stop. A job that has ended needs no stopping. Whoever
    /// asks again, also by a signal, takes no savepoint away: each that was asked for is exported. Where one was
    /// not, [`Job::run`](crate::Job::run) returns an error that names it.
    ///
    /// # Errors
    /// Where process 0 cannot be told, and where the job had ended before it heard of the savepoint.
    pub async fn stop(&self, savepoint: Option<&str>) -> Result<()> {
        self.wish(End::stop(savepoint)).await
    }

    /// Stops at once. What was not checkpointed is replayed by a later start. It also ends the wait for a savepoint
    /// of [`Handle::stop`]: [`Job::run`](crate::Job::run) then says that it was not written.
    ///
    /// # Errors
    /// Where process 0 cannot be told.
    pub async fn cancel(&self) -> Result<()> {
        self.wish(End::cancel()).await
    }

    /// Begins a checkpoint now and returns when it is durable.
    ///
    /// # Errors
    /// Where the checkpoint failed or the job ended.
    pub async fn checkpoint(&self) -> Result<SnapshotId> {
        self.take(Ask::Checkpoint).await
    }

    /// Exports a savepoint to `url`; the job goes on. It is process 0 that writes it.
    ///
    /// # Errors
    /// Where it cannot be taken or stored.
    pub async fn savepoint(&self, url: &str) -> Result<SnapshotId> {
        self.take(Ask::Savepoint { url: url.to_owned() }).await
    }

    /// How the job checkpoints now: change what should be another way, and give it to
    /// [`Handle::set_settings`].
    ///
    /// # Errors
    /// Where the job has ended.
    pub async fn settings(&self) -> Result<Settings> {
        match self.ask(Ask::Settings).await? {
            Said::Settings(settings) => Ok(settings),
            said => Err(no_answer(&said)),
        }
    }

    /// Changes how the job checkpoints, from the next checkpoint on and until the process ends: also after
    /// a restart within it.
    ///
    /// # Errors
    /// Where a start with these settings would be refused, and where the job has ended.
    pub async fn set_settings(&self, settings: Settings) -> Result<()> {
        // Known before it is asked for, so that an attempt that begins meanwhile has it too.
        let before = self.settings.send_replace(Some(settings.clone()));
        let heard = self.ask(Ask::SetSettings(settings)).await;
        if heard.is_err() {
            self.settings.send_replace(before);
        }
        heard.map(drop)
    }

    /// What the current attempt is doing; nothing before the first one began. Every half second in
    /// processes without the coordinator.
    pub fn progress(&self) -> Progress {
        match &*self.hold.borrow() {
            Hold::Nothing => Progress::default(),
            Hold::Near(control) => control.progress().borrow().clone(),
            Hold::Far(far) => far.progress.borrow().clone(),
            Hold::Ended(progress) => progress.clone(),
        }
    }

    /// How many records each source handed over in this process.
    pub fn records_read(&self) -> BTreeMap<Uid, u64> {
        self.counters.read()
    }

    /// How many records the writers of each sink took in this process. Those of [`Stream::sink_or`](crate::Stream::sink_or) are counted at
    /// the end of their epoch, without what was rejected.
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

    /// How many bytes of state each function and each window stored for checkpoints, on the workers of this process since it started: what
    /// changed, and what was merged of it. How large the state of an operator is, `tidelock snapshots show` tells.
    pub fn state_bytes_stored(&self) -> BTreeMap<Uid, u64> {
        self.counters.state_bytes()
    }
}

fn no_savepoint() -> Error {
    let why = "the job had ended before it heard of this savepoint, which is not written: copy its last entry with \
               `tidelock snapshots copy LOG#POSITION FOLDER`";
    Error::new(ErrorKind::Conflict, "stop", why).with_retry(Retry::Halt)
}

fn no_answer(said: &Said) -> Error {
    Error::new(ErrorKind::Bug, "ask the job", "this is no answer to what was asked")
        .with("answer", format!("{said:?}"))
}

/// Held while the job may still run: when it is gone, whoever waits for the job learns that it has ended.
#[derive(Debug)]
pub(crate) struct Lifetime(pub(crate) Handle);

impl Drop for Lifetime {
    fn drop(&mut self) {
        self.0.close();
    }
}
