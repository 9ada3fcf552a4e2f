//! What becomes of a row, as the user says it and as the snapshot stores it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelock::{Result, Versioned, unknown_version};

use crate::column::Column;

/// What is done with one row: the record of a sink.
///
/// Increments and appends do not exist here: who sends one again after a lost answer counts twice.
///
/// ```
/// # use tidelock_hbase::{Column, RowMutation};
/// # fn main() -> tidelock::Result<()> {
/// let delay = Column::parse("f:delay")?;
/// let put = RowMutation::put("LH-1234", [(delay.clone(), "17")]);
/// let without_delay = RowMutation::delete_columns("LH-1234", [delay]);
/// let gone = RowMutation::delete_row("LH-1234").with_version(7);
/// assert_eq!(gone.version, Some(7));
/// # Ok(()) }
/// ```
///
/// In JSON bytes are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowMutation {
    /// The row key.
    #[serde(with = "crate::bytes_text")]
    pub row: Bytes,
    /// Which of several changes of a cell is newer, where the sink's versions are those of the records: see
    /// [`Versions::Record`](crate::Versions::Record).
    pub version: Option<u64>,
    /// What is done.
    pub change: RowChange,
}

/// What is done with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowChange {
    /// These columns have these values. Other columns of the row stay as they are.
    Put(Vec<ColumnValue>),
    /// These columns have no value any more.
    DeleteColumns(Vec<Column>),
    /// The row is gone, whatever columns it had.
    DeleteRow,
}

/// A column and what it is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnValue {
    /// The column.
    pub column: Column,
    /// Its value; HBase knows no types.
    #[serde(with = "crate::bytes_text")]
    pub value: Bytes,
}

impl RowMutation {
    /// Gives columns of a row their values.
    pub fn put<V: Into<Bytes>>(row: impl Into<Bytes>, values: impl IntoIterator<Item = (Column, V)>) -> Self {
        let values = values.into_iter().map(|(column, value)| ColumnValue { column, value: value.into() });
        Self::new(row, RowChange::Put(values.collect()))
    }

    /// Takes the values of columns away.
    pub fn delete_columns(row: impl Into<Bytes>, columns: impl IntoIterator<Item = Column>) -> Self {
        Self::new(row, RowChange::DeleteColumns(columns.into_iter().collect()))
    }

    /// Takes a row away.
    pub fn delete_row(row: impl Into<Bytes>) -> Self {
        Self::new(row, RowChange::DeleteRow)
    }

    fn new(row: impl Into<Bytes>, change: RowChange) -> Self {
        Self { row: row.into(), version: None, change }
    }

    /// The same with a version.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }
}

impl Versioned for RowMutation {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_of_every_version_is_read() {
        let golden = include_str!("../tests/golden/mutation_v1.json");
        let mutations: Vec<RowMutation> = serde_json::from_str(golden).expect("mutations");
        let column = |text| Column::parse(text).expect("a column");
        let binary = Column::new("f", [0_u8, 255]).expect("a column");
        assert_eq!(
            mutations,
            [
                RowMutation::put(vec![0, 255], [(column("f:a"), vec![1, 2]), (binary, Vec::new())]),
                RowMutation::put("row", [(column("f:a:b"), "text")]).with_version(u64::MAX),
                RowMutation::delete_columns("row", [column("f:a"), column("g:a")]),
                RowMutation::delete_row("row").with_version(0),
            ]
        );
        assert_eq!(serde_json::to_string(&mutations).expect("stored"), golden.trim_end());
    }
}
