//! Writes records to hidden files, one for each bucket, and closes them all at a barrier.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::{Epoch, Prepared, Result, SinkWriter, TargetName};

use crate::committable::FileCommittable;
use crate::config::FilesSinkConfig;
use crate::format::encoder::Encoder;
use crate::names;
use crate::target::{InProgress, Target};

/// Writes the name of a record's bucket into an empty string.
pub(crate) type BucketOf<T> = dyn Fn(&T, &mut String) + Send + Sync;

/// Writes records to hidden files. It always has a free place.
pub struct FileWriter<T> {
    target: Target,
    name: TargetName,
    config: Arc<FilesSinkConfig>,
    bucket_of: Option<Arc<BucketOf<T>>>,
    /// The bucket of the record at hand: one buffer for all of them.
    bucket: String,
    /// In the order in which they were opened, one for a bucket.
    open: Vec<OpenFile>,
    /// Which of them took the last record: mostly it takes the next one too.
    last: usize,
    /// Closed before the epoch ended.
    closed: Vec<Prepared<FileCommittable>>,
    /// How many files this writer began.
    begun: u64,
    record: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for FileWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A file that takes records.
struct OpenFile {
    bucket: String,
    /// The name that it will be visible by.
    file: String,
    encoder: Encoder,
    in_progress: InProgress,
    /// What left the encoder.
    bytes: u64,
    crc32c: u32,
    records: u64,
}

impl OpenFile {
    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }
}

impl<T> FileWriter<T> {
    pub(crate) fn new(
        target: Target,
        name: TargetName,
        config: Arc<FilesSinkConfig>,
        bucket_of: Option<Arc<BucketOf<T>>>,
    ) -> Self {
        Self {
            target,
            name,
            config,
            bucket_of,
            bucket: String::new(),
            open: Vec::new(),
            last: 0,
            closed: Vec::new(),
            begun: 0,
            record: PhantomData,
        }
    }

    /// The open file of the bucket at hand.
    fn find(&self) -> Option<usize> {
        let is_at = |at: usize| self.open.get(at).is_some_and(|file| file.bucket == self.bucket);
        if is_at(self.last) { Some(self.last) } else { (0..self.open.len()).find(|at| is_at(*at)) }
    }

    /// Opens a file for the bucket at hand; closes the oldest where too many are open.
    async fn open_file(&mut self) -> Result<usize> {
        names::check_bucket(&self.bucket)?;
        if self.open.len() >= self.config.open_files_max {
            self.close(0..1).await?;
        }
        let number = self.begun;
        self.begun += 1;
        let file = names::visible(&self.name, number, &self.bucket, self.config.format.extension());
        self.open.push(OpenFile {
            bucket: self.bucket.clone(),
            encoder: Encoder::new(&self.config.format)?,
            in_progress: self.target.begin(&self.name, number, &file),
            file,
            bytes: 0,
            crc32c: 0,
            records: 0,
        });
        Ok(self.open.len() - 1)
    }

    /// Closes some open files: durable, and still hidden.
    async fn close(&mut self, which: std::ops::Range<usize>) -> Result<()> {
        let mut files = Vec::with_capacity(which.len());
        let mut committables = Vec::with_capacity(which.len());
        for mut file in self.open.drain(which) {
            let rest = std::mem::replace(&mut file.encoder, Encoder::JsonLines(Vec::new())).finish()?;
            file.count(&rest);
            files.push((file.in_progress, rest));
            committables.push((file.file, file.bytes, file.crc32c, file.records));
        }
        if files.is_empty() {
            return Ok(());
        }
        let finished = self.target.finish(files).await?;
        self.closed.extend(committables.into_iter().zip(finished).map(
            |((file, bytes, crc32c, records), finished)| Prepared {
                committable: FileCommittable { file, staged: finished.staged, bytes, crc32c, records },
                expires_in: finished.expires_in,
            },
        ));
        Ok(())
    }
}

#[async_trait]
impl<T: Serialize + Send + 'static> SinkWriter for FileWriter<T> {
    type Record = T;
    type Committable = FileCommittable;

    async fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        let append_bytes = self.target.append_bytes();
        for record in records.drain(..) {
            if let Some(bucket_of) = &self.bucket_of {
                self.bucket.clear();
                bucket_of(&record, &mut self.bucket);
            }
            let at = match self.find() {
                Some(at) => at,
                None => self.open_file().await?,
            };
            self.last = at;
            let file = &mut self.open[at];
            file.encoder.push(&record)?;
            file.records += 1;
            if file.bytes + file.encoder.held() as u64 >= self.config.file_bytes_max {
                self.close(at..at + 1).await?;
            } else if file.encoder.ready() >= append_bytes {
                let bytes = file.encoder.take()?;
                file.count(&bytes);
                file.in_progress.append(bytes).await?;
            }
        }
        Ok(())
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Vec<Prepared<FileCommittable>>> {
        self.close(0..self.open.len()).await?;
        Ok(std::mem::take(&mut self.closed))
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        // No file is ever used again, so there is nothing to free and no identity to renew.
        Ok(())
    }
}
