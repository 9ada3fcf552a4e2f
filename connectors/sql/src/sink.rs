//! The sink: rows that become visible an epoch at a time.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::write_ahead::{WriteAhead, WriteAheadCommittable, WriteAheadConfig};
use tidelock::{CommitPermit, Committed, Pending, Rejects, Result, Sink, SinkAttempt, WriterId};

use crate::change::Change;
use crate::config::SqlSinkConfig;
use crate::ledger::Ledger;
use crate::target::Target;
use crate::writer::SqlWriter;

/// Writes rows to a table: each epoch in one transaction of the database, with the row of the ledger that says so.
///
/// Records of type `T` are rows: their fields are columns.
///
/// ```
/// # use tidelock_sql::{SqlConfig, SqlSink, SqlSinkConfig};
/// #[derive(serde::Serialize)]
/// struct Order {
///     id: u64,
///     customer: String,
///     cents: i64,
/// }
///
/// # fn main() -> tidelock::Result<()> {
/// let database = SqlConfig::from_url("sqlite:shop.db")?;
/// let sink: SqlSink<Order> = SqlSink::new(SqlSinkConfig::new(database, "orders"))?;
/// # Ok(()) }
/// ```
pub struct SqlSink<T> {
    target: Arc<Target>,
    inner: WriteAhead<Ledger>,
    record: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for SqlSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSink").field("config", &self.target.config).finish_non_exhaustive()
    }
}

impl<T> SqlSink<T> {
    /// A sink with these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting that cannot work.
    pub fn new(config: SqlSinkConfig) -> Result<Self> {
        let mut bounds = WriteAheadConfig::default();
        bounds.epoch_bytes_max = config.epoch_bytes_max;
        let target = Arc::new(Target::new(config)?);
        let inner = WriteAhead::new(Ledger { target: Arc::clone(&target) }, bounds)?;
        Ok(Self { target, inner, record: PhantomData })
    }
}

#[async_trait]
impl<T: Serialize + Send + 'static> Sink for SqlSink<T> {
    type Record = Change<T>;
    type Committable = WriteAheadCommittable;
    type Writer = SqlWriter<T>;

    /// Looks at the tables too: a wrong port, a missing right, a ledger that is none are told before anything is written.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<WriteAheadCommittable>]) -> Result<()> {
        self.target.look().await?;
        self.inner.recover(attempt, pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<SqlWriter<T>> {
        let shape = self.target.shape().await?;
        let mut inner = self.inner.open(attempt, writer).await?;
        let too_large = Rejects::kept();
        tidelock::Rejecting::reject_to(&mut inner, too_large.clone());
        Ok(SqlWriter::new(shape, self.target.config.on_refused.clone(), inner, too_large))
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<WriteAheadCommittable>>,
    ) -> Result<Committed> {
        self.inner.commit(permit, committables).await
    }
}
