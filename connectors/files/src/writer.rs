//! Writes records to hidden files, one for each bucket, and closes them all at a barrier.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::{Epoch, Error, Prepared, Rejecting, Rejects, Result, SinkWriter, TargetName};
use tokio::time::Instant;

use crate::committable::{FileCommittable, Staged};
use crate::config::FilesSinkConfig;
use crate::format::encoder::Encoder;
use crate::names;
use crate::target::{InProgress, Target};

/// How much memory the open files of a writer may take together. More, and the largest gives up what it gathered:
/// a file of Parquet its row group, which is then smaller than it might be.
const MEMORY_BYTES_MAX: usize = 256 << 20;

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
    closed: Vec<Closed>,
    /// Prepared, and maybe listed by an entry still: as many epochs as are in flight.
    unsettled: VecDeque<(Epoch, Vec<Staged>)>,
    /// How many files this writer began.
    begun: u64,
    memory_bytes_max: usize,
    /// What the open files take together, each as it was weighed last. It is asked for with each record, so it is
    /// kept and not summed up.
    memory: usize,
    /// How often a file was weighed.
    #[cfg(test)]
    weighed: usize,
    /// Where records go that cannot be written; for nobody in the beginning.
    rejects: Rejects<T>,
    /// A record that cannot be written must leave its file as it was, because the file goes on without it.
    careful: bool,
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
    /// What it took in memory when it was weighed last.
    memory: usize,
}

/// A file that is durable and hidden.
struct Closed {
    committable: FileCommittable,
    /// When the target throws it away.
    expires_at: Option<Instant>,
}

impl OpenFile {
    /// Hands what is ready to the target.
    async fn append(&mut self) -> Result<()> {
        let bytes = self.encoder.take()?;
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes);
        self.in_progress.append(bytes).await
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
            unsettled: VecDeque::new(),
            begun: 0,
            memory_bytes_max: MEMORY_BYTES_MAX,
            memory: 0,
            #[cfg(test)]
            weighed: 0,
            rejects: Rejects::default(),
            careful: false,
        }
    }

    /// The open file of the bucket at hand.
    fn find(&self) -> Option<usize> {
        let is_at = |at: usize| self.open.get(at).is_some_and(|file| file.bucket == self.bucket);
        if is_at(self.last) { Some(self.last) } else { (0..self.open.len()).find(|at| is_at(*at)) }
    }

    /// Opens a file for the bucket at hand; closes the oldest where too many are open.
    async fn open_file(&mut self) -> Result<usize> {
        if self.open.len() >= self.config.open_files_max {
            self.close(0..1).await?;
        }
        let number = self.begun;
        self.begun += 1;
        let file = names::visible(&self.name, number, &self.bucket, self.config.format.extension());
        self.open.push(OpenFile {
            bucket: self.bucket.clone(),
            encoder: Encoder::new(&self.config.format, self.careful)?,
            in_progress: self.target.begin(&self.name, number, &file),
            file,
            bytes: 0,
            crc32c: 0,
            records: 0,
            memory: 0,
        });
        Ok(self.open.len() - 1)
    }

    /// The open file of the bucket at hand, now also where there was none; or what is wrong with the bucket. Any other
    /// error is not about the record.
    async fn file(&mut self) -> Result<Result<usize, Error>> {
        if let Some(at) = self.find() {
            return Ok(Ok(at));
        }
        match names::check_bucket(&self.bucket) {
            Ok(()) => self.open_file().await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Adds a record to an open file, or says what is wrong with the record.
    fn push(&mut self, at: usize, record: &T) -> Result<()>
    where
        T: Serialize,
    {
        self.last = at;
        let file = &mut self.open[at];
        let pushed = file.encoder.push(record);
        match &pushed {
            Ok(()) => file.records += 1,
            // No file without a record becomes visible.
            Err(_) if file.records == 0 => self.memory -= self.open.remove(at).memory,
            Err(_) => {}
        }
        pushed
    }

    /// Closes some open files: durable, and still hidden.
    async fn close(&mut self, which: std::ops::Range<usize>) -> Result<()> {
        let mut files = Vec::with_capacity(which.len());
        let mut committables = Vec::with_capacity(which.len());
        for OpenFile { file, encoder, in_progress, bytes, crc32c, records, memory, .. } in
            self.open.drain(which)
        {
            self.memory -= memory;
            let rest = encoder.finish()?;
            committables.push(FileCommittable {
                file,
                staged: Staged::File(String::new()),
                bytes: bytes + rest.len() as u64,
                crc32c: crc32c::crc32c_append(crc32c, &rest),
                records,
            });
            files.push((in_progress, rest));
        }
        if files.is_empty() {
            return Ok(());
        }
        let finished = self.target.finish(files).await?;
        let now = Instant::now();
        self.closed.extend(committables.into_iter().zip(finished).map(|(committable, finished)| Closed {
            committable: FileCommittable { staged: finished.staged, ..committable },
            expires_at: finished.expires_in.map(|expires_in| now + expires_in),
        }));
        Ok(())
    }

    /// Weighs the open file that has just grown, or shrunk.
    fn weigh(&mut self, at: usize) {
        let file = &mut self.open[at];
        let memory = file.encoder.memory();
        self.memory = self.memory - std::mem::replace(&mut file.memory, memory) + memory;
        #[cfg(test)]
        {
            self.weighed += 1;
        }
    }

    /// Writes out what the largest file gathered while all together take too much memory.
    async fn relieve(&mut self) -> Result<()> {
        if self.open.len() < 2 || self.memory <= self.memory_bytes_max {
            return Ok(());
        }
        let largest = (0..self.open.len()).max_by_key(|at| self.open[*at].memory);
        let Some(at) = largest else { return Ok(()) };
        self.open[at].encoder.make_ready()?;
        self.open[at].append().await?;
        self.weigh(at);
        Ok(())
    }
}

impl<T: Serialize + Send + 'static> Rejecting for FileWriter<T> {
    fn reject_to(&mut self, rejects: Rejects<T>) {
        self.rejects = rejects;
        self.careful = true;
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
            let at = match self.file().await? {
                Ok(at) => at,
                Err(error) => {
                    self.rejects.push(record, error)?;
                    continue;
                }
            };
            if let Err(error) = self.push(at, &record) {
                self.rejects.push(record, error)?;
                continue;
            }
            let file = &mut self.open[at];
            if file.bytes + file.encoder.held() as u64 >= self.config.file_bytes_max {
                self.close(at..at + 1).await?;
                continue;
            }
            if file.encoder.ready() >= append_bytes {
                file.append().await?;
            }
            self.weigh(at);
            self.relieve().await?;
        }
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<FileCommittable>>> {
        self.close(0..self.open.len()).await?;
        if !self.closed.is_empty() {
            let staged = self.closed.iter().map(|closed| closed.committable.staged.clone());
            self.unsettled.push_back((epoch, staged.collect()));
        }
        let now = Instant::now();
        let prepared = std::mem::take(&mut self.closed).into_iter().map(|closed| Prepared {
            committable: closed.committable,
            // What remains from now on: a file may have been closed long before the epoch ended.
            expires_in: closed.expires_at.map(|at| at.saturating_duration_since(now)),
        });
        Ok(prepared.collect())
    }

    /// No file is ever used again, so there is no identity to renew.
    async fn settled(&mut self, epoch: Epoch, _reinit: bool) -> Result<()> {
        let mut settled = Vec::new();
        while self.unsettled.front().is_some_and(|(of, _)| *of <= epoch) {
            settled.extend(self.unsettled.pop_front().into_iter().flat_map(|(_, staged)| staged));
        }
        if !settled.is_empty() {
            self.target.settled(settled).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;
    use tidelock::{JobId, Position, Uid, WriterId};

    use super::*;
    use crate::config::SinkFormat;
    use crate::folder::StoreFolder;

    /// A writer of texts to a store in memory that keeps uploads for an hour.
    fn writer(file_bytes_max: u64) -> FileWriter<String> {
        let store = Arc::new(InMemory::new());
        let folder = StoreFolder {
            objects: Arc::clone(&store) as _,
            uploads: store,
            prefix: "out".into(),
            uploads_have_ids: true,
            url: "memory:///out".into(),
        };
        let mut config = FilesSinkConfig::new("memory:///out", SinkFormat::JsonLines);
        config.file_bytes_max = file_bytes_max;
        config.upload_expires_after_ms = Some(3_600_000);
        let name = TargetName {
            job: JobId::new("orders").unwrap(),
            uid: Uid::new("out").unwrap(),
            attempt: Position(1),
            writer: WriterId(0),
        };
        FileWriter::new(Target::in_store(folder, &config), name, Arc::new(config), None)
    }

    /// What a record costs does not depend on how many files are open.
    #[tokio::test]
    async fn one_file_is_weighed_for_a_record_and_the_sum_is_that_of_all_open_files() {
        let mut writer = writer(1_000);
        // A bucket for each hundredth record, and a name that no bucket can have.
        writer.bucket_of = Some(Arc::new(|record: &String, bucket: &mut String| {
            bucket.push_str(record.split('-').next().unwrap_or_default());
        }));
        writer.memory_bytes_max = 2_000;
        writer.reject_to(Rejects::kept());
        let (mut most, records) = (0, 3_000);
        for number in 0..records {
            let bucket = if number % 50 == 7 { "..".to_owned() } else { format!("b{}", number % 100) };
            let mut records = vec![format!("{bucket}-{}", "x".repeat(number % 37))];
            writer.write(&mut records).await.unwrap();
            let sum: usize = writer.open.iter().map(|file| file.encoder.memory()).sum();
            assert_eq!(writer.memory, sum, "record {number}");
            assert!(sum <= 2_100, "{sum} bytes are more than it may hold");
            most = most.max(writer.open.len());
        }
        assert!(most > 50, "{most} files at once show nothing");
        assert!(writer.weighed <= 2 * records, "{} times for {records} records", writer.weighed);
        writer.prepare(Epoch(1)).await.unwrap();
        assert_eq!((writer.memory, writer.open.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_remains_until_a_file_expires_is_told_as_of_the_barrier() {
        let mut writer = writer(1);
        writer.write(&mut vec!["closed at once".to_owned()]).await.unwrap();
        tokio::time::advance(Duration::from_secs(1800)).await;
        writer.write(&mut vec!["closed half an hour later".to_owned()]).await.unwrap();
        let left =
            writer.prepare(Epoch(1)).await.unwrap().into_iter().map(|prepared| prepared.expires_in.unwrap());
        assert_eq!(left.collect::<Vec<_>>(), [Duration::from_secs(1800), Duration::from_secs(3600)]);
    }
}
