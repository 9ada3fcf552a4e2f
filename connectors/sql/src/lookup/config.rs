//! Where a lookup finds its rows, and by what.

use serde::{Deserialize, Serialize};
use tidelock::Result;

use crate::database::SqlConfig;
use crate::error::setting;
use crate::names::TableName;

/// How a lookup asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SqlLookupConfig {
    /// The database.
    pub database: SqlConfig,
    /// The table or view, perhaps with its schema: `planes` or `fleet.planes`. A view stands for any other query. Required.
    pub table: String,
    /// The columns by which rows are found, in the order of the key's fields where it is a tuple. No two rows may be equal in
    /// all of them. Required.
    pub key: Vec<String>,
    /// How many rows a table has at most that is loaded whole: more are an error, and not a full memory. Default 1,000,000.
    #[serde(default = "default_rows_max")]
    pub rows_max: usize,
}

fn default_rows_max() -> usize {
    1_000_000
}

impl SqlLookupConfig {
    /// Rows of `table` by `key`, with every other setting at its default.
    pub fn new<C: Into<String>>(
        database: SqlConfig,
        table: impl Into<String>,
        key: impl IntoIterator<Item = C>,
    ) -> Self {
        let key = key.into_iter().map(Into::into).collect();
        Self { database, table: table.into(), key, rows_max: default_rows_max() }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.database.validate()?;
        TableName::parse("table", &self.table)?;
        if self.key.is_empty() || self.key.iter().any(String::is_empty) {
            return Err(setting("key", "the columns by which rows are found are required"));
        }
        if (1..self.key.len()).any(|at| self.key[..at].contains(&self.key[at])) {
            return Err(setting("key", "a column is there twice"));
        }
        if self.rows_max == 0 {
            return Err(setting("rows_max", "must be greater than zero"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::DatabaseKind;

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let config = || SqlLookupConfig::new(SqlConfig::new(DatabaseKind::Sqlite, "a.db"), "t", ["id"]);
        assert!(config().validate().is_ok());
        let key = |key: &[&str]| key.iter().map(|&column| column.to_owned()).collect::<Vec<_>>();
        for (wrong, named) in [
            (SqlLookupConfig { table: "a.b.c".into(), ..config() }, "table"),
            (SqlLookupConfig { key: key(&[]), ..config() }, "key"),
            (SqlLookupConfig { key: key(&["id", ""]), ..config() }, "key"),
            (SqlLookupConfig { key: key(&["id", "id"]), ..config() }, "key"),
            (SqlLookupConfig { rows_max: 0, ..config() }, "rows_max"),
            (SqlLookupConfig { database: SqlConfig::new(DatabaseKind::Sqlite, ""), ..config() }, "name"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }
}
