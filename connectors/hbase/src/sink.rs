//! The sink: what HBase makes of its modes.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tidelock::write_ahead::{WriteAhead, WriteAheadCommittable, WriteAheadConfig};
use tidelock::{CommitPermit, Committed, Pending, Result, Sink, SinkAttempt, WriterId};

use crate::clock::clock;
use crate::control::Claim;
use crate::ledger::Ledger;
use crate::mutation::RowMutation;
use crate::sink_config::{HbaseSinkConfig, Mode};
use crate::table::without_default_namespace;
use crate::target::{Ready, Target};
use crate::upsert::UpsertWriter;
use crate::writer::{HbaseWriter, InMode};

/// Writes rows to a table of HBase, exactly once in their effect. [`Mode`] says when readers see them.
///
/// ```
/// # use tidelock_hbase::{HbaseConfig, HbaseSink, HbaseSinkConfig};
/// # fn main() -> tidelock::Result<()> {
/// let gateways = HbaseConfig::new(["hbase-1.example:9090", "hbase-2.example:9090"]);
/// let sink = HbaseSink::new(HbaseSinkConfig::new(gateways, "orders"))?; // it takes RowMutation
/// # Ok(()) }
/// ```
pub struct HbaseSink {
    target: Arc<Target>,
    inner: WriteAhead<Ledger>,
    ready: Arc<RwLock<Option<Arc<Ready>>>>,
}

impl fmt::Debug for HbaseSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HbaseSink").field("config", &self.target.config).finish_non_exhaustive()
    }
}

impl HbaseSink {
    /// A sink with these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting that cannot work.
    pub fn new(config: HbaseSinkConfig) -> Result<Self> {
        Self::with_clock(config, || clock()())
    }

    /// The same with another clock, in milliseconds since 1970: for tests of what happens where it is wrong.
    ///
    /// # Errors
    /// As [`HbaseSink::new`].
    #[doc(hidden)]
    pub fn with_clock(
        config: HbaseSinkConfig,
        clock: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut bounds = WriteAheadConfig::default();
        bounds.epoch_bytes_max = config.epoch_bytes_max;
        let target = Arc::new(Target::new(config, Arc::new(clock))?);
        let ready = Arc::<RwLock<_>>::default();
        let ledger = Ledger::new(Arc::clone(&target), Arc::clone(&ready));
        let place = format!("table {}", without_default_namespace(&target.config.table));
        Ok(Self { target, inner: WriteAhead::new(ledger, bounds)?.at(place), ready })
    }
}

#[async_trait]
impl Sink for HbaseSink {
    type Record = RowMutation;
    type Committable = WriteAheadCommittable;
    type Writer = HbaseWriter;

    /// Nothing of an older attempt is to be aborted: what it wrote is older than all that this one writes, and what it writes from now on is, too.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<WriteAheadCommittable>]) -> Result<()> {
        // Before the versions of another table are claimed.
        self.inner.check_place(pending)?;
        let claims = pending
            .iter()
            .map(|one| Claim { generation: one.committable.generation(), attempt: one.attempt });
        self.target.recover(attempt, claims.max()).await?;
        self.inner.recover(attempt, pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<HbaseWriter> {
        let ready = self.target.open(attempt).await?;
        if self.target.config.mode == Mode::Upsert {
            return Ok(HbaseWriter(InMode::Upsert(UpsertWriter::new(Arc::clone(&self.target), ready))));
        }
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Some(ready);
        Ok(HbaseWriter(InMode::Ledger(Box::new(self.inner.open(attempt, writer).await?))))
    }

    /// In the mode `upsert` everything is visible, and only what a run in the mode `ledger` left is applied.
    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<WriteAheadCommittable>>,
    ) -> Result<Committed> {
        self.inner.commit(permit, committables).await
    }
}
