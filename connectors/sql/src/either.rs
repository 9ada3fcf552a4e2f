//! The writer of a sink, in whichever mode it is.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::{Epoch, Prepared, Rejecting, Rejects, Result, SinkWriter};

use crate::change::Change;
use crate::committable::SqlCommittable;
use crate::prepared::BranchWriter;
use crate::upsert::UpsertWriter;
use crate::writer::LedgerWriter;

/// Writes rows: see [`SqlSink`](crate::SqlSink).
pub struct SqlWriter<T>(pub(crate) InMode<T>);

/// A writer of each [`Mode`](crate::Mode).
pub(crate) enum InMode<T> {
    Ledger(Box<LedgerWriter<T>>),
    Prepared(Box<BranchWriter<T>>),
    Upsert(Box<UpsertWriter<T>>),
}

impl<T> fmt::Debug for SqlWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            InMode::Ledger(writer) => writer.fmt(f),
            InMode::Prepared(writer) => writer.fmt(f),
            InMode::Upsert(writer) => writer.fmt(f),
        }
    }
}

/// What does not fit is found out here. What violates a constraint is found out when it is written in the modes `prepared` and
/// `upsert`, and in the mode `ledger` at commit, where only the policy decides.
impl<T: Serialize + Send + 'static> Rejecting for SqlWriter<T> {
    fn reject_to(&mut self, rejects: Rejects<Change<T>>) {
        match &mut self.0 {
            InMode::Ledger(writer) => writer.reject_to(rejects),
            InMode::Prepared(writer) => writer.aside.rejects = Some(rejects),
            InMode::Upsert(writer) => writer.reject_to(rejects),
        }
    }
}

#[async_trait]
impl<T: Serialize + Send + 'static> SinkWriter for SqlWriter<T> {
    type Record = Change<T>;
    type Committable = SqlCommittable;

    async fn write(&mut self, records: &mut Vec<Change<T>>) -> Result<()> {
        match &mut self.0 {
            InMode::Ledger(writer) => writer.write(records).await,
            InMode::Prepared(writer) => writer.write(records).await,
            InMode::Upsert(writer) => writer.write(records).await,
        }
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<SqlCommittable>>> {
        match &mut self.0 {
            InMode::Ledger(writer) => {
                let prepared = writer.prepare(epoch).await?.into_iter();
                let wrap = |one: Prepared<_>| Prepared {
                    committable: SqlCommittable::ledger(one.committable),
                    expires_in: one.expires_in,
                };
                Ok(prepared.map(wrap).collect())
            }
            InMode::Prepared(writer) => writer.prepare(epoch).await,
            // Everything is visible already: nothing waits for a commit.
            InMode::Upsert(writer) => writer.prepare().map(|()| Vec::new()),
        }
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        match &mut self.0 {
            InMode::Ledger(writer) => writer.settled(epoch, reinit).await,
            InMode::Prepared(writer) => {
                writer.settled(epoch);
                Ok(())
            }
            InMode::Upsert(_) => Ok(()),
        }
    }
}
