//! A writer: what it was given is in the table when the call returns.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use tidelock::{Rejects, Result};

use super::batches::{Write, Writes};
use super::send::Sender;
use crate::change::ItemChange;
use crate::target::{Ready, Target};
use crate::whole::Whole;

/// Writes items in batches: see [`Mode::Batched`](crate::Mode::Batched).
pub(crate) struct BatchedWriter {
    ready: Arc<Ready>,
    sender: Sender,
    /// How many requests of this writer are made at once at most.
    at_once: usize,
    rejects: Rejects<ItemChange>,
    whole: Whole,
}

impl fmt::Debug for BatchedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchedWriter").field("table", &self.table()).finish_non_exhaustive()
    }
}

impl BatchedWriter {
    /// See [`Sink::open`](tidelock::Sink::open).
    pub(crate) async fn open(target: &Target, ready: Arc<Ready>) -> Result<Self> {
        let (schema, under_way) = (ready.table.key.clone(), target.under_way.clone());
        let sender = Sender { requests: target.requests().await?, schema, under_way };
        let at_once = usize::try_from(target.config.requests_in_flight_max).unwrap_or(usize::MAX);
        Ok(Self { ready, sender, at_once, rejects: Rejects::default(), whole: Whole::default() })
    }

    fn table(&self) -> &str {
        &self.sender.requests.table
    }

    /// See [`Rejecting`](tidelock::Rejecting).
    pub(crate) fn reject_to(&mut self, rejects: Rejects<ItemChange>) {
        self.rejects = rejects;
    }

    /// See [`SinkWriter::write`](tidelock::SinkWriter::write).
    pub(crate) async fn write(&mut self, records: &mut Vec<ItemChange>) -> Result<()> {
        self.whole.begin(&self.sender.requests.table)?;
        let taken = self.take(records).await;
        self.sender.requests.tell();
        taken?;
        self.whole.end();
        Ok(())
    }

    /// See [`SinkWriter::prepare`](tidelock::SinkWriter::prepare). What was written has arrived when its call returned, and readers see it.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.whole.check(self.table())
    }

    async fn take(&mut self, records: &mut Vec<ItemChange>) -> Result<()> {
        let mut writes = Writes::with_capacity(records.len());
        for record in records.drain(..) {
            match self.ready.checks.check(&record) {
                Ok(key) => writes.add(key, record.change),
                Err(error) => self.rejects.push(record, error)?,
            }
        }
        let batches = writes.into_batches();
        let lanes = self.at_once.min(batches.len());
        let batches = Mutex::new(batches.into_iter());
        try_join_all((0..lanes).map(|_| self.send_some(&batches))).await?;
        Ok(())
    }

    /// Sends one batch after the other, until there are no more.
    async fn send_some(&self, batches: &Mutex<impl Iterator<Item = Vec<Write>>>) -> Result<()> {
        let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(batch) = next() {
            self.sender.send(&batch).await?;
        }
        Ok(())
    }
}
