//! How the sink writes.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use crate::database::SqlConfig;
use crate::error::setting;
use crate::kind::DatabaseKind;
use crate::names::TableName;

/// What happens to a row that the table cannot take: a value does not fit its column, or a constraint is violated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordPolicy {
    /// The job halts and names table, constraint and the row's key.
    #[default]
    Fail,
    /// The row is left out, with a warning and a count.
    Skip,
    /// The row goes to this table, in the transaction of the other rows. The sink makes the table where it is not there.
    DeadLetter(String),
}

/// How rows become visible exactly once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// The rows of an epoch travel in the job's log, and one transaction writes those of all writers, with the ledger's row: a
    /// reader never sees a part of an epoch. An epoch may be of any size, and what its commit takes grows with it.
    #[default]
    Ledger,
    /// Each writer writes its rows at once, in a transaction that is prepared at the barrier (`PREPARE TRANSACTION`, `XA
    /// PREPARE`) and committed when the snapshot is durable. Epochs may be large, and a commit does not grow with them; those of
    /// several writers become visible one after the other. PostgreSQL, MySQL and MariaDB alone.
    Prepared,
}

/// How the sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SqlSinkConfig {
    /// The database.
    pub database: SqlConfig,
    /// The table, perhaps with its schema: `orders` or `shop.orders`. Required.
    pub table: String,
    /// How rows become visible exactly once: `ledger` or `prepared`. It may be changed from one run to the next: what is pending
    /// is committed as it was written. Default `ledger`.
    #[serde(default, deserialize_with = "choice")]
    pub mode: Mode,
    /// The columns by which upserts, updates and deletes find their row. They must be a unique key of the table. Default: the
    /// primary key.
    #[serde(default)]
    pub key: Vec<String>,
    /// The table that says which epoch of which job and sink was applied last, perhaps with its schema. It must be in the
    /// same database; the sink makes it where it is not there. Default `tidelock_ledger`.
    #[serde(default = "default_ledger_table")]
    pub ledger_table: String,
    /// The table that says which prepared transactions were committed, where the mode is `prepared`, perhaps with its schema. It
    /// must be in the same database; the sink makes it where it is not there. Default `tidelock_transactions`.
    #[serde(default = "default_transactions_table")]
    pub transactions_table: String,
    /// How many transactions of one writer may be prepared and wait for their end, where the mode is `prepared`. The database must
    /// have places for those of all writers (PostgreSQL: `max_prepared_transactions`). A checkpoint that failed keeps its
    /// transactions until a later one succeeds, so this is one more than the job's tolerable failures. Default 4.
    #[serde(default = "default_prepared_max")]
    pub prepared_max: u32,
    /// What happens to a row that the table cannot take. A row that does not fit goes to the place of the host instead where it
    /// has one: see [`Rejecting`](tidelock::Rejecting). What violates a constraint is found out at commit, where the
    /// host has none; in the mode `prepared` it is found out when it is written, and goes there too. Default: fail.
    #[serde(default, deserialize_with = "choice")]
    pub on_refused: RecordPolicy,
    /// The most bytes, as JSON, that one writer takes in one epoch: more are an error. They are stored in the job's log, and
    /// are never in memory at once. In the mode `prepared` this bounds dead letters alone. Default: as many as come, and of dead
    /// letters 16 MiB.
    #[serde(default)]
    pub epoch_bytes_max: Option<u64>,
}

fn default_ledger_table() -> String {
    "tidelock_ledger".into()
}

fn default_transactions_table() -> String {
    "tidelock_transactions".into()
}

fn default_prepared_max() -> u32 {
    4
}

impl SqlSinkConfig {
    /// Rows of `table`, with every other setting at its default.
    pub fn new(database: SqlConfig, table: impl Into<String>) -> Self {
        Self {
            database,
            table: table.into(),
            mode: Mode::default(),
            key: Vec::new(),
            ledger_table: default_ledger_table(),
            transactions_table: default_transactions_table(),
            prepared_max: default_prepared_max(),
            on_refused: RecordPolicy::default(),
            epoch_bytes_max: None,
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.database.validate()?;
        if self.epoch_bytes_max == Some(0) {
            return Err(setting("epoch_bytes_max", "an epoch must have room for a record"));
        }
        if self.mode == Mode::Prepared && self.database.kind == DatabaseKind::Sqlite {
            let why = "SQLite has no transactions that are prepared: the mode `ledger` is for every database";
            return Err(setting("mode", why));
        }
        if self.prepared_max < 2 {
            let why = "one transaction waits for its commit while the next one is written: at least 2";
            return Err(setting("prepared_max", why));
        }
        let letters = match &self.on_refused {
            RecordPolicy::DeadLetter(table) => Some(table),
            _ => None,
        };
        let names = [
            ("table", Some(&self.table)),
            ("ledger_table", Some(&self.ledger_table)),
            ("transactions_table", Some(&self.transactions_table)),
            ("on_refused", letters),
        ];
        let names: Vec<_> = names.into_iter().filter_map(|(name, table)| Some((name, table?))).collect();
        for (at, (setting_name, table)) in names.iter().enumerate() {
            TableName::parse(setting_name, table)?;
            if names[..at].iter().any(|(_, other)| other == table) {
                return Err(setting(
                    setting_name,
                    "rows, ledger, transactions and dead letters are in tables of their own",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::SqlLookupConfig;

    #[derive(Debug, Deserialize)]
    struct Page {
        totals: SqlSinkConfig,
        planes: SqlLookupConfig,
    }

    /// The example of the page on configuring, and how it is read there.
    fn page(change: impl FnOnce(&str) -> String) -> std::result::Result<Page, config::ConfigError> {
        let page = include_str!("../../../docs/configuring.md");
        let begin = page.find("[totals]").expect("the example of the sink");
        let example = change(&page[begin..begin + page[begin..].find("```").expect("its end")]);
        let text = config::File::from_str(&example, config::FileFormat::Toml);
        config::Config::builder().add_source(text).build()?.try_deserialize()
    }

    #[test]
    fn the_example_of_the_page_on_configuring_is_read_and_wrong_words_are_told_the_choices() {
        let Page { totals, planes } = page(str::to_owned).expect("read");
        assert_eq!(totals.on_refused, RecordPolicy::DeadLetter("shop.refused".into()));
        assert_eq!(
            (totals.database.kind, planes.database.kind),
            (DatabaseKind::Postgres, DatabaseKind::Sqlite)
        );
        totals.validate().expect("settings that fit together");
        planes.validate().expect("settings that fit together");
        for (right, wrong, choices) in [
            ("{ dead_letter = \"shop.refused\" }", "\"halt\"", ["halt", "fail", "skip", "dead_letter"]),
            ("\"sqlite\"", "\"sqlight\"", ["sqlight", "postgres", "mysql", "sqlite"]),
        ] {
            let error = page(|text| text.replacen(right, wrong, 1)).expect_err("no choice").to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
    }

    #[test]
    fn a_sink_has_tables_of_its_own_and_they_are_not_the_same() {
        let config = || SqlSinkConfig::new(SqlConfig::new(DatabaseKind::Sqlite, "a.db"), "orders");
        assert!(config().validate().is_ok());
        let letters = |table: &str| RecordPolicy::DeadLetter(table.into());
        for (wrong, named) in [
            (SqlSinkConfig { table: String::new(), ..config() }, "table"),
            (SqlSinkConfig { table: "a.b.c".into(), ..config() }, "table"),
            (SqlSinkConfig { ledger_table: "orders".into(), ..config() }, "ledger_table"),
            (SqlSinkConfig { on_refused: letters("orders"), ..config() }, "on_refused"),
            (SqlSinkConfig { on_refused: letters(""), ..config() }, "on_refused"),
            (SqlSinkConfig { epoch_bytes_max: Some(0), ..config() }, "epoch_bytes_max"),
            (
                SqlSinkConfig { transactions_table: "tidelock_ledger".into(), ..config() },
                "transactions_table",
            ),
            (SqlSinkConfig { prepared_max: 1, ..config() }, "prepared_max"),
            (SqlSinkConfig { mode: Mode::Prepared, ..config() }, "mode"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn a_mode_is_one_word() {
        let read = |mode: &str| {
            let settings = serde_json::json!({
                "database": { "url": "postgres://db/shop" }, "table": "orders", "mode": mode,
            });
            serde_json::from_value::<SqlSinkConfig>(settings).map(|config| config.mode)
        };
        assert_eq!(read("prepared").expect("a mode"), Mode::Prepared);
        assert_eq!(read("ledger").expect("a mode"), Mode::Ledger);
        let told = read("xa").expect_err("no mode").to_string();
        assert!(told.contains("ledger") && told.contains("prepared"), "{told}");
    }
}
