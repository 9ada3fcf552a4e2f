//! Writes positions as leases of KCL, into a table of their own: for monitors, and as a way back. Never read (I2).
//!
//! - The table is the source's alone: one that has other rows is refused, and each row says from which stream it is. In the table of an application a lease that was
//!   written for a shard which the application has not found yet would be taken for its own, and what is before it left out.
//! - A row is written when what it says has changed, and only while it has no owner. Once a worker has taken one nothing is written any more.
//! - Each write is an update of its own, which may be lost, late or repeated: a row may then say less than was processed, and never more.
//! - What begins at a time is written as `AT_TIMESTAMP`, for which KCL has the time in its configuration alone.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures::{StreamExt, stream};
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::{failed, load, says_nothing};
use tokio::time::Instant;

use super::config::LeaseExport;
use super::due::Due;
use super::make::there_or_made;
use super::progress::Progress;
use super::row::fill;
use super::table::{CALLS_AGAIN, LeaseTable};

const EXPORT: &str = "export positions as leases";

/// Rows that are written at once.
const AT_ONCE: usize = 16;

/// What is not written within this time is written with the next checkpoint: the coordinator waits for nobody's monitors.
const AGAIN_FOR: Duration = Duration::from_secs(5);

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Leases that say how far was read.
    pub leases: usize,
}

/// Writes to a table.
pub(crate) struct Export {
    client: Client,
    config: LeaseExport,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    due: Due,
    /// When positions were written last.
    last: Option<Instant>,
    /// Somebody else works with the table: nothing is written any more.
    is_taken: bool,
}

impl Export {
    /// Looks at the table, and makes it where it is not there. The streams are those that are read, by their names or ARNs.
    ///
    /// # Errors
    /// Where a setting cannot work, the table has another key or is somebody else's, or DynamoDB refuses.
    pub(crate) async fn open(config: LeaseExport, streams: &[String]) -> Result<Self> {
        config.validate()?;
        let client = Client::new(&load(&config.dynamodb).await?);
        there_or_made(&client, &config.table).await?;
        let rows = LeaseTable::new(client.clone(), &config.table).rows().await?;
        if let Some((key, why)) = rows.first_of_others(streams) {
            let error = Error::new(
                ErrorKind::Config,
                EXPORT,
                format!("positions are exported to a table of their own, and {why}"),
            );
            return Err(error.with("table", &config.table).with("row", key));
        }
        Ok(Self { client, config, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which shards have ended, as discovery knows them.
    pub(crate) fn ended(&self, ended: impl IntoIterator<Item = Progress>) {
        self.state().due.ended(ended);
    }

    /// Tells with which shards the job began: they are in an entry before anything is read (I9).
    pub(crate) fn began(&self, shards: &[Progress]) {
        self.state().due.has(shards);
    }

    /// The snapshot with these positions is durable. They are written when it is time again.
    ///
    /// # Errors
    /// The last one, of those rows that could not be written.
    pub(crate) async fn durable(&self, shards: Vec<Progress>) -> Result<()> {
        let every = Duration::from_millis(self.config.every_ms);
        {
            let mut state = self.state();
            state.due.has(&shards);
            if state.is_taken || state.last.is_some_and(|last| last.elapsed() < every) {
                return Ok(());
            }
            state.last = Some(Instant::now());
        }
        let wrote = self.write(shards).await;
        if wrote.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
            self.state().is_taken = true;
        }
        wrote.map(drop)
    }

    /// Writes all that has changed.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where somebody else works with the table, and else the last one, of those rows that could not be written.
    pub(super) async fn write(&self, shards: Vec<Progress>) -> Result<Written> {
        let due = self.state().due.rows(shards);
        let writes = due.into_iter().map(|(key, progress)| async move {
            let wrote = self.write_row(&key, &progress).await;
            (key, progress, wrote)
        });
        let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
        let (mut written, mut last_error) = (Written::default(), None);
        while let Some((key, progress, wrote)) = writes.next().await {
            match wrote {
                Ok(()) => {
                    self.state().due.wrote(key, progress);
                    written.leases += 1;
                }
                // What is not there yet would be taken for the application's own.
                Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
                Err(error) => last_error = Some(error),
            }
        }
        last_error.map_or(Ok(written), Err)
    }

    async fn write_row(&self, key: &str, progress: &Progress) -> Result<()> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        let named = |error: Error| error.with("table", &self.config.table).with("lease", key);
        loop {
            let update = self.client.update_item().table_name(&self.config.table);
            let update = update.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let error = match fill(update, key, progress).send().await {
                Ok(answer) if answer.request_id().is_some() || answer.consumed_capacity().is_some() => {
                    return Ok(());
                }
                Ok(_) => says_nothing(EXPORT),
                Err(answer) => {
                    let refused = answer.as_service_error();
                    if refused.is_some_and(UpdateItemError::is_conditional_check_failed_exception) {
                        let why = "a worker of KCL has taken a lease, or another source exports to the table: nothing is written to it any more";
                        return Err(named(
                            Error::new(ErrorKind::Conflict, EXPORT, why).with_retry(Retry::Halt),
                        ));
                    }
                    failed(EXPORT, answer)
                }
            };
            patience.after(named(error), &self.config.table).await?;
        }
    }

    /// Tells that positions were not exported. It is no failure of the job.
    pub(crate) fn tell(&self, error: &Error) {
        let table = &self.config.table;
        tracing::warn!(%error, table, "positions were not exported");
        metrics::counter!("tidelock_kinesis_exports_failed_total", "table" => table.clone()).increment(1);
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("config", &self.config).finish_non_exhaustive()
    }
}
