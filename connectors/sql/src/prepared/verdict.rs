//! What became of a prepared transaction.
//!
//! ```text
//!   on the server's list                               Open    it waits for its end
//!   not on it, and its row is in the table             Done    committed, whoever did it
//!   neither, and a newer attempt was here              Superseded   it dealt with it
//!   neither, and its own attempt never was here        Elsewhere    this is another database, or the table is another one
//!   neither                                            Lost    rolled back: proven, as the row is written by the transaction
//! ```
//!
//! A server may leave a transaction out of its list while somebody ends it, and show the row a moment later: so the last three
//! are looked for several times.

use std::time::Duration;

use tidelock::{Error, ErrorKind, Pending, Result, Retry, SinkAttempt};

use crate::client::Client;
use crate::committable::Branch;
use crate::error::{Class, Fault};
use crate::kind::DatabaseKind;
use crate::prepared::name::TransactionName;
use crate::prepared::registry::{Newest, Registry};
use crate::prepared::{preflight, wire};
use crate::target::Target;

/// How long is waited before each look.
const PAUSES_MS: [u64; 5] = [0, 20, 100, 400, 1_500];

/// What became of a prepared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    Done,
    Superseded(Newest),
    Elsewhere,
    Lost,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
    /// This attempt: one that is newer dealt with what is not there.
    Attempt(&'a SinkAttempt),
    /// Somebody who runs no attempt.
    Nobody,
}

/// Finds out what became of a transaction.
pub(super) async fn examine(
    target: &Target,
    client: &mut Client,
    name: &TransactionName,
    who: Who<'_>,
) -> Result<Verdict> {
    let registry = Registry::of(target);
    for pause in PAUSES_MS {
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        // In this order: one that is committed between both looks is in the second one.
        let listing = wire::list(client, target.dialect.kind).await.map_err(preflight::cannot_list)?;
        if listing.ours.contains(name) {
            return Ok(Verdict::Open);
        }
        if registry.has(client, name).await? {
            return Ok(Verdict::Done);
        }
    }
    if name.database != target.tag() {
        return Ok(Verdict::Elsewhere);
    }
    let newest = registry.newest(client, &name.owner).await?;
    Ok(gone(name, newest, who))
}

/// What became of one that is neither on the list nor in the table.
fn gone(name: &TransactionName, newest: Option<Newest>, who: Who<'_>) -> Verdict {
    match (newest, who) {
        (Some(newest), Who::Attempt(ours)) if newest > Newest::of(ours) => Verdict::Superseded(newest),
        // Each attempt is noted before it writes.
        (Some(newest), _) if newest.attempt >= name.attempt => Verdict::Lost,
        _ => Verdict::Elsewhere,
    }
}

const LOST: &str = "the transaction was rolled back after it was prepared: it is not among the prepared ones, and the row that \
                    it would have left in the table of transactions is not there";

/// What to do about rows that are lost. A log retains its newest checkpoints alone, and all of them may be younger.
const GIVE_UP: &str = "give it up with `tidelock snapshots abandon`, and start the job from a settled snapshot from before this epoch: its rows are read \
                       and written again. Where no snapshot from before it is left, begin with another job id and other checkpoints, and an empty \
                       table; or start the job as it is, and its rows stay missing";

/// The error of a transaction that cannot be committed any more.
pub(super) fn cannot_commit(target: &Target, found: Verdict, one: &Pending<Branch>) -> Error {
    let branch = &one.committable;
    let error = |kind: ErrorKind, why: &str, remedy: &str| {
        Error::new(kind, "commit in SQL", why)
            .with_retry(Retry::Halt)
            .with("transaction", &branch.transaction)
            .with("epoch", one.epoch)
            .with("changes", branch.changes)
            .with("place", &target.config.database)
            .with("table", &target.transactions)
            .with("remedy", remedy)
    };
    match found {
        Verdict::Superseded(newest) => error(
            ErrorKind::Conflict,
            "the transaction is not there, and a newer attempt of the job was",
            "nothing, where another process runs the job now",
        )
        .with("newer_attempt", newest.attempt),
        Verdict::Elsewhere => error(
            ErrorKind::Config,
            "what is pending was not prepared in this database, or its table of transactions was replaced",
            "configure the database and the transactions_table with which the job ran before",
        ),
        Verdict::Open | Verdict::Done | Verdict::Lost if target.dialect.kind == DatabaseKind::MySql => error(
            ErrorKind::Expired,
            LOST,
            &format!(
                "start the server again first, if it may have answered a commit that it did not do: then it lists the transaction \
                 again. Otherwise {GIVE_UP}"
            ),
        ),
        Verdict::Open | Verdict::Done | Verdict::Lost => error(ErrorKind::Expired, LOST, GIVE_UP),
    }
}

/// The error of a transaction that somebody else holds at this moment.
pub(super) fn is_held(name: &TransactionName) -> Error {
    let why = "the transaction is prepared, and the server lets nobody end it yet: the connection that prepared it is open \
               still, or somebody else is ending it";
    Error::new(ErrorKind::Unavailable, "end a transaction in SQL", why)
        .with_retry(Retry::Retry)
        .with("transaction", name)
}

/// The error of a server that answered well and did nothing: see the trap of MariaDB in `wire`.
pub(super) fn not_done(name: &TransactionName) -> Error {
    let why = "the server answered that it committed the transaction, and the row that it wrote is not there: InnoDB has it \
               prepared still, and the server does not list it any more";
    Error::new(ErrorKind::Conflict, "commit in SQL", why).with_retry(Retry::Halt).with("transaction", name).with(
        "remedy",
        "start the server again: then it lists the transaction again. Start the job afterwards, and it commits it",
    )
}

/// The error of a server that does not end a transaction.
pub(super) fn refused(fault: Fault, name: &TransactionName, operation: &'static str) -> Error {
    let is_refused = fault.class == Class::Refused;
    let error = fault.during(operation).with("transaction", name);
    if is_refused {
        return error
            .with("remedy", "connect as the user who prepared it: the server lets nobody else end it");
    }
    error
}

#[cfg(test)]
mod tests {
    use tidelock::{Generation, JobId, Position, Uid};

    use super::*;

    #[test]
    fn what_is_gone_is_lost_only_where_nothing_else_can_have_happened() {
        let name = TransactionName::parse("tidelock:a.out:5.0.1:0000001f").expect("a name");
        let attempt = |generation, number| SinkAttempt {
            job: JobId::new("a").expect("a job"),
            uid: Uid::new("out").expect("a uid"),
            number: Position(number),
            generation: Generation(generation),
            chunks: None,
        };
        let newest = |generation, attempt| {
            Some(Newest { generation: Generation(generation), attempt: Position(attempt) })
        };
        let (five, six) = (attempt(1, 5), attempt(1, 6));
        for (noted, who, expected) in [
            (newest(1, 5), Who::Attempt(&five), Verdict::Lost),
            (newest(1, 6), Who::Attempt(&six), Verdict::Lost),
            (newest(1, 5), Who::Nobody, Verdict::Lost),
            (newest(1, 6), Who::Nobody, Verdict::Lost),
            (newest(1, 6), Who::Attempt(&five), Verdict::Superseded(newest(1, 6).expect("one"))),
            (newest(2, 1), Who::Attempt(&five), Verdict::Superseded(newest(2, 1).expect("one"))),
            (newest(1, 4), Who::Attempt(&six), Verdict::Elsewhere),
            (None, Who::Attempt(&five), Verdict::Elsewhere),
            (None, Who::Nobody, Verdict::Elsewhere),
        ] {
            assert_eq!(gone(&name, noted, who), expected, "{noted:?} {who:?}");
        }
    }
}
