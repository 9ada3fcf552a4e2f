//! What the newest entry of a job's log says is pending in databases.

use tidelock::log::Log;
use tidelock::{Epoch, Error, ErrorKind, JobId, Position, Result, Stored, Uid};
use tidelock_sql::{SqlCommittable, TransactionName};

/// What is pending, and whose log says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The job.
    pub(crate) job: JobId,
    /// Its sinks, of all kinds.
    pub(crate) sinks: Vec<Uid>,
    /// Its newest attempt, which may be running.
    pub(crate) attempt: Position,
    /// The transactions with their epochs, in the order of the log.
    pub(crate) transactions: Vec<(Epoch, TransactionName)>,
    /// Sinks with something pending that this build cannot read: those of other systems, and of a newer build.
    pub(crate) unread: Vec<Uid>,
}

impl Pending {
    /// Reads the newest entry of a log. Changes nothing.
    pub(crate) async fn read(url: &str) -> Result<Self> {
        let log = Log::look(url).await?;
        let Some(entry) = log.newest().await? else {
            let why = "there is no log of a job";
            return Err(Error::new(ErrorKind::NotFound, "read the log", why).with("log", url));
        };
        let sinks = || entry.state.iter().flat_map(|state| &state.sinks);
        let mut transactions = Vec::new();
        let mut unread = Vec::new();
        for (uid, pending) in sinks().flat_map(|(uid, pending)| pending.iter().map(move |one| (uid, one))) {
            let json = log.read_segment(&pending.committable).await?;
            let json = serde_json::from_slice(&json).map_err(|error| {
                let why = "something pending is not JSON";
                Error::new(ErrorKind::Corrupt, "read the log", why).with("log", url).because(error)
            })?;
            let stored = Stored { version: pending.version, json };
            // A job may have sinks of other systems and modes: their committables have other forms, or no transaction.
            match stored.decode::<SqlCommittable>() {
                Ok(one) => {
                    transactions.extend(one.transaction().cloned().map(|name| (pending.epoch, name)));
                }
                Err(_) => unread.push(uid.clone()),
            }
        }
        let sinks = sinks().map(|(uid, _)| uid.clone()).collect();
        Ok(Self { job: entry.job, sinks, attempt: entry.attempt, transactions, unread })
    }

    /// Whether the log lists a transaction.
    pub(crate) fn lists(&self, name: &TransactionName) -> bool {
        self.transactions.iter().any(|(_, listed)| listed == name)
    }

    /// Whether the log may list a transaction in words that this build does not know.
    pub(crate) fn may_list(&self, name: &TransactionName) -> bool {
        self.unread.iter().any(|uid| name.is_of(&self.job, uid))
    }

    /// Whether a sink of the log's job made a transaction.
    pub(crate) fn is_of_job(&self, name: &TransactionName) -> bool {
        self.sinks.iter().any(|uid| name.is_of(&self.job, uid))
    }
}
