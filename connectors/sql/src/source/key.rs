//! Columns that rows are put in order by: of types that have one order at the server, and come back exactly as they are stored.

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use crate::column::ColumnType;
use crate::dialect::Dialect;
use crate::kind::DatabaseKind;
use crate::value::SqlValue;

/// What a column of a key holds. Others are refused: floats are not exact, MySQL compares a decimal with a text as floats and an
/// enum by other rules than it sorts it, and a bool cuts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyKind {
    Integer,
    Text,
    Bytes,
    Date,
    Timestamp,
    Moment,
    Uuid,
}

/// A column of a key, as it was when the rows were cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) kind: KeyKind,
    /// By which order texts are compared, where the database tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<String>,
}

impl KeyKind {
    /// What a column of this type holds; `None` where it can be in no key.
    pub(super) fn of_column(dialect: &Dialect, kind: &ColumnType) -> Option<Self> {
        match kind {
            ColumnType::Int { .. } => Some(Self::Integer),
            ColumnType::Text(_) => Some(Self::Text),
            ColumnType::Bytes { .. } => Some(Self::Bytes),
            ColumnType::Date => Some(Self::Date),
            ColumnType::Timestamp(_) => Some(Self::Timestamp),
            ColumnType::Moment { .. } => Some(Self::Moment),
            // MariaDB gives its own as texts.
            ColumnType::Uuid if dialect.kind == DatabaseKind::Postgres => Some(Self::Uuid),
            _ => None,
        }
    }

    /// What a value is, of a query's column, which has no description.
    pub(super) fn of_value(value: &SqlValue) -> Option<Self> {
        match value {
            SqlValue::I64(_) | SqlValue::U64(_) => Some(Self::Integer),
            SqlValue::Text(_) => Some(Self::Text),
            SqlValue::Bytes(_) => Some(Self::Bytes),
            SqlValue::Date(_) => Some(Self::Date),
            SqlValue::Timestamp(_) => Some(Self::Timestamp),
            SqlValue::Moment(_) => Some(Self::Moment),
            SqlValue::Uuid(_) => Some(Self::Uuid),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Integer => "integers",
            Self::Text => "texts",
            Self::Bytes => "bytes",
            Self::Date => "dates",
            Self::Timestamp => "timestamps without a zone",
            Self::Moment => "timestamps with a zone",
            Self::Uuid => "uuids",
        }
    }
}

impl KeyColumn {
    /// Column, kind and order, for people.
    pub(super) fn shown(&self) -> String {
        let Self { name, kind, order } = self;
        match order {
            Some(order) => format!("{name} {} {order}", kind.name()),
            None => format!("{name} {}", kind.name()),
        }
    }

    /// Whether a value is of the column as it was when the rows were cut.
    ///
    /// # Errors
    /// Names the column and what it holds now: the order of its values may be another one, so nothing can be read after any of them.
    pub(super) fn check(&self, value: &SqlValue) -> Result<()> {
        if KeyKind::of_value(value) == Some(self.kind) {
            return Ok(());
        }
        let why = format!("the key has {} where {} were", value.type_name(), self.kind.name());
        Err(Error::new(ErrorKind::Data, "read rows", why).with("column", &self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::TextType;

    #[test]
    fn a_key_is_of_types_that_have_one_order_and_come_back_exactly() {
        let of = |kind, column: &ColumnType| KeyKind::of_column(Dialect::of(kind), column);
        let int = ColumnType::Int { min: 0, max: u64::MAX };
        assert_eq!(of(DatabaseKind::MySql, &int), Some(KeyKind::Integer));
        assert_eq!(of(DatabaseKind::MySql, &ColumnType::Text(TextType::default())), Some(KeyKind::Text));
        assert_eq!(of(DatabaseKind::Postgres, &ColumnType::Uuid), Some(KeyKind::Uuid));
        for refused in [
            ColumnType::Double,
            ColumnType::Decimal(Some((20, 0))),
            ColumnType::Other,
            ColumnType::Any,
            ColumnType::Uuid,
            ColumnType::Bool,
        ] {
            assert_eq!(of(DatabaseKind::MySql, &refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_value_of_another_kind_than_the_column_had_is_told_without_the_value() {
        let column = KeyColumn { name: "id".into(), kind: KeyKind::Integer, order: None };
        for good in [SqlValue::I64(-1), SqlValue::U64(u64::MAX)] {
            assert!(column.check(&good).is_ok());
        }
        let error = column.check(&SqlValue::Text("s3cret".into())).expect_err("a text").to_string();
        assert!(
            error.contains("a text where integers were")
                && error.contains("column=id")
                && !error.contains("s3cret"),
            "{error}"
        );
    }
}
