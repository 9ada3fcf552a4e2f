//! The statements of the mode, and the values that they bind.

use super::plan::{Upserts, Versions};
use crate::change::{Operation, StoredChange};
use crate::statement::insert;
use crate::value::SqlValue;

/// A statement that is written piece by piece, with its values.
struct Writing<'u> {
    upserts: &'u Upserts,
    sql: String,
    values: Vec<SqlValue>,
}

impl<'u> Writing<'u> {
    fn begin(upserts: &'u Upserts, sql: String) -> Self {
        Self { upserts, sql, values: Vec::new() }
    }

    fn push(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    fn name(&mut self, name: &str) -> &mut Self {
        self.upserts.shape.dialect.quote(&mut self.sql, name);
        self
    }

    fn value(&mut self, value: SqlValue) -> &mut Self {
        self.values.push(value);
        self.upserts.shape.dialect.place(&mut self.sql, self.values.len());
        self
    }

    /// `key = value AND ..` of the row that a change is of.
    fn key_of(&mut self, change: &StoredChange) -> &mut Self {
        for (at, part) in self.upserts.shape.key.iter().enumerate() {
            let value = change.row.get(part).cloned().unwrap_or(SqlValue::Null);
            self.push(if at == 0 { "" } else { " AND " }).name(part).push(" = ").value(value);
        }
        self
    }

    /// ` FROM table WHERE key IN ..`: the rows that changes are of.
    fn of_rows(&mut self, changes: &[StoredChange]) -> &mut Self {
        let (shape, key) = (&self.upserts.shape, &self.upserts.shape.key);
        self.push(&format!(" FROM {} WHERE ", shape.name.quoted(shape.dialect)));
        self.push(if key.len() > 1 { "(" } else { "" });
        shape.dialect.names(&mut self.sql, key.iter().map(String::as_str));
        self.push(if key.len() > 1 { ")" } else { "" });
        shape.dialect.in_rows(&mut self.sql, key.len(), changes.len());
        let parts = changes.iter().flat_map(|change| key.iter().map(|part| change.row.get(part).cloned()));
        self.values.extend(parts.map(|part| part.unwrap_or(SqlValue::Null)));
        self
    }

    /// Says of the row that is there that its version is less than this one, or greater.
    fn compares(&mut self, versions: &[&str], how: &str, with: &[SqlValue]) -> &mut Self {
        for at in 0..versions.len() {
            self.push(if at == 0 { "" } else { " OR " });
            for equal in 0..at {
                self.name(versions[equal]).push(" = ").value(with[equal].clone()).push(" AND ");
            }
            self.name(versions[at]).push(how).value(with[at].clone());
        }
        self
    }

    fn end(self) -> (String, Vec<SqlValue>) {
        (self.sql, self.values)
    }
}

/// Makes rows, and changes those that are there and older.
pub(super) fn upsert(upserts: &Upserts, changes: &[StoredChange]) -> (String, Vec<SqlValue>) {
    let dialect = upserts.shape.dialect;
    let columns: Vec<&str> = changes[0].row.0.iter().map(|(name, _)| &**name).collect();
    let table = dialect.upsert_target(&upserts.shape.name.quoted(dialect));
    let mut sql = insert(dialect, &table, columns.iter().copied(), changes.len());
    dialect.upsert_newer(&mut sql, &columns, &upserts.shape.key, &upserts.version_columns());
    let values = changes.iter().flat_map(|change| change.row.0.iter().map(|(_, value)| value.clone()));
    (sql, values.collect())
}

/// Changes a row that is there and older, and was not deleted.
pub(super) fn update(upserts: &Upserts, change: &StoredChange) -> (String, Vec<SqlValue>) {
    let shape = &upserts.shape;
    let mut writing = Writing::begin(upserts, format!("UPDATE {} SET ", shape.name.quoted(shape.dialect)));
    let rest = change.row.0.iter().filter(|(name, _)| !shape.key.iter().any(|part| **part == **name));
    for (at, (name, value)) in rest.enumerate() {
        writing.push(if at == 0 { "" } else { ", " }).name(name).push(" = ").value(value.clone());
    }
    writing.push(" WHERE ").key_of(change).push(" AND (");
    let ours = upserts.version_of(&change.row);
    writing.compares(&upserts.version_columns(), " < ", &ours);
    writing.push(")");
    if let Some(tombstone) = &upserts.tombstone {
        writing.push(" AND ").name(&tombstone.column).push(" = ").value(tombstone.live.clone());
    }
    writing.end()
}

/// Asks for the version of the row that a change is of, and whether it was deleted.
pub(super) fn row_there(upserts: &Upserts, change: &StoredChange) -> (String, Vec<SqlValue>) {
    let shape = &upserts.shape;
    let mut writing = Writing::begin(upserts, "SELECT ".into());
    for (at, name) in upserts.version_columns().into_iter().enumerate() {
        writing.push(if at == 0 { "" } else { ", " }).name(name);
    }
    if let Some(tombstone) = &upserts.tombstone {
        writing.push(", ").name(&tombstone.column);
    }
    writing.push(&format!(" FROM {} WHERE ", shape.name.quoted(shape.dialect))).key_of(change);
    writing.end()
}

/// Counts the rows of some changes that have their versions, or newer ones.
pub(super) fn count_there(upserts: &Upserts, changes: &[StoredChange]) -> (String, Vec<SqlValue>) {
    let mut writing = Writing::begin(upserts, "SELECT count(*)".into());
    writing.of_rows(changes);
    let versions = upserts.version_columns();
    let oldest = changes
        .iter()
        .map(|change| upserts.version_of(&change.row))
        .reduce(|oldest, version| if is_newer(&oldest, &version) { version } else { oldest });
    writing.push(" AND NOT (").compares(&versions, " < ", &oldest.unwrap_or_default()).push(")");
    writing.end()
}

/// Asks which of some rows has a version that is newer than the last one of this writer: its attempt, and the key. `None` where
/// versions are not the sink's own.
pub(super) fn superseding(
    upserts: &Upserts,
    changes: &[StoredChange],
    last: &[SqlValue],
) -> Option<(String, Vec<SqlValue>)> {
    let Versions::Attempt { attempt, .. } = &upserts.versions else { return None };
    let mut writing = Writing::begin(upserts, "SELECT ".into());
    writing.name(attempt);
    for part in &upserts.shape.key {
        writing.push(", ").name(part);
    }
    writing.of_rows(changes).push(" AND (").compares(&upserts.version_columns(), " > ", last);
    writing.push(") LIMIT 1");
    Some(writing.end())
}

/// Whether a version is newer than another one.
pub(super) fn is_newer(one: &[SqlValue], other: &[SqlValue]) -> bool {
    let number = |value: &SqlValue| match value {
        SqlValue::I64(value) => i128::from(*value),
        SqlValue::U64(value) => i128::from(*value),
        // It cannot be: the columns are integers and never NULL.
        _ => i128::MIN,
    };
    one.iter().map(number).gt(other.iter().map(number))
}

/// Whether a change is written by [`update`], and not by [`upsert`].
pub(super) fn is_update(change: &StoredChange) -> bool {
    change.operation == Operation::Update
}
