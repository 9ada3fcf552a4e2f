//! How the records that a writer rejects come back into the dataflow: as the output of the sink's operator.
//!
//! ```text
//!   feed ──> channel ──> writer task ──> prepare(n) ──> book
//!    ^                        │ rejects of n, then "n is prepared"
//!    └── output <── Mailbox <─┘
//! ```
//!
//! The operator holds the right to write epoch n until the writer has prepared n, because only then is the
//! last of its rejects known. So no barrier overtakes a rejected record, and whoever takes them closes
//! its epoch n after this one. Nobody waits for somebody behind: the writer never waits for the operator, and
//! what it waits for, the settling of an earlier epoch, needs nothing of a later one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::{Epoch, Rejected, Rejects, Uid};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;

use crate::batch::Batch;
use crate::book::Start;
use crate::budget::Budget;
use crate::counters::Counter;
use crate::time::Time;

/// What the writer's task tells the operator, in order. Rejected records are bounded by the budget of bytes in
/// flight, which counts them, and ends by the epochs in flight.
enum Answer<R> {
    Rejected(Batch<Rejected<R>>),
    Prepared(Epoch),
}

pub(super) struct Mailbox<R>(Mutex<VecDeque<Answer<R>>>);

impl<R> Default for Mailbox<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> Mailbox<R> {
    fn put(&self, answer: Answer<R>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(answer);
    }

    fn pop(&self) -> Option<Answer<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The writer's end.
pub(super) struct Outlet<R> {
    pub(super) uid: Uid,
    pub(super) rejects: Rejects<R>,
    pub(super) mailbox: Arc<Mailbox<R>>,
    pub(super) counter: Counter,
    pub(super) budget: Arc<Budget>,
}

impl<R> Outlet<R> {
    /// Hands over what the writer rejected since the last time, and says how many records that were.
    pub(super) fn hand_over(&self) -> usize {
        let rejected: Vec<_> =
            self.rejects.take().into_iter().map(|(record, error)| self.name(record, error)).collect();
        let count = rejected.len();
        if count > 0 {
            let reasons: usize = rejected.iter().map(|rejected| rejected.reason.len()).sum();
            let credit = self.budget.take((count * size_of::<Rejected<R>>() + reasons) as u64);
            self.counter.add(count);
            self.mailbox.put(Answer::Rejected(Batch {
                records: rejected.into(),
                credit,
                ..Batch::default()
            }));
        }
        count
    }

    /// The writer has prepared an epoch: nothing of it is rejected any more.
    pub(super) fn prepared(&self, epoch: Epoch) {
        self.mailbox.put(Answer::Prepared(epoch));
    }

    fn name(&self, record: R, error: tidelock::Error) -> Rejected<R> {
        Rejected { uid: self.uid.clone(), reason: error.to_string(), time: None, record }
    }
}

/// The operator's end.
pub(super) struct Backflow<R> {
    pub(super) mailbox: Arc<Mailbox<R>>,
    pub(super) output: Output<Time, Batch<Rejected<R>>>,
    /// The right to write the oldest epoch that the writer has not prepared.
    pub(super) capability: Option<Capability<Time>>,
}

impl<R: 'static> Backflow<R> {
    /// Sends on what the writer told. Nothing comes before the attempt began.
    pub(super) fn send(&mut self, start: Option<&Start>) {
        let (Some(capability), Some(start)) = (&mut self.capability, start) else { return };
        if *capability.time() < start.epoch.0 {
            capability.downgrade(&start.epoch.0);
        }
        let mut output = self.output.activate();
        while let Some(answer) = self.mailbox.pop() {
            match answer {
                Answer::Rejected(mut batch) => output.give(&*capability, &mut batch),
                Answer::Prepared(epoch) => capability.downgrade(&epoch.next().0),
            }
        }
    }
}
