//! What becomes of a row, as the user says it and as the snapshot stores it.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use tidelock::{Result, Versioned, unknown_version};

use crate::value::SqlValue;

/// A record, and what is done with its row. The fields of the record are the columns; a column that it has not keeps its
/// value, or gets the table's default.
///
/// Changes of one writer are done in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change<T> {
    /// A new row.
    Insert(T),
    /// The row with this key, made or changed.
    Upsert(T),
    /// The row with this key, changed. Where there is none, the row is refused.
    Update(T),
    /// No row with this key any more; whether there was one does not matter. Only the columns of the key count.
    Delete(T),
}

impl<T> Change<T> {
    /// The record.
    pub fn record(&self) -> &T {
        match self {
            Self::Insert(record) | Self::Upsert(record) | Self::Update(record) | Self::Delete(record) => {
                record
            }
        }
    }

    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Insert(_) => Operation::Insert,
            Self::Upsert(_) => Operation::Upsert,
            Self::Update(_) => Operation::Update,
            Self::Delete(_) => Operation::Delete,
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    Insert,
    Upsert,
    Update,
    Delete,
    /// A row that did not fit goes to the table of dead letters.
    Letter,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Upsert => "upsert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Letter => "letter",
        }
    }
}

/// A change as it travels in the snapshot: its values have the forms of their columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredChange {
    #[serde(rename = "op")]
    pub(crate) operation: Operation,
    pub(crate) row: Fields,
    /// Where the record stands in its batch, while it is written.
    #[serde(skip)]
    pub(crate) place: usize,
}

impl StoredChange {
    /// About how many bytes its values take.
    pub(crate) fn weight(&self) -> usize {
        self.row.0.iter().map(|(_, value)| value.weight()).sum()
    }
}

impl Versioned for StoredChange {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// Columns with their values, in the order of the table: an object in JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields(pub(crate) Vec<(Arc<str>, SqlValue)>);

impl Fields {
    pub(crate) fn get(&self, column: &str) -> Option<&SqlValue> {
        self.0.iter().find(|(name, _)| **name == *column).map(|(_, value)| value)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("columns with their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(8).min(1024));
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_of_every_version_is_read() {
        let golden = include_str!("../tests/golden/change_v1.json");
        let changes: Vec<StoredChange> = serde_json::from_str(golden).expect("changes");
        assert_eq!(changes.len(), 5);
        let row = &changes[0].row;
        assert!(
            row.get("id") == Some(&SqlValue::I64(-7)) && row.get("big") == Some(&SqlValue::U64(u64::MAX))
        );
        assert!(row.get("price") == Some(&SqlValue::Decimal("1.50".into())));
        assert!(row.get("at") == Some(&SqlValue::Moment("2024-02-29T08:00:00Z".parse().expect("a moment"))));
        assert!(
            row.get("raw") == Some(&SqlValue::Bytes(vec![0, 255]))
                && row.get("none") == Some(&SqlValue::Null)
        );
        let again = serde_json::to_string(&changes).expect("stored");
        assert_eq!(again, golden.trim_end());
    }
}
