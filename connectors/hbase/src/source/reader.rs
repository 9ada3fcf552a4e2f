//! Reads the rows of one range.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::{Batch, Error, ErrorKind, Patience, Result, Retry, SplitReader};

use super::config::HbaseScanConfig;
use super::key;
use super::scanner::Scanner;
use super::size::CallSize;
use super::split::HbaseSplit;
use crate::column::Column;
use crate::gateway::{CALLS_AGAIN, Gateways, is_answer_too_large};
use crate::row::{Cell, HbaseRow};
use crate::table::OWN_ROWS;

/// Reads the rows of one range.
pub struct HbaseScanReader {
    split: HbaseSplit,
    config: Arc<HbaseScanConfig>,
    gateways: Gateways,
    /// None at first, after an error, and at the end.
    scanner: Option<Scanner>,
    size: CallSize,
    /// What the last rows take.
    bytes: u64,
    is_done: bool,
}

impl fmt::Debug for HbaseScanReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HbaseScanReader").field("split", &self.split).finish_non_exhaustive()
    }
}

impl HbaseScanReader {
    pub(super) fn new(split: HbaseSplit, config: Arc<HbaseScanConfig>, gateways: Gateways) -> Self {
        let size = CallSize::new(config.batch_rows, config.batch_bytes);
        Self { split, config, gateways, scanner: None, size, bytes: 0, is_done: false }
    }

    /// The next rows after the position: none at the end of the range. They are asked for again until there is an answer, or an
    /// error that does not pass: what comes after a row is decided by nothing else.
    async fn rows(&mut self) -> Result<Vec<HbaseRow>> {
        let mut patience = Patience::new(CALLS_AGAIN, Duration::from_millis(self.config.retry_for_ms));
        loop {
            let error = match self.rows_once().await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            let is_too_much = is_answer_too_large(&error) && self.size.rows() > 1;
            // An answer that did not come may have taken too long to gather.
            self.size.failed();
            if !is_too_much {
                let error = error.with("table", &self.config.table).with("split", &self.split.name);
                patience.after(error, &self.config.table).await?;
            }
        }
    }

    async fn rows_once(&mut self) -> Result<Vec<HbaseRow>> {
        let Some(from) = self.split.from() else { return Ok(Vec::new()) };
        let is_right_behind = self.split.is_before(&from);
        // Taken from its place for as long as the call lasts: whatever ends it leaves no scanner behind.
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => Scanner::open(&self.gateways, &self.config, from, self.split.keys.stop.clone()).await?,
        };
        loop {
            let mut rows;
            (scanner, rows) = scanner.next(self.size.rows()).await?;
            let is_end = rows.is_empty();
            if !is_right_behind {
                rows.retain(|row| self.split.is_before(&row.row));
            }
            self.check(&rows)?;
            if is_end || !rows.is_empty() {
                self.scanner = Some(scanner);
                return Ok(rows);
            }
        }
    }

    /// Whether the rows can be those that were asked for: in the order of their keys, after the position and in the range. Others
    /// are of somebody else's scan.
    fn check(&self, rows: &[HbaseRow]) -> Result<()> {
        let mut before = self.split.after.as_deref();
        for row in rows {
            let follows = before.is_none_or(|before| before < &row.row[..]);
            if !follows || !self.split.keys.contains(&row.row) {
                let why = "a gateway answers with a row that was not asked for: its scanner is another's";
                let error = Error::new(ErrorKind::Unavailable, "read rows", why).with_retry(Retry::Retry);
                return Err(error.with("row", key::text(&row.row)));
            }
            before = Some(&row.row);
        }
        Ok(())
    }
}

/// What a row takes, about.
fn heap_bytes(row: &HbaseRow) -> usize {
    /// A cell in its map, with its column.
    const CELL: usize = 128;
    let cell = |(column, cell): (&Column, &Cell)| {
        CELL + column.family().len() + column.qualifier().len() + cell.value.len()
    };
    row.row.len() + row.cells.iter().map(cell).sum::<usize>()
}

#[async_trait]
impl SplitReader for HbaseScanReader {
    type Record = HbaseRow;
    type Split = HbaseSplit;

    async fn next(&mut self) -> Result<Option<Batch<HbaseRow, HbaseSplit>>> {
        if self.is_done {
            return Ok(None);
        }
        let mut records = self.rows().await?;
        let Some(last) = records.last() else {
            self.is_done = true;
            if let Some(scanner) = self.scanner.take() {
                scanner.close().await;
            }
            return Ok(None);
        };
        self.split.after = Some(last.row.to_vec());
        let sizes = records.iter().map(heap_bytes);
        let (all, largest) = sizes.fold((0, 0), |(all, largest), size| (all + size, size.max(largest)));
        self.size.came(largest);
        self.bytes = all as u64;
        // What a sink tried deletes on, where it was killed meanwhile: a row of ours, and none of the user's.
        records.retain(|row| !row.row.starts_with(OWN_ROWS));
        Ok(Some(Batch { records, resume: self.split.clone() }))
    }

    fn heap_bytes(&self) -> u64 {
        self.bytes
    }
}
