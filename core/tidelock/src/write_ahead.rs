//! The write-ahead sink: exactly-once effect on targets that have no transactions.
//!
//! ```text
//!   write ──> buffer ──prepare(n)──> committable ──> snapshot ──commit(n)──> Apply::apply(version n, records)
//!             (memory)               (the records                            changes the target only if
//!                                     themselves)                            n is newer than what is there
//! ```
//!
//! The records of an epoch travel in the snapshot, as its committables, and reach the target at commit and
//! not before. So there is nothing in the target to abort, nothing that expires, and a fresh process can
//! commit what a dead one wrote.
//!
//! Commit is repeated: after a crash, after an answer that was lost, by an older attempt that wakes up. A
//! [`Version`] makes that harmless. The target keeps the newest one, or one for each row, and changes
//! nothing for a version that is not newer. Its high part is the generation, so that what a rolled-back run
//! wrote never wins against what the replay writes.
//!
//! What it costs: every record is stored in the job's log first, so this is for writes of moderate volume,
//! and an epoch is bounded in bytes. What it does not give: readers may see an epoch in part where the
//! target cannot apply many records in one atomic step.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::finite::is_finite;
use crate::{
    CommitPermit, Committable, Committed, Epoch, Error, ErrorKind, Generation, JobId, Pending, Prepared,
    Rejecting, Rejects, Result, Retry, Sink, SinkAttempt, SinkWriter, Uid, Versioned, WriterId, from_json,
    unknown_version,
};

/// The version with which an epoch is applied. Ordered by generation, then by epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The history that the epoch belongs to. A newer one wins over all of an older one.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.generation, self.epoch)
    }
}

/// Everything that one sink writes in one epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct Writes<R> {
    /// The job.
    pub job: JobId,
    /// The sink within the job. The target keeps versions for each job and sink apart.
    pub uid: Uid,
    /// The version to apply them with.
    pub version: Version,
    /// The records: those of one writer in their order, one writer after the other.
    pub records: Vec<R>,
}

impl<R> fmt::Debug for Writes<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, uid, version, records } = self;
        write!(f, "Writes({job}/{uid}, version {version}, {} records)", records.len())
    }
}

/// A target that applies an epoch if it is newer than what it has.
#[async_trait]
pub trait Apply: Send + Sync + 'static {
    /// What is written. Its stored form is in snapshots, so it has a version.
    type Record: Versioned;

    /// The newest version that was ever applied for this job and sink; `None` where none was.
    ///
    /// # Contract
    /// - MUST be at least the version of everything that would win against this sink's writes. Where each
    ///   row has its version, that is the newest of all rows, whoever wrote it: keep it beside them.
    ///
    /// # Crash
    /// Leaves nothing: it only looks.
    async fn newest(&self, job: &JobId, uid: &Uid) -> Result<Option<Version>>;

    /// Whether the target can take a record. Called by `write`, with each record before it is stored: one that is
    /// refused may be set aside, as [`Rejecting`] says, and one that is stored must be applied.
    ///
    /// # Contract
    /// - MUST refuse, with kind [`Data`](ErrorKind::Data), whatever the target would refuse for ever: at commit it would
    ///   halt the job.
    /// - MUST NOT wait: what it has to know of the target is read when the connector is made.
    ///
    /// # Crash
    /// Leaves nothing: it only looks.
    fn check(&self, _record: &Self::Record) -> Result<()> {
        Ok(())
    }

    /// Applies all records, if their version is newer than what the target has.
    ///
    /// # Contract
    /// - MUST compare and write in one step that the *target* guards: a condition, a transaction, a
    ///   server-side script. Reading first and writing later lets a late request win.
    /// - Either all together: nothing changes unless the version is newer than the newest one, which the
    ///   same step replaces. Or row by row: a row changes unless its own version is newer, and a delete
    ///   leaves the version behind, or a late write would bring the row back.
    /// - MUST be idempotent: the same writes may come again, also after they were applied in part.
    /// - An older version changes nothing and is not an error: it was applied before.
    /// - A record that the target refuses for ever halts the job with every restart, until the target takes it: what can
    ///   be known of a record alone belongs into [`Apply::check`].
    ///
    /// # Crash
    /// Row by row, a part of the rows is written; recovery applies all of them again.
    async fn apply(&self, writes: Writes<Self::Record>) -> Result<()>;
}

/// How a write-ahead sink is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WriteAheadConfig {
    /// The most bytes, as JSON, that one writer takes in one epoch. They are held in memory once for each
    /// epoch in flight, and stored in the log. Default 16 MiB.
    pub epoch_bytes_max: usize,
}

impl Default for WriteAheadConfig {
    fn default() -> Self {
        Self { epoch_bytes_max: 16 * 1024 * 1024 }
    }
}

/// A sink for targets without transactions: see the module.
pub struct WriteAhead<A> {
    target: Arc<A>,
    config: WriteAheadConfig,
}

impl<A> fmt::Debug for WriteAhead<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAhead").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<A: Apply> WriteAhead<A> {
    /// A sink that writes to `target`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where the bound is zero.
    pub fn new(target: A, config: WriteAheadConfig) -> Result<Self> {
        if config.epoch_bytes_max == 0 {
            return Err(Error::new(ErrorKind::Config, "configure", "an epoch must have room for a record")
                .with("setting", "epoch_bytes_max"));
        }
        Ok(Self { target: Arc::new(target), config })
    }

    /// The newest version in the target, where it belongs to a newer history than `generation`: whatever is
    /// applied with an older one changes nothing, silently.
    async fn newer_history(&self, sink: &SinkAttempt, generation: Generation) -> Result<Option<Version>> {
        let newest = self.target.newest(&sink.job, &sink.uid).await?;
        Ok(newest.filter(|newest| newest.generation > generation))
    }
}

/// I7: what the target would ignore is never applied or written.
fn ignored(operation: &'static str, why: &str, ours: Generation, newest: Version) -> Error {
    let error = Error::new(ErrorKind::Conflict, operation, why)
        .with_retry(Retry::Halt)
        .with("generation", ours)
        .with("newest_in_target", newest);
    // A generation is a time, unless a clock was wrong.
    match i64::try_from(newest.generation.0).map(jiff::Timestamp::from_millisecond) {
        Ok(Ok(past)) => error.with("clock_must_be_past", past),
        _ => error,
    }
}

/// Said of prepared records that the target would not take.
const PENDING_IS_IGNORED: &str = "the target holds writes of a newer generation, so it would ignore what is prepared; \
     either a newer run of this job was rolled back or forked, and this one must end, or the job's log was lost or \
     replaced: abandon what is prepared with `tidelock snapshots abandon`, then roll back to a snapshot from before \
     it, which reads and writes it again in a new generation, when the clock is past the one in the target";

/// Said before the first record is written.
const WRITES_ARE_IGNORED: &str = "the target holds writes of a newer generation, so it would ignore those of this \
     attempt; either a newer run of this job was rolled back or forked, and this one must end, or the job's log was \
     lost or replaced: roll back to the newest snapshot, which begins a new generation, when the clock is past the \
     one in the target";

/// The records of one writer and one epoch, as the snapshot stores them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteAheadCommittable {
    job: JobId,
    generation: Generation,
    /// The version of the record's stored form.
    #[serde(rename = "v")]
    record_version: u16,
    /// A JSON array of records.
    records: Box<RawValue>,
}

impl WriteAheadCommittable {
    fn decode<R: Versioned>(&self) -> Result<Vec<R>> {
        let json = self.records.get();
        if self.record_version == R::VERSION {
            return from_json(json);
        }
        let records: Vec<Box<RawValue>> = from_json(json)?;
        records.iter().map(|record| R::upgrade(self.record_version, record.get())).collect()
    }
}

impl fmt::Debug for WriteAheadCommittable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Records are the user's data: they are not for logs.
        let Self { job, generation, record_version, records } = self;
        let bytes = records.get().len();
        write!(f, "WriteAheadCommittable({job}, generation {generation}, v{record_version}, {bytes} bytes)")
    }
}

impl Versioned for WriteAheadCommittable {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for WriteAheadCommittable {}

#[async_trait]
impl<A: Apply> Sink for WriteAhead<A> {
    type Record = A::Record;
    type Committable = WriteAheadCommittable;
    type Writer = WriteAheadWriter<A::Record>;

    /// Nothing of an older attempt is in the target, so there is nothing to abort, and what is pending
    /// cannot be gone. That its records can be read, and would not be ignored, is found out before any of
    /// them is applied (I7).
    ///
    /// With nothing pending a target of a newer generation is none of recovery's business: this attempt may be
    /// about to roll back, which begins a newer one still. [`WriteAhead::open`](Sink::open) looks, when it has.
    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<WriteAheadCommittable>]) -> Result<()> {
        for pending in pending {
            pending.committable.decode::<A::Record>()?;
        }
        let generations = pending.iter().map(|pending| pending.committable.generation);
        let Some(oldest) = generations.min() else { return Ok(()) };
        match self.newer_history(attempt, oldest).await? {
            Some(newest) => Err(ignored("recover", PENDING_IS_IGNORED, oldest, newest)),
            None => Ok(()),
        }
    }

    async fn open(&self, attempt: &SinkAttempt, _writer: WriterId) -> Result<WriteAheadWriter<A::Record>> {
        if let Some(newest) = self.newer_history(attempt, attempt.generation).await? {
            return Err(ignored("open", WRITES_ARE_IGNORED, attempt.generation, newest));
        }
        Ok(WriteAheadWriter {
            target: Arc::clone(&self.target) as Arc<dyn Apply<Record = A::Record>>,
            job: attempt.job.clone(),
            generation: attempt.generation,
            epoch_bytes_max: self.config.epoch_bytes_max,
            json: Vec::new(),
            rejects: Rejects::default(),
        })
    }

    /// All writers' records of an epoch are one call, because a target that keeps one version for all
    /// would take the second writer's records for old ones.
    async fn commit(
        &self,
        permit: &CommitPermit,
        mut committables: Vec<Pending<WriteAheadCommittable>>,
    ) -> Result<Committed> {
        committables.sort_by_key(|pending| pending.writer);
        let mut epochs: BTreeMap<(Version, JobId), Vec<A::Record>> = BTreeMap::new();
        for Pending { epoch, committable, .. } in committables {
            let records = committable.decode()?;
            let version = Version { generation: committable.generation, epoch };
            epochs.entry((version, committable.job)).or_default().extend(records);
        }
        for ((version, job), records) in epochs {
            self.target.apply(Writes { job, uid: permit.uid().clone(), version, records }).await?;
        }
        Ok(Committed::default())
    }
}

/// The writer of a [`WriteAhead`] sink: it buffers, and nothing else.
pub struct WriteAheadWriter<R> {
    /// Says which records it can take.
    target: Arc<dyn Apply<Record = R>>,
    job: JobId,
    generation: Generation,
    epoch_bytes_max: usize,
    /// The records of this epoch: a JSON array without its closing bracket, or nothing.
    json: Vec<u8>,
    /// Where records go that cannot be stored.
    rejects: Rejects<R>,
}

impl<R> fmt::Debug for WriteAheadWriter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAheadWriter")
            .field("job", &self.job)
            .field("generation", &self.generation)
            .field("bytes", &self.json.len())
            .finish_non_exhaustive()
    }
}

impl<R: Versioned> WriteAheadWriter<R> {
    /// Takes a record, or nothing of it.
    fn append(&mut self, record: &R) -> Result<()> {
        self.target.check(record)?;
        let before = self.json.len();
        self.json.push(if self.json.is_empty() { b'[' } else { b',' });
        self.store(record).inspect_err(|_| self.json.truncate(before))
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
        if self.json.len() - begin > self.epoch_bytes_max {
            // No epoch has room for it: the fault of this record, whatever the interval is.
            return Err(refuse("a record alone is larger than an epoch may be: filter such records, or raise epoch_bytes_max")
                .with("record_bytes", self.json.len() - begin)
                .with("epoch_bytes_max", self.epoch_bytes_max));
        }
        if self.json.len() > self.epoch_bytes_max {
            return Err(Error::new(
                ErrorKind::Config,
                "write",
                "the writes of one epoch are larger than the write-ahead sink may store; shorten the checkpoint \
                 interval, use more writers, or raise epoch_bytes_max",
            )
            .with("epoch_bytes_max", self.epoch_bytes_max));
        }
        Ok(())
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
        for record in records.drain(..) {
            if let Err(error) = self.append(&record) {
                self.rejects.push(record, error)?;
            }
        }
        Ok(())
    }

    async fn prepare(&mut self, _epoch: Epoch) -> Result<Vec<Prepared<WriteAheadCommittable>>> {
        if self.json.is_empty() {
            return Ok(Vec::new());
        }
        let mut json = std::mem::take(&mut self.json);
        json.push(b']');
        let not_json = |error: &dyn fmt::Display| {
            Error::new(ErrorKind::Bug, "prepare", "the buffered records are not JSON").with("cause", error)
        };
        let json = String::from_utf8(json).map_err(|error| not_json(&error))?;
        let records = RawValue::from_string(json).map_err(|error| not_json(&error))?;
        Ok(vec![Prepared::lasting(WriteAheadCommittable {
            job: self.job.clone(),
            generation: self.generation,
            record_version: R::VERSION,
            records,
        })])
    }

    async fn settled(&mut self, _epoch: Epoch, _reinit: bool) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
