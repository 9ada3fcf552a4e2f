//! Many rows, each statement by itself, and those of them that cannot be.
//!
//! A statement that fails has done nothing. One that was done before, and is sent again because its answer was lost, meets rows with
//! exactly its versions, and does nothing either.

use std::ops::Range;

use tidelock::{Error, ErrorKind, Result, Retry};

use super::plan::{Upserts, Versions};
use super::statement::{self, is_newer};
use crate::batch::{batches, parts};
use crate::change::{Fields, StoredChange};
use crate::client::Client;
use crate::error::{Class, Fault};
use crate::value::SqlValue;

const OPERATION: &str = "write rows";

/// Writes changes in their order. Of those that cannot be, gives where they stand and why: nothing of them was written. The last of them
/// has the newest version that this writer has given.
pub(super) async fn write(
    client: &mut Client,
    upserts: &Upserts,
    changes: &[StoredChange],
) -> Result<Vec<(usize, Fault)>> {
    let statements = batches(upserts.shape.dialect, &upserts.shape.key, changes);
    // The last is tried first.
    let mut left: Vec<Range<usize>> = statements.into_iter().flat_map(|batch| parts(batch.changes)).collect();
    left.reverse();
    let mut refused = Vec::new();
    let last = changes.last().map(|change| upserts.version_of(&change.row)).unwrap_or_default();
    while let Some(range) = left.pop() {
        let part = &changes[range.clone()];
        let violation = if statement::is_update(&part[0]) {
            update(client, upserts, &part[0], &last).await?
        } else {
            upsert(client, upserts, part, &last).await?
        };
        match violation {
            None => {}
            Some(fault) if range.len() == 1 => refused.push((range.start, fault)),
            Some(_) => {
                let middle = range.start + range.len() / 2;
                left.push(middle..range.end);
                left.push(range.start..middle);
            }
        }
    }
    refused.sort_by_key(|(place, _)| *place);
    Ok(refused)
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
    fault.during(OPERATION).with("table", &upserts.shape.name)
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
