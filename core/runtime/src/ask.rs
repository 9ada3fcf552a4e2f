//! What a user asks of a running job. Data, because the job may be led by another process.

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

/// How the user wants the job to end: a wish that outlives the attempt it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Stop { savepoint: Option<String> },
    Cancel,
}

impl End {
    /// What is wished once `later` is wished too. Whoever wants the job to stop takes away neither the savepoint
    /// that somebody else asked for, nor the haste.
    pub(crate) fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Stop { savepoint: first }, Self::Stop { savepoint }) => {
                Self::Stop { savepoint: savepoint.or(first) }
            }
            (Self::Cancel, _) | (_, Self::Cancel) => Self::Cancel,
        }
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
            Self::End(End::Stop { savepoint }) => {
                control.stop(savepoint.as_deref()).await;
                Said::Heard
            }
            Self::End(End::Cancel) => {
                control.cancel().await;
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
