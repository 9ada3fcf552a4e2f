//! Whose items of the ledger these are, and what is said where they are not as they must be.

use tidelock::write_ahead::Version;
use tidelock::{DELIMITER, Error, ErrorKind, JobId, Result, Retry, Uid};

use super::state::Claim;
use crate::mark::Mark;

const READ: &str = "read the ledger";
pub(super) const APPLY: &str = "apply an epoch";
const RECOVER: &str = "recover in DynamoDB";

/// What to do about changes that can be applied no more.
pub(super) const GIVE_UP: &str = "give it up with `tidelock snapshots abandon`, then roll back to a snapshot from before it, which reads and writes it \
     again: items that are put and deleted end as they must, and what was added may count twice. Where no snapshot from before it is left, begin \
     with another job id and other checkpoints, and an empty table for what is added; or start the job as it is, without what was given up";

/// The items of a job and its sink.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) job: JobId,
    pub(super) uid: Uid,
    /// The table that is written.
    pub(super) table: String,
    pub(super) ledger: String,
}

impl Place {
    /// Names have no delimiter.
    pub(super) fn head(&self) -> String {
        format!("{}{DELIMITER}{}", self.job, self.uid)
    }

    pub(super) fn lane(&self, lane: u32) -> String {
        format!("{}{DELIMITER}{lane}", self.head())
    }

    pub(super) fn named(&self, error: Error) -> Error {
        error.with("table", &self.table).with("ledger_table", &self.ledger).with("item", self.head())
    }

    fn conflict(&self, operation: &'static str, why: &str) -> Error {
        self.named(Error::new(ErrorKind::Conflict, operation, why).with_retry(Retry::Halt))
    }

    /// I7: what is pending cannot go to another table, where nothing of it is.
    pub(super) fn check_table(&self, prepared: &Mark, found: &Mark) -> Result<()> {
        if prepared.is(found) {
            return Ok(());
        }
        let why = "epochs are pending that are for another table than the one which is configured, or for one of this name that was made anew or \
                   restored since: a part of them may be applied there, and the rest belongs to it";
        let remedy = format!(
            "configure the table with which the job ran before, until it is stopped: then nothing is pending. If that table is gone, {GIVE_UP}"
        );
        let error = self.conflict(RECOVER, why).with("setting", "table");
        Err(error.with("pending_for", prepared).with("found", found).with("remedy", remedy))
    }

    /// I7: whether something was applied says the ledger with which it was prepared. `None`: there is none.
    pub(super) fn check_ledger(&self, prepared: &Mark, found: Option<&Mark>) -> Result<()> {
        match found {
            Some(found) if prepared.is(found) => Ok(()),
            Some(found) => {
                let why = "epochs are pending, and the ledger is another table than when they were prepared, so that nobody knows what of them was \
                           applied: another one is configured, or it was made anew or restored from a backup";
                Err(self.no_ledger(why).with("prepared_with", prepared).with("found", found))
            }
            None => {
                let why = "epochs are pending, and the ledger is gone, so that nobody knows what of them was applied";
                Err(self.no_ledger(why).with("prepared_with", prepared))
            }
        }
    }

    fn no_ledger(&self, why: &str) -> Error {
        let remedy = format!(
            "configure the ledger_table with which the job ran before. If that is lost, what is pending may be applied or not: {GIVE_UP}"
        );
        self.conflict(RECOVER, why).with("setting", "ledger_table").with("remedy", remedy)
    }

    /// I7: what was promised by an item that is gone, or older than it was, is not known any more.
    pub(super) fn lost(&self, what: &str) -> Error {
        let why = "the ledger has nothing of this job and sink, or something older than was there before: it was made anew, restored, or changed by hand";
        self.no_ledger(why).with("so", what)
    }

    /// I5: somebody newer owns the sink.
    pub(super) fn fenced(&self, operation: &'static str, ours: Claim, theirs: Claim) -> Error {
        let why = "a newer attempt has claimed the ledger: it owns the job, and this one must end; or the job's log was lost or replaced, and then \
                   roll back to the newest snapshot, which begins a new generation, when the clock is past the one in the ledger";
        self.conflict(operation, why).with("ours", ours).with("newer", theirs)
    }

    /// I7: an epoch is taken for applied by a later one of its own history, and never by another history.
    pub(super) fn ignored(&self, version: Version, newest: Version) -> Error {
        let why = "the ledger belongs to a newer history of this job and sink, so that the epoch would be ignored: another process runs a job of this \
                   name with a log of its own, or with this one since a rollback";
        let remedy = format!(
            "end one of them; two deployments that share a ledger need names of jobs or uids of their own. If something is pending, {GIVE_UP}"
        );
        let error = self.conflict(APPLY, why).with("version", version);
        error.with("newest_in_ledger", newest).with("remedy", remedy)
    }

    /// A replay must be cut as it was cut before.
    pub(super) fn changed(&self, version: Version, what: &str) -> Error {
        let why = format!("an epoch that is applied in part is not what it was when it was begun: {what}");
        self.named(Error::new(ErrorKind::Corrupt, APPLY, why)).with("version", version)
    }

    /// The text of an item cannot be read.
    pub(super) fn damaged(&self, id: &str) -> Error {
        let why =
            "an item of the ledger is damaged, or a newer build wrote it: nobody knows what was applied";
        let remedy = "take the newest build, or restore the item's attribute `state` as it was; it is the last thing that this sink wrote to it";
        self.named(Error::new(ErrorKind::Corrupt, READ, why)).with("damaged", id).with("remedy", remedy)
    }
}
