//! Which columns of rows are asked for.

use tidelock::Result;

use crate::column::{Column, is_family};
use crate::error::setting;

/// What is asked for of a row.
pub(crate) enum Wanted {
    Family(String),
    Column(Column),
}

impl Wanted {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            return Column::parse(text).ok().map(Self::Column);
        }
        is_family(text).then(|| Self::Family(text.to_owned()))
    }

    pub(crate) fn family(&self) -> &str {
        match self {
            Self::Family(family) => family,
            Self::Column(column) => column.family(),
        }
    }

    pub(crate) fn to_wire(&self) -> Vec<u8> {
        match self {
            Self::Family(family) => family.clone().into_bytes(),
            Self::Column(column) => column.to_wire(),
        }
    }
}

/// Checks the setting `columns` of whoever asks.
///
/// # Errors
/// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming it.
pub(crate) fn check(columns: &[String]) -> Result<()> {
    for (at, text) in columns.iter().enumerate() {
        if Wanted::parse(text).is_none() {
            let why = "a column is `family:qualifier`, and a whole family is `family`";
            return Err(setting("columns", why).with("column", text));
        }
        if columns[..at].contains(text) {
            return Err(setting("columns", "a column is there twice").with("column", text));
        }
    }
    Ok(())
}
