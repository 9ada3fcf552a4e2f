//! The database of a source: asked once, or until it answers.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tidelock::{Error, Result, Retry};
use tokio::time::Instant;

use super::page::Asked;
use super::relation::Relation;
use super::snapshot::Snapshot;
use crate::client::{Access, Client, Pool, Rows};
use crate::database::SqlConfig;
use crate::error::Fault;

/// The first pause: about what a server needs to end what it is busy with.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a server that is back should not wait for us.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A database is away for so long until it is told: what is shorter is a hiccup.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// One source may stand in a graph under several uids, and be cut for each. A cut whose entry was never durable leaves one, too.
const KEEPERS_MAX: usize = 8;

/// Connections that rows are read by.
pub(super) struct Reading {
    pub(super) pool: Pool,
    /// The table for people.
    pub(super) shown: String,
    database: SqlConfig,
    retry_for: Duration,
    /// Sessions that keep a snapshot, the latest last: one for each uid of the source, as a rule.
    keepers: Mutex<VecDeque<Client>>,
}

impl Reading {
    pub(super) fn new(database: SqlConfig, shown: String, retry_for_ms: u64) -> Self {
        let pool = Pool::new(database.clone(), Access::Read);
        let retry_for = Duration::from_millis(retry_for_ms);
        Self { pool, shown, database, retry_for, keepers: Mutex::default() }
    }

    /// Exports a snapshot: it is there as long as the session is.
    pub(super) async fn export(&self, relation: &Relation) -> Result<(Client, Snapshot)> {
        Snapshot::export(&self.database, relation).await
    }

    /// Keeps the session of a snapshot that splits were cut in.
    pub(super) fn keep(&self, session: Client) {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        if keepers.len() == KEEPERS_MAX {
            keepers.pop_front();
        }
        keepers.push_back(session);
    }

    /// Asks once, in a snapshot or of this moment.
    pub(super) async fn ask(
        &self,
        snapshot: Option<&Snapshot>,
        asked: Asked,
        bytes_max: usize,
    ) -> Result<Rows> {
        let mut client = self.pool.get().await?;
        let failed = |fault: Fault| fault.during("read rows").with("table", &self.shown);
        if let Some(snapshot) = snapshot {
            snapshot.begin(&mut client).await.map_err(|error| error.with("table", &self.shown))?;
        }
        let rows = client.query_within(&asked.statement, asked.values, bytes_max).await.map_err(failed)?;
        if snapshot.is_some() {
            client.run("COMMIT").await.map_err(failed)?;
        }
        client.give_back();
        Ok(rows)
    }

    /// Asks until there is an answer, or an error that does not pass. A page that is asked for again is the same page, as what is
    /// between two keys is decided by nothing else.
    pub(super) async fn patiently<T, F, Fut>(&self, mut ask: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let began = Instant::now();
        let backoff = ExponentialBuilder::default().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        let mut pauses = backoff.with_jitter().without_max_times().build();
        let mut is_told = false;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.retry() != Retry::Retry {
                return Err(error);
            }
            metrics::counter!("tidelock_sql_pages_again_total").increment(1);
            let pause = pauses.next().unwrap_or(PAUSE_MAX);
            if began.elapsed() + pause > self.retry_for {
                return Err(self.given_up(error));
            }
            if !is_told && began.elapsed() + pause > TOLD_AFTER {
                is_told = true;
                tracing::warn!(table = self.shown, %error, for_at_most = ?self.retry_for, "rows are asked for again and again");
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn given_up(&self, error: Error) -> Error {
        error.with_retry(Retry::Restart).with("asked_for", format_args!("{:?}", self.retry_for))
    }
}
