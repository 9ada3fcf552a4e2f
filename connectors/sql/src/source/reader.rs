//! Pages of one split, as records.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result, Retry};

use super::config::SqlRelation;
use super::page::{Between, PageSize, Pages};
use super::reading::Reading;
use super::relation::Relation;
use super::split::SqlSplit;
use crate::kind::DatabaseKind;
use crate::row::from_row;
use crate::value::{Shown, SqlValue};

/// How much one statement asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageBounds {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

/// Asks for one page after the other, from the position in its split on.
pub(super) struct Pager {
    pub(super) split: SqlSplit,
    reading: Arc<Reading>,
    pages: Pages,
    size: PageSize,
    bytes_max: usize,
    /// What the last page was read from.
    pub(super) bytes: u64,
}

/// What a page has.
pub(super) struct Page<T> {
    pub(super) records: Vec<T>,
    /// Nothing more was there that may be read now.
    pub(super) is_last: bool,
}

impl Pager {
    pub(super) fn new(split: SqlSplit, reading: Arc<Reading>, pages: Pages, bounds: PageBounds) -> Self {
        let PageBounds { rows_max, bytes_max } = bounds;
        Self { split, reading, pages, size: PageSize::new(rows_max, bytes_max), bytes_max, bytes: 0 }
    }

    /// The next page, and the position after it.
    pub(super) async fn page<T: DeserializeOwned>(&mut self) -> Result<Page<T>> {
        let between = Between { after: self.split.after.as_deref(), end: self.split.end.as_deref() };
        let snapshot = self.split.snapshot.as_ref();
        let ask = || self.reading.ask(snapshot, self.pages.page(between, self.size.rows()), self.bytes_max);
        let found = self.reading.patiently(ask).await?;
        let mut rows = found.rows;
        let bytes = rows.iter().flatten().map(SqlValue::weight).sum();
        let mut is_last = !found.cut && rows.len() < self.size.rows();
        self.size.came(rows.len(), bytes, found.cut);
        self.bytes = bytes as u64;
        if self.pages.tells_ripe() {
            let ripe = self.ripe(&mut rows)?;
            is_last |= ripe < rows.len();
            rows.truncate(ripe);
        }
        self.check_keys(&rows)?;
        let columns = self.pages.record();
        let (mut records, mut last) = (Vec::with_capacity(rows.len()), None);
        for mut row in rows {
            let key = self.key_of(&row);
            row.truncate(columns.len());
            records.push(from_row(columns, row).map_err(|why| self.data(why, &key))?);
            last = Some(key);
        }
        // Not before every record of the page is one.
        self.split.after = last.or(self.split.after.take());
        Ok(Page { records, is_last })
    }

    /// How many of the rows may be read: those before the first that is not old enough. One behind it may be old enough, and
    /// must wait all the same, or the younger one would be passed over.
    fn ripe(&self, rows: &mut [Vec<SqlValue>]) -> Result<usize> {
        for (at, row) in rows.iter_mut().enumerate() {
            match row.pop() {
                Some(SqlValue::Bool(true) | SqlValue::I64(1)) => {}
                Some(SqlValue::Bool(false) | SqlValue::I64(0)) => return Ok(at),
                _ => {
                    let why = "lag_column is NULL, so nobody knows how old the row is";
                    return Err(self.data(why, &self.key_of(row)));
                }
            }
        }
        Ok(rows.len())
    }

    /// The keys must be what they were when the rows were cut, and no two of them equal.
    fn check_keys(&self, rows: &[Vec<SqlValue>]) -> Result<()> {
        for (number, row) in rows.iter().enumerate() {
            for (column, at) in self.split.key.iter().zip(&self.pages.key_at) {
                column.check(&row[*at]).map_err(|error| error.with("table", &self.reading.shown))?;
            }
            let same = |before: &Vec<SqlValue>| self.pages.key_at.iter().all(|at| before[*at] == row[*at]);
            if number > 0 && same(&rows[number - 1]) {
                return Err(
                    self.data("several rows have this key, so some could be passed over", &self.key_of(row))
                );
            }
        }
        Ok(())
    }

    fn key_of(&self, row: &[SqlValue]) -> Vec<SqlValue> {
        self.pages.key_at.iter().map(|at| row[*at].clone()).collect()
    }

    /// An error of a row: with its key, and never with the rest of it.
    fn data(&self, why: impl Into<String>, key: &[SqlValue]) -> Error {
        let mut error = Error::new(ErrorKind::Data, "read rows", why).with_retry(Retry::Halt);
        error = error.with("table", &self.reading.shown);
        for (column, value) in self.split.key.iter().zip(key) {
            error = error.with("key", format_args!("{}={}", column.name, Shown(value)));
        }
        error
    }

    /// Whether the table is still what the split was cut of: where a key's column was altered meanwhile, a page may have ended
    /// too early by another order of it, without a row to tell.
    pub(super) async fn verify(&self, kind: DatabaseKind, rows: &SqlRelation) -> Result<()> {
        let SqlRelation::Table(_) = rows else { return Ok(()) };
        let now = || async {
            let mut client = self.reading.pool.get().await?;
            let relation = Relation::look(&mut client, kind, rows).await?;
            client.give_back();
            Ok(relation)
        };
        let relation = self.reading.patiently(now).await?;
        let names: Vec<String> = self.split.key.iter().map(|column| column.name.clone()).collect();
        let altered = |error: Error| error.with("split", &self.split.name);
        self.split.check(relation.table.as_deref(), &relation.key(&names).map_err(altered)?).map_err(altered)
    }
}
