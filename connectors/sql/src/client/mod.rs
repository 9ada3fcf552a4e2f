//! Connections to databases: one small trait, and a client for each kind behind it.

mod file;
#[cfg(feature = "mysql")]
mod mysql;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "postgres")]
mod tls;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod trust;

use std::time::Duration;

use async_trait::async_trait;
use tidelock::{Error, Result};
use tokio::time::timeout;

use file::{FileId, file_of};
pub(crate) use pool::{Borrowed, Pool};

use crate::database::SqlConfig;
use crate::error::{Fault, setting};
use crate::kind::DatabaseKind;
use crate::value::SqlValue;

/// How much longer we wait than the server was told to: it knows better what it could not do.
const GRACE: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read: a file that is not there is not made, and nothing is written to one that is.
    Read,
    Write,
}

/// What a query found.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// The names of the columns.
    pub(crate) columns: Vec<String>,
    /// Those of them whose values the server compares by other rules than it puts them in order.
    pub(crate) unordered: Vec<String>,
    pub(crate) rows: Vec<Vec<SqlValue>>,
    /// These took as many bytes as were allowed, and what may follow was left out.
    pub(crate) cut: bool,
}

/// Rows that are taken until they have so many bytes: one at least.
pub(crate) struct Intake {
    rows: Rows,
    bytes_left: usize,
}

impl Intake {
    fn new(columns: Vec<String>, bytes_max: usize) -> Self {
        Self { rows: Rows { columns, ..Rows::default() }, bytes_left: bytes_max }
    }

    /// Takes a row. `false`: no more of them.
    fn take(&mut self, row: Vec<SqlValue>) -> bool {
        let weight = row.iter().map(SqlValue::weight).sum();
        self.bytes_left = self.bytes_left.saturating_sub(weight);
        self.rows.rows.push(row);
        self.rows.cut = self.bytes_left == 0;
        !self.rows.cut
    }

    fn rows(self) -> Rows {
        self.rows
    }
}

/// A connection to a database.
///
/// # Contract
/// - A call that is dropped before it returned leaves the connection in no known state: it must be closed, and
///   the database then rolls back what it had begun.
/// - No fault has a row, a value or a password in it.
#[async_trait]
pub(crate) trait Connection: Send {
    /// Runs a statement without values that is not prepared: the beginning or the end of a transaction, a definition, or one
    /// that cannot be prepared. What it answers are bytes or texts, whatever their columns say; of SQLite there is nothing.
    async fn run(&mut self, statement: &str) -> Result<Rows, Fault>;

    /// Runs a statement with values, and says how many rows it met. What it was prepared as is kept.
    async fn execute(&mut self, statement: &str, values: Vec<SqlValue>) -> Result<u64, Fault>;

    /// Runs a query with values, and takes rows until they have `bytes_max`: at least one. What it was prepared as is kept.
    async fn query(&mut self, query: &str, values: Vec<SqlValue>, bytes_max: usize) -> Result<Rows, Fault>;
}

/// How many prepared statements a connection keeps: each number of rows in a statement is one, and there are few.
pub(crate) const STATEMENTS_KEPT: usize = 64;

/// A connection of which no call takes for ever.
pub(crate) struct Client {
    connection: Box<dyn Connection>,
    patience: Duration,
    /// What was opened, where it is a file.
    file: Option<FileId>,
}

impl Client {
    /// Opens one connection: a wrong host, port, name or password is told as that, at once.
    pub(crate) async fn connect(config: &SqlConfig, access: Access) -> Result<Self> {
        let place = |error: Error| error.with("kind", config.kind).with("place", config);
        // Before it is opened: one that is replaced meanwhile is found out at the next look, and not taken for the new one.
        let before = file_of(config).await;
        let connected = timeout(config.connect_timeout(), connect(config, access)).await.unwrap_or_else(|_| {
            let why = "nothing that speaks this database's language answered in time: is it the right host and port?";
            Err(Fault::gone(why).during("connect"))
        });
        let connection = connected.map_err(place)?;
        let file = match before {
            None => file_of(config).await,
            there => there,
        };
        Ok(Self { connection, patience: config.statement_timeout() + GRACE, file })
    }

    /// Whether its database is still the one that the name means, which is in this file now.
    fn is_of(&self, file: Option<FileId>) -> bool {
        self.file == file
    }

    pub(crate) async fn run(&mut self, statement: &str) -> Result<Rows, Fault> {
        timeout(self.patience, self.connection.run(statement)).await.unwrap_or_else(|_| Err(no_answer()))
    }

    pub(crate) async fn execute(&mut self, statement: &str, values: Vec<SqlValue>) -> Result<u64, Fault> {
        let call = self.connection.execute(statement, values);
        timeout(self.patience, call).await.unwrap_or_else(|_| Err(no_answer()))
    }

    pub(crate) async fn query(&mut self, query: &str, values: Vec<SqlValue>) -> Result<Rows, Fault> {
        self.query_within(query, values, usize::MAX).await
    }

    /// A query whose rows are left out from where they have so many bytes: one is there at least.
    pub(crate) async fn query_within(
        &mut self,
        query: &str,
        values: Vec<SqlValue>,
        bytes_max: usize,
    ) -> Result<Rows, Fault> {
        let call = self.connection.query(query, values, bytes_max);
        timeout(self.patience, call).await.unwrap_or_else(|_| Err(no_answer()))
    }
}

fn no_answer() -> Fault {
    Fault::gone("no answer in time: the connection is given up")
}

#[cfg_attr(not(feature = "sqlite"), allow(unused_variables, reason = "a server says itself who may write"))]
async fn connect(config: &SqlConfig, access: Access) -> Result<Box<dyn Connection>> {
    match config.kind {
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => postgres::connect(config).await,
        #[cfg(feature = "mysql")]
        DatabaseKind::MySql => mysql::connect(config).await,
        #[cfg(feature = "sqlite")]
        DatabaseKind::Sqlite => sqlite::connect(config, access).await,
        #[allow(unreachable_patterns, reason = "with every feature each kind is there")]
        kind => Err(setting(
            "kind",
            format!("this build does not know {kind}: the feature of tidelock-sql is missing"),
        )),
    }
}
