//! What a source reads, and how much at once.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use crate::database::SqlConfig;
use crate::error::setting;
use crate::kind::DatabaseKind;
use crate::names::TableName;

const MIB: usize = 1024 * 1024;

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SqlRelation {
    /// A table or a view, perhaps with its schema: `orders` or `shop.orders`.
    Table(String),
    /// A query, which is read as a table is: `SELECT id, cents FROM orders WHERE cents > 0`. It is asked for once a page, so it must give
    /// the same rows each time, and be fast where its key is compared.
    Query(String),
}

/// Of which moment the rows are that a scan reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SqlCut {
    /// Each page is of the moment in which it is read.
    #[default]
    EachPage,
    /// All rows are of the moment in which the job begins: PostgreSQL alone. A session of its own keeps that moment for as long as
    /// the source is there: the server cannot clean up what was deleted since, and nobody can alter the table.
    Snapshot {
        /// What happens when that session ended before all was read: with the process that began the job, or with the server.
        on_lost: OnLostSnapshot,
    },
}

/// What happens when a snapshot is lost before all was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnLostSnapshot {
    /// The job halts: it would have rows of two moments.
    Halt,
    /// The rest is read as it is then, page by page, with a warning for each split.
    EachPage,
}

/// How a scan reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SqlScanConfig {
    /// The database.
    pub database: SqlConfig,
    /// The rows. Required.
    #[serde(deserialize_with = "choice")]
    pub rows: SqlRelation,
    /// The columns in whose order rows are read: unique together, never NULL, and of integers, texts, bytes, dates, timestamps or uuids.
    /// An index must be on them, or each page reads everything. Default: the primary key; required where there is none.
    #[serde(default)]
    pub key: Vec<String>,
    /// Whether the key is taken for unique without a look, where no index says so: rows of equal keys can then be lost. Default: no, and
    /// the database is asked at the start, which reads everything once.
    #[serde(default)]
    pub trust_key: bool,
    /// Of which moment the rows are. Default: each page of its own.
    #[serde(default, deserialize_with = "choice")]
    pub cut: SqlCut,
    /// Into how many ranges the rows are cut at most, of about as many keys each. One reads nothing ahead; more of a key that is not a
    /// single integer count the rows and walk through the key once. Default 16.
    #[serde(default = "default_splits")]
    pub splits: u32,
    /// How many rows one statement asks for at most. Default 1,000.
    #[serde(default = "default_page_rows")]
    pub page_rows: usize,
    /// How many bytes of rows one statement's answer keeps, about, and one row more. Default 8 MiB.
    #[serde(default = "default_page_bytes")]
    pub page_bytes: usize,
    /// For how long a page is asked for again where the database is away, in milliseconds, before the job starts anew from its
    /// last checkpoint. Default 60,000.
    #[serde(default = "default_retry_for_ms")]
    pub retry_for_ms: u64,
}

/// Where an endless source begins on its first run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SqlStart {
    /// With the first row.
    #[default]
    Beginning,
    /// After what is there, and old enough, when the job starts.
    End,
}

/// How rows are read as they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SqlIncrementalConfig {
    /// The database.
    pub database: SqlConfig,
    /// The table, perhaps with its schema. Required.
    pub table: String,
    /// The column that grows, never NULL: an id that the database gives, or the time of the last change. Required.
    pub column: String,
    /// The columns by which rows of an equal `column` are told apart and put in order. Default: the primary key.
    #[serde(default)]
    pub key: Vec<String>,
    /// How old a row must be until it is read, by the database's clock, in milliseconds: longer than any transaction that writes to
    /// the table takes, as a row counts from when it was written and is seen when it is committed. For an id, twice as long.
    /// Required, unless SQLite gives the ids or `lose_late_commits` is chosen.
    #[serde(default)]
    pub lag_ms: Option<u64>,
    /// The column that says when a row was written, where `column` does not: a timestamp, never NULL. Default: `column`.
    #[serde(default)]
    pub lag_column: Option<String>,
    /// Whether rows are read at once, and one that is committed after another with a greater value is **never read**. Default: no.
    #[serde(default)]
    pub lose_late_commits: bool,
    /// Where reading begins on the first run. Default: with the first row.
    #[serde(default, deserialize_with = "choice")]
    pub start: SqlStart,
    /// How long it waits until it asks again where nothing was new, in milliseconds. Default 1,000.
    #[serde(default = "default_poll_interval_ms")]
    pub poll_interval_ms: u64,
    /// How many rows one statement asks for at most. Default 1,000.
    #[serde(default = "default_page_rows")]
    pub page_rows: usize,
    /// How many bytes of rows one statement's answer keeps, about, and one row more. Default 8 MiB.
    #[serde(default = "default_page_bytes")]
    pub page_bytes: usize,
    /// For how long a page is asked for again where the database is away, in milliseconds, before the job starts anew from its
    /// last checkpoint. Default 60,000.
    #[serde(default = "default_retry_for_ms")]
    pub retry_for_ms: u64,
}

fn default_splits() -> u32 {
    16
}

fn default_page_rows() -> usize {
    1_000
}

fn default_page_bytes() -> usize {
    8 * MIB
}

fn default_retry_for_ms() -> u64 {
    60_000
}

fn default_poll_interval_ms() -> u64 {
    1_000
}

/// More splits than that are a snapshot of splits alone.
const SPLITS_MAX: u32 = 100_000;

/// A year. MySQL makes a missing value of times that are too long ago, and nothing would ever be old enough.
const LAG_MAX_MS: u64 = 365 * 24 * 3_600 * 1_000;

impl SqlScanConfig {
    /// The rows of a table or view, with every other setting at its default.
    pub fn table(database: SqlConfig, table: impl Into<String>) -> Self {
        Self::new(database, SqlRelation::Table(table.into()), Vec::new())
    }

    /// The rows of a query in the order of these columns of it, with every other setting at its default.
    pub fn query<C: Into<String>>(
        database: SqlConfig,
        query: impl Into<String>,
        key: impl IntoIterator<Item = C>,
    ) -> Self {
        Self::new(database, SqlRelation::Query(query.into()), key.into_iter().map(Into::into).collect())
    }

    fn new(database: SqlConfig, rows: SqlRelation, key: Vec<String>) -> Self {
        Self {
            database,
            rows,
            key,
            trust_key: false,
            cut: SqlCut::default(),
            splits: default_splits(),
            page_rows: default_page_rows(),
            page_bytes: default_page_bytes(),
            retry_for_ms: default_retry_for_ms(),
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.database.validate()?;
        match &self.rows {
            SqlRelation::Table(table) => drop(TableName::parse("rows", table)?),
            SqlRelation::Query(query) if query.trim().is_empty() => {
                return Err(setting("rows", "a query is required"));
            }
            SqlRelation::Query(_) if self.key.is_empty() => {
                return Err(setting("key", "a query has no primary key: name the columns of its order"));
            }
            SqlRelation::Query(_) => {}
        }
        check_key(&self.key)?;
        if self.cut != SqlCut::EachPage && self.database.kind != DatabaseKind::Postgres {
            let why = "PostgreSQL alone shows one moment to several connections: read a copy of the table, or a replica that is \
                       stopped, or one split with page_rows above the number of rows";
            return Err(setting("cut", why));
        }
        if !(1..=SPLITS_MAX).contains(&self.splits) {
            return Err(setting("splits", format!("a number from 1 to {SPLITS_MAX} is required")));
        }
        check_sizes(self.page_rows, self.page_bytes)
    }
}

impl SqlIncrementalConfig {
    /// The rows of a table in the order of a column, with every other setting at its default.
    pub fn new(database: SqlConfig, table: impl Into<String>, column: impl Into<String>) -> Self {
        Self {
            database,
            table: table.into(),
            column: column.into(),
            key: Vec::new(),
            lag_ms: None,
            lag_column: None,
            lose_late_commits: false,
            start: SqlStart::default(),
            poll_interval_ms: default_poll_interval_ms(),
            page_rows: default_page_rows(),
            page_bytes: default_page_bytes(),
            retry_for_ms: default_retry_for_ms(),
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.database.validate()?;
        TableName::parse("table", &self.table)?;
        if self.column.is_empty() {
            return Err(setting("column", "the column that grows is required"));
        }
        check_key(&self.key)?;
        match (self.lag_ms, self.lose_late_commits) {
            (Some(0), _) => {
                return Err(setting("lag_ms", "must be greater than zero: lose_late_commits reads at once"));
            }
            (Some(lag), _) if lag > LAG_MAX_MS => {
                return Err(setting("lag_ms", "a year is more than any transaction takes"));
            }
            (Some(_), true) => {
                return Err(setting("lose_late_commits", "with lag_ms nothing is lost: choose one of them"));
            }
            (None, _) if self.lag_column.is_some() => {
                return Err(setting("lag_column", "without lag_ms nobody waits for it"));
            }
            _ => {}
        }
        if self.start == SqlStart::End && self.lag_column.as_ref().is_some_and(|lag| *lag != self.column) {
            let why = "rows that are not old enough may have smaller values than others, so nobody knows where the end is: \
                       begin with the first row, or read in the order of lag_column";
            return Err(setting("start", why));
        }
        if self.poll_interval_ms == 0 {
            return Err(setting("poll_interval_ms", "must be greater than zero"));
        }
        check_sizes(self.page_rows, self.page_bytes)
    }
}

fn check_key(key: &[String]) -> Result<()> {
    if key.iter().any(String::is_empty) {
        return Err(setting("key", "a column without a name"));
    }
    if (1..key.len()).any(|at| key[..at].contains(&key[at])) {
        return Err(setting("key", "a column is there twice"));
    }
    Ok(())
}

fn check_sizes(page_rows: usize, page_bytes: usize) -> Result<()> {
    for (name, value) in [("page_rows", page_rows), ("page_bytes", page_bytes)] {
        if value == 0 {
            return Err(setting(name, "must be greater than zero"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> SqlConfig {
        SqlConfig::new(DatabaseKind::Postgres, "a")
    }

    #[test]
    fn settings_of_a_scan_that_cannot_work_are_refused_by_name() {
        let table = || SqlScanConfig::table(database(), "t");
        let query = |text: &str| SqlScanConfig::query(database(), text, ["id"]);
        assert!(table().validate().is_ok() && query("SELECT 1 AS id").validate().is_ok());
        for (wrong, named) in [
            (SqlScanConfig::table(database(), "a.b.c"), "rows"),
            (query(" "), "rows"),
            (SqlScanConfig { key: Vec::new(), ..query("SELECT 1") }, "key"),
            (SqlScanConfig { key: vec!["a".into(), "a".into()], ..table() }, "key"),
            (
                SqlScanConfig {
                    database: SqlConfig::new(DatabaseKind::MySql, "a"),
                    cut: SqlCut::Snapshot { on_lost: OnLostSnapshot::Halt },
                    ..table()
                },
                "cut",
            ),
            (SqlScanConfig { splits: 0, ..table() }, "splits"),
            (SqlScanConfig { splits: u32::MAX, ..table() }, "splits"),
            (SqlScanConfig { page_rows: 0, ..table() }, "page_rows"),
            (SqlScanConfig { page_bytes: 0, ..table() }, "page_bytes"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn settings_of_an_endless_source_that_contradict_each_other_are_refused_by_name() {
        let config = || SqlIncrementalConfig::new(database(), "t", "id");
        assert!(config().validate().is_ok());
        for (wrong, named) in [
            (SqlIncrementalConfig { column: String::new(), ..config() }, "column"),
            (SqlIncrementalConfig { lag_ms: Some(0), ..config() }, "lag_ms"),
            (SqlIncrementalConfig { lag_ms: Some(u64::MAX), ..config() }, "lag_ms"),
            (
                SqlIncrementalConfig { lag_ms: Some(1), lose_late_commits: true, ..config() },
                "lose_late_commits",
            ),
            (SqlIncrementalConfig { lag_column: Some("at".into()), ..config() }, "lag_column"),
            (
                SqlIncrementalConfig {
                    lag_ms: Some(1),
                    lag_column: Some("at".into()),
                    start: SqlStart::End,
                    ..config()
                },
                "start",
            ),
            (SqlIncrementalConfig { poll_interval_ms: 0, ..config() }, "poll_interval_ms"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let json = serde_json::json!({
            "database": { "url": "postgres://db/shop" }, "rows": { "query": "SELECT id FROM t" }, "key": ["id"],
            "cut": { "snapshot": { "on_lost": "each_page" } },
        });
        let config: SqlScanConfig = serde_json::from_value(json).expect("settings");
        assert_eq!(config.cut, SqlCut::Snapshot { on_lost: OnLostSnapshot::EachPage });
        assert_eq!((config.splits, config.page_rows), (16, 1_000));
        let json =
            serde_json::json!({ "database": { "url": "sqlite:a.db" }, "rows": { "table": "t" }, "split": 1 });
        assert!(serde_json::from_value::<SqlScanConfig>(json).is_err(), "an unknown field");
    }
}
