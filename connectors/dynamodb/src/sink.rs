//! The sink: what DynamoDB makes of its modes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::{CommitPermit, Committed, Pending, Result, Sink, SinkAttempt, WriterId};

use crate::batched::BatchedWriter;
use crate::change::ItemChange;
use crate::error::setting;
use crate::sink_config::{DynamoSinkConfig, Mode};
use crate::target::Target;
use crate::versioned::VersionedWriter;
use crate::writer::{DynamoWriter, InMode};

const NO_LEDGER: &str = "this version does not have the mode `ledger` yet: it has `versioned` and `batched`";

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
        if config.mode == Mode::Ledger {
            return Err(setting("mode", NO_LEDGER));
        }
        Ok(Self { target: Arc::new(Target::new(config)?) })
    }
}

#[async_trait]
impl Sink for DynamoSink {
    type Record = ItemChange;
    type Committable = ();
    type Writer = DynamoWriter;

    /// Nothing of an older attempt is to be aborted: what it wrote is older than all that this one writes, and what it writes from now on is, too.
    async fn recover(&self, attempt: &SinkAttempt, _pending: &[Pending<()>]) -> Result<()> {
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
            Mode::Ledger => return Err(setting("mode", NO_LEDGER)),
        }))
    }

    /// Everything is visible already: nothing waits for a commit.
    async fn commit(&self, _permit: &CommitPermit, _committables: Vec<Pending<()>>) -> Result<Committed> {
        Ok(Committed::default())
    }
}
