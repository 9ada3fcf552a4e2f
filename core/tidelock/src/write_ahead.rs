//! The write-ahead sink: exactly-once effect on targets that have no transactions.
//!
//! ```text
//!   write ──> records ──prepare(n)──> committable ──> entry ──commit(n)──> Apply::apply(version n, batches of records)
//!                │                    (a few records      │                     changes the target only if
//!                │ many               themselves, or      │ reads               n is newer than what is there
//!                v                    the names of        v
//!             chunks of the log  <─── their chunks) <── chunks
//! ```
//!
//! The records of an epoch travel in the snapshot, as its committables, and reach the target at commit and
//! not before. So there is nothing in the target to abort, nothing that expires, and a fresh process can
//! commit what a dead one wrote.
//!
//! Few records are in the entry of the log. More leave memory as chunks beside it while the epoch still goes on, and the
//! committable names them: so an epoch may be of any size, and neither a writer nor a commit holds more of it than a few
//! chunks ([decision 20](https://github.com/tidelock/tidelock/blob/main/docs/decisions/0020-large-epochs-are-chunks.md)).
//!
//! Commit is repeated: after a crash, after an answer that was lost, by an older attempt that wakes up. A
//! [`Version`] makes that harmless. The target keeps the newest one, or one for each row, and changes
//! nothing for a version that is not newer. Its high part is the generation, so that what a rolled-back run
//! wrote never wins against what the replay writes.
//!
//! What is prepared says for which place it is, where the sink has one ([`WriteAhead::at`]): a setting that is changed meanwhile sends
//! nothing elsewhere.
//!
//! What it costs: every record is stored in the job's log first. What it does not give: readers may see an epoch
//! in part where the target cannot apply many records in one atomic step.

mod apply;
mod committable;
mod config;
mod form;
mod version;
mod writer;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use apply::Apply;
pub use committable::WriteAheadCommittable;
pub use config::WriteAheadConfig;
pub use version::Version;
pub use writer::WriteAheadWriter;
pub use writes::{Batches, Writes};

use crate::{
    CommitPermit, Committed, Epoch, Error, ErrorKind, Generation, JobId, Pending, Result, Retry, Sink,
    SinkAttempt, WriterId,
};

/// A sink for targets without transactions: see the module.
pub struct WriteAhead<A> {
    target: Arc<A>,
    config: WriteAheadConfig,
    /// Where the rows go, in words.
    place: Option<Arc<str>>,
}

impl<A> fmt::Debug for WriteAhead<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAhead")
            .field("config", &self.config)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl<A: Apply> WriteAhead<A> {
    /// A sink that writes to `target`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a bound is zero that leaves no room for a record.
    pub fn new(target: A, config: WriteAheadConfig) -> Result<Self> {
        let refuse = |setting, why: &str| {
            Err(Error::new(ErrorKind::Config, "configure", why).with("setting", setting))
        };
        if config.epoch_bytes_max == Some(0) {
            return refuse("epoch_bytes_max", "an epoch must have room for a record");
        }
        if config.chunk_bytes == 0 {
            return refuse("chunk_bytes", "a chunk must have room for a record");
        }
        Ok(Self { target: Arc::new(target), config, place: None })
    }

    /// Says where the rows go, as `table orders`, by whatever of the settings decides it. It is stored with what is prepared, and nothing
    /// that was prepared for another place is applied: where a setting was changed while something waits, the job halts and names both.
    ///
    /// Two spellings of one place are two places: give the same one always, and leave out what may change under the rows, as the
    /// address of a server.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { place: Some(place.into().into()), ..self }
    }

    /// I7: whether all that is pending was prepared for this place. [`recover`](Sink::recover) and [`commit`](Sink::commit) look; a sink
    /// that does something before them looks itself. What has no place was prepared by a build or a sink that named none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the advice to halt, with both places and what to do.
    pub fn check_place(&self, pending: &[Pending<WriteAheadCommittable>]) -> Result<()> {
        let Some(ours) = self.place.as_deref() else { return Ok(()) };
        let is_elsewhere = |one: &&Pending<WriteAheadCommittable>| {
            one.committable.place().is_some_and(|place| place != ours)
        };
        let elsewhere: Vec<_> = pending.iter().filter(is_elsewhere).collect();
        let Some(Some(place)) = elsewhere.first().map(|one| one.committable.place()) else {
            return Ok(());
        };
        let epochs: BTreeSet<Epoch> = elsewhere.iter().map(|one| one.epoch).collect();
        let epochs: Vec<_> = epochs.iter().map(Epoch::to_string).collect();
        Err(Error::new(ErrorKind::Config, "apply what is pending", ELSEWHERE)
            .with("pending_for", place)
            .with("configured", ours)
            .with("epochs", epochs.join(", "))
            .with("remedy", BACK))
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

/// Said of prepared records that are for another place than the settings say.
const ELSEWHERE: &str = "rows wait to be written, and the settings of the sink name another place than when they were prepared: they would \
     go where they do not belong. Nothing of them was written";

const BACK: &str = "configure the place of before, start the job and stop it, which leaves nothing pending; then configure the new one. If the \
     rows are not to be written there, or that place is gone, give them up with `tidelock snapshots abandon`, and roll back to a snapshot \
     from before them, which reads and writes them again";

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
        self.check_place(pending)?;
        let prepared: Vec<_> = pending.iter().map(|pending| pending.committable.clone()).collect();
        // They are read, and not applied: no version matters.
        let version = Version { generation: attempt.generation, epoch: Epoch(0) };
        let whose = (attempt.job.clone(), attempt.uid.clone(), version);
        let writes = Writes::<A::Record>::new(whose, prepared, attempt.chunks.clone());
        let mut batches = writes.batches();
        while batches.next().await?.is_some() {}
        let generations = pending.iter().map(|pending| pending.committable.generation);
        let Some(oldest) = generations.min() else { return Ok(()) };
        match self.newer_history(attempt, oldest).await? {
            Some(newest) => Err(ignored("recover", PENDING_IS_IGNORED, oldest, newest)),
            None => Ok(()),
        }
    }

    async fn open(&self, attempt: &SinkAttempt, _writer: WriterId) -> Result<WriteAheadWriter<A::Record>> {
        let newest = self.target.newest(&attempt.job, &attempt.uid).await?;
        if let Some(newer) = newest.filter(|newest| newest.generation > attempt.generation) {
            return Err(ignored("open", WRITES_ARE_IGNORED, attempt.generation, newer));
        }
        let target = Arc::clone(&self.target) as Arc<dyn Apply<Record = A::Record>>;
        let writer = WriteAheadWriter::new(target, self.config.clone(), attempt);
        Ok(writer.at(self.place.clone()).after(newest))
    }

    /// All writers' records of an epoch are one call, because a target that keeps one version for all
    /// would take the second writer's records for old ones.
    async fn commit(
        &self,
        permit: &CommitPermit,
        mut committables: Vec<Pending<WriteAheadCommittable>>,
    ) -> Result<Committed> {
        self.check_place(&committables)?;
        committables.sort_by_key(|pending| pending.writer);
        let mut epochs: BTreeMap<(Version, JobId), Vec<WriteAheadCommittable>> = BTreeMap::new();
        for Pending { epoch, committable, .. } in committables {
            let version = Version { generation: committable.generation, epoch };
            epochs.entry((version, committable.job.clone())).or_default().push(committable);
        }
        for ((version, job), prepared) in epochs {
            let whose = (job, permit.uid().clone(), version);
            self.target.apply(Writes::new(whose, prepared, permit.chunks().cloned())).await?;
        }
        Ok(Committed::default())
    }
}

#[cfg(test)]
mod tests;
