//! The sink: what Kinesis makes of its modes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::{CommitPermit, Committed, Pending, Result, Sink, SinkAttempt, WriterId};

use crate::direct::DirectWriter;
use crate::numbered::{KinesisCommittable, NumberedSink};
use crate::put::KinesisPut;
use crate::sink_config::{KinesisSinkConfig, Mode};
use crate::target::Target;
use crate::writer::{InMode, KinesisWriter};

/// Writes records to a stream of Kinesis. [`Mode`] says how, and what is guaranteed.
///
/// ```
/// # use tidelock_kinesis::{AwsConfig, KinesisSink, KinesisSinkConfig};
/// # fn main() -> tidelock::Result<()> {
/// let sink = KinesisSink::new(KinesisSinkConfig::new(AwsConfig::new(), "flights"))?; // it takes KinesisPut
/// # Ok(()) }
/// ```
pub struct KinesisSink {
    target: Arc<Target>,
    numbered: NumberedSink,
}

impl fmt::Debug for KinesisSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisSink").field("config", &self.target.config).finish_non_exhaustive()
    }
}

impl KinesisSink {
    /// A sink with these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting that cannot work.
    pub fn new(config: KinesisSinkConfig) -> Result<Self> {
        let target = Arc::new(Target::new(config)?);
        Ok(Self { numbered: NumberedSink::new(Arc::clone(&target))?, target })
    }
}

#[async_trait]
impl Sink for KinesisSink {
    type Record = KinesisPut;
    type Committable = KinesisCommittable;
    type Writer = KinesisWriter;

    /// Nothing of an older attempt can be aborted: what is in a stream stays.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<KinesisCommittable>]) -> Result<()> {
        self.numbered.recover(attempt, pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<KinesisWriter> {
        Ok(KinesisWriter(match self.target.config.mode {
            Mode::Direct => {
                let ready = self.target.look(attempt).await?;
                InMode::Direct(DirectWriter::open(&self.target, ready))
            }
            Mode::Numbered => InMode::Numbered(Box::new(self.numbered.open(attempt, writer).await?)),
        }))
    }

    /// In the mode `direct` everything is visible, and only what a run in the mode `numbered` left is put.
    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<KinesisCommittable>>,
    ) -> Result<Committed> {
        self.numbered.commit(permit, committables).await
    }
}
