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

#[cfg(test)]
mod tests {
    use hbase_thrift::hbase::{TCell, TColumn};

    use super::*;

    #[test]
    fn a_row_is_read_in_either_form_of_an_answer_and_is_stored_for_people_and_for_machines() {
        let cell = |value: &[u8]| TCell::new(value.to_vec(), 7);
        let wire = TRowResult {
            row: Some(b"\xff".to_vec()),
            columns: Some([(b"a:b".to_vec(), cell(b"1"))].into()),
            sorted_columns: Some(vec![TColumn::new(b"a:".to_vec(), cell(b"\0\xfe"))]),
        };
        let row = HbaseRow::of_wire(wire).expect("a row");
        assert_eq!((row.text("a:b"), row.value("a:c"), row.value("nothing")), (Some("1"), None, None));
        let json = serde_json::to_string(&row).expect("JSON");
        assert!(json.contains(r#""a:":{"value":"AP4=","timestamp":7}"#), "{json}");
        assert_eq!(serde_json::from_str::<HbaseRow>(&json).expect("a row"), row);
        let bytes = postcard::to_allocvec(&row).expect("bytes");
        assert_eq!(postcard::from_bytes::<HbaseRow>(&bytes).expect("a row"), row);
        assert!(bytes.len() < 30, "{}", bytes.len());
    }
}
