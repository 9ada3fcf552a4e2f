//! A sink with something broken in it: what the tests demand must not hold for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidelock::{
    CommitPermit, Committed, Epoch, ErrorKind, Pending, Prepared, Result, Sink, SinkAttempt, SinkWriter,
    WriterId,
};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Defect {
    /// Recovery forgets what a snapshot lists, as sinks do that can only abort it.
    ForgetsPending,
    /// Commits when an epoch is prepared, before an entry that names it is durable (against I1).
    CommitsBeforeDurable,
    /// Says of what was lost that it is done.
    HidesLoss,
    /// Leaves open what older attempts left.
    NeverSweeps,
}

/// A sink and its defect.
#[derive(Debug)]
pub struct Broken<S> {
    inner: Arc<S>,
    defect: Defect,
    /// The attempt that recovered last: ours.
    attempt: AtomicU64,
}

impl<S> Broken<S> {
    /// Breaks a sink.
    pub fn new(inner: S, defect: Defect) -> Self {
        Self { inner: Arc::new(inner), defect, attempt: AtomicU64::new(0) }
    }
}

/// A writer of a broken sink.
#[derive(Debug)]
pub struct BrokenWriter<S: Sink> {
    inner: S::Writer,
    sink: Arc<S>,
    defect: Defect,
    attempt: SinkAttempt,
    writer: WriterId,
}

#[async_trait]
impl<S: Sink> Sink for Broken<S> {
    type Record = S::Record;
    type Committable = S::Committable;
    type Writer = BrokenWriter<S>;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<S::Committable>]) -> Result<()> {
        self.attempt.store(attempt.number.0, Ordering::SeqCst);
        match self.defect {
            Defect::ForgetsPending => self.inner.recover(attempt, &[]).await,
            Defect::NeverSweeps => Ok(()),
            Defect::HidesLoss | Defect::CommitsBeforeDurable => {
                hide(self.defect, self.inner.recover(attempt, pending).await)
            }
        }
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<BrokenWriter<S>> {
        let inner = self.inner.open(attempt, writer).await?;
        let (sink, defect, attempt) = (Arc::clone(&self.inner), self.defect, attempt.clone());
        Ok(BrokenWriter { inner, sink, defect, attempt, writer })
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        mut committables: Vec<Pending<S::Committable>>,
    ) -> Result<Committed> {
        if self.defect == Defect::ForgetsPending {
            // What other attempts prepared is what recovery would commit.
            committables.retain(|one| one.attempt.0 == self.attempt.load(Ordering::SeqCst));
        }
        match self.inner.commit(permit, committables).await {
            Err(error) if self.defect == Defect::HidesLoss && error.kind() == ErrorKind::Expired => {
                Ok(Committed::default())
            }
            committed => committed,
        }
    }
}

fn hide(defect: Defect, recovered: Result<()>) -> Result<()> {
    match recovered {
        Err(error) if defect == Defect::HidesLoss && error.kind() == ErrorKind::Expired => Ok(()),
        recovered => recovered,
    }
}

#[async_trait]
impl<S: Sink> SinkWriter for BrokenWriter<S> {
    type Record = S::Record;
    type Committable = S::Committable;

    async fn write(&mut self, records: &mut Vec<S::Record>) -> Result<()> {
        self.inner.write(records).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<S::Committable>>> {
        let prepared = self.inner.prepare(epoch).await?;
        if self.defect == Defect::CommitsBeforeDurable {
            let permit =
                CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(self.attempt.uid.clone(), epoch);
            let pending = prepared.iter().map(|one| Pending {
                epoch,
                attempt: self.attempt.number,
                writer: self.writer,
                committable: one.committable.clone(),
            });
            self.sink.commit(&permit, pending.collect()).await?;
        }
        Ok(prepared)
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.inner.settled(epoch, reinit).await
    }
}
