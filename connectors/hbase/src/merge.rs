//! A batch of records as the calls of a gateway: decided purely.
//!
//! ```text
//!   records, in their order ──> of each row one state ──> steps, one after the other, each with one timestamp
//!                                                          1. values that a delete of the batch hides   (markers alone)
//!                                                          2. deletes
//!                                                          3. values that stay
//! ```
//!
//! A gateway takes one timestamp for each call, writes the puts of a call before its deletes or after them as it likes, and a put and a
//! delete of one timestamp end deleted. So a step has puts or deletes and never both, and a later step has a greater timestamp: whatever
//! order the calls arrive in, and however often, the same is left.
//!
//! What a later change of the batch replaces is not sent, with one exception. HBase throws a delete marker away at a major compaction
//! where everything that the region has of the family is newer, although deleted cells are kept: then a put from before the marker that
//! arrives late would be visible. A put that was sent once is either in the table, or it is sent again by the attempt that
//! replays it: so where it is sent although the delete follows, the marker always has something older below it, and stays.
//!
//! With versions of the records the steps are grouped by them: a version `n` is the timestamp `2n` for deletes and `2n + 1` for puts.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::column::Column;
use crate::mutation::{ColumnValue, RowChange, RowMutation};
use crate::sink_config::Deletes;

/// How many steps a batch has at most, and so how many timestamps.
pub(crate) const STEPS_MAX: i64 = 3;

/// The tombstone of a row that is gone, and of one that is there.
const GONE: &[u8] = b"1";
const THERE: &[u8] = b"0";

/// What a gateway is told of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Put(Column, Bytes),
    Delete(Column),
    DeleteFamily(String),
}

impl Told {
    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Put(column, value) => column.family().len() + column.qualifier().len() + value.len(),
            Self::Delete(column) => column.family().len() + column.qualifier().len(),
            Self::DeleteFamily(family) => family.len(),
        }
    }
}

/// A row, and what is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldRow {
    pub(crate) row: Bytes,
    pub(crate) told: Vec<Told>,
}

/// What is told with one timestamp: of each row once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) timestamp: i64,
    pub(crate) rows: Vec<ToldRow>,
}

/// How the records of a table are merged.
#[derive(Debug, Clone)]
pub(crate) struct Merge {
    /// All of the table: a row is deleted family by family.
    families: Vec<String>,
    tombstone: Option<Column>,
    /// Whether values are sent that a delete of their batch hides.
    keeps_hidden: bool,
}

impl Merge {
    pub(crate) fn new(families: impl IntoIterator<Item = String>, deletes: &Deletes) -> Self {
        let tombstone = match deletes {
            Deletes::Tombstones { column } => Some(column.clone()),
            Deletes::Refused | Deletes::Markers => None,
        };
        let families = families.into_iter().collect();
        Self { families, tombstone, keeps_hidden: *deletes == Deletes::Markers }
    }

    /// Records in their order: the last change of a cell wins.
    pub(crate) fn in_order(&self, records: Vec<RowMutation>) -> Merged {
        let mut rows = BTreeMap::new();
        for (place, record) in (0..).zip(records) {
            self.take(&mut rows, record, place);
        }
        let mut merged = Merged::default();
        for (row, state) in rows {
            let add = |step: &mut Vec<ToldRow>, told: Vec<Told>| {
                if !told.is_empty() {
                    step.push(ToldRow { row: row.clone(), told });
                }
            };
            let (mut hidden, mut deletes, mut puts) = (Vec::new(), Vec::new(), Vec::new());
            if state.deleted.is_some() {
                deletes.extend(self.families.iter().cloned().map(Told::DeleteFamily));
            }
            for (column, cell) in state.columns {
                hidden.extend(cell.hidden.map(|(_, value)| Told::Put(column.clone(), value)));
                if cell.deleted.is_some() && state.deleted.is_none() {
                    deletes.push(Told::Delete(column.clone()));
                }
                puts.extend(cell.put.map(|(_, value)| Told::Put(column, value)));
            }
            add(&mut merged.hidden, hidden);
            add(&mut merged.deletes, deletes);
            add(&mut merged.puts, puts);
        }
        merged
    }

    /// Records by their versions: the greatest one of a cell wins.
    pub(crate) fn by_version(&self, records: Vec<RowMutation>) -> Vec<Step> {
        let mut rows = BTreeMap::new();
        for record in records {
            // Where it has none, or too large a one, it was refused.
            let version = record.version.and_then(|version| i64::try_from(version).ok()).unwrap_or_default();
            self.take(&mut rows, record, version);
        }
        let mut steps: BTreeMap<i64, Vec<ToldRow>> = BTreeMap::new();
        for (row, state) in rows {
            let mut of_row: BTreeMap<i64, Vec<Told>> = BTreeMap::new();
            let mut add = |timestamp, told| of_row.entry(timestamp).or_default().push(told);
            if let Some(deleted) = state.deleted {
                self.families.iter().for_each(|family| add(deleted, Told::DeleteFamily(family.clone())));
            }
            for (column, cell) in state.columns {
                if let Some(deleted) = cell.deleted.filter(|deleted| Some(*deleted) > state.deleted) {
                    add(deleted, Told::Delete(column.clone()));
                }
                for (timestamp, value) in cell.hidden.into_iter().chain(cell.put) {
                    add(timestamp, Told::Put(column.clone(), value));
                }
            }
            for (timestamp, told) in of_row {
                steps.entry(timestamp).or_default().push(ToldRow { row: row.clone(), told });
            }
        }
        steps.into_iter().map(|(timestamp, rows)| Step { timestamp, rows }).collect()
    }

    /// Adds a record to the state of its row. Of the same version a put is newer than a delete.
    fn take(&self, rows: &mut BTreeMap<Bytes, RowState>, record: RowMutation, version: i64) {
        let (delete, put) = (2 * version, 2 * version + 1);
        let state = rows.entry(record.row).or_default();
        let values = match record.change {
            RowChange::Put(values) => {
                let there = self.tombstone.iter().map(|column| of_sink(column, THERE));
                values.into_iter().chain(there).collect()
            }
            RowChange::DeleteColumns(columns) => {
                for column in columns {
                    state.columns.entry(column).or_default().delete(delete, self.keeps_hidden);
                }
                return;
            }
            RowChange::DeleteRow => {
                state.deleted = state.deleted.max(Some(delete));
                state.columns.values_mut().for_each(|cell| cell.hide(delete, self.keeps_hidden));
                self.tombstone.iter().map(|column| of_sink(column, GONE)).collect::<Vec<_>>()
            }
        };
        for ColumnValue { column, value } in values {
            let cell = state.columns.entry(column).or_default();
            let place = match state.deleted.max(cell.deleted) > Some(put) {
                true if self.keeps_hidden => &mut cell.hidden,
                true => continue,
                false => &mut cell.put,
            };
            if place.as_ref().is_none_or(|(before, _)| *before <= put) {
                *place = Some((put, value));
            }
        }
    }
}

fn of_sink(column: &Column, value: &'static [u8]) -> ColumnValue {
    ColumnValue { column: column.clone(), value: Bytes::from_static(value) }
}

/// What a batch leaves of a row.
#[derive(Debug, Default)]
struct RowState {
    /// The newest delete of the row.
    deleted: Option<i64>,
    columns: BTreeMap<Column, CellState>,
}

#[derive(Debug, Default)]
struct CellState {
    /// The newest value, where no delete hides it.
    put: Option<(i64, Bytes)>,
    /// The newest value that a delete hides.
    hidden: Option<(i64, Bytes)>,
    deleted: Option<i64>,
}

impl CellState {
    fn delete(&mut self, at: i64, keeps_hidden: bool) {
        self.deleted = self.deleted.max(Some(at));
        self.hide(at, keeps_hidden);
    }

    fn hide(&mut self, at: i64, keeps_hidden: bool) {
        let Some(put) = self.put.take_if(|(put, _)| *put < at) else { return };
        if keeps_hidden && self.hidden.as_ref().is_none_or(|(before, _)| *before <= put.0) {
            self.hidden = Some(put);
        }
    }
}

/// A batch without its timestamps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    hidden: Vec<ToldRow>,
    deletes: Vec<ToldRow>,
    puts: Vec<ToldRow>,
}

impl Merged {
    /// How many timestamps it takes.
    pub(crate) fn times(&self) -> i64 {
        [&self.hidden, &self.deletes, &self.puts].into_iter().map(|rows| i64::from(!rows.is_empty())).sum()
    }

    /// Its steps, each at a place of its own from this timestamp on, whichever others there are. So a batch may be merged again with other
    /// settings: no delete of one merge has the timestamp of a value of another one.
    pub(crate) fn in_places(self, first: i64) -> Vec<Step> {
        let steps = (first..).zip([self.hidden, self.deletes, self.puts]);
        let steps = steps.filter(|(_, rows)| !rows.is_empty());
        steps.map(|(timestamp, rows)| Step { timestamp, rows }).collect()
    }

    /// Its steps, from this timestamp on without gaps.
    pub(crate) fn at(self, first: i64) -> Vec<Step> {
        let steps = [self.hidden, self.deletes, self.puts].into_iter().filter(|rows| !rows.is_empty());
        (first..).zip(steps).map(|(timestamp, rows)| Step { timestamp, rows }).collect()
    }
}

#[cfg(test)]
mod tests;
