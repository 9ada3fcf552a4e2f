//! A row as it is read.

use std::collections::BTreeMap;

use bytes::Bytes;
use hbase_thrift::hbase::TRowResult;
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use crate::column::Column;

/// The newest value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its bytes; HBase knows no types.
    #[serde(with = "crate::bytes_text")]
    pub value: Bytes,
    /// The time that it was written with, by most writers in milliseconds since 1970.
    pub timestamp: i64,
}

/// A row as it is read: its key, and of each of its columns the newest value.
///
/// In JSON bytes are base64.
///
/// ```
/// # use tidelock_hbase::HbaseRow;
/// fn seats(plane: &HbaseRow) -> Option<u32> {
///     plane.text("info:seats")?.parse().ok()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HbaseRow {
    /// The row key.
    #[serde(with = "crate::bytes_text")]
    pub row: Bytes,
    /// What is in the row, by column.
    pub cells: BTreeMap<Column, Cell>,
}

impl HbaseRow {
    /// The value of a column, as `family:qualifier`; `None` where the row has none.
    pub fn value(&self, column: &str) -> Option<&[u8]> {
        let column = Column::parse(column).ok()?;
        self.cells.get(&column).map(|cell| &*cell.value)
    }

    /// The same, of a column that holds a text.
    pub fn text(&self, column: &str) -> Option<&str> {
        std::str::from_utf8(self.value(column)?).ok()
    }

    /// Takes over what a gateway answered.
    pub(crate) fn of_wire(result: TRowResult) -> Result<Self> {
        let by_name = result.columns.unwrap_or_default().into_iter();
        // Scans that ask for an order have their cells in a list instead.
        let in_order = result.sorted_columns.unwrap_or_default().into_iter();
        let in_order = in_order.filter_map(|column| Some((column.column_name?, column.cell?)));
        let mut cells = BTreeMap::new();
        for (name, cell) in by_name.chain(in_order) {
            let (Some(value), Some(timestamp)) = (cell.value, cell.timestamp) else { continue };
            let column = Column::of_wire(name.into()).ok_or_else(|| {
                let why = "a column's family is no text: such a table cannot be read here";
                Error::new(ErrorKind::Data, "read a row", why)
            })?;
            cells.insert(column, Cell { value: value.into(), timestamp });
        }
        Ok(Self { row: result.row.unwrap_or_default().into(), cells })
    }
}
