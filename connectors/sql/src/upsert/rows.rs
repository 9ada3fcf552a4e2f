//! Many rows in one transaction, and those of them that cannot be.
//!
//! ```text
//!   changes ──> the last states of their keys ──> statements, in one transaction ──> committed: all are there
//!                  a row cannot be: rolled back; each half of the changes by itself, the first one first
//!                                                 ... until it is one change: that one is refused
//! ```
//!
//! What is halved are the changes as they came, and not what was sent of them: where the last state of a key cannot be, the one before it
//! is written, and a change that needs what another one left for a while, such as a row for its foreign key, finds it. So a change
//! is refused when it was tried by itself, with all before it in the table.
//!
//! A transaction that was done before, and is sent again because its answer was lost, meets rows with its versions, or newer ones, and
//! does nothing.

use std::ops::Range;

use tidelock::{Error, ErrorKind, Result, Retry};

use super::last::last_states;
use super::plan::{Upserts, Versions};
use super::statement::{self, is_newer};
use crate::batch::{batches, parts};
use crate::change::{Fields, StoredChange};
use crate::client::{Client, Pool};
use crate::error::{Class, Fault};
use crate::halves::Halves;
use crate::value::SqlValue;

const OPERATION: &str = "write rows";

/// How many changes are one transaction: others wait for its locks, and on SQLite for the file.
const TOGETHER_MAX: usize = 4096;

/// Writes changes in their order. Of those that cannot be, gives where they stand and why: nothing of them was written. The last of them
/// has the newest version that this writer has given.
pub(super) async fn write(
    pool: &Pool,
    upserts: &Upserts,
    changes: &[StoredChange],
) -> Result<Vec<(usize, Fault)>> {
    let begins = (0..changes.len()).step_by(TOGETHER_MAX);
    let each = begins.map(|begin| begin..changes.len().min(begin + TOGETHER_MAX));
    let mut left = Halves::of(each.collect());
    let mut refused = Vec::new();
    let last = changes.last().map(|change| upserts.version_of(&change.row)).unwrap_or_default();
    while let Some(range) = left.next() {
        if let Some(fault) = together(pool, upserts, &changes[range.clone()], &last).await? {
            refused.extend(left.failed(range).map(|at| (at, fault)));
        }
    }
    Ok(refused)
}

/// Writes what changes end with, or nothing of it and gives why it cannot be.
async fn together(
    pool: &Pool,
    upserts: &Upserts,
    changes: &[StoredChange],
    last: &[SqlValue],
) -> Result<Option<Fault>> {
    let (shape, sent) = (&upserts.shape, last_states(upserts, changes));
    let statements = batches(shape.dialect, &shape.key, &sent).into_iter();
    let statements: Vec<Range<usize>> = statements.flat_map(|batch| parts(batch.changes)).collect();
    let mut client = pool.get().await?;
    // One statement is a transaction by itself.
    if let [_] = statements[..] {
        let violation = write_alike(&mut client, upserts, &sent, last).await?;
        client.give_back();
        return Ok(violation);
    }
    client.run(shape.dialect.begin).await.map_err(|fault| wrong(upserts, fault))?;
    let mut violation = None;
    for part in statements {
        violation = write_alike(&mut client, upserts, &sent[part], last).await?;
        if violation.is_some() {
            break;
        }
    }
    if violation.is_none() {
        violation = match client.run("COMMIT").await {
            Ok(_) => None,
            // By a constraint that is deferred.
            Err(fault) if fault.class == Class::Violation => Some(fault),
            Err(fault) => return Err(wrong(upserts, fault)),
        };
        if violation.is_none() {
            client.give_back();
            return Ok(None);
        }
    }
    // Where it fails, the connection is closed, which does the same.
    if client.run("ROLLBACK").await.is_ok() {
        client.give_back();
    }
    Ok(violation)
}

/// Writes rows by one statement, or gives why they cannot be.
async fn write_alike(
    client: &mut Client,
    upserts: &Upserts,
    changes: &[StoredChange],
    last: &[SqlValue],
) -> Result<Option<Fault>> {
    if statement::is_update(&changes[0]) {
        update(client, upserts, &changes[0], last).await
    } else {
        upsert(client, upserts, changes, last).await
    }
}

/// Makes or changes rows, or gives why they cannot be.
async fn upsert(
    client: &mut Client,
    upserts: &Upserts,
    changes: &[StoredChange],
    last: &[SqlValue],
) -> Result<Option<Fault>> {
    let (sql, values) = statement::upsert(upserts, changes);
    let answered = match client.execute(&sql, values).await {
        Ok(answered) => answered,
        Err(fault) if fault.class == Class::Violation => return Ok(Some(fault)),
        Err(fault) => return Err(wrong(upserts, fault)),
    };
    if upserts.shape.dialect.all_were_newer(answered, changes.len()) {
        return Ok(None);
    }
    // Some row was not changed: it has our version, from an answer that was lost, or a newer one; or the table left it out.
    if let Some((sql, values)) = statement::superseding(upserts, changes, last) {
        let found = client.query(&sql, values).await.map_err(|fault| wrong(upserts, fault))?;
        if let Some(mut row) = found.rows.into_iter().next() {
            let theirs = row.remove(0);
            let key = upserts.shape.key.iter().map(|part| part.as_str().into()).zip(row).collect();
            return Err(superseded(upserts, &theirs, &Fields(key), &changes[0]));
        }
    }
    let (sql, values) = statement::count_there(upserts, changes);
    let found = client.query(&sql, values).await.map_err(|fault| wrong(upserts, fault))?;
    let there = found.rows.first().and_then(|row| row.first());
    let all = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    if matches!(there, Some(SqlValue::I64(there)) if *there >= all) {
        return Ok(None);
    }
    // In the table's definition, or in a trigger.
    Ok(Some(Fault::new(Class::Violation, "", "the table leaves the row out without an error")))
}

/// Changes a row, or gives why it cannot be.
async fn update(
    client: &mut Client,
    upserts: &Upserts,
    change: &StoredChange,
    last: &[SqlValue],
) -> Result<Option<Fault>> {
    let (sql, values) = statement::update(upserts, change);
    match client.execute(&sql, values).await {
        Ok(0) => {}
        Ok(_) => return Ok(None),
        Err(fault) if fault.class == Class::Violation => return Ok(Some(fault)),
        Err(fault) => return Err(wrong(upserts, fault)),
    }
    let (sql, values) = statement::row_there(upserts, change);
    let found = client.query(&sql, values).await.map_err(|fault| wrong(upserts, fault))?;
    let refused = |why: &str| Ok(Some(Fault::new(Class::Violation, "", why)));
    let Some(there) = found.rows.into_iter().next() else {
        return refused("no row has the key of an update");
    };
    let ours = upserts.version_of(&change.row);
    let theirs = &there[..ours.len().min(there.len())];
    if is_newer(theirs, &ours) || theirs == ours.as_slice() {
        return match &upserts.versions {
            Versions::Attempt { .. } if is_newer(theirs, last) => {
                Err(superseded(upserts, &theirs[0], &change.row, change))
            }
            _ => Ok(None),
        };
    }
    match &upserts.tombstone {
        // What an older attempt deleted may be what follows in the replay: the row stays deleted, as that attempt left it, so that
        // the next update of it is no surprise either.
        Some(tombstone) if there.last() != Some(&tombstone.live) => match &upserts.versions {
            Versions::Attempt { .. } if theirs[0] != ours[0] => Ok(None),
            _ => refused("the row of an update was deleted"),
        },
        // Somebody else changed it between the two statements.
        _ => Err(wrong(upserts, Fault::new(Class::Contended, "", "a row changed while it was updated"))),
    }
}

fn wrong(upserts: &Upserts, fault: Fault) -> Error {
    let error = fault.during(OPERATION).with("table", &upserts.shape.name);
    upserts.shape.with_rights(error, "what was not written is read and written again")
}

/// I5, I7: what would be passed over is told.
fn superseded(upserts: &Upserts, theirs: &SqlValue, key: &Fields, change: &StoredChange) -> Error {
    let ours = upserts.version_of(&change.row);
    let (why, what_to_do) = if *theirs == ours[0] {
        (
            "a row has a number of this attempt that this writer has not reached, so that this one changes nothing there: another writer \
             has changes of the same key, or the job's log was made anew by a clock that is behind",
            "let all changes of a key come to one writer. If the log was made anew",
        )
    } else {
        (
            "a row was written by an attempt that is newer than this one, so that this one changes nothing there: a newer attempt \
             owns the job, or the row was written by a job with another log",
            "start the job with the log that it ran with before. If that log is lost, or the job is a fork that takes the table over",
        )
    };
    let table = upserts.shape.name.quoted(upserts.shape.dialect);
    let mut reset = format!("UPDATE {table} SET ");
    for (at, column) in upserts.version_columns().into_iter().enumerate() {
        reset.push_str(if at == 0 { "" } else { ", " });
        upserts.shape.dialect.quote(&mut reset, column);
        reset.push_str(" = 0");
    }
    let shown = crate::value::Shown(theirs).to_string();
    Error::new(ErrorKind::Conflict, OPERATION, why)
        .with_retry(Retry::Halt)
        .with("table", &upserts.shape.name)
        .with("key", upserts.shape.shown_key(key))
        .with("its_attempt", shown)
        .with("our_attempt", crate::value::Shown(&ours[0]))
        .with(
            "remedy",
            format_args!("{what_to_do}, and nobody else writes to it, let the rows begin anew: {reset}"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_from_left_to_right() {
        let version = |one: u64, other: u64| vec![SqlValue::from(one), SqlValue::from(other)];
        for (newer, older) in [
            (version(2, 1), version(1, 500)),
            (version(10, 1), version(9, 9)),
            (version(1, 2), version(1, 1)),
            (version(u64::MAX, 0), version(i64::MAX as u64, 7)),
        ] {
            assert!(is_newer(&newer, &older) && !is_newer(&older, &newer));
            assert!(!is_newer(&newer, &newer), "an equal one is not newer");
        }
    }
}
