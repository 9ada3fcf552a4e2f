//! Giving up prepared data, by a person and by name (I7).
//!
//! ```text
//!   p      the newest entry: lists what cannot or must not be committed any more
//!   p+1    claim: fences whoever runs the job
//!   p+2    the same positions without it, and what was given up by name
//! ```
//!
//! The positions in p+2 are *after* the records whose output is given up: they are lost to readers of the
//! target. That is why nothing but this, and a policy that the user chose by name, does it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, ErrorKind, JobId, Position, Result, Retry, Uid};

use super::{Created, Entry, EntryKind, Log, PendingState, ReadBack, State};

/// How often a position is asked for while others append, and while answers are lost.
const TRIES_MAX: u32 = 10;

const OPERATION: &str = "abandon prepared data";

/// What was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandonment {
    /// The claim that fenced whoever ran the job.
    pub claim: Position,
    /// The entry that no longer lists it.
    pub entry: Position,
    /// What was given up, by sink.
    pub lost: BTreeMap<Uid, Vec<PendingState>>,
}

impl Log {
    /// Gives up what the newest entry lists for the sinks `only`, or for all of them. `None` where it lists
    /// nothing: then nothing was changed. A running attempt is fenced; what it commits until it notices may
    /// still become visible, so stop the job first.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where the log is another job's or has no such sink;
    /// [`ErrorKind::Conflict`] where others appended meanwhile, again and again.
    pub async fn abandon(
        &self,
        job: &JobId,
        only: Option<&BTreeSet<Uid>>,
        now: jiff::Timestamp,
    ) -> Result<Option<Abandonment>> {
        for _ in 0..TRIES_MAX {
            let newest = self.newest_of(job).await?;
            let Some(Split { kept, lost }) = split(&newest, only)? else { return Ok(None) };
            let position = newest.position.next();
            let claim = Entry {
                position,
                attempt: position,
                kind: EntryKind::Claim,
                nonce: self.nonce(),
                created_at: now,
                abandoned: BTreeMap::new(),
                ..newest
            };
            // I5: the claim counts only if it is ours and nothing stands above it.
            if !self.append_surely(&claim).await? || self.positions().await?.last() != Some(&position) {
                continue;
            }
            // "Start" says that nothing is pending; with other sinks' data still listed it only confirms less.
            let kind = if kept.is_settled() { EntryKind::Start } else { EntryKind::Confirmation };
            let entry = Entry {
                position: position.next(),
                kind,
                nonce: self.nonce(),
                state: Some(kept),
                abandoned: lost.clone(),
                ..claim
            };
            if self.append_surely(&entry).await? {
                return Ok(Some(Abandonment { claim: position, entry: entry.position, lost }));
            }
            // Another attempt claimed in between and lists all of it again.
        }
        Err(Error::new(
            ErrorKind::Conflict,
            OPERATION,
            "another attempt claims the job again and again: stop it",
        )
        .with("log", self.place()))
    }

    /// What [`Log::abandon`] would give up now. Changes nothing.
    ///
    /// # Errors
    /// As [`Log::abandon`].
    pub async fn abandonable(
        &self,
        job: &JobId,
        only: Option<&BTreeSet<Uid>>,
    ) -> Result<BTreeMap<Uid, Vec<PendingState>>> {
        let newest = self.newest_of(job).await?;
        Ok(split(&newest, only)?.map(|split| split.lost).unwrap_or_default())
    }

    async fn newest_of(&self, job: &JobId) -> Result<Entry> {
        let newest = self.newest().await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OPERATION, "the log is empty").with("log", self.place())
        })?;
        check_job(&newest, job).map(|()| newest)
    }

    /// Appends one entry until it is known whether it stands. `false`: somebody else's does.
    async fn append_surely(&self, entry: &Entry) -> Result<bool> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            match self.create(entry).await {
                Ok(Created::Ours(_)) => return Ok(true),
                Ok(Created::Taken) => {}
                Err(error) => last = Some(error),
            }
            match self.read_back(entry.position, std::slice::from_ref(&entry.nonce)).await {
                Ok(ReadBack::Ours(..)) => return Ok(true),
                Ok(ReadBack::Foreign(_)) => return Ok(false),
                // Asked again with the same nonce and the same content: whichever arrives counts.
                Ok(ReadBack::Absent) => {}
                Err(error) if error.retry() == Retry::Halt => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        let unclear = Error::new(
            ErrorKind::Unavailable,
            OPERATION,
            "it is not known whether an entry was appended: look at the log, then ask again",
        );
        Err(last.unwrap_or(unclear).with("position", entry.position))
    }
}

fn check_job(newest: &Entry, job: &JobId) -> Result<()> {
    if newest.job == *job {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, OPERATION, "this log belongs to another job: nothing was changed")
        .with("job_of_the_log", &newest.job)
        .with("job", job))
}

/// A state without what is given up, and that.
struct Split {
    kept: State,
    lost: BTreeMap<Uid, Vec<PendingState>>,
}

/// `None` where nothing is given up.
fn split(newest: &Entry, only: Option<&BTreeSet<Uid>>) -> Result<Option<Split>> {
    let mut kept = newest.state.clone().unwrap_or_default();
    if let Some(unknown) = only.iter().copied().flatten().find(|uid| !kept.sinks.contains_key(*uid)) {
        return Err(Error::new(ErrorKind::Config, OPERATION, "the newest entry has no such sink")
            .with("uid", unknown)
            .with("position", newest.position));
    }
    let mut lost = BTreeMap::new();
    for (uid, pending) in &mut kept.sinks {
        let chosen = only.is_none_or(|only| only.contains(uid));
        if chosen && !pending.is_empty() {
            lost.insert(uid.clone(), std::mem::take(pending));
        }
    }
    Ok((!lost.is_empty()).then_some(Split { kept, lost }))
}
