//! The transactions of a sink: recovery and commit.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tidelock::{Error, ErrorKind, Pending, Position, Result, Retry, SinkAttempt, WriterId};

use crate::client::Client;
use crate::committable::Branch;
use crate::config::Mode;
use crate::kind::DatabaseKind;
use crate::prepared::name::{Owner, TransactionName};
use crate::prepared::registry::{Known, Newest, Registry};
use crate::prepared::verdict::{self, Verdict, Who, cannot_commit, examine};
use crate::prepared::wire::{self, End};
use crate::prepared::writer::{BranchWriter, Circumstances};
use crate::prepared::{detach, kin, preflight, registry, sessions};
use crate::table::Table;
use crate::target::Target;

/// Rows of transactions that no entry lists any more are deleted when there are so many: each time costs a commit.
const FORGET_AT: usize = 64;

/// How often it is looked whether somebody else lets a transaction go, and what is waited before each: about a second.
const HELD_LOOKS: usize = 50;
const HELD_PAUSE: Duration = Duration::from_millis(20);

/// The transactions of one sink in its database.
pub(crate) struct Branches {
    target: Arc<Target>,
    known: Mutex<InProcess>,
}

/// What this process knows.
#[derive(Debug, Default)]
struct InProcess {
    /// The attempt that recovered here: from then on what has its number is its own.
    begun: Option<SinkAttempt>,
    /// What was committed here: its rows are in the table until no entry lists it.
    committed: BTreeSet<TransactionName>,
}

impl Branches {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, known: Mutex::default() }
    }

    fn kind(&self) -> DatabaseKind {
        self.target.dialect.kind
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InProcess> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the database can hold something of this sink: also where another mode was chosen since.
    async fn is_used(&self, client: &mut Client) -> Result<bool> {
        if self.target.config.mode == Mode::Prepared {
            return Ok(true);
        }
        // SQLite prepares nothing.
        let (dialect, table) = (self.target.dialect, &self.target.transactions);
        Ok(self.kind() != DatabaseKind::Sqlite && Table::describe(client, dialect, table).await?.is_some())
    }

    /// See [`Sink::recover`](tidelock::Sink::recover).
    pub(crate) async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<Branch>]) -> Result<()> {
        let mut client = self.target.pool.get().await?;
        if !self.is_used(&mut client).await? {
            client.give_back();
            return Ok(());
        }
        let registry = Registry::of(&self.target);
        if self.target.config.mode == Mode::Prepared {
            preflight::look(&mut client, &self.target.config).await?;
        }
        if !self.is_here(&mut client, attempt, pending).await? {
            client.give_back();
            return Ok(());
        }
        let known = registry.known(&mut client, &Owner::of(attempt)).await?;
        sessions::end_older(&mut client, &self.target, attempt, &known.sessions).await?;
        let detaches = wire::detaches(&mut client, self.kind()).await;
        if !detaches.map_err(|fault| fault.during("recover in SQL"))? {
            // Also those of a process that ended a moment ago.
            detach::ours(&self.target, &mut client).await?;
        }
        // Listed when nobody older can prepare any more: one that was about to a moment ago would hold its locks until the next time.
        for leftover in self.leftovers(&mut client, attempt, pending).await? {
            self.roll_back(&mut client, &leftover).await?;
        }
        for one in pending {
            let name = &one.committable.transaction;
            let found = examine(&self.target, &mut client, name, Who::Attempt(attempt)).await?;
            if !matches!(found, Verdict::Open | Verdict::Done) {
                return Err(cannot_commit(&self.target, found, one));
            }
        }
        // Not before the look: what is pending in another database is told by an attempt that never was in this one.
        if let Some(newest) = registry.claim(&mut client, attempt).await? {
            return Err(self.superseded(attempt, newest));
        }
        self.forget_older(&mut client, attempt, known, pending).await?;
        client.give_back();
        self.lock().begun = Some(attempt.clone());
        Ok(())
    }

    /// Whether this sink has something here, or may have. Not so: another mode was chosen, nothing is pending of this one, and the sink
    /// never was in it here, or we may not look: the table of transactions is of others, and no concern of ours.
    async fn is_here(
        &self,
        client: &mut Client,
        attempt: &SinkAttempt,
        pending: &[Pending<Branch>],
    ) -> Result<bool> {
        let is_needed = self.target.config.mode == Mode::Prepared || !pending.is_empty();
        let found = async {
            let leftovers = self.leftovers(client, attempt, pending).await?;
            let newest = Registry::of(&self.target).newest(client, &Owner::of(attempt)).await?;
            Ok::<_, Error>((leftovers, newest))
        };
        let (leftovers, newest) = match found.await {
            Err(error) if !is_needed && error.kind() == ErrorKind::Auth => {
                tracing::info!(table = %self.target.transactions, %error, "whether this sink was in the mode `prepared` before is not known");
                return Ok(false);
            }
            found => found?,
        };
        match newest {
            Some(newest) if newest > Newest::of(attempt) => Err(self.superseded(attempt, newest)),
            None => Ok(is_needed || !leftovers.is_empty()),
            Some(_) => Ok(true),
        }
    }

    /// What older attempts prepared and no entry lists. Names are compared whole.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where an attempt that is not older has something prepared (I5): a newer attempt owns the job, or
    /// this one runs on another log, and then not even what looks older may be touched, because that log may list it.
    async fn leftovers(
        &self,
        client: &mut Client,
        attempt: &SinkAttempt,
        pending: &[Pending<Branch>],
    ) -> Result<Vec<TransactionName>> {
        let listing = wire::list(client, self.kind()).await.map_err(preflight::cannot_list)?;
        // A rollback gives an attempt another generation, and its number stays.
        let has_begun = self.lock().begun.as_ref().is_some_and(|begun| {
            (&begun.job, &begun.uid, begun.number) == (&attempt.job, &attempt.uid, attempt.number)
        });
        let mut leftovers = Vec::new();
        let mut strangers = Vec::new();
        for name in listing.ours {
            if !name.is_of(&attempt.job, &attempt.uid) || name.database != self.target.tag() {
                continue;
            }
            match name.attempt.cmp(&attempt.number) {
                std::cmp::Ordering::Less => leftovers.push(name),
                std::cmp::Ordering::Equal if has_begun => {}
                std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => strangers.push(name),
            }
        }
        if let Some(newest) = strangers.iter().max_by_key(|name| name.attempt) {
            let why = "an attempt that is not older than this one has a transaction prepared: a newer attempt owns the job, or \
                       the job runs on another log than that attempt did";
            let remedy = "start the job with the log that it ran with before. If that log is lost: `tidelock-sql transactions \
                          rollback --force NAME` throws away what is prepared under the name; or give the job another id";
            return Err(Error::new(ErrorKind::Conflict, "recover in SQL", why)
                .with_retry(Retry::Halt)
                .with("transaction", newest)
                .with("its_attempt", newest.attempt)
                .with("our_attempt", attempt.number)
                .with("transactions", strangers.len())
                .with("remedy", remedy));
        }
        leftovers.retain(|name| !lists(pending, name));
        Ok(leftovers)
    }

    /// A newer attempt was here.
    fn superseded(&self, attempt: &SinkAttempt, newest: Newest) -> Error {
        let why = "a newer attempt recovered in this database: it owns the job, or the job runs on another log than that \
                   attempt did";
        let remedy = "start the job with the log that it ran with before. If that log is lost, and no process of the job \
                      runs: delete the row of this name from the table of transactions; or give the job another id";
        Error::new(ErrorKind::Conflict, "recover in SQL", why)
            .with_retry(Retry::Halt)
            .with("table", &self.target.transactions)
            .with("name", Owner::of(attempt))
            .with("its_attempt", newest.attempt)
            .with("our_attempt", attempt.number)
            .with("remedy", remedy)
    }

    async fn roll_back(&self, client: &mut Client, name: &TransactionName) -> Result<()> {
        for _ in 0..HELD_LOOKS {
            match wire::end(client, self.kind(), name, End::Rollback).await {
                Ok(()) => {
                    tracing::info!(transaction = %name, "rolled back what an older attempt left");
                    metrics::counter!("tidelock_sql_leftovers_rolled_back_total").increment(1);
                    return Ok(());
                }
                Err(fault) if wire::is_open_question(&fault) => {
                    let listing = wire::list(client, self.kind()).await.map_err(preflight::cannot_list)?;
                    if !listing.ours.contains(name) {
                        return Ok(());
                    }
                    tokio::time::sleep(HELD_PAUSE).await;
                }
                Err(fault) => return Err(verdict::refused(fault, name, "recover in SQL")),
            }
        }
        Err(verdict::is_held(name))
    }

    /// Deletes the rows of what older attempts committed and no entry lists, and of their writers.
    async fn forget_older(
        &self,
        client: &mut Client,
        attempt: &SinkAttempt,
        known: Known,
        pending: &[Pending<Branch>],
    ) -> Result<()> {
        let owner = Owner::of(attempt);
        let is_older = |theirs: &Position| *theirs < attempt.number;
        let listed: BTreeSet<String> = pending.iter().map(|one| one.committable.transaction.row()).collect();
        let transactions = known.committed.into_iter();
        let transactions = transactions.filter(|(theirs, row)| is_older(theirs) && !listed.contains(row));
        let sessions = known.sessions.into_iter().filter(|(theirs, _)| is_older(theirs));
        let rows: Vec<String> = transactions
            .map(|(_, row)| row)
            .chain(sessions.map(|(theirs, writer)| registry::session(&owner, theirs, writer)))
            .collect();
        Registry::of(&self.target).forget(client, &rows).await
    }

    /// Opens a writer.
    pub(crate) async fn open<T>(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<BranchWriter<T>> {
        let shape = self.target.shape().await?;
        let mut client = self.target.pool.get().await?;
        let registry = Registry::of(&self.target);
        if let Some(newest) = registry.newest(&mut client, &Owner::of(attempt)).await?
            && newest > Newest::of(attempt)
        {
            return Err(self.superseded(attempt, newest));
        }
        registry.open(&mut client, attempt, writer).await?;
        if self.kind() == DatabaseKind::Postgres {
            let each = u64::from(self.target.config.prepared_max);
            preflight::places(&mut client, u64::from(writer.0) + 1, each).await?;
        }
        let detaches = wire::detaches(&mut client, self.kind()).await;
        let detaches = detaches.map_err(|fault| fault.during("open a writer"))?;
        let refers_to_itself = kin::refers_to_itself(&mut client, self.target.dialect, &shape.name).await?;
        client.give_back();
        let circumstances = Circumstances { detaches, refers_to_itself };
        Ok(BranchWriter::new(Arc::clone(&self.target), shape, attempt.clone(), writer, circumstances))
    }

    /// Commits the transactions of one epoch.
    pub(crate) async fn commit(&self, branches: &[Pending<Branch>]) -> Result<()> {
        let at_once = usize::try_from(self.target.config.database.connections_max).unwrap_or(usize::MAX);
        let commits: Vec<_> = branches.iter().map(|one| self.commit_one(one)).collect();
        stream::iter(commits).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
        let names = branches.iter().map(|one| one.committable.transaction.clone());
        self.lock().committed.extend(names);
        Ok(())
    }

    async fn commit_one(&self, one: &Pending<Branch>) -> Result<()> {
        let mut client = self.target.pool.get().await?;
        let name = &one.committable.transaction;
        let mut ended = wire::end(&mut client, self.kind(), name, End::Commit).await;
        for _ in 0..HELD_LOOKS {
            let fault = match ended {
                Ok(()) => break,
                Err(fault) if wire::is_open_question(&fault) => fault,
                Err(fault) => return Err(verdict::refused(fault, name, "commit in SQL")),
            };
            let ours = self.lock().begun.clone();
            let who = ours.as_ref().map_or(Who::Nobody, Who::Attempt);
            match examine(&self.target, &mut client, name, who).await? {
                Verdict::Open => {}
                Verdict::Done => {
                    client.give_back();
                    return Ok(());
                }
                found => return Err(cannot_commit(&self.target, found, one)),
            }
            // The connection that prepared it may be closing still.
            tokio::time::sleep(HELD_PAUSE).await;
            ended = match wire::end(&mut client, self.kind(), name, End::Commit).await {
                Err(again) if wire::is_open_question(&again) => Err(fault),
                ended => ended,
            };
        }
        if ended.is_err() {
            return Err(verdict::is_held(name));
        }
        if self.kind() == DatabaseKind::MySql && !Registry::of(&self.target).has(&mut client, name).await? {
            return Err(verdict::not_done(name));
        }
        client.give_back();
        Ok(())
    }

    /// Deletes rows of what was committed here and the entry no longer lists. What fails here is tried again after the next commit.
    pub(crate) async fn forget(&self, listed: &[Pending<Branch>]) {
        let names: Vec<TransactionName> =
            self.lock().committed.iter().filter(|name| !lists(listed, name)).cloned().collect();
        if names.len() < FORGET_AT {
            return;
        }
        let forgotten = async {
            let mut client = self.target.pool.get().await?;
            let rows: Vec<String> = names.iter().map(TransactionName::row).collect();
            Registry::of(&self.target).forget(&mut client, &rows).await?;
            client.give_back();
            Ok::<_, Error>(())
        };
        match forgotten.await {
            Ok(()) => self.lock().committed.retain(|name| !names.contains(name)),
            Err(error) => {
                tracing::warn!(%error, "rows of the table of transactions stay longer than they must");
            }
        }
    }
}

fn lists(pending: &[Pending<Branch>], name: &TransactionName) -> bool {
    pending.iter().any(|one| one.committable.transaction == *name)
}
