//! Many rows in the open transaction of a writer, and those of them that cannot be.
//!
//! On PostgreSQL an error makes the whole transaction void, so that what is tried is between savepoints: one for all rows that
//! are written at once, because each costs the server something until the transaction ends, and halves of them where a row
//! cannot be. On MySQL and MariaDB a statement that fails has done nothing, and what is tried is one statement.

use std::ops::Range;

use crate::batch::batches;
use crate::change::StoredChange;
use crate::client::Client;
use crate::error::{Class, Fault};
use crate::halves::Halves;
use crate::kind::DatabaseKind;
use crate::ledger::write_part;
use crate::shape::Shape;
use crate::statement;

/// Writes changes in their order. Of those that cannot be, gives where they stand and why: nothing of them was written.
pub(super) async fn write(
    client: &mut Client,
    shape: &Shape,
    changes: &[StoredChange],
) -> Result<Vec<(usize, Fault)>, Fault> {
    let mut refused = Vec::new();
    // A statement's rows are a power of two, and so are the halves: each is one statement again.
    let mut left = Halves::of(match shape.dialect.kind {
        DatabaseKind::MySql => statements(shape, changes, 0..changes.len()),
        _ => std::iter::once(0..changes.len()).collect(),
    });
    while let Some(range) = left.next() {
        if let Some(fault) = attempt(client, shape, changes, range.clone()).await? {
            refused.extend(left.failed(range).map(|at| (at, fault)));
        }
    }
    Ok(refused)
}

/// The statements that write a range of changes.
fn statements(shape: &Shape, changes: &[StoredChange], range: Range<usize>) -> Vec<Range<usize>> {
    if shape.own.is_some() {
        return range.map(|at| at..at + 1).collect();
    }
    let of_range = batches(shape.dialect, &shape.key, &changes[range.clone()]);
    let statements = of_range
        .into_iter()
        .flat_map(|batch| statement::parts(shape, &changes[range.clone()], batch.changes));
    statements.map(|part| part.start + range.start..part.end + range.start).collect()
}

/// Writes a range of changes, or nothing of it and gives why it cannot be.
async fn attempt(
    client: &mut Client,
    shape: &Shape,
    changes: &[StoredChange],
    range: Range<usize>,
) -> Result<Option<Fault>, Fault> {
    let has_savepoint = shape.dialect.kind != DatabaseKind::MySql;
    if has_savepoint {
        client.run("SAVEPOINT tidelock").await?;
    }
    let mut violation = None;
    for part in statements(shape, changes, range) {
        match write_part(client, shape, &changes[part]).await {
            Ok(()) => {}
            Err(fault) if fault.class == Class::Violation => {
                violation = Some(fault);
                break;
            }
            Err(fault) => return Err(fault),
        }
    }
    if has_savepoint {
        if violation.is_some() {
            client.run("ROLLBACK TO SAVEPOINT tidelock").await?;
        }
        client.run("RELEASE SAVEPOINT tidelock").await?;
    }
    Ok(violation)
}
