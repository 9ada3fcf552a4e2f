//! Prepared transactions, for people and tools: looks at them and ends them.

use std::fmt;

use tidelock::{Result, Retry};

use crate::config::{Mode, SqlSinkConfig};
use crate::database::SqlConfig;
use crate::kind::DatabaseKind;
use crate::prepared::name::TransactionName;
use crate::prepared::verdict::{self, Verdict, Who};
use crate::prepared::wire::{self, End};
use crate::prepared::{detach, preflight};
use crate::table::Table;
use crate::target::Target;

/// The prepared transactions of a database.
pub struct Transactions {
    target: Target,
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("database", &self.target.config.database).finish_non_exhaustive()
    }
}

/// What is prepared on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The transactions of sinks, of all jobs; of MySQL those of the whole server.
    pub ours: Vec<TransactionName>,
    /// How many others there are, which are none of ours and are never touched.
    pub others: usize,
}

/// What became of a prepared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is prepared and waits for its end.
    Open,
    /// It is committed.
    Committed,
    /// It was rolled back: it is not prepared, and the row that it would have left is not there.
    RolledBack,
    /// Nothing says what became of it: no attempt as new as its own was ever in this database, or its table of transactions is
    /// another one.
    Unknown,
}

impl Transactions {
    /// The transactions of a database, with the table that says which of them were committed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) where a setting cannot work, such as the mode on SQLite.
    pub fn new(database: SqlConfig, transactions_table: &str) -> Result<Self> {
        // The table of rows is not asked for.
        let mut config = SqlSinkConfig::new(database, "rows");
        config.mode = Mode::Prepared;
        transactions_table.clone_into(&mut config.transactions_table);
        Ok(Self { target: Target::new(config)? })
    }

    /// Everything that is prepared: on PostgreSQL in this database, on MySQL and MariaDB on the server.
    ///
    /// # Errors
    /// Where the server does not answer, or a right is missing.
    pub async fn list(&self) -> Result<Listed> {
        let mut client = self.target.pool.get().await?;
        let kind = self.target.dialect.kind;
        let listing = wire::list(&mut client, kind).await.map_err(preflight::cannot_list)?;
        client.give_back();
        Ok(Listed { ours: listing.ours, others: listing.others })
    }

    /// What became of a transaction.
    ///
    /// # Errors
    /// Where the server does not answer, or a right is missing.
    pub async fn examine(&self, name: &TransactionName) -> Result<Outcome> {
        let mut client = self.target.pool.get().await?;
        let (dialect, table) = (self.target.dialect, &self.target.transactions);
        if Table::describe(&mut client, dialect, table).await?.is_none() {
            let listing = wire::list(&mut client, dialect.kind).await.map_err(preflight::cannot_list)?;
            client.give_back();
            return Ok(if listing.ours.contains(name) { Outcome::Open } else { Outcome::Unknown });
        }
        let found = verdict::examine(&self.target, &mut client, name, Who::Nobody).await?;
        client.give_back();
        Ok(match found {
            Verdict::Open => Outcome::Open,
            Verdict::Done => Outcome::Committed,
            Verdict::Lost => Outcome::RolledBack,
            Verdict::Superseded(_) | Verdict::Elsewhere => Outcome::Unknown,
        })
    }

    /// Commits a prepared transaction, whatever became of it: [`Transactions::examine`] first. One that is committed already
    /// stays as it is.
    ///
    /// # Errors
    /// Where the server does not answer or refuses, and where the transaction is not there and nothing says that it was committed.
    pub async fn commit(&self, name: &TransactionName) -> Result<()> {
        self.end(name, End::Commit, Outcome::Committed).await
    }

    /// Rolls a prepared transaction back: what it wrote is gone. One that is rolled back already stays as it is.
    ///
    /// # Errors
    /// Where the server does not answer or refuses, and where the transaction is not there and was not rolled back.
    pub async fn roll_back(&self, name: &TransactionName) -> Result<()> {
        self.end(name, End::Rollback, Outcome::RolledBack).await
    }

    async fn end(&self, name: &TransactionName, how: End, wanted: Outcome) -> Result<()> {
        let mut client = self.target.pool.get().await?;
        let kind = self.target.dialect.kind;
        let detaches = wire::detaches(&mut client, kind).await;
        if !detaches.map_err(|fault| fault.during("end a transaction in SQL"))? {
            detach::ours(&self.target, &mut client).await?;
        }
        match wire::end(&mut client, kind, name, how).await {
            Ok(()) => {
                client.give_back();
                // An answer is believed where what was done is seen.
                match how == End::Commit && kind == DatabaseKind::MySql {
                    true if self.examine(name).await? == Outcome::RolledBack => Err(verdict::not_done(name)),
                    _ => Ok(()),
                }
            }
            Err(fault) if wire::is_open_question(&fault) => {
                drop(client);
                match self.examine(name).await? {
                    outcome if outcome == wanted => Ok(()),
                    Outcome::Open => Err(verdict::is_held(name)),
                    _ => {
                        Err(verdict::refused(fault, name, "end a transaction in SQL").with_retry(Retry::Halt))
                    }
                }
            }
            Err(fault) => Err(verdict::refused(fault, name, "end a transaction in SQL")),
        }
    }
}
