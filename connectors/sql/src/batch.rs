//! Changes in their order, cut into statements.
//!
//! What stands next to each other and is the same operation on the same columns becomes one statement of many rows. Nothing is
//! brought into another order: an update, a delete and an update of one key end with the row there, and a delete that frees a
//! value of another unique column comes before the insert that takes it.

use std::collections::HashSet;
use std::ops::Range;

use crate::change::{Operation, StoredChange};
use crate::dialect::Dialect;
use crate::value::SqlValue;

/// What one statement binds, about: far below what the servers take in one packet.
const BYTES_MAX: usize = 1024 * 1024;

/// Rows that one kind of statement writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) operation: Operation,
    /// Which of the epoch's changes they are.
    pub(crate) changes: Range<usize>,
}

/// Cuts an epoch's changes into batches. `key` tells rows apart.
pub(crate) fn batches(dialect: &Dialect, key: &[String], changes: &[StoredChange]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut begin = 0;
    while begin < changes.len() {
        let end = begin + length(dialect, key, &changes[begin..]);
        batches.push(Batch { operation: changes[begin].operation, changes: begin..end });
        begin = end;
    }
    batches
}

/// How many of the first changes one batch takes.
fn length(dialect: &Dialect, key: &[String], changes: &[StoredChange]) -> usize {
    let first = &changes[0];
    let rows_max = match first.operation {
        // Each must meet its row, which only a statement of its own tells.
        Operation::Update => return 1,
        _ => dialect.rows_max.min(dialect.binds_max / first.row.0.len().max(1)).max(1),
    };
    let is_alike = |change: &StoredChange| {
        change.operation == first.operation
            && change.row.0.len() == first.row.0.len()
            && change.row.0.iter().zip(&first.row.0).all(|((one, _), (other, _))| one == other)
    };
    let mut keys = HashSet::new();
    let mut bytes = 0;
    let mut length = 0;
    for change in changes.iter().take(rows_max) {
        bytes += change.weight();
        if length > 0 && (bytes > BYTES_MAX || !is_alike(change)) {
            break;
        }
        // One statement cannot change a row twice.
        if first.operation == Operation::Upsert && !keys.insert(key_text(key, change)) {
            break;
        }
        length += 1;
    }
    length
}

/// A text that is equal for equal keys, and for no others; `None` where a key has none.
pub(crate) fn key_text(key: &[String], change: &StoredChange) -> Option<String> {
    let values = key.iter().map(|column| change.row.get(column).unwrap_or(&SqlValue::Null));
    serde_json::to_string(&values.collect::<Vec<_>>()).ok()
}

/// A range in parts whose lengths are powers of two, the largest first: so a connection prepares few statements.
pub(crate) fn parts(mut range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    std::iter::from_fn(move || {
        let power = range.len().checked_ilog2()?;
        let part = range.start..range.start + (1 << power);
        range.start = part.end;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Fields;
    use crate::kind::DatabaseKind;

    fn change(operation: Operation, id: i64, columns: &[&str]) -> StoredChange {
        let mut row = vec![("id".into(), SqlValue::I64(id))];
        row.extend(columns.iter().map(|column| ((*column).into(), SqlValue::Null)));
        StoredChange { operation, row: Fields(row), place: 0 }
    }

    fn lengths(changes: &[StoredChange]) -> Vec<usize> {
        let batches = batches(Dialect::of(DatabaseKind::Sqlite), &["id".to_owned()], changes);
        let mut next = 0;
        for batch in &batches {
            assert_eq!(batch.changes.start, next, "in order, and none left out");
            next = batch.changes.end;
        }
        assert_eq!(next, changes.len());
        batches.into_iter().map(|batch| batch.changes.len()).collect()
    }

    #[test]
    fn only_neighbours_that_are_alike_are_one_statement() {
        use Operation::{Delete, Insert, Update, Upsert};
        let changes = [
            change(Insert, 1, &[]),
            change(Insert, 1, &[]),
            change(Insert, 2, &["a"]),
            change(Update, 1, &["a"]),
            change(Update, 2, &["a"]),
            change(Upsert, 1, &["a"]),
            change(Upsert, 2, &["a"]),
            change(Upsert, 1, &["a"]),
            change(Delete, 1, &[]),
            change(Delete, 1, &[]),
        ];
        assert_eq!(lengths(&changes), [2, 1, 1, 1, 2, 1, 2]);
    }

    #[test]
    fn a_statement_is_bounded_in_rows_bytes_and_binds() {
        let many: Vec<_> = (0..1_000).map(|id| change(Operation::Insert, id, &[])).collect();
        assert_eq!(lengths(&many), [512, 488]);
        let columns: Vec<String> = (0..10_000).map(|column| column.to_string()).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let wide: Vec<_> = (0..5).map(|id| change(Operation::Insert, id, &columns)).collect();
        assert_eq!(lengths(&wide), [3, 2]);
        let mut large: Vec<_> = (0..3).map(|id| change(Operation::Insert, id, &["a"])).collect();
        for change in &mut large {
            change.row.0[1].1 = SqlValue::Text("x".repeat(2 * BYTES_MAX / 3));
        }
        assert_eq!(lengths(&large), [1, 1, 1]);
    }

    #[test]
    fn parts_are_powers_of_two() {
        assert_eq!(parts(3..3 + 777).map(|part| part.len()).collect::<Vec<_>>(), [512, 256, 8, 1]);
        assert_eq!(parts(7..7).count(), 0);
    }
}
