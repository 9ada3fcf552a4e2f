//! The sink: what DynamoDB makes of its modes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::{CommitPermit, Committed, Pending, Result, Sink, SinkAttempt, WriterId};

use crate::batched::BatchedWriter;
use crate::change::ItemChange;
use crate::ledger::{DynamoCommittable, LedgerSink};
use crate::sink_config::{DynamoSinkConfig, Mode};
use crate::target::Target;
use crate::versioned::VersionedWriter;
use crate::writer::{DynamoWriter, InMode};

/// Writes items to a table of DynamoDB. [`Mode`] says how, and what is guaranteed.
///
/// ```
/// # use tidelock_dynamodb::{AwsConfig, DynamoSink, DynamoSinkConfig};
/// # fn main() -> tidelock::Result<()> {
/// let sink = DynamoSink::new(DynamoSinkConfig::new(AwsConfig::new(), "orders"))?; // it takes ItemChange
/// # Ok(()) }
/// ```
pub struct DynamoSink {
    target: Arc<Target>,
    ledger: LedgerSink,
}

impl fmt::Debug for DynamoSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoSink").field("config", &self.target.config).finish_non_exhaustive()
    }
}

impl DynamoSink {
    /// A sink with these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting that cannot work.
    pub fn new(config: DynamoSinkConfig) -> Result<Self> {
        let target = Arc::new(Target::new(config)?);
        Ok(Self { ledger: LedgerSink::new(Arc::clone(&target))?, target })
    }
}

#[async_trait]
impl Sink for DynamoSink {
    type Record = ItemChange;
    type Committable = DynamoCommittable;
    type Writer = DynamoWriter;

    /// Nothing of an older attempt is to be aborted: what it wrote is older than all that this one writes, and what it writes from now on is, too.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<DynamoCommittable>]) -> Result<()> {
        if self.target.config.mode == Mode::Ledger || !pending.is_empty() {
            return self.ledger.recover(attempt, pending).await;
        }
        self.target.look(attempt).await.map(drop)
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<DynamoWriter> {
        let ready = self.target.look(attempt).await?;
        let target = &self.target;
        Ok(DynamoWriter(match target.config.mode {
            Mode::Versioned => {
                InMode::Versioned(VersionedWriter::open(target, ready, attempt, writer).await?)
            }
            Mode::Batched => InMode::Batched(BatchedWriter::open(target, ready).await?),
            Mode::Ledger => InMode::Ledger(Box::new(self.ledger.open(attempt, writer).await?)),
        }))
    }

    /// In the other modes than `ledger` everything is visible, and only what a run in that mode left is applied.
    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<DynamoCommittable>>,
    ) -> Result<Committed> {
        self.ledger.commit(permit, committables).await
    }
}
