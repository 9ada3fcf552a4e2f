//! The sink: rows that become visible an epoch at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::write_ahead::{WriteAhead, WriteAheadCommittable, WriteAheadConfig};
use tidelock::{CommitPermit, Committed, Epoch, Pending, Rejects, Result, Sink, SinkAttempt, WriterId};

use crate::change::Change;
use crate::committable::{Branch, Kind, SqlCommittable};
use crate::config::{Mode, SqlSinkConfig};
use crate::either::{InMode, SqlWriter};
use crate::ledger::Ledger;
use crate::prepared::Branches;
use crate::stage::{Offers, Stage};
use crate::target::Target;
use crate::upsert::UpsertWriter;
use crate::writer::LedgerWriter;

/// Writes rows to a table, exactly once for readers of committed rows: by default each epoch in one transaction of the database,
/// with the row of the ledger that says so. [`Mode`] has the other ways.
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
    branches: Branches,
    stage: Arc<Stage>,
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
        let inner = WriteAhead::new(Ledger { target: Arc::clone(&target) }, bounds)?.at(target.place());
        let branches = Branches::new(Arc::clone(&target));
        let stage = Arc::new(Stage::new(Arc::clone(&target)));
        Ok(Self { target, inner, branches, stage, record: PhantomData })
    }
}

impl<T> SqlSink<T> {
    fn ledger(&self) -> Ledger {
        Ledger { target: Arc::clone(&self.target) }
    }
}

/// What is pending, by how it waits.
struct Sorted {
    ledger: Vec<Pending<WriteAheadCommittable>>,
    prepared: Vec<Pending<Branch>>,
}

impl Sorted {
    fn of(pending: impl IntoIterator<Item = Pending<SqlCommittable>>) -> Self {
        let mut sorted = Self { ledger: Vec::new(), prepared: Vec::new() };
        for Pending { epoch, attempt, writer, committable } in pending {
            match committable.0 {
                Kind::Ledger(committable) => {
                    sorted.ledger.push(Pending { epoch, attempt, writer, committable });
                }
                Kind::Prepared(committable) => {
                    sorted.prepared.push(Pending { epoch, attempt, writer, committable });
                }
            }
        }
        sorted
    }
}

#[async_trait]
impl<T: Serialize + Send + 'static> Sink for SqlSink<T> {
    type Record = Change<T>;
    type Committable = SqlCommittable;
    type Writer = SqlWriter<T>;

    /// Looks at the tables too: a wrong port, a missing right, a ledger that is none are told before anything is written.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<SqlCommittable>]) -> Result<()> {
        let Sorted { ledger, prepared } = Sorted::of(pending.iter().cloned());
        // Before anything is made in another database.
        self.inner.check_place(&ledger)?;
        self.target.look().await?;
        self.stage.recover(attempt);
        self.branches.recover(attempt, &prepared).await?;
        self.ledger().check_noted(&attempt.job, &attempt.uid, &ledger).await?;
        self.inner.recover(attempt, &ledger).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<SqlWriter<T>> {
        match self.target.config.mode {
            Mode::Ledger => {}
            Mode::Prepared => {
                let writer = self.branches.open(attempt, writer).await?;
                return Ok(SqlWriter(InMode::Prepared(Box::new(writer))));
            }
            Mode::Upsert => {
                let writer = UpsertWriter::open(Arc::clone(&self.target), attempt, writer).await?;
                return Ok(SqlWriter(InMode::Upsert(Box::new(writer))));
            }
        }
        let shape = self.target.shape().await?;
        let mut inner = self.inner.open(attempt, writer).await?;
        self.ledger().note(&attempt.job, &attempt.uid).await?;
        let too_large = Rejects::kept();
        tidelock::Rejecting::reject_to(&mut inner, too_large.clone());
        let offers = Offers::new(&self.stage, attempt, writer, &shape);
        let writer =
            LedgerWriter::new(shape, self.target.config.on_refused.clone(), inner, offers, too_large);
        Ok(SqlWriter(InMode::Ledger(Box::new(writer))))
    }

    /// Epoch by epoch: nothing of a later one is visible before all of an earlier one.
    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<SqlCommittable>>,
    ) -> Result<Committed> {
        let mut epochs: BTreeMap<Epoch, Vec<_>> = BTreeMap::new();
        for one in committables {
            epochs.entry(one.epoch).or_default().push(one);
        }
        let _alone = self.stage.committing();
        let mut listed = Vec::new();
        for (epoch, of_epoch) in epochs {
            let Sorted { ledger, prepared } = Sorted::of(of_epoch);
            if !self.stage.commit(epoch, &ledger).await {
                self.inner.commit(permit, ledger).await?;
                self.stage.applied(epoch);
            }
            self.branches.commit(&prepared).await?;
            listed.extend(prepared);
        }
        self.branches.forget(&listed).await;
        Ok(Committed::default())
    }
}
