//! The writer: records become rows that fit, and wait for their epoch's end.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tidelock::write_ahead::{WriteAheadCommittable, WriteAheadWriter};
use tidelock::{Epoch, Error, ErrorKind, Prepared, Rejecting, Rejects, Result, SinkWriter};

use crate::change::{Change, Fields, Operation, StoredChange};
use crate::config::RecordPolicy;
use crate::refused::tell;
use crate::shape::Shape;
use crate::stage::Offers;
use crate::value::SqlValue;

/// Writes rows: see [`Mode::Ledger`](crate::Mode::Ledger).
pub(crate) struct LedgerWriter<T> {
    shape: Arc<Shape>,
    policy: RecordPolicy,
    inner: WriteAheadWriter<StoredChange>,
    /// What may be begun before the commit.
    offers: Offers,
    /// Rows for which no epoch has room.
    too_large: Rejects<StoredChange>,
    /// Where records go that do not fit; the policy decides where the host has no place for them.
    rejects: Option<Rejects<Change<T>>>,
}

impl<T> fmt::Debug for LedgerWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerWriter")
            .field("table", &self.shape.name)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize> LedgerWriter<T> {
    pub(crate) fn new(
        shape: Arc<Shape>,
        policy: RecordPolicy,
        inner: WriteAheadWriter<StoredChange>,
        offers: Offers,
        too_large: Rejects<StoredChange>,
    ) -> Self {
        Self { shape, policy, inner, offers, too_large, rejects: None }
    }

    /// Deals with a record that does not fit. What is to be written in its place is a letter, or nothing.
    fn refuse(&self, change: Change<T>, error: Error) -> Result<Option<StoredChange>> {
        if error.kind() != ErrorKind::Data {
            return Err(error);
        }
        if let Some(rejects) = &self.rejects {
            rejects.push(change, error)?;
            return Ok(None);
        }
        let operation = change.operation();
        match &self.policy {
            RecordPolicy::Fail => return Err(error),
            RecordPolicy::Skip | RecordPolicy::DeadLetter(_) => {
                tell(&self.shape, operation, "?", &error.to_string(), None)
            }
        }
        let RecordPolicy::DeadLetter(_) = &self.policy else { return Ok(None) };
        let record = serde_json::to_string(change.record()).map_or(SqlValue::Null, SqlValue::Text);
        let columns = [
            ("operation", SqlValue::Text(operation.name().to_owned())),
            ("reason", SqlValue::Text(error.to_string())),
            ("record", record),
        ];
        let row = Fields(columns.into_iter().map(|(name, value)| (name.into(), value)).collect());
        Ok(Some(StoredChange { operation: Operation::Letter, row, place: 0 }))
    }

    /// Deals with rows for which no epoch has room, once they were told.
    async fn set_aside_too_large(&mut self, mut batch: Vec<Option<Change<T>>>) -> Result<()> {
        let mut letters = Vec::new();
        let too_large = self.too_large.take();
        if !too_large.is_empty() {
            self.offers.give_up();
        }
        for (stored, error) in too_large {
            match batch.get_mut(stored.place).and_then(Option::take) {
                Some(change) => letters.extend(self.refuse(change, error)?),
                None => return Err(error),
            }
        }
        for letter in &mut letters {
            // There is no room for the record: the reason alone is kept.
            if let Some((_, record)) = letter.row.0.last_mut() {
                *record = SqlValue::Null;
            }
        }
        self.inner.write(&mut letters).await?;
        self.too_large.take().into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// What does not fit is found out here. What violates a constraint is found out at commit, where only the policy decides.
impl<T: Serialize + Send + 'static> Rejecting for LedgerWriter<T> {
    fn reject_to(&mut self, rejects: Rejects<Change<T>>) {
        self.rejects = Some(rejects);
    }
}

#[async_trait]
impl<T: Serialize + Send + 'static> SinkWriter for LedgerWriter<T> {
    type Record = Change<T>;
    type Committable = WriteAheadCommittable;

    async fn write(&mut self, records: &mut Vec<Change<T>>) -> Result<()> {
        let mut stored = Vec::with_capacity(records.len());
        let mut batch = Vec::with_capacity(records.len());
        for (place, change) in records.drain(..).enumerate() {
            let operation = change.operation();
            match self.shape.row(operation, change.record()) {
                Ok(row) => {
                    stored.push(StoredChange { operation, row, place });
                    batch.push(Some(change));
                }
                Err(error) => {
                    let letter = self.refuse(change, error)?;
                    // Letters have the epoch's number in them, and are few: nothing is begun with them.
                    if letter.is_some() {
                        self.offers.give_up();
                    }
                    stored.extend(letter.map(|letter| StoredChange { place, ..letter }));
                    batch.push(None);
                }
            }
        }
        self.offers.keep(&stored);
        self.inner.write(&mut stored).await?;
        self.set_aside_too_large(batch).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<WriteAheadCommittable>>> {
        self.offers.offer(epoch);
        self.inner.prepare(epoch).await
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        self.inner.settled(epoch, reinit).await
    }
}
