//! What an operator with state emits: records with their times, to two outputs.

use std::sync::Arc;

use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;

use crate::batch::{Batch, Lane, Mark, Millis};
use crate::budget::Budget;
use crate::time::Time;

/// Records are sent on in batches of this size at most.
const BATCH_RECORDS_MAX: usize = 1024;

/// Collects records until they are sent with the capability of the open epoch.
#[derive(Debug)]
pub(crate) struct Emit<O> {
    pending: Batch<O>,
    full: Vec<Batch<O>>,
    budget: Arc<Budget>,
    /// What a record is taken to need in memory.
    weight: u64,
}

impl<O: 'static> Emit<O> {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { pending: Batch::default(), full: Vec::new(), budget, weight: size_of::<O>() as u64 }
    }

    /// What is emitted from now on is made of records that took so much each. Where it has parts on the heap it is
    /// taken to need as much: its size alone would let gigabytes wait for a slow sink.
    pub(crate) fn weigh_like(&mut self, bytes: u64) {
        if std::mem::needs_drop::<O>() {
            self.weight = bytes.max(size_of::<O>() as u64);
        }
    }

    /// Emits a record. A stream with event time gives it to every record.
    pub(crate) fn push(&mut self, record: O, time: Option<Millis>) {
        self.pending.records.push(record, time);
        if self.pending.records.len() >= BATCH_RECORDS_MAX {
            self.cut();
        }
    }

    /// Says something of event time that holds from here on.
    pub(crate) fn mark(&mut self, lane: Lane, mark: Mark) {
        self.pending.marks.push((lane, mark));
        self.cut();
    }

    fn cut(&mut self) {
        let mut batch = std::mem::take(&mut self.pending);
        batch.credit = self.budget.take(batch.records.len() as u64 * self.weight);
        self.full.push(batch);
    }

    /// Everything that was emitted.
    #[cfg(test)]
    pub(crate) fn take_all(mut self) -> Vec<O> {
        self.cut();
        self.full.into_iter().flat_map(|batch| batch.records.into_vec()).collect()
    }

    /// Sends everything.
    pub(crate) fn send(&mut self, output: &mut Output<Time, Batch<O>>, capability: &Capability<Time>) {
        if !self.pending.records.is_empty() {
            self.cut();
        }
        if self.full.is_empty() {
            return;
        }
        let mut output = output.activate();
        for mut batch in self.full.drain(..) {
            output.give(capability, &mut batch);
        }
    }
}
