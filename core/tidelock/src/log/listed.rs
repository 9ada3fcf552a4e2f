//! What the newest entry of a log lists for sinks of one kind: for tools that look into a target.

use crate::{Error, ErrorKind, JobId, Pending, Position, Result, Stored, Uid, Versioned};

use super::Log;

/// What is pending in one kind of target, and whose log says so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed<C> {
    /// The job.
    pub job: JobId,
    /// Its newest attempt, which may be running.
    pub attempt: Position,
    /// Its sinks, of all kinds.
    pub sinks: Vec<Uid>,
    /// What was prepared and waits for its commit, in the order of the entry.
    pub pending: Vec<Pending<C>>,
    /// Sinks with something pending that is none of this type: those of other systems, and those of a newer build.
    pub unread: Vec<Uid>,
}

impl Log {
    /// What the newest entry says is pending for sinks whose committables are of this type. A job may have sinks of several systems:
    /// those with committables of other types are named. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where no job has written here, and [`ErrorKind::Corrupt`] for a damaged entry.
    pub async fn listed<C: Versioned>(&self) -> Result<Listed<C>> {
        let Some(entry) = self.newest().await? else {
            let why = "there is no log of a job";
            return Err(Error::new(ErrorKind::NotFound, "read the log", why).with("log", self.place()));
        };
        let sinks = || entry.state.iter().flat_map(|state| &state.sinks);
        let (mut pending, mut unread) = (Vec::new(), Vec::new());
        for (uid, one) in sinks().flat_map(|(uid, listed)| listed.iter().map(move |one| (uid, one))) {
            let json = self.read_segment(&one.committable).await?;
            let json = serde_json::from_slice(&json).map_err(|error| {
                let why = "something pending is not JSON";
                Error::new(ErrorKind::Corrupt, "read the log", why).with("log", self.place()).because(error)
            })?;
            match (Stored { version: one.version, json }).decode() {
                Ok(committable) => {
                    let (epoch, attempt, writer) = (one.epoch, one.attempt, one.writer);
                    pending.push(Pending { epoch, attempt, writer, committable });
                }
                Err(_) => unread.push(uid.clone()),
            }
        }
        let sinks = sinks().map(|(uid, _)| uid.clone()).collect();
        Ok(Listed { job: entry.job, attempt: entry.attempt, sinks, pending, unread })
    }
}

impl<C> Listed<C> {
    /// What a log lists, as a tool's test needs it.
    pub fn new(job: JobId, attempt: Position, sinks: Vec<Uid>, pending: Vec<Pending<C>>) -> Self {
        Self { job, attempt, sinks, pending, unread: Vec::new() }
    }
}
