//! `tidelock-kafka`: looks at transactions, and ends those that nobody ends any more.

mod decide;
mod show;

use std::collections::BTreeMap;

use clap::{Args, Parser, Subcommand};
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, Result};
use tidelock_kafka::{KafkaCommittable, Properties, Transactions};

use crate::decide::{Decision, Pending};

/// Looks at Kafka's transactions, and ends those that nobody ends any more.
#[derive(Debug, Parser)]
#[command(name = "tidelock-kafka", version)]
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
    /// Lists what a log says is pending, with what became of it; without a log, what is open in the cluster.
    List {
        #[command(flatten)]
        from: From,
        /// Also ids without an open transaction. Only without a log.
        #[arg(long)]
        all: bool,
    },
    /// Shows the last transaction of a transactional id.
    Describe {
        #[command(flatten)]
        from: From,
        /// The transactional id.
        id: String,
    },
    /// Commits what a log says is pending. Refused where it is not proven to be there whole.
    Commit {
        #[command(flatten)]
        from: From,
        /// Only this transactional id. Without it: all that is pending.
        id: Option<String>,
        /// Commit what is open under the id, although nothing proves that it is what a job prepared.
        #[arg(long)]
        force: bool,
    },
    /// Aborts what is open under a transactional id, and fences its producer. Refused where a log lists
    /// it, where its attempt may be running, or where no log is given.
    Abort {
        #[command(flatten)]
        from: From,
        /// The transactional id.
        id: String,
        /// Abort it all the same. A job that waits to commit it will halt.
        #[arg(long)]
        force: bool,
    },
}

/// Where to look.
#[derive(Debug, Args)]
struct From {
    /// The brokers, as host:port, more of them with commas.
    #[arg(long)]
    brokers: String,
    /// A further setting of librdkafka, such as security.protocol, as name=value. May be repeated.
    #[arg(long = "property", value_parser = name_and_value)]
    properties: Vec<(String, String)>,
    /// The log of the job: a folder, or a URL.
    #[arg(long)]
    log: Option<String>,
    /// Print JSON, one line for each transaction.
    #[arg(long)]
    json: bool,
}

fn name_and_value(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl From {
    async fn connect(&self) -> Result<Transactions> {
        let properties = Properties::new(&self.brokers);
        let further = self.properties.iter();
        let properties = further.fold(properties, |all, (name, value)| all.with(name, value));
        Transactions::connect(&properties).await
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
        Command::List { from, all } => list(&from, all).await,
        Command::Describe { from, id } => {
            let described = from.connect().await?.describe(&id).await?;
            let described = described.ok_or_else(|| refuse(&id, "the cluster does not know this id"))?;
            show::described(&id, &described, from.json);
            Ok(())
        }
        Command::Commit { from, id, force } => commit(&from, id.as_deref(), force).await,
        Command::Abort { from, id, force } => abort(&from, &id, force).await,
    }
}

async fn list(from: &From, all: bool) -> Result<()> {
    let transactions = from.connect().await?;
    if let Some(pending) = from.pending().await? {
        let mut rows = Vec::new();
        for one in pending.pending {
            let found = transactions.examine(&one.committable).await?;
            rows.push((one.committable, found));
        }
        show::examined(&rows, from.json);
        return Ok(());
    }
    let mut rows = Vec::new();
    for one in transactions.list().await? {
        let described = transactions.describe(&one.transactional_id).await?;
        rows.extend(described.map(|described| (one.transactional_id, described)));
    }
    rows.retain(|(_, described)| all || decide::is_open(described));
    show::listed(&rows, from.json);
    Ok(())
}

async fn commit(from: &From, id: Option<&str>, force: bool) -> Result<()> {
    let transactions = from.connect().await?;
    let wanted: Vec<KafkaCommittable> = match (from.pending().await?, id) {
        (Some(pending), id) => {
            let wanted = pending.pending.into_iter().map(|one| one.committable);
            wanted.filter(|one| id.is_none_or(|id| one.transactional_id == id)).collect()
        }
        (None, Some(id)) if force => vec![as_it_is(&transactions, id).await?],
        (None, _) => {
            return Err(refuse(id.unwrap_or("-"), "give --log: nothing else proves what was prepared"));
        }
    };
    if wanted.is_empty() {
        println!("nothing of it is pending");
    }
    for one in &wanted {
        let id = &one.transactional_id;
        match decide::commit(&transactions.examine(one).await?) {
            Decision::Go => transactions.commit(one).await?,
            Decision::Done => {
                transactions.finish(one).await?;
                println!("{id}: committed already");
                continue;
            }
            Decision::Refuse(_) if force => transactions.commit(&as_it_is(&transactions, id).await?).await?,
            Decision::Refuse(why) => return Err(refuse(id, why)),
        }
        println!("{id}: committed");
    }
    Ok(())
}

/// What is open under an id now, taken for what was prepared.
async fn as_it_is(transactions: &Transactions, id: &str) -> Result<KafkaCommittable> {
    let described = transactions.describe(id).await?;
    let described = described.ok_or_else(|| refuse(id, "the cluster does not know this id"))?;
    Ok(KafkaCommittable {
        cluster_id: transactions.cluster_id().await?,
        transactional_id: id.to_owned(),
        producer_id: described.producer_id,
        producer_epoch: described.producer_epoch,
        started_at_ms: described.start_time_ms,
        timeout_ms: described.timeout_ms,
        partitions: by_topic(described.partitions),
    })
}

fn by_topic(partitions: Vec<(String, i32)>) -> BTreeMap<String, Vec<i32>> {
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        by_topic.entry(topic).or_default().push(partition);
    }
    by_topic
}

async fn abort(from: &From, id: &str, force: bool) -> Result<()> {
    let transactions = from.connect().await?;
    let pending = from.pending().await?;
    if let Decision::Refuse(why) = decide::abort(id, pending.as_ref())
        && !force
    {
        return Err(refuse(id, why));
    }
    transactions.fence(id).await?;
    println!("{id}: aborted, and its producer fenced");
    Ok(())
}

fn refuse(id: &str, why: &str) -> Error {
    Error::new(ErrorKind::Conflict, "end a transaction", why).with("transactional_id", id)
}
