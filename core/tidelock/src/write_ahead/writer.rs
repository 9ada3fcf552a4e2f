//! The writer of a write-ahead sink.
//!
//! ```text
//!   write ──> json: the epoch's records so far ──prepare: they are few──────────────> in the committable
//!                 │ a chunk is full                                                          │
//!                 v                                                                          │ names
//!             under_way: chunks on their way to the log, some at once ──> done: [ ][ ][ ] ───┘
//! ```
//!
//! What is in memory is one chunk that fills and those on their way, whatever an epoch holds. Where the host gave no place
//! for chunks, all of it stays in memory and goes into the committable, and is bounded.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use serde_json::value::RawValue;

use super::apply::Apply;
use super::committable::{RecordChunk, WriteAheadCommittable};
use super::config::WriteAheadConfig;
use super::form::pack;
use super::version::Version;
use crate::finite::is_finite;
use crate::log::ChunkStore;
use crate::{
    Epoch, Error, ErrorKind, Generation, JobId, Prepared, Rejecting, Rejects, Result, Retry, SinkAttempt,
    SinkWriter, Versioned,
};

/// How many chunks are on their way to the log at once: more of them use a store of slow answers better, and each is in
/// memory until it is there.
const UNDER_WAY_MAX: usize = 4;

/// The most bytes that an epoch has in entries alone. They are in memory once for each epoch in flight.
const WITHOUT_CHUNKS_MAX: u64 = 16 * 1024 * 1024;

/// Said of an epoch that a target would take for one that it has.
const IS_APPLIED: &str = "the target has applied epochs of this history that the job's log does not know, so that it would take this one for applied: \
     the log was restored from a backup, or its newest entries were deleted, or another process runs this job with a copy of its log";

const IS_APPLIED_REMEDY: &str = "end the other process, or put back the entries. If they are lost, roll back to the newest snapshot, which begins a new \
     history: what was read since it is read and written again";

/// The writer of a [`WriteAhead`](super::WriteAhead) sink.
pub struct WriteAheadWriter<R> {
    /// Says which records it can take.
    target: Arc<dyn Apply<Record = R>>,
    job: JobId,
    generation: Generation,
    /// Said of what is prepared.
    place: Option<Arc<str>>,
    /// The newest version in the target when the writer was opened: its own are newer.
    newest: Option<Version>,
    config: WriteAheadConfig,
    /// Where chunks go.
    chunks: Option<ChunkStore>,
    /// Records of this epoch: a JSON array without its closing bracket, or nothing.
    json: Vec<u8>,
    /// How many these are.
    records: u64,
    /// How many bytes of JSON the epoch had before these.
    gone: u64,
    /// Chunks on their way, and those that are there, in their order.
    under_way: FuturesOrdered<BoxFuture<'static, Result<RecordChunk>>>,
    done: Vec<RecordChunk>,
    /// Where records go that cannot be stored.
    rejects: Rejects<R>,
}

impl<R> fmt::Debug for WriteAheadWriter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAheadWriter")
            .field("job", &self.job)
            .field("generation", &self.generation)
            .field("bytes", &(self.gone + self.json.len() as u64))
            .finish_non_exhaustive()
    }
}

impl<R: Versioned> WriteAheadWriter<R> {
    pub(super) fn new(
        target: Arc<dyn Apply<Record = R>>,
        config: WriteAheadConfig,
        attempt: &SinkAttempt,
    ) -> Self {
        Self {
            target,
            job: attempt.job.clone(),
            generation: attempt.generation,
            place: None,
            newest: None,
            config,
            chunks: attempt.chunks.clone(),
            json: Vec::new(),
            records: 0,
            gone: 0,
            under_way: FuturesOrdered::new(),
            done: Vec::new(),
            rejects: Rejects::default(),
        }
    }

    /// See [`WriteAhead::at`](super::WriteAhead::at).
    pub(super) fn at(self, place: Option<Arc<str>>) -> Self {
        Self { place, ..self }
    }

    /// What the target had when the attempt began.
    pub(super) fn after(self, newest: Option<Version>) -> Self {
        Self { newest, ..self }
    }

    /// I7: an epoch that is not newer than what the target has would be taken for applied, and never be written. Every attempt restores the newest
    /// entry, and what was applied is in an entry: so epochs of one history are newer than all before them, unless entries are gone.
    fn check_newer(&self, epoch: Epoch) -> Result<()> {
        let ours = Version { generation: self.generation, epoch };
        let Some(newest) = self.newest.filter(|newest| *newest >= ours) else { return Ok(()) };
        Err(Error::new(ErrorKind::Conflict, "prepare", IS_APPLIED)
            .with_retry(Retry::Halt)
            .with("version", ours)
            .with("newest_in_target", newest)
            .with("remedy", IS_APPLIED_REMEDY))
    }

    /// Takes a record, or nothing of it.
    fn append(&mut self, record: &R) -> Result<()> {
        self.target.check(record)?;
        let before = self.json.len();
        self.json.push(if self.json.is_empty() { b'[' } else { b',' });
        self.store(record).inspect_err(|_| self.json.truncate(before))?;
        self.records += 1;
        Ok(())
    }

    /// I7: what is durable and cannot be read would halt the job for ever, so nothing is promised that was
    /// not read back.
    fn store(&mut self, record: &R) -> Result<()> {
        let refuse =
            |why: &str| Error::new(ErrorKind::Data, "write", why).with("type", std::any::type_name::<R>());
        if !is_finite(record) {
            return Err(refuse(
                "a record has a number that JSON cannot hold, NaN or infinite, so it would be read back as \
                 something else: filter such records, or give the number another form",
            ));
        }
        let begin = self.json.len();
        serde_json::to_writer(&mut self.json, record)
            .map_err(|error| refuse("a record cannot be stored as JSON").because(error))?;
        serde_json::from_slice::<R>(&self.json[begin..]).map_err(|error| {
            refuse("a record cannot be read back from the JSON that it was stored as: its type reads another form \
                    than it writes")
            .because(error)
        })?;
        self.check_size((self.json.len() - begin) as u64)
    }

    /// Whether the epoch has room for the record that was appended last.
    fn check_size(&self, record_bytes: u64) -> Result<()> {
        let chosen = self.config.epoch_bytes_max.unwrap_or(u64::MAX);
        let most = if self.chunks.is_some() { chosen } else { chosen.min(WITHOUT_CHUNKS_MAX) };
        let more = match most == chosen {
            true => "raise epoch_bytes_max",
            false => "let the host give the sink a place for chunks, in SinkAttempt::chunks",
        };
        let refuse = |kind, why: String| Error::new(kind, "write", why).with("epoch_bytes_max", most);
        if record_bytes > most {
            // No epoch has room for it: the fault of this record, whatever the interval is.
            let why =
                format!("a record alone is larger than an epoch may be: filter such records, or {more}");
            return Err(refuse(ErrorKind::Data, why)
                .with("record_bytes", record_bytes)
                .with("type", std::any::type_name::<R>()));
        }
        if self.gone + self.json.len() as u64 <= most {
            return Ok(());
        }
        let why = "the writes of one epoch are larger than the write-ahead sink may store; shorten the checkpoint interval, use \
                   more writers, or";
        Err(refuse(ErrorKind::Config, format!("{why} {more}")))
    }

    /// Ends the array of the records that are in memory.
    fn take_json(&mut self) -> Vec<u8> {
        let mut json = std::mem::take(&mut self.json);
        json.push(b']');
        json
    }

    /// Lets the records in memory leave it as a chunk.
    async fn let_go(&mut self, chunks: &ChunkStore) -> Result<()> {
        while self.under_way.len() >= UNDER_WAY_MAX {
            self.one_done().await?;
        }
        let (json, records) = (self.take_json(), std::mem::take(&mut self.records));
        let (json_bytes, packed) = (json.len() as u64, pack(&json)?);
        self.gone += json_bytes;
        let chunks = chunks.clone();
        self.under_way.push_back(Box::pin(async move {
            Ok(RecordChunk { chunk: chunks.write(packed).await?, records, json_bytes })
        }));
        // Begun now, and not only when somebody waits for it.
        while let Poll::Ready(Some(chunk)) = futures::poll!(self.under_way.next()) {
            self.done.push(chunk?);
        }
        Ok(())
    }

    async fn one_done(&mut self) -> Result<()> {
        if let Some(chunk) = self.under_way.next().await {
            self.done.push(chunk?);
        }
        Ok(())
    }

    /// Whether the records in memory, the last of their epoch, are few enough for an entry.
    fn are_few(&self) -> bool {
        self.gone == 0 && self.json.len() <= self.config.in_entry_bytes_max
    }

    fn committable(&self, records: Option<Box<RawValue>>, chunks: Vec<RecordChunk>) -> WriteAheadCommittable {
        let (job, generation) = (self.job.clone(), self.generation);
        let place = self.place.as_deref().map(str::to_owned);
        WriteAheadCommittable { job, generation, place, record_version: R::VERSION, records, chunks }
    }
}

impl<R: Versioned> Rejecting for WriteAheadWriter<R> {
    fn reject_to(&mut self, rejects: Rejects<R>) {
        self.rejects = rejects;
    }
}

#[async_trait]
impl<R: Versioned> SinkWriter for WriteAheadWriter<R> {
    type Record = R;
    type Committable = WriteAheadCommittable;

    async fn write(&mut self, records: &mut Vec<R>) -> Result<()> {
        // An epoch that is too large is an error and not "no free place": no settled epoch makes room in
        // this one, and no barrier may overtake the records that would be given back.
        let chunks = self.chunks.clone();
        for record in records.drain(..) {
            if let Err(error) = self.append(&record) {
                self.rejects.push(record, error)?;
                continue;
            }
            if let Some(chunks) = &chunks
                && self.json.len() >= self.config.chunk_bytes
            {
                self.let_go(chunks).await?;
            }
        }
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<WriteAheadCommittable>>> {
        if self.gone == 0 && self.json.is_empty() {
            return Ok(Vec::new());
        }
        self.check_newer(epoch)?;
        match self.chunks.clone().filter(|_| !self.are_few()) {
            Some(chunks) => {
                if !self.json.is_empty() {
                    self.let_go(&chunks).await?;
                }
                while !self.under_way.is_empty() {
                    self.one_done().await?;
                }
                self.gone = 0;
                let done = std::mem::take(&mut self.done);
                Ok(vec![Prepared::lasting(self.committable(None, done))])
            }
            None => {
                let records = as_raw(self.take_json())?;
                self.records = 0;
                Ok(vec![Prepared::lasting(self.committable(Some(records), Vec::new()))])
            }
        }
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        Ok(())
    }
}

fn as_raw(json: Vec<u8>) -> Result<Box<RawValue>> {
    let not_json = |error: &dyn fmt::Display| {
        Error::new(ErrorKind::Bug, "prepare", "the buffered records are not JSON").with("cause", error)
    };
    let json = String::from_utf8(json).map_err(|error| not_json(&error))?;
    RawValue::from_string(json).map_err(|error| not_json(&error))
}
