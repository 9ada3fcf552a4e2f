//! The writer of the mode `ledger`: what it is given waits in the job's log, with the names of the tables that it is for.

use std::fmt;

use async_trait::async_trait;
use tidelock::write_ahead::WriteAheadWriter;
use tidelock::{Epoch, Prepared, Rejecting, Rejects, Result, SinkWriter};

use super::committable::DynamoCommittable;
use crate::change::ItemChange;
use crate::mark::Mark;

/// Writes nothing before the commit: see [`Mode::Ledger`](crate::Mode::Ledger).
pub(crate) struct LedgerWriter {
    inner: WriteAheadWriter<ItemChange>,
    table: Mark,
    ledger: Mark,
}

impl fmt::Debug for LedgerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerWriter")
            .field("table", &self.table)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl LedgerWriter {
    pub(super) fn new(inner: WriteAheadWriter<ItemChange>, (table, ledger): (Mark, Mark)) -> Self {
        Self { inner, table, ledger }
    }
}

impl Rejecting for LedgerWriter {
    fn reject_to(&mut self, rejects: Rejects<ItemChange>) {
        self.inner.reject_to(rejects);
    }
}

#[async_trait]
impl SinkWriter for LedgerWriter {
    type Record = ItemChange;
    type Committable = DynamoCommittable;

    async fn write(&mut self, records: &mut Vec<ItemChange>) -> Result<()> {
        self.inner.write(records).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<DynamoCommittable>>> {
        let prepared = self.inner.prepare(epoch).await?.into_iter();
        let named = |Prepared { committable: changes, expires_in }| {
            let (table, ledger) = (self.table.clone(), self.ledger.clone());
            Prepared { committable: DynamoCommittable { table, ledger, changes }, expires_in }
        };
        Ok(prepared.map(named).collect())
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.inner.settled(epoch, reinit).await
    }
}
