//! Records as rows, and rows as records: by serde, a field for each column.

pub(crate) mod json;
mod read;
mod write;

use std::borrow::Cow;

pub(crate) use read::{fields_of, from_row, from_values};
pub(crate) use write::{NO_RECORD, to_row};

use crate::value::SqlValue;

/// The fields of a record, in its order. The values are as serde gives them: what they are in a table says the column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) fields: Vec<(Cow<'static, str>, SqlValue)>,
}

#[cfg(test)]
mod tests;
