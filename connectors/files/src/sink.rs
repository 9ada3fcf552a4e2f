//! The sink: hidden files at a barrier, visible ones when the snapshot is durable.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::{CommitPermit, Committed, Error, ErrorKind, Pending, Result, Sink, SinkAttempt, WriterId};

use crate::committable::FileCommittable;
use crate::config::FilesSinkConfig;
use crate::format::encoder::Encoder;
use crate::names;
use crate::target::Target;
use crate::writer::{BucketOf, FileWriter};

/// Writes records of type `T` to the files of a folder: see the [crate's page](crate) for what it
/// guarantees.
pub struct FilesSink<T> {
    config: Arc<FilesSinkConfig>,
    target: Target,
    bucket_of: Option<Arc<BucketOf<T>>>,
}

impl<T> fmt::Debug for FilesSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSink").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T> FilesSink<T> {
    /// A sink with these settings. Does no I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn new(config: FilesSinkConfig) -> Result<Self> {
        config.validate()?;
        // Columns of Parquet that cannot be are found now, not with the first record.
        Encoder::new(&config.format, false)?;
        let target = Target::new(&config)?;
        Ok(Self { config: Arc::new(config), target, bucket_of: None })
    }

    /// Writes each record into a folder of its own below the sink's folder: `bucket_of` writes the name
    /// of the record's folder into an empty string. `/` makes folders in folders; a name that is hidden
    /// or leaves the folder is an error.
    ///
    /// ```
    /// # use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};
    /// # struct Row { origin: String }
    /// # fn main() -> tidelock::Result<()> {
    /// let config = FilesSinkConfig::new("out", SinkFormat::JsonLines);
    /// let sink = FilesSink::new(config)?.with_bucket(|row: &Row, name| name.push_str(&row.origin));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_bucket(mut self, bucket_of: impl Fn(&T, &mut String) + Send + Sync + 'static) -> Self {
        self.bucket_of = Some(Arc::new(bucket_of));
        self
    }
}

#[async_trait]
impl<T: Serialize + Send + 'static> Sink for FilesSink<T> {
    type Record = T;
    type Committable = FileCommittable;
    type Writer = FileWriter<T>;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<FileCommittable>]) -> Result<()> {
        self.target.recover(attempt, pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<FileWriter<T>> {
        let name = attempt.target_name(writer);
        names::check_length(&name, self.config.format.extension())?;
        self.target.open(&name).await?;
        Ok(FileWriter::new(self.target.clone(), name, Arc::clone(&self.config), self.bucket_of.clone()))
    }

    /// Local files wait for ever; a bucket may have a rule that aborts old uploads.
    fn keeps_prepared(&self) -> Option<Duration> {
        self.target.expires_after()
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<FileCommittable>>,
    ) -> Result<Committed> {
        // I1: a permit is for what its entry covers.
        if let Some(beyond) = committables.iter().find(|pending| pending.epoch > permit.epoch()) {
            return Err(Error::new(
                ErrorKind::Bug,
                "commit files",
                "the permit is not for these committables",
            )
            .with("uid", permit.uid())
            .with("permit_epoch", permit.epoch())
            .with("epoch", beyond.epoch));
        }
        self.target.commit(committables).await?;
        Ok(Committed::default())
    }
}
