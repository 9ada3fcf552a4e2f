//! The mode `numbered` as a sink.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{TryStreamExt as _, stream};
use tidelock::write_ahead::{WriteAhead, WriteAheadCommittable, WriteAheadConfig};
use tidelock::{
    CommitPermit, Committed, Error, ErrorKind, Pending, Result, Retry, Sink, SinkAttempt, WriterId,
};
use tokio::time::Instant;

use super::committable::KinesisCommittable;
use super::number::Progress;
use super::order::PutOrder;
use super::part::{Numbered, Part};
use super::writer::NumberedWriter;
use crate::header::NumberingId;
use crate::mark::Mark;
use crate::put::KinesisPut;
use crate::target::Target;
use crate::trail::Trail;

/// So many writers' parts of an epoch are put at once: each holds some tens of MiB at most.
const PARTS_AT_ONCE: usize = 4;

/// More numberings than a few attempts have writers. Whichever goes begins without a floor when it comes again, so readers remember more of it for a moment.
const TRAILS_MAX: usize = 1_024;

const ELSEWHERE: &str = "records wait to be put, and the stream is another one than when they were prepared: they would go where they do not belong. Nothing of \
     them was put";

const BACK: &str = "name the stream of before, start the job and stop it, which leaves nothing pending; then name the new one. Where that stream is gone, or was \
     deleted and made again, give them up with `tidelock snapshots abandon`, and roll back to a snapshot from before them, which reads and writes them again";

/// Puts epochs when they are committed: those of a run in this mode, in whatever mode the sink is now.
pub(crate) struct NumberedSink {
    target: Arc<Target>,
    inner: WriteAhead<Part>,
    bounds: WriteAheadConfig,
    began: Instant,
    trails: Mutex<BTreeMap<NumberingId, Arc<Mutex<Trail>>>>,
    order: Arc<Mutex<PutOrder>>,
}

impl fmt::Debug for NumberedSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NumberedSink").field("config", &self.target.config).finish_non_exhaustive()
    }
}

impl NumberedSink {
    pub(crate) fn new(target: Arc<Target>) -> Result<Self> {
        let mut bounds = WriteAheadConfig::default();
        bounds.epoch_bytes_max = target.config.epoch_bytes_max;
        let writing = Part { target: Arc::clone(&target), numbered: None };
        Ok(Self {
            inner: WriteAhead::new(writing, bounds.clone())?,
            target,
            bounds,
            began: Instant::now(),
            trails: Mutex::default(),
            order: Arc::default(),
        })
    }

    /// Puts what one writer prepared in one epoch.
    async fn put(&self, permit: &CommitPermit, pending: Pending<KinesisCommittable>) -> Result<()> {
        let KinesisCommittable { numbering, since, .. } = pending.committable;
        let progress = self.progress(numbering);
        let numbered = Some(Numbered { numbering, since, progress });
        let part = Part { target: Arc::clone(&self.target), numbered };
        WriteAhead::new(part, self.bounds.clone())?.commit(permit, vec![unnamed(pending)]).await.map(drop)
    }

    fn progress(&self, numbering: NumberingId) -> Progress {
        let mut trails = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        if trails.len() >= TRAILS_MAX && !trails.contains_key(&numbering) {
            trails.pop_first();
        }
        let trail = Arc::clone(trails.entry(numbering).or_default());
        Progress { began: self.began, trail, order: Arc::clone(&self.order) }
    }

    /// I7: whether all that is pending is for this stream.
    fn check_stream(&self, ours: &Mark, pending: &[Pending<KinesisCommittable>]) -> Result<()> {
        let Some(other) = pending.iter().find(|one| one.committable.stream != *ours) else { return Ok(()) };
        Err(Error::new(ErrorKind::Config, "put what is pending", ELSEWHERE)
            .with_retry(Retry::Halt)
            .with("pending_for", &other.committable.stream)
            .with("configured", ours)
            .with("epoch", other.epoch)
            .with("remedy", BACK))
    }
}

/// What is pending, without its stream and its numbering.
fn unnamed(pending: Pending<KinesisCommittable>) -> Pending<WriteAheadCommittable> {
    let Pending { epoch, attempt, writer, committable } = pending;
    Pending { epoch, attempt, writer, committable: committable.records }
}

#[async_trait]
impl Sink for NumberedSink {
    type Record = KinesisPut;
    type Committable = KinesisCommittable;
    type Writer = NumberedWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<KinesisCommittable>]) -> Result<()> {
        let ready = self.target.look(attempt).await?;
        self.check_stream(&ready.mark, pending)?;
        let pending: Vec<_> = pending.iter().cloned().map(unnamed).collect();
        self.inner.recover(attempt, &pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<NumberedWriter> {
        let ready = self.target.look(attempt).await?;
        Ok(NumberedWriter::new(self.inner.open(attempt, writer).await?, ready.mark.clone()))
    }

    /// One epoch after the other: that all of earlier ones is in the stream is what a floor says.
    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<KinesisCommittable>>,
    ) -> Result<Committed> {
        if committables.is_empty() {
            return Ok(Committed::default());
        }
        self.check_stream(&self.target.seen().await?.mark, &committables)?;
        let mut epochs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for pending in committables {
            epochs
                .entry((pending.committable.records.generation(), pending.epoch))
                .or_default()
                .push(pending);
        }
        for parts in epochs.into_values() {
            let puts = parts.into_iter().map(|part| Ok(self.put(permit, part)));
            stream::iter(puts).try_buffer_unordered(PARTS_AT_ONCE).try_collect::<()>().await?;
        }
        Ok(Committed::default())
    }
}
