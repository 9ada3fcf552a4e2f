//! A sink in idempotent mode, in memory: correct, or broken in exactly one way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tidelock::{
    CommitPermit, Committed, Epoch, Error, ErrorKind, Generation, Pending, Prepared, Result, Sink,
    SinkAttempt, SinkWriter, WriterId,
};
use tokio::task::yield_now;

use super::TableDefect as D;
use crate::harness::{IdempotentHarness, Row, Shape, SinkFacets, SinkHarness};

/// A change of one row of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row has this value, which is its version too.
    Put(Row),
    /// The row is gone; its value is the version of the delete.
    Delete(Row),
}

/// The version of a row, and whether it is there.
#[derive(Debug, Clone, Copy)]
struct Cell {
    generation: Generation,
    value: u64,
    deleted: bool,
}

/// A table of versioned rows, in memory. It lives as long as anybody has a clone of it.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Arc<Mutex<BTreeMap<String, Cell>>>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows that are there, by key.
    pub fn visible(&self) -> Vec<Row> {
        let rows = self.lock();
        let there = rows.iter().filter(|(_, cell)| !cell.deleted);
        there.map(|(key, cell)| Row::new(key, cell.value)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Cell>> {
        self.rows.lock().expect("invariant: nobody panics while holding the rows")
    }

    /// Whether a row has exactly this version.
    fn has(&self, generation: Generation, change: &Change) -> bool {
        let (Change::Put(row) | Change::Delete(row)) = change;
        self.lock().get(&row.key).is_some_and(|cell| cell.generation == generation && cell.value == row.value)
    }

    /// Changes a row unless it has a newer version: the compare and the write are one step.
    fn change(&self, generation: Generation, change: &Change, defect: Option<D>) {
        let (row, deleted) = match change {
            Change::Put(row) => (row, false),
            Change::Delete(row) => (row, true),
        };
        let mut rows = self.lock();
        let wins = rows.get(&row.key).is_none_or(|cell| match defect {
            Some(D::LastRequestWins) => true,
            Some(D::FirstWriteWins) => generation > cell.generation,
            Some(D::ComparesValuesOnly) => row.value >= cell.value,
            _ => (generation, row.value) >= (cell.generation, cell.value),
        });
        if wins && deleted && defect == Some(D::DeletesWithoutTrace) {
            rows.remove(&row.key);
        } else if wins {
            rows.insert(row.key.clone(), Cell { generation, value: row.value, deleted });
        }
    }
}

/// A sink that changes a [`Table`] at once, with versions.
#[derive(Debug)]
pub struct TableSink {
    table: Table,
    defect: Option<D>,
}

impl TableSink {
    /// A correct sink.
    pub fn new(table: Table) -> Self {
        Self { table, defect: None }
    }
}

#[async_trait]
impl Sink for TableSink {
    type Record = Change;
    type Committable = ();
    type Writer = TableWriter;

    async fn recover(&self, _attempt: &SinkAttempt, pending: &[Pending<()>]) -> Result<()> {
        if pending.is_empty() && self.defect == Some(D::RecoveryClears) {
            self.table.lock().clear();
        }
        Ok(())
    }

    async fn open(&self, attempt: &SinkAttempt, _writer: WriterId) -> Result<TableWriter> {
        Ok(TableWriter {
            table: self.table.clone(),
            generation: attempt.generation,
            defect: self.defect,
            kept: Vec::new(),
        })
    }

    async fn commit(&self, _permit: &CommitPermit, _committables: Vec<Pending<()>>) -> Result<Committed> {
        Ok(Committed::default())
    }
}

/// The writer of a [`TableSink`].
#[derive(Debug)]
pub struct TableWriter {
    table: Table,
    generation: Generation,
    defect: Option<D>,
    /// What [`D::PreparesBeforeArrival`] has not sent yet.
    kept: Vec<Change>,
}

#[async_trait]
impl SinkWriter for TableWriter {
    type Record = Change;
    type Committable = ();

    async fn write(&mut self, records: &mut Vec<Change>) -> Result<()> {
        yield_now().await;
        let mut changes = std::mem::take(&mut self.kept);
        changes.append(records);
        if self.defect == Some(D::PreparesBeforeArrival) && changes.len() > 40 {
            self.kept = changes.split_off(40);
        }
        for change in &changes {
            if self.defect == Some(D::RefusesRepetition) && self.table.has(self.generation, change) {
                return Err(Error::new(ErrorKind::Conflict, "write", "the row has this version already"));
            }
            self.table.change(self.generation, change, self.defect);
        }
        Ok(())
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Vec<Prepared<()>>> {
        yield_now().await;
        Ok(Vec::new())
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        Ok(())
    }
}

/// Plugs [`TableSink`] into the suite.
#[derive(Debug, Default)]
pub struct TableHarness {
    table: Table,
    defect: Option<D>,
}

impl TableHarness {
    /// A harness with an empty table, for a sink that is correct or broken in one way.
    pub fn new(defect: Option<D>) -> Self {
        Self { table: Table::new(), defect }
    }
}

#[async_trait]
impl SinkHarness for TableHarness {
    type Sink = TableSink;

    async fn sink(&self) -> Result<TableSink> {
        Ok(TableSink { table: self.table.clone(), defect: self.defect })
    }

    fn record(&self, row: &Row) -> Change {
        Change::Put(row.clone())
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        Ok(self.table.visible())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Table)
    }
}

impl IdempotentHarness for TableHarness {
    fn delete(&self, row: &Row) -> Option<Change> {
        Some(Change::Delete(row.clone()))
    }
}
