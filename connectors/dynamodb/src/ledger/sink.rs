//! The mode `ledger` as a sink.
//!
//! ```text
//!   recover  look at both tables ─> is what is pending for them? ─> claim: the head, then every lane
//!   open     look at both tables ────────────────────────────────> claim, where nobody of this attempt has
//!   commit   epoch by epoch: see `apply`
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::write_ahead::{WriteAhead, WriteAheadCommittable, WriteAheadConfig};
use tidelock::{CommitPermit, Committed, Pending, Result, Sink, SinkAttempt, WriterId};

use super::apply::Ledger;
use super::book::Book;
use super::committable::DynamoCommittable;
use super::items::{Items, check_region};
use super::place::Place;
use super::state::{Claim, Head};
use super::writer::LedgerWriter;
use crate::change::ItemChange;
use crate::mark::Mark;
use crate::target::Target;

/// Applies epochs when they are committed: those of a run in this mode, in whatever mode the sink is now.
pub(crate) struct LedgerSink {
    book: Arc<Book>,
    inner: WriteAhead<Ledger>,
}

impl fmt::Debug for LedgerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerSink").field("config", &self.book.target.config).finish_non_exhaustive()
    }
}

impl LedgerSink {
    pub(crate) fn new(target: Arc<Target>) -> Result<Self> {
        let mut bounds = WriteAheadConfig::default();
        bounds.epoch_bytes_max = target.config.epoch_bytes_max;
        let book = Arc::new(Book::new(target));
        let inner = WriteAhead::new(Ledger { book: Arc::clone(&book) }, bounds)?;
        Ok(Self { book, inner })
    }

    /// Recovers, where this attempt was not recovered here. Where a newer attempt has the claim nothing is touched. With nothing pending `open`
    /// says whether that matters, because this one may be about to roll back.
    async fn recover_once(
        &self,
        attempt: &SinkAttempt,
        pending: &[Pending<DynamoCommittable>],
    ) -> Result<()> {
        let _alone = self.book.claiming.lock().await;
        if self.book.is_recovered(attempt) {
            return Ok(());
        }
        let (place, items) = self.look(attempt).await?;
        if pending.is_empty() {
            items.ensure().await?;
        } else {
            self.check_pending(&place, &items, pending).await?;
        }
        let (ours, stands) = (Claim::of(attempt), self.book.claim(&place, &items, attempt).await?);
        if !pending.is_empty() && stands > ours {
            return Err(place.fenced("recover", ours, stands));
        }
        self.book.recovered();
        Ok(())
    }

    async fn look(&self, attempt: &SinkAttempt) -> Result<(Place, Items)> {
        let ready = self.book.target.look(attempt).await?;
        check_region(&ready.table).map_err(|error| error.with("setting", "mode"))?;
        Ok((self.book.place(&attempt.job, &attempt.uid), self.book.items().await?))
    }

    async fn marks(&self, items: &Items) -> Result<(Mark, Mark)> {
        let requests = self.book.target.requests().await?;
        Ok((Mark::look(&requests).await?, Mark::look(&items.requests).await?))
    }

    /// I7: what is pending is for this table, and this ledger says what of it is applied.
    async fn check_pending(
        &self,
        place: &Place,
        items: &Items,
        pending: &[Pending<DynamoCommittable>],
    ) -> Result<()> {
        let table = Mark::look(&self.book.target.requests().await?).await?;
        let ledger = if items.is_there().await? { Some(Mark::look(&items.requests).await?) } else { None };
        for Pending { committable, .. } in pending {
            place.check_table(&committable.table, &table)?;
            place.check_ledger(&committable.ledger, ledger.as_ref())?;
        }
        let Some(head) = items.read::<Head>(place, &place.head()).await? else {
            return Err(place.lost("epochs are pending that cannot be applied"));
        };
        // Whoever prepared something had put its claim there before.
        let prepared_by = |one: &Pending<DynamoCommittable>| Claim {
            generation: one.committable.changes.generation(),
            attempt: one.attempt,
        };
        let newest: Option<Claim> = pending.iter().map(prepared_by).collect::<BTreeSet<_>>().pop_last();
        match newest.filter(|newest| *newest > head.state.claim) {
            Some(newest) => {
                let why =
                    "epochs are pending that were prepared by an attempt which the ledger does not know";
                Err(place.lost(why).with("prepared_by", newest).with("newest_in_ledger", head.state.claim))
            }
            None => Ok(()),
        }
    }
}

/// What is pending, without the names of its tables.
fn unnamed(pending: Pending<DynamoCommittable>) -> Pending<WriteAheadCommittable> {
    let Pending { epoch, attempt, writer, committable } = pending;
    Pending { epoch, attempt, writer, committable: committable.changes }
}

#[async_trait]
impl Sink for LedgerSink {
    type Record = ItemChange;
    type Committable = DynamoCommittable;
    type Writer = LedgerWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<DynamoCommittable>]) -> Result<()> {
        self.recover_once(attempt, pending).await?;
        let pending: Vec<_> = pending.iter().cloned().map(unnamed).collect();
        self.inner.recover(attempt, &pending).await
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<LedgerWriter> {
        let alone = self.book.claiming.lock().await;
        let (place, items) = self.look(attempt).await?;
        items.ensure().await?;
        let (ours, stands) = (Claim::of(attempt), self.book.claim(&place, &items, attempt).await?);
        if stands != ours {
            return Err(place.fenced("open", ours, stands));
        }
        drop(alone);
        Ok(LedgerWriter::new(self.inner.open(attempt, writer).await?, self.marks(&items).await?))
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<DynamoCommittable>>,
    ) -> Result<Committed> {
        self.inner.commit(permit, committables.into_iter().map(unnamed).collect()).await
    }
}
