//! How an attempt ends by itself: what its user is told, and what is left to do once the closed entry stands.

use std::collections::BTreeMap;

use super::control::Ended;
use super::run::Running;
use crate::job::OnCancel;
use crate::log::{Closed, Entry};
use crate::protocol::End;
use crate::retry::in_time;
use crate::{Epoch, Error, ErrorKind, Result, Retry};

const SNAPSHOTS_LEFT: &str = "the job is cancelled and everything is committed; only some of its snapshots could not be \
     deleted: do not start the job again for it, but delete them with `tidelock snapshots delete LOG#POSITION`";

impl Running {
    /// The attempt is over.
    pub(super) async fn finish(&mut self, end: End) -> Result<Ended> {
        let closed = match end {
            End::Closed(closed) => closed,
            End::WasFinished => Closed::Finished,
            End::Fenced { position } => return Err(self.fenced(position)),
            End::TooManyFailures { epoch } => return Err(self.too_many_failures(epoch)),
            End::WouldExpire { epoch } => return Err(self.would_expire(epoch)),
            End::HostBroke { promise } => {
                return Err(
                    Error::new(ErrorKind::Bug, "run", "the host broke a promise").with("promise", promise)
                );
            }
        };
        // Also where the job had finished before, and its host was never opened.
        self.link.cut();
        let was_finished = self.standing.newest().is_none();
        let last = self.standing.below().cloned();
        let last = last.ok_or_else(|| Error::new(ErrorKind::Bug, "end", "the job ended without an entry"))?;
        self.write_savepoints(&last).await?;
        if closed == Closed::Cancelled && self.config.on_cancel == OnCancel::Delete {
            let deleting = self.log.delete_below_closed(&last);
            let deleted = in_time("delete snapshots", self.deadlines.call_timeout(), deleting).await;
            deleted.map_err(|error| self.only_not(SNAPSHOTS_LEFT, &last, error))?;
        }
        Ok(Ended { closed, snapshot: last.snapshot_id(), was_finished, unread: BTreeMap::new() })
    }

    /// The closed entry stands, and something after it failed. Whoever would start again for that would run a
    /// job that its user has stopped.
    pub(super) fn only_not(&self, what: &str, last: &Entry, error: Error) -> Error {
        Error::new(error.kind(), "stop", what)
            .with_retry(Retry::Halt)
            .with("log", self.log.place())
            .with("position", last.position)
            .because(error)
    }

    fn too_many_failures(&mut self, epoch: Epoch) -> Error {
        let error = Error::new(
            ErrorKind::Unavailable,
            "checkpoint",
            "too many checkpoints in a row took too long or could not be stored",
        )
        .with("epoch", epoch)
        .with("timeout", format_args!("{:?}", self.schedule.settings().timeout));
        self.requests.explain(error)
    }

    fn would_expire(&self, epoch: Epoch) -> Error {
        Error::new(
            ErrorKind::Expired,
            "checkpoint",
            "prepared data would expire before it could be committed; nothing is lost: the job restarts from the \
             snapshot before. Checkpoint more often, or let the target keep prepared data for longer",
        )
        .with_retry(Retry::Restart)
        .with("epoch", epoch)
        .with("commit_margin", format_args!("{:?}", self.config.commit_margin))
    }

    /// An attempt that was told to stop could not begin, and there is nothing to stop with a checkpoint yet.
    pub(super) fn never_began(&self) -> Error {
        let why = "the job was told to stop before it had begun, and what it waits for does not come: it ends as in a crash, nothing of \
                   this start was read, and the next start recovers";
        let error = Error::new(ErrorKind::Unavailable, "begin", why);
        let waiting = self.recovering.iter().filter_map(|sink| self.sinks.get(usize::from(*sink)));
        waiting.fold(error, |error, uid| error.with("uid", uid))
    }

    /// A host that was told to open has not, and its time is over.
    pub(super) fn never_opened(&self) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            "open",
            "the host did not open its readers, operators and writers in time: a sink, a source or a restore hangs",
        )
        .with("call_timeout", format_args!("{:?}", self.deadlines.call_timeout()))
    }
}
