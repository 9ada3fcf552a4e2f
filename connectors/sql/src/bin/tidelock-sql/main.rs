//! `tidelock-sql`: looks at prepared transactions, and ends those that nobody ends any more.

mod decide;
mod pending;
mod show;

use clap::{Args, Parser, Subcommand};
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, Result};
use tidelock_sql::{Outcome, SqlConfig, TransactionName, Transactions};

use crate::decide::Decision;
use crate::pending::Pending;
use crate::show::Row;

/// The variable that has the URL where no argument has.
const URL_VARIABLE: &str = "TIDELOCK_SQL_URL";

/// Looks at prepared transactions of databases, and ends those that nobody ends any more.
#[derive(Debug, Parser)]
#[command(name = "tidelock-sql", version)]
struct Arguments {
    #[command(subcommand)]
    about: About,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Transactions of sinks.
    Transactions {
        #[command(subcommand)]
        command: Command,
    },
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists what a log says is pending, with what became of it, and what else of its job is prepared; without a log,
    /// everything that sinks have prepared.
    List {
        #[command(flatten)]
        from: From,
    },
    /// Commits what a log says is pending. Refused where it is not proven to be there.
    Commit {
        #[command(flatten)]
        from: From,
        /// Only this transaction. Without it: all that is pending.
        name: Option<TransactionName>,
        /// Commit what is prepared under the name, although no log proves that its job wants it.
        #[arg(long, requires = "name")]
        force: bool,
    },
    /// Rolls back what is prepared under a name. Refused where a log lists it, and where nothing proves that no job waits for it.
    Rollback {
        #[command(flatten)]
        from: From,
        /// The transaction.
        name: TransactionName,
        /// Roll it back all the same: what it wrote is lost.
        #[arg(long)]
        force: bool,
    },
}

/// Where to look.
#[derive(Debug, Args)]
struct From {
    /// The database, as postgres://user:password@host/name, mysql://.. or mariadb://... Left out, it is what the environment's
    /// TIDELOCK_SQL_URL says, so that no password stands in a command.
    #[arg(long)]
    url: Option<String>,
    /// The sink's transactions_table.
    #[arg(long, default_value = "tidelock_transactions")]
    table: String,
    /// The log of the job: a folder, or a URL.
    #[arg(long)]
    log: Option<String>,
    /// Print JSON, one line for each transaction.
    #[arg(long)]
    json: bool,
}

impl From {
    fn open(&self) -> Result<Transactions> {
        let url = self.url.clone().or_else(|| std::env::var(URL_VARIABLE).ok()).ok_or_else(|| {
            Error::new(ErrorKind::Config, "look for the database", "give --url, or set TIDELOCK_SQL_URL")
        })?;
        Transactions::new(SqlConfig::from_url(&url)?, &self.table)
    }

    async fn pending(&self) -> Result<Option<Pending>> {
        match &self.log {
            Some(url) => Log::look(url).await?.listed().await.map(Some),
            None => Ok(None),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let About::Transactions { command } = Arguments::parse().about;
    match command {
        Command::List { from } => list(&from).await,
        Command::Commit { from, name, force } => commit(&from, name.as_ref(), force).await,
        Command::Rollback { from, name, force } => roll_back(&from, &name, force).await,
    }
}

async fn list(from: &From) -> Result<()> {
    let transactions = from.open()?;
    let pending = from.pending().await?;
    let listed = transactions.list().await?;
    let mut rows = Vec::new();
    for (epoch, name) in pending.iter().flat_map(pending::transactions) {
        let outcome = transactions.examine(name).await?;
        rows.push(Row { name: name.clone(), outcome, listed: Some(true), epoch: Some(epoch) });
    }
    for name in listed.ours {
        match &pending {
            None => rows.push(Row { name, outcome: Outcome::Open, listed: None, epoch: None }),
            Some(pending) if pending::is_of_job(pending, &name) && !pending::lists(pending, &name) => {
                rows.push(Row { name, outcome: Outcome::Open, listed: Some(false), epoch: None });
            }
            Some(_) => {}
        }
    }
    show::rows(&rows, listed.others, from.json);
    Ok(())
}

async fn commit(from: &From, name: Option<&TransactionName>, force: bool) -> Result<()> {
    let transactions = from.open()?;
    let wanted: Vec<TransactionName> = match (from.pending().await?, name) {
        (Some(pending), name) => {
            let listed = pending::transactions(&pending).map(|(_, name)| name);
            let wanted: Vec<_> = listed.filter(|one| name.is_none_or(|name| name == *one)).cloned().collect();
            match name {
                Some(name) if wanted.is_empty() && force => vec![name.clone()],
                Some(name) if wanted.is_empty() => {
                    return Err(refuse(
                        name,
                        "the log does not list it: its job has not decided to commit it",
                    ));
                }
                _ => wanted,
            }
        }
        (None, Some(name)) if force => vec![name.clone()],
        (None, _) => {
            let why = "give --log: nothing else proves what was prepared";
            return Err(Error::new(ErrorKind::Conflict, "end a transaction", why));
        }
    };
    if wanted.is_empty() {
        println!("nothing of it is pending");
    }
    for name in &wanted {
        match decide::commit(transactions.examine(name).await?) {
            Decision::Go => transactions.commit(name).await?,
            Decision::Done => {
                println!("{name}: committed already");
                continue;
            }
            Decision::Refuse(why) => return Err(refuse(name, why)),
        }
        println!("{name}: committed");
    }
    Ok(())
}

async fn roll_back(from: &From, name: &TransactionName, force: bool) -> Result<()> {
    let transactions = from.open()?;
    let pending = from.pending().await?;
    if let Decision::Refuse(why) = decide::roll_back(name, pending.as_ref())
        && !force
    {
        return Err(refuse(name, why));
    }
    match transactions.examine(name).await? {
        Outcome::Open => transactions.roll_back(name).await?,
        Outcome::RolledBack => {
            println!("{name}: rolled back already");
            return Ok(());
        }
        Outcome::Committed => return Err(refuse(name, "it is committed")),
        _ => return Err(refuse(name, "it is not there, and nothing proves what became of it")),
    }
    println!("{name}: rolled back");
    Ok(())
}

fn refuse(name: &TransactionName, why: &str) -> Error {
    Error::new(ErrorKind::Conflict, "end a transaction", why).with("transaction", name)
}
