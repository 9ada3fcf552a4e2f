//! What the processes of a job tell each other. JSON, because splits and committables are.

use serde::{Deserialize, Serialize};
use tidelock::coordinator::{Ended, Progress};
use tidelock::host::{News, Order, Report};
use tidelock::log::SnapshotId;
use tidelock::{Error, ErrorKind, JobId, Result, Retry, SplitId, Stored, Uid};

use crate::ask::{Ask, Said};
use crate::handle::SAVEPOINT;
use crate::stop::Failure;

/// A message and who sent it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mail {
    pub(super) from: usize,
    pub(super) content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Content {
    /// The graph is built. Process 0 compares.
    Hello(Hello),
    /// Nothing else to say.
    Alive,
    /// Too much is in flight here, or no longer: sources everywhere stop reading, or go on.
    Full(bool),
    /// So many bytes of the other's batches have arrived here, in all.
    Arrived(u64),
    Order(Order),
    Opened,
    Report(Report),
    SplitFinished {
        uid: Uid,
        id: SplitId,
        split: Stored,
    },
    NoFreePlace,
    Failed(Told),
    /// The coordinator has decided how the job ends, and needs no process any more for it.
    Decided,
    Ended(Ended),
    /// A user's wish or question in a process without the coordinator; answered by number.
    Ask {
        number: u64,
        ask: Ask,
    },
    Answer {
        number: u64,
        said: Result<Said, Told>,
    },
    /// How the job goes, to be shown.
    Progress(Progress),
    Bye,
}

/// What all processes must agree on before anything is claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) job: JobId,
    pub(crate) restored: Option<SnapshotId>,
    pub(crate) uids: Vec<Uid>,
}

/// A failure, as another process can be told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    uid: Option<Uid>,
    message: String,
    /// Savepoints that it names as not written.
    savepoints: Vec<String>,
    halt: bool,
    fenced: bool,
}

impl Told {
    pub(super) fn of(failure: &Failure) -> Self {
        Self { uid: failure.uid.clone(), ..Self::of_error(&failure.error) }
    }

    pub(super) fn of_error(error: &Error) -> Self {
        let savepoints = error.context().filter(|(key, _)| *key == SAVEPOINT).map(|(_, url)| url.to_owned());
        Self {
            uid: None,
            message: error.to_string(),
            savepoints: savepoints.collect(),
            halt: error.retry() == Retry::Halt,
            fenced: error.kind() == ErrorKind::Fenced,
        }
    }

    pub(super) fn into_failure(self, from: usize) -> Failure {
        let retry = if self.halt { Retry::Halt } else { Retry::Restart };
        let kind = if self.fenced { ErrorKind::Fenced } else { ErrorKind::Other };
        let error = Error::new(kind, "run in another process", self.message);
        let error = error.with_retry(retry).with("process", from);
        let name = |error: Error, url| error.with(SAVEPOINT, url);
        Failure { uid: self.uid, error: self.savepoints.into_iter().fold(error, name) }
    }
}

impl Content {
    /// `None` for news that only this process needs.
    pub(super) fn of_news(news: News) -> Option<Self> {
        Some(match news {
            News::Opened => Self::Opened,
            News::Report(report) => Self::Report(report),
            News::SplitFinished { uid, id, split } => Self::SplitFinished { uid, id, split },
            News::NoFreePlace => Self::NoFreePlace,
            _ => return None,
        })
    }
}

pub(super) fn encode(mail: &Mail) -> Result<Vec<u8>> {
    serde_json::to_vec(mail)
        .map_err(|error| Error::new(ErrorKind::Bug, "post", "a message cannot be written").because(error))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Mail> {
    serde_json::from_slice(bytes).map_err(|error| {
        let why = "a message of another process cannot be read: do all of them run the same build?";
        Error::new(ErrorKind::Config, "post", why).because(error)
    })
}
