//! Which transactions a job's log lists.

use tidelock::Epoch;
use tidelock::log::Listed;
use tidelock_sql::{SqlCommittable, TransactionName};

/// What the newest entry of a job's log says is pending in databases.
pub(crate) type Pending = Listed<SqlCommittable>;

/// The transactions with their epochs, in the order of the log. Rows in the ledger's mode wait in none.
pub(crate) fn transactions(pending: &Pending) -> impl Iterator<Item = (Epoch, &TransactionName)> {
    pending.pending.iter().filter_map(|one| Some((one.epoch, one.committable.transaction()?)))
}

/// Whether the log lists a transaction.
pub(crate) fn lists(pending: &Pending, name: &TransactionName) -> bool {
    transactions(pending).any(|(_, listed)| listed == name)
}

/// Whether the log may list a transaction in words that this build does not know.
pub(crate) fn may_list(pending: &Pending, name: &TransactionName) -> bool {
    pending.unread.iter().any(|uid| name.is_of(&pending.job, uid))
}

/// Whether a sink of the log's job made a transaction.
pub(crate) fn is_of_job(pending: &Pending, name: &TransactionName) -> bool {
    pending.sinks.iter().any(|uid| name.is_of(&pending.job, uid))
}
