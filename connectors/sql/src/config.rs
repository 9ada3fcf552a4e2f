//! How the sink writes.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use crate::database::SqlConfig;
use crate::dialect::Dialect;
use crate::error::setting;
use crate::kind::DatabaseKind;
use crate::names::TableName;
use crate::own::Own;

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
    /// Rows are written at once, and readers see them at once: at least once, and each row ends as if it had been written once,
    /// because it has a version, and is changed only by what is newer. No ledger, and no latency but the database's; a reader sees
    /// parts of epochs, and after a restart values from before once more on their way. [`VersionFrom`] says where versions come
    /// from. Every database.
    Upsert,
}

/// Where the version of a row comes from, in [`Mode::Upsert`]. The columns must be integers that are never NULL; where they are not
/// there, the error at the start of the job has the statement that adds them.
///
/// **All changes of a key must come to one writer**, in their order, as in the mode `prepared`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VersionFrom {
    /// The attempt's position in the job's log, and the number of the change within its writer, in two columns of the sink's own:
    /// `attempt_column` and `sequence_column`. What an attempt replays wins over what was written before the crash or the
    /// rollback, and an older attempt that wakes up late wins over nothing.
    #[default]
    Attempt,
    /// This column of the table, which each record has as a field: an offset of the source, or the time of the update. The greater
    /// one wins, whoever writes it and whenever; an older one and an equal one change nothing, so that two changes of one key must
    /// not have one version. Changes may come in any order, where each says the whole row. A rollback cannot put anything into the
    /// place of what has the same version.
    Column(String),
}

/// Statements of your own, one for each [`Change`](crate::Change) that the sink is given; others are refused when they are written.
///
/// The fields of the record are bound by their names, as `:name`: not within quotes and comments, and `::` is a cast. Each field has a
/// parameter, and each parameter a field. A statement runs in the transaction of the mode, once for each record and in their order,
/// so it is exactly once also where it is not idempotent:
///
/// ```
/// # use tidelock_sql::{SqlConfig, SqlSink, SqlSinkConfig, Statements};
/// #[derive(serde::Serialize)]
/// struct Sold {
///     day: String,
///     n: i64,
/// }
///
/// # fn main() -> tidelock::Result<()> {
/// let mut statements = Statements::default();
/// statements.insert = Some(
///     "INSERT INTO totals (day, n) VALUES (:day, :n) ON CONFLICT (day) DO UPDATE SET n = totals.n + excluded.n".into(),
/// );
/// let config = SqlSinkConfig::of_statements(SqlConfig::from_url("sqlite:shop.db")?, statements);
/// let sink: SqlSink<Sold> = SqlSink::new(config)?; // it takes Change::Insert(sold)
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Statements {
    /// What is done with [`Change::Insert`](crate::Change::Insert).
    pub insert: Option<String>,
    /// What is done with [`Change::Upsert`](crate::Change::Upsert).
    pub upsert: Option<String>,
    /// What is done with [`Change::Update`](crate::Change::Update). Whether it meets a row is not looked at.
    pub update: Option<String>,
    /// What is done with [`Change::Delete`](crate::Change::Delete). It is given all fields of the record.
    pub delete: Option<String>,
}

/// How the sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SqlSinkConfig {
    /// The database.
    pub database: SqlConfig,
    /// The table, perhaps with its schema: `orders` or `shop.orders`. Required, where there are no `statements`.
    #[serde(default)]
    pub table: String,
    /// Statements of your own in the place of a table, in the modes `ledger` and `prepared`. Default: none.
    #[serde(default)]
    pub statements: Statements,
    /// How rows become visible: `ledger`, `prepared` or `upsert`. It may be changed from one run to the next: what is pending is
    /// committed as it was written. From a run in the mode `upsert` that was killed, and not stopped, do not change to another one: it
    /// would replay inserts onto rows that are there. Default `ledger`.
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
    /// Where the version of a row comes from, where the mode is `upsert`: `attempt`, or `{ column = "changed_at" }`. Default
    /// `attempt`.
    #[serde(default, deserialize_with = "choice")]
    pub version: VersionFrom,
    /// The column that has a row's attempt, where `version` is `attempt`. Default `tidelock_attempt`.
    #[serde(default = "default_attempt_column")]
    pub attempt_column: String,
    /// The column that has the number of a row's change, where `version` is `attempt`. Default `tidelock_sequence`.
    #[serde(default = "default_sequence_column")]
    pub sequence_column: String,
    /// The column that says of a row that it was deleted, where the mode is `upsert`: a boolean or an integer, never NULL. A delete
    /// sets it, and empties the columns that may be empty; what is newer makes the row anew. Readers leave such rows out. Default:
    /// none, and deletes are refused.
    #[serde(default)]
    pub tombstone_column: Option<String>,
    /// What happens to a row that the table cannot take. A row that does not fit goes to the place of the host instead where it
    /// has one: see [`Rejecting`](tidelock::Rejecting). What violates a constraint is found out at commit, where the
    /// host has none; in the modes `prepared` and `upsert` it is found out when it is written, and goes there too. Default: fail.
    #[serde(default, deserialize_with = "choice")]
    pub on_refused: RecordPolicy,
    /// The most bytes, as JSON, that one writer takes in one epoch: more are an error. They are stored in the job's log, and
    /// are never in memory at once. In the mode `prepared` this bounds dead letters alone, and in the mode `upsert` nothing. Default:
    /// as many as come, and of dead letters 16 MiB.
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

fn default_attempt_column() -> String {
    "tidelock_attempt".into()
}

fn default_sequence_column() -> String {
    "tidelock_sequence".into()
}

impl SqlSinkConfig {
    /// Rows of `table`, with every other setting at its default.
    pub fn new(database: SqlConfig, table: impl Into<String>) -> Self {
        Self {
            database,
            table: table.into(),
            statements: Statements::default(),
            mode: Mode::default(),
            key: Vec::new(),
            ledger_table: default_ledger_table(),
            transactions_table: default_transactions_table(),
            prepared_max: default_prepared_max(),
            version: VersionFrom::default(),
            attempt_column: default_attempt_column(),
            sequence_column: default_sequence_column(),
            tombstone_column: None,
            on_refused: RecordPolicy::default(),
            epoch_bytes_max: None,
        }
    }

    /// What statements of your own do, with every other setting at its default.
    pub fn of_statements(database: SqlConfig, statements: Statements) -> Self {
        Self { statements, ..Self::new(database, "") }
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
        self.validate_columns()?;
        let has_table = !self.validate_statements()?;
        let letters = match &self.on_refused {
            RecordPolicy::DeadLetter(table) => Some(table),
            _ => None,
        };
        let names = [
            ("table", has_table.then_some(&self.table)),
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

    /// Statements are there, and can be what is done.
    fn validate_statements(&self) -> Result<bool> {
        if Own::parse(Dialect::of(self.database.kind), &self.statements)?.is_none() {
            return Ok(false);
        }
        for (name, is_said) in [("table", !self.table.is_empty()), ("key", !self.key.is_empty())] {
            if is_said {
                return Err(setting(
                    name,
                    "statements of your own say themselves where rows go: leave it out",
                ));
            }
        }
        if self.mode == Mode::Upsert {
            let why = "the mode `upsert` writes the same rows again, which is harmless by their versions alone, and a statement of your \
                       own has none: in the modes `ledger` and `prepared` it is exactly once, whatever it does";
            return Err(setting("statements", why));
        }
        Ok(true)
    }

    /// The columns of the mode `upsert` are columns, and each is one thing.
    fn validate_columns(&self) -> Result<()> {
        let mut names = match &self.version {
            VersionFrom::Attempt => {
                vec![("attempt_column", &self.attempt_column), ("sequence_column", &self.sequence_column)]
            }
            VersionFrom::Column(column) => vec![("version", column)],
        };
        names.extend(self.tombstone_column.iter().map(|column| ("tombstone_column", column)));
        for (at, (setting_name, column)) in names.iter().enumerate() {
            if column.is_empty() {
                return Err(setting(setting_name, "the name of a column is required"));
            }
            if names[..at].iter().any(|(_, other)| other == column) || self.key.contains(column) {
                let why = "key, version and tombstone are in columns of their own";
                return Err(setting(setting_name, why));
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
            (SqlSinkConfig { version: VersionFrom::Column(String::new()), ..config() }, "version"),
            (SqlSinkConfig { sequence_column: "tidelock_attempt".into(), ..config() }, "sequence_column"),
            (
                SqlSinkConfig { tombstone_column: Some("id".into()), key: vec!["id".into()], ..config() },
                "tombstone_column",
            ),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn statements_take_the_place_of_a_table() {
        let config = |mode: &str| {
            let settings = serde_json::json!({
                "database": { "url": "postgres://db/shop" }, "mode": mode,
                "statements": { "insert": "INSERT INTO totals VALUES (:day, :n)" },
            });
            serde_json::from_value::<SqlSinkConfig>(settings).expect("settings")
        };
        assert!(config("ledger").validate().is_ok() && config("prepared").validate().is_ok());
        for (wrong, named) in [
            (config("upsert"), "statements"),
            (SqlSinkConfig { table: "totals".into(), ..config("ledger") }, "table"),
            (SqlSinkConfig { key: vec!["day".into()], ..config("ledger") }, "key"),
            (SqlSinkConfig { statements: Statements::default(), ..config("ledger") }, "table"),
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
        assert!(["ledger", "prepared", "upsert"].iter().all(|choice| told.contains(choice)), "{told}");
    }

    #[test]
    fn a_version_is_a_word_or_a_column() {
        let read = |version: serde_json::Value| {
            let settings = serde_json::json!({
                "database": { "url": "postgres://db/shop" }, "table": "orders", "mode": "upsert", "version": version,
            });
            serde_json::from_value::<SqlSinkConfig>(settings).map(|config| config.version)
        };
        assert_eq!(read(serde_json::json!("attempt")).expect("a version"), VersionFrom::Attempt);
        let column = read(serde_json::json!({ "column": "changed_at" })).expect("a version");
        assert_eq!(column, VersionFrom::Column("changed_at".into()));
        assert!(read(serde_json::json!("offset")).is_err());
    }
}
