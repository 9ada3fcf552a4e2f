//! What a user asks of a running job. Data, because the job may be led by another process.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::coordinator::{Control, Progress};
use tidelock::job::Settings;
use tidelock::log::SnapshotId;
use tidelock::{Error, ErrorKind};
use tokio::sync::{mpsc, oneshot, watch};

/// One wish or question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    End(End),
    Checkpoint,
    Savepoint { url: String },
    Settings,
    SetSettings(Settings),
}

/// How users want the job to end: a wish that outlives the attempt it was told to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The folders of the savepoints that are written then.
    pub(crate) savepoints: BTreeSet<String>,
    /// Nobody waits for a barrier or a savepoint.
    pub(crate) at_once: bool,
}

impl End {
    pub(crate) fn stop(savepoint: Option<&str>) -> Self {
        Self { savepoints: savepoint.map(str::to_owned).into_iter().collect(), at_once: false }
    }

    pub(crate) fn cancel() -> Self {
        Self { at_once: true, ..Self::default() }
    }

    /// What is wished once `later` is wished too. Whoever wants the job to end takes away neither the savepoints
    /// that others asked for, nor the haste.
    pub(crate) fn join(&mut self, later: Self) {
        self.savepoints.extend(later.savepoints);
        self.at_once |= later.at_once;
    }

    async fn tell(&self, control: &Control) -> Result<()> {
        for url in &self.savepoints {
            control.stop(Some(url)).await?;
        }
        if self.at_once {
            control.cancel().await;
            return Ok(());
        }
        control.stop(None).await
    }
}

/// What the job answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Heard,
    Taken(SnapshotId),
    Settings(Settings),
}

impl Ask {
    /// Asks the coordinator of this process.
    pub(crate) async fn of(self, control: &Control) -> Result<Said> {
        Ok(match self {
            Self::End(end) => {
                end.tell(control).await?;
                Said::Heard
            }
            Self::Checkpoint => Said::Taken(control.checkpoint().await?),
            Self::Savepoint { url } => Said::Taken(control.savepoint(&url).await?),
            Self::Settings => Said::Settings(control.settings()),
            Self::SetSettings(settings) => {
                control.set_settings(settings)?;
                Said::Heard
            }
        })
    }
}

/// Something that was asked in a process without the coordinator, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) ask: Ask,
    pub(crate) answer: oneshot::Sender<Result<Said>>,
}

/// The coordinator in another process, as this one reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Far {
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Far {
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Said> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question { ask, answer }).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Nobody is there to answer.
pub(crate) fn ended() -> Error {
    Error::new(ErrorKind::Conflict, "ask the job", "the job has ended")
}
