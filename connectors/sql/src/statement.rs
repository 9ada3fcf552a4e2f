//! Writes statements: the text of one that does an operation on so many rows, and the values that it binds.

use std::fmt::Write as _;
use std::ops::Range;

use crate::batch;
use crate::change::{Operation, StoredChange};
use crate::dialect::Dialect;
use crate::shape::Shape;
use crate::value::SqlValue;

/// An insert of so many rows.
pub(crate) fn insert<'c>(
    dialect: &Dialect,
    table: &str,
    columns: impl Iterator<Item = &'c str>,
    rows: usize,
) -> String {
    let columns: Vec<&str> = columns.collect();
    let mut sql = format!("INSERT INTO {table} (");
    dialect.names(&mut sql, columns.iter().copied());
    sql.push_str(") VALUES ");
    for row in 0..rows {
        if row > 0 {
            sql.push_str(", ");
        }
        dialect.places(&mut sql, row * columns.len(), columns.len(), true);
    }
    sql
}

/// How a range of changes that are alike is cut into statements.
pub(crate) fn parts(shape: &Shape, changes: &[StoredChange], range: Range<usize>) -> Vec<Range<usize>> {
    let lists = range.clone().next().is_some_and(|at| takes_lists(shape, &changes[at]).is_some());
    if lists { vec![range] } else { batch::parts(range).collect() }
}

/// The types of the lists that changes like this one are bound as, if they are.
fn takes_lists(shape: &Shape, change: &StoredChange) -> Option<Vec<&'static str>> {
    match change.operation {
        Operation::Insert | Operation::Upsert if !change.row.0.is_empty() => shape.member_types(&change.row),
        _ => None,
    }
}

/// Rows that are inserted, as one list for each column: `$1::int8[], $2::text[]`.
fn insert_lists(shape: &Shape, types: &[&str], changes: &[StoredChange]) -> (String, Vec<SqlValue>) {
    let (dialect, columns) = (shape.dialect, &changes[0].row.0);
    let mut sql = format!("INSERT INTO {} (", shape.name.quoted(dialect));
    dialect.names(&mut sql, columns.iter().map(|(name, _)| &**name));
    sql.push_str(") SELECT * FROM unnest(");
    for (at, member) in types.iter().enumerate() {
        if at > 0 {
            sql.push_str(", ");
        }
        dialect.place(&mut sql, at + 1);
        let _infallible = write!(sql, "::{member}[]");
    }
    sql.push(')');
    let list = |at: usize| changes.iter().map(|change| change.row.0[at].1.clone()).collect();
    (sql, (0..columns.len()).map(|at| SqlValue::Array(list(at))).collect())
}

/// A statement for changes that are alike, and its values.
pub(crate) fn of(shape: &Shape, changes: &[StoredChange]) -> (String, Vec<SqlValue>) {
    let (dialect, key) = (shape.dialect, &shape.key);
    let table = shape.name.quoted(dialect);
    let first = &changes[0];
    let columns = || first.row.0.iter().map(|(name, _)| &**name);
    let all =
        || changes.iter().flat_map(|change| change.row.0.iter().map(|(_, value)| value.clone())).collect();
    let inserted = || match takes_lists(shape, first) {
        Some(types) => insert_lists(shape, &types, changes),
        None => (insert(dialect, &table, columns(), changes.len()), all()),
    };
    match first.operation {
        Operation::Insert | Operation::Letter => inserted(),
        Operation::Upsert => {
            let (mut sql, values) = inserted();
            dialect.upsert(&mut sql, columns(), key);
            (sql, values)
        }
        Operation::Update => {
            let is_key = |name: &&str| key.iter().any(|part| part == name);
            let mut sql = format!("UPDATE {table} SET ");
            let mut number = 0;
            let mut values = Vec::with_capacity(first.row.0.len());
            let mut assign = |sql: &mut String, name: &str| {
                number += 1;
                dialect.quote(sql, name);
                sql.push('=');
                dialect.place(sql, number);
                values.extend(first.row.get(name).cloned());
            };
            for (at, name) in columns().filter(|name| !is_key(name)).enumerate() {
                if at > 0 {
                    sql.push_str(", ");
                }
                assign(&mut sql, name);
            }
            for (at, name) in columns().filter(is_key).enumerate() {
                sql.push_str(if at == 0 { " WHERE " } else { " AND " });
                assign(&mut sql, name);
            }
            (sql, values)
        }
        Operation::Delete => {
            let mut sql = format!("DELETE FROM {table} WHERE ");
            let count = first.row.0.len();
            if count > 1 {
                sql.push('(');
            }
            dialect.names(&mut sql, columns());
            if count > 1 {
                sql.push(')');
            }
            dialect.in_rows(&mut sql, count, changes.len());
            (sql, all())
        }
    }
}
