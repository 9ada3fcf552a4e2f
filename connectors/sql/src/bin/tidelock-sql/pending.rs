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
        for pending in sinks().flat_map(|(_, pending)| pending) {
            let json = log.read_segment(&pending.committable).await?;
            let json = serde_json::from_slice(&json).map_err(|error| {
                let why = "something pending is not JSON";
                Error::new(ErrorKind::Corrupt, "read the log", why).with("log", url).because(error)
            })?;
            let stored = Stored { version: pending.version, json };
            // A job may have sinks of other systems and modes: their committables have other forms, or no transaction.
            let committable = stored.decode::<SqlCommittable>().ok();
            let transaction = committable.and_then(|one| one.transaction().cloned());
            transactions.extend(transaction.map(|transaction| (pending.epoch, transaction)));
        }
        let sinks = sinks().map(|(uid, _)| uid.clone()).collect();
        Ok(Self { job: entry.job, sinks, attempt: entry.attempt, transactions })
    }

    /// Whether the log lists a transaction.
    pub(crate) fn lists(&self, name: &TransactionName) -> bool {
        self.transactions.iter().any(|(_, listed)| listed == name)
    }

    /// Whether a sink of the log's job made a transaction.
    pub(crate) fn is_of_job(&self, name: &TransactionName) -> bool {
        self.sinks.iter().any(|uid| name.is_of(&self.job, uid))
    }
}
