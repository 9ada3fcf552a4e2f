//! What one writer prepared in one epoch, put into the stream.

use std::sync::Arc;

use async_trait::async_trait;
use tidelock::write_ahead::{Apply, Version, Writes};
use tidelock::{Epoch, Error, ErrorKind, JobId, Result, Uid};

use super::number::{Numbers, Progress};
use crate::header::{Header, NumberingId, stream_sum};
use crate::place::Place;
use crate::put::KinesisPut;
use crate::target::Target;

/// Puts the records of a part, or says whether they can be put.
pub(super) struct Part {
    pub(super) target: Arc<Target>,
    /// `None`: of a writer, which puts nothing.
    pub(super) numbered: Option<Numbered>,
}

/// How the records of a part are numbered.
pub(super) struct Numbered {
    pub(super) numbering: NumberingId,
    pub(super) since: Epoch,
    pub(super) progress: Progress,
}

#[async_trait]
impl Apply for Part {
    type Record = KinesisPut;

    /// Nothing in a stream wins against what is put: a numbering is new with each writer, so that neither a rollback nor another log gives a place twice.
    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(None)
    }

    fn check(&self, record: &KinesisPut) -> Result<()> {
        match self.target.ready() {
            Some(ready) => ready.checks.check(record),
            None => {
                let why = "a record is checked before the stream was looked at";
                Err(Error::new(ErrorKind::Bug, "put a record", why))
            }
        }
    }

    async fn apply(&self, writes: Writes<KinesisPut>) -> Result<()> {
        let Some(Numbered { numbering, since, progress }) = &self.numbered else {
            let why = "an epoch is put without the numbering of its records";
            return Err(Error::new(ErrorKind::Bug, "put an epoch", why));
        };
        let Version { generation, epoch } = writes.version;
        let ready = self.target.seen().await?;
        let header = Header {
            job: writes.job.clone(),
            uid: writes.uid.clone(),
            generation,
            numbering: *numbering,
            since: *since,
            place: Place::first_of(epoch),
            floor: Place::default(),
            stream: stream_sum(&ready.mark.arn),
        };
        let mut puts = self.target.puts(&ready, Numbers::new(header, progress.clone()));
        let mut batches = writes.batches();
        // Their number is their place in this order, which is the same whenever the epoch is put.
        while let Some(batch) = batches.next().await? {
            puts.put(batch).await?;
        }
        puts.flush().await
    }
}
