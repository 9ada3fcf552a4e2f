//! One cell of a table, as an oracle compares it.

use super::operator::bytes;
use crate::{Error, Result};

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellKind {
    /// A value.
    Put,
    /// A delete of the one version with its timestamp.
    Delete,
    /// A delete of a column up to its timestamp.
    DeleteColumn,
    /// A delete of a family up to its timestamp.
    DeleteFamily,
    /// A delete of what a family has with its timestamp.
    DeleteFamilyVersion,
}

/// A cell with all that it is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The key of its row.
    pub row: Vec<u8>,
    /// The family of its column.
    pub family: String,
    /// What the column is called within its family.
    pub qualifier: Vec<u8>,
    /// Its version.
    pub timestamp: i64,
    /// A value, or which kind of delete.
    pub kind: CellKind,
    /// The value; empty for a delete.
    pub value: Vec<u8>,
}

impl Cell {
    /// A line of the operator.
    pub(super) fn read(line: &str) -> Result<Self> {
        let wrong = || Error::new("read a cell of HBase's operator", format!("'{line}' is none"));
        let [row, family, qualifier, timestamp, kind, value] =
            line.split('\t').collect::<Vec<&str>>().try_into().map_err(|_| wrong())?;
        let kind = match kind {
            "Put" => CellKind::Put,
            "Delete" => CellKind::Delete,
            "DeleteColumn" => CellKind::DeleteColumn,
            "DeleteFamily" => CellKind::DeleteFamily,
            "DeleteFamilyVersion" => CellKind::DeleteFamilyVersion,
            _ => return Err(wrong()),
        };
        Ok(Self {
            row: bytes(row)?,
            family: family.to_owned(),
            qualifier: bytes(qualifier)?,
            timestamp: timestamp.parse().map_err(|_| wrong())?,
            kind,
            value: bytes(value)?,
        })
    }
}
