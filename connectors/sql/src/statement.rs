//! Writes statements: the text of one that does an operation on so many rows, and the values that it binds.

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

/// A statement for changes that are alike, and its values.
pub(crate) fn of(shape: &Shape, changes: &[StoredChange]) -> (String, Vec<SqlValue>) {
    let (dialect, key) = (shape.dialect, &shape.key);
    let table = shape.name.quoted(dialect);
    let first = &changes[0];
    let columns = || first.row.0.iter().map(|(name, _)| name.as_str());
    let all =
        || changes.iter().flat_map(|change| change.row.0.iter().map(|(_, value)| value.clone())).collect();
    match first.operation {
        Operation::Insert | Operation::Letter => (insert(dialect, &table, columns(), changes.len()), all()),
        Operation::Upsert => {
            let mut sql = insert(dialect, &table, columns(), changes.len());
            dialect.upsert(&mut sql, columns(), key);
            (sql, all())
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
