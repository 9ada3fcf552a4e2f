//! An epoch in one local transaction, with the ledger's row of its job and sink.
//!
//! ```text
//!   BEGIN
//!   UPDATE ledger SET (generation, epoch) = version WHERE job, uid AND it is older    locks the row, and decides
//!   rows of all writers, in their order, as they come from the job's log: a batch at a time
//!   COMMIT                                                                            all of it is visible, or nothing
//! ```
//!
//! Where the ledger's row is not older, the epoch was applied before: by an answer that was lost, or a process that died.
//! So a transaction may be tried again whatever became of it, also when the connection was lost within `COMMIT`: what it
//! did stands in the row that it would move.
//!
//! An epoch may be larger than memory: a batch of it is read, written, and let go. Where one cannot be read, the connection is closed
//! and nothing of the epoch is visible.
//!
//! An epoch that violates a constraint is rolled back, and tried once more in halves, to find the rows that do it: see `refused`.
//! Where that is not enough, because a constraint is checked at `COMMIT` alone, the job halts.
//!
//! What this does not handle by itself is trying again: an error says whether it helps, and the coordinator does it, with
//! pauses that grow. The whole epoch comes again.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::write_ahead::{Apply, Version, WriteAheadCommittable, Writes};
use tidelock::{Error, ErrorKind, JobId, Pending, Result, Retry, Uid};

use crate::batch::{Batch, batches};
use crate::change::{Operation, StoredChange};
use crate::client::Client;
use crate::error::{Class, Fault};
use crate::halves::Halves;
use crate::kind::DatabaseKind;
use crate::refused::{REMEDY, Refused};
use crate::rights;
use crate::shape::Shape;
use crate::statement;
use crate::target::Target;
use crate::value::SqlValue;

const OPERATION: &str = "apply an epoch";

/// Applies epochs to the tables of a sink.
pub(crate) struct Ledger {
    pub(crate) target: Arc<Target>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Without savepoints: most epochs violate nothing.
    Whole,
    /// Rows that cannot be are found, and dealt with.
    InParts,
}

/// How far an epoch came.
enum Applied {
    /// It is visible, now or since before.
    Done,
    /// Rolled back: a row of it cannot be.
    Violated(Fault),
}

#[async_trait]
impl Apply for Ledger {
    type Record = StoredChange;

    async fn newest(&self, job: &JobId, uid: &Uid) -> Result<Option<Version>> {
        let target = &self.target;
        let ledger = target.ledger.quoted(target.dialect);
        let mut query = format!("SELECT generation, epoch FROM {ledger} WHERE job = ");
        target.dialect.place(&mut query, 1);
        query.push_str(" AND uid = ");
        target.dialect.place(&mut query, 2);
        let mut client = target.pool.get().await?;
        let found = client.query(&query, names(job, uid)).await;
        let rows = found.map_err(|fault| wrong(target, fault.during("read the ledger")))?;
        client.give_back();
        match rows.rows.first().map(Vec::as_slice) {
            None => Ok(None),
            Some([SqlValue::I64(generation), SqlValue::I64(epoch)]) => {
                match (u64::try_from(*generation), u64::try_from(*epoch)) {
                    (Ok(generation), Ok(epoch)) => {
                        let (generation, epoch) = (tidelock::Generation(generation), tidelock::Epoch(epoch));
                        Ok(Some(Version { generation, epoch }))
                    }
                    _ => Err(self.unreadable(job, uid)),
                }
            }
            Some(_) => Err(self.unreadable(job, uid)),
        }
    }

    async fn apply(&self, writes: Writes<StoredChange>) -> Result<()> {
        let shape = self.target.shape().await?;
        for way in [Way::Whole, Way::InParts] {
            let mut refused = Refused::new(&self.target, &shape, &writes);
            match self.transaction(&shape, &writes, way, &mut refused).await? {
                Applied::Done => {
                    refused.told();
                    return Ok(());
                }
                Applied::Violated(fault) if way == Way::InParts => return Err(refused.of_no_row(fault)),
                Applied::Violated(fault) => {
                    tracing::debug!(table = %shape.name, ?fault, "the epoch is tried again in parts");
                }
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// Makes the row of a job and its sink where there is none. From before the first record on it is there.
    pub(crate) async fn note(&self, job: &JobId, uid: &Uid) -> Result<()> {
        let (dialect, table) = (self.target.dialect, &self.target.ledger);
        let insert = dialect.insert_or_nothing(&table.quoted(dialect), "job, uid, generation, epoch", 4);
        let mut first = names(job, uid);
        first.extend([SqlValue::I64(0), SqlValue::I64(0)]);
        let mut client = self.target.pool.get().await?;
        let noted = client.execute(&insert, first).await;
        noted.map_err(|fault| wrong(&self.target, fault.during("write the ledger")))?;
        client.give_back();
        Ok(())
    }

    /// I7: whether something pending was applied says the row, which was there before it was prepared.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where there is none: this is another ledger, or somebody deleted the row.
    pub(crate) async fn check_noted(
        &self,
        job: &JobId,
        uid: &Uid,
        pending: &[Pending<WriteAheadCommittable>],
    ) -> Result<()> {
        if pending.is_empty() || self.newest(job, uid).await?.is_some() {
            return Ok(());
        }
        let version = |one: &Pending<WriteAheadCommittable>| (one.committable.generation(), one.epoch);
        let versions: BTreeSet<_> = pending.iter().map(version).collect();
        let shown: Vec<_> = versions
            .iter()
            .map(|(generation, epoch)| format!("epoch {epoch} of generation {generation}"))
            .collect();
        let why = "epochs are pending, and the ledger has no row of this job and sink, so that nobody knows which of them were \
                   applied, if any: ledger_table is another one than before, or was made anew, or the row was deleted";
        let last = versions.last().map_or_else(String::new, |(generation, _)| generation.to_string());
        let table = self.target.ledger.quoted(self.target.dialect);
        // Names have no quotes.
        let insert = format!(
            "INSERT INTO {table} (job, uid, generation, epoch) VALUES ('{job}', '{uid}', {last}, <EPOCH>)"
        );
        Err(Error::new(ErrorKind::Conflict, "recover in SQL", why)
            .with_retry(Retry::Halt)
            .with("table", &self.target.ledger)
            .with("job", job)
            .with("uid", uid)
            .with("pending", shown.join(", "))
            .with(
                "remedy",
                format_args!(
                    "configure the ledger_table, and the database, with which the job ran before. If that is lost: each pending epoch \
                     is in the table as a whole or not at all, in their order. Find the LAST one whose rows are there, and tell the \
                     ledger its number in the place of <EPOCH>, with its generation: {insert}; all after it are applied when the job \
                     starts. Only where the rows of none of them are there, generation and epoch are 0 and 0: what the ledger does \
                     not know of is applied again"
                ),
            ))
    }

    fn unreadable(&self, job: &JobId, uid: &Uid) -> Error {
        Error::new(ErrorKind::Corrupt, "read the ledger", "its row is none that this sink wrote")
            .with("table", &self.target.ledger)
            .with("job", job)
            .with("uid", uid)
    }

    /// I7: an epoch is taken for applied by a later one of its own history, and never by another history: whoever wrote that one
    /// has another log, or rolled back what this attempt has not.
    async fn check_applied(&self, writes: &Writes<StoredChange>) -> Result<()> {
        let newest = self.newest(&writes.job, &writes.uid).await?;
        let Some(newest) = newest.filter(|newest| newest.generation > writes.version.generation) else {
            return Ok(());
        };
        let why = "the ledger belongs to a newer history of this job and sink, so that the epoch was not applied and would be ignored: \
                   another process runs a job of this name with a log of its own, or with this one since a rollback";
        let remedy = "end one of them; two deployments that share a database need names of jobs or uids of their own. What is pending is \
                      given up with `tidelock snapshots abandon`, and read again after a rollback to a snapshot from before";
        Err(Error::new(ErrorKind::Conflict, OPERATION, why)
            .with_retry(Retry::Halt)
            .with("table", &self.target.ledger)
            .with("job", &writes.job)
            .with("uid", &writes.uid)
            .with("version", writes.version)
            .with("newest_in_ledger", newest)
            .with("remedy", remedy))
    }

    /// Applies the epoch in one transaction.
    async fn transaction(
        &self,
        shape: &Shape,
        writes: &Writes<StoredChange>,
        way: Way,
        refused: &mut Refused<'_>,
    ) -> Result<Applied> {
        let mut client = self.target.pool.get().await?;
        let wrong = |fault: Fault| {
            let error =
                fault.during(OPERATION).with("table", &shape.name).with("epoch", writes.version.epoch);
            match (error.kind(), error.retry()) {
                (ErrorKind::Auth, _) => shape.with_rights(error, "the epoch is kept, and will be applied"),
                // Such as a column that is not there any more: the epoch is durable, and comes again with each start.
                (_, Retry::Halt) => error.with("remedy", REMEDY),
                _ => error,
            }
        };
        client.run(self.target.dialect.begin).await.map_err(wrong)?;
        if !moves(&mut client, &self.target, (&writes.job, &writes.uid), writes.version).await? {
            client.run("ROLLBACK").await.map_err(wrong)?;
            client.give_back();
            self.check_applied(writes).await?;
            return Ok(Applied::Done);
        }
        let committed = match write(&mut client, shape, writes, way, refused).await? {
            Ok(()) => client.run("COMMIT").await.map(drop),
            Err(fault) => Err(fault),
        };
        match committed {
            Ok(()) => {
                client.give_back();
                Ok(Applied::Done)
            }
            Err(fault) if fault.class == Class::Violation => {
                // Where it fails, the connection is closed, which does the same.
                if client.run("ROLLBACK").await.is_ok() {
                    client.give_back();
                }
                Ok(Applied::Violated(fault))
            }
            // Whatever is begun there ends with the connection.
            Err(fault) => Err(wrong(fault)),
        }
    }
}

/// Moves the ledger's row to the version, if that is newer: one statement, which locks it.
pub(crate) async fn moves(
    client: &mut Client,
    target: &Target,
    (job, uid): (&JobId, &Uid),
    version: Version,
) -> Result<bool> {
    let (dialect, table) = (target.dialect, &target.ledger);
    let wrong = |fault: Fault| wrong(target, fault.during(OPERATION)).with("epoch", version.epoch);
    let number = |number: u64| match i64::try_from(number) {
        Ok(number) => Ok(SqlValue::I64(number)),
        Err(_) => Err(Error::new(ErrorKind::Bug, OPERATION, "a version is larger than the ledger's columns")),
    };
    let (generation, epoch) = (number(version.generation.0)?, number(version.epoch.0)?);
    let ledger = table.quoted(dialect);
    let mut update = format!("UPDATE {ledger} SET generation = ");
    for (at, next) in [
        ", epoch = ",
        " WHERE job = ",
        " AND uid = ",
        " AND (generation < ",
        " OR generation = ",
        " AND epoch < ",
        ")",
    ]
    .iter()
    .enumerate()
    {
        dialect.place(&mut update, at + 1);
        update.push_str(next);
    }
    let mut values = vec![generation.clone(), epoch.clone()];
    values.extend(names(job, uid));
    values.extend([generation.clone(), generation, epoch]);
    if client.execute(&update, values.clone()).await.map_err(wrong)? > 0 {
        return Ok(true);
    }
    // There is no row, or it is not older. A row that is older than everything decides between the two, whoever made it.
    let insert = dialect.insert_or_nothing(&ledger, "job, uid, generation, epoch", 4);
    let mut first = names(job, uid);
    first.extend([SqlValue::I64(0), SqlValue::I64(0)]);
    client.execute(&insert, first).await.map_err(wrong)?;
    Ok(client.execute(&update, values).await.map_err(wrong)? > 0)
}

/// An error of the ledger's table.
fn wrong(target: &Target, error: Error) -> Error {
    let (dialect, table) = (target.dialect, &target.ledger);
    let meanwhile = "nothing is lost, and what is pending is kept";
    let error = error.with("table", table);
    rights::told(error, dialect.kind, "SELECT, INSERT, UPDATE", &table.quoted(dialect), meanwhile)
}

fn names(job: &JobId, uid: &Uid) -> Vec<SqlValue> {
    vec![SqlValue::Text(job.as_str().to_owned()), SqlValue::Text(uid.as_str().to_owned())]
}

/// The changes that are for the table itself. What did not fit when it was written is for the table of dead letters.
fn for_table(shape: &Shape, changes: &[StoredChange]) -> impl Iterator<Item = Batch> {
    batches(shape.dialect, &shape.key, changes)
        .into_iter()
        .filter(|batch| batch.operation != Operation::Letter)
}

/// Writes all rows of an epoch and the letters of those that cannot be, a batch at a time.
///
/// # Errors
/// Where a batch cannot be read, or a row is refused for good: then whoever calls this lets the connection go.
async fn write(
    client: &mut Client,
    shape: &Shape,
    writes: &Writes<StoredChange>,
    way: Way,
    refused: &mut Refused<'_>,
) -> Result<Result<(), Fault>> {
    let mut batches = writes.batches();
    while let Some(changes) = batches.next().await? {
        refused.begin_batch(&changes);
        let written = match way {
            Way::Whole => write_whole(client, shape, &changes).await,
            Way::InParts => write_in_parts(client, shape, &changes, refused).await?,
        };
        let written = match written {
            Ok(()) => refused.write_letters(client).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = written {
            return Ok(Err(fault));
        }
        refused.end_batch(&changes);
    }
    Ok(Ok(()))
}

/// Writes the changes of a batch that are for the table itself.
pub(crate) async fn write_whole(
    client: &mut Client,
    shape: &Shape,
    changes: &[StoredChange],
) -> Result<(), Fault> {
    for batch in for_table(shape, changes) {
        for part in statement::parts(shape, changes, batch.changes) {
            write_part(client, shape, &changes[part]).await?;
        }
    }
    Ok(())
}

/// Runs one statement, or that of the user's own for each change.
pub(crate) async fn write_part(
    client: &mut Client,
    shape: &Shape,
    changes: &[StoredChange],
) -> Result<(), Fault> {
    if let Some(own) = &shape.own {
        return own.write(client, changes).await;
    }
    let (sql, values) = statement::of(shape, changes);
    let met = client.execute(&sql, values).await?;
    // In the table's definition, or in a trigger.
    let leaves_out = shape.dialect.kind == DatabaseKind::Sqlite && met < changes.len() as u64;
    if changes[0].operation == Operation::Insert && leaves_out {
        return Err(Fault::new(Class::Violation, "", "the table leaves the row out without an error"));
    }
    if changes[0].operation == Operation::Update && met == 0 {
        return Err(Fault::new(Class::Violation, "", "no row has the key of an update"));
    }
    Ok(())
}

/// As `write_whole`, and finds the rows that cannot be: what fails is taken back and tried in halves, in the order of the rows.
async fn write_in_parts(
    client: &mut Client,
    shape: &Shape,
    changes: &[StoredChange],
    refused: &mut Refused<'_>,
) -> Result<Result<(), Fault>> {
    for batch in for_table(shape, changes) {
        let mut left = Halves::of(vec![batch.changes]);
        while let Some(range) = left.next() {
            match try_part(client, shape, &changes[range.clone()]).await {
                Ok(None) => {}
                Ok(Some(fault)) => {
                    if let Some(at) = left.failed(range) {
                        refused.set_aside(at, &changes[at], fault)?;
                    }
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
    }
    Ok(Ok(()))
}

/// Writes rows, or nothing of them and gives why they cannot be.
async fn try_part(
    client: &mut Client,
    shape: &Shape,
    changes: &[StoredChange],
) -> Result<Option<Fault>, Fault> {
    client.run("SAVEPOINT tidelock").await?;
    let mut violation = None;
    for part in statement::parts(shape, changes, 0..changes.len()) {
        match write_part(client, shape, &changes[part]).await {
            Ok(()) => {}
            Err(fault) if fault.class == Class::Violation => {
                if let Err(end) = client.run("ROLLBACK TO SAVEPOINT tidelock").await {
                    // Whoever raised it took the whole transaction back, so that no row can be set aside.
                    return Err(if end.class == Class::Impossible { fault } else { end });
                }
                violation = Some(fault);
                break;
            }
            Err(fault) => return Err(fault),
        }
    }
    client.run("RELEASE SAVEPOINT tidelock").await?;
    Ok(violation)
}
