//! The operator of a lookup on one worker: joins what is known, keeps what waits for an answer.
//!
//! ```text
//!   batch ──1──> key of each record ──2──> cached? ── all, and nothing waits ──────────────> output
//!                                            │ no                                              ^
//!                                            3                                                 │
//!                                            v                                                 6
//!   desk <──4── keys that nobody          works:  [ r . r ] m   [ . r ] m   [ r r ] m  ── front is whole:
//!     │         here waits for             (r waits, . is joined, m are marks)              records, then marks
//!     └── answers ──> mailbox ──5──> places: key -> (number of the work, place in it), joined there
//! ```
//!
//! 1. A record without a key is answered at once: with nothing.
//! 2. A batch whose answers are all cached goes straight through, where that overtakes nobody.
//! 3. Any other becomes a [`Work`], behind those that came before. It keeps the capability of its epoch, so no
//!    barrier overtakes it, and its marks, so no watermark does.
//! 4. A key is asked for once, however many records wait for it; the desk asks once for all workers.
//! 5. An answer finds its records by `places`. Works are numbered in the order of their coming, and the one at
//!    the front has the number `first`.
//! 6. The work at the front leaves when nothing of it is missing, with its marks. Unordered, what is joined of any work
//!    leaves at once, and only the marks wait for their turn.
//!
//! An error of the store is the desk's: it ends the attempt, and what waited here is read again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tidelock::{Lookup, Uid};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::operate::FrontierInterest;

use super::cache::Answer;
use super::desk::{Desk, Mailbox};
use crate::batch::{Batch, Lane, Mark, Millis};
use crate::budget::Credit;
use crate::stop::Place;
use crate::stream::Stream;
use crate::time::Time;
use crate::wake::Waker;

/// A batch some of whose records wait. It holds the capability of its epoch: no barrier overtakes it.
struct Work<R, V, O> {
    capability: Capability<Time>,
    /// The records that are not joined yet, at their places in the batch.
    records: Vec<Option<Waiting<R, V>>>,
    missing: usize,
    /// Joined, and not sent.
    ready: Batch<O>,
    /// They come after all records, also those that still wait.
    marks: Vec<(Lane, Mark)>,
    credit: Credit,
}

struct Waiting<R, V> {
    record: R,
    time: Option<Millis>,
    /// The answer, once it is there.
    answer: Option<Answer<V>>,
}

pub(super) struct LookupOperator<L: Lookup, R, O, F, J> {
    desk: Arc<Desk<L>>,
    mailbox: Arc<Mailbox<L::Key, L::Value>>,
    ordered: bool,
    key: F,
    join: J,
    /// Batches in the order in which they came, and the number of the first.
    works: VecDeque<Work<R, L::Value, O>>,
    first: u64,
    /// The places, by number of the batch, of the records that wait for a key.
    places: HashMap<L::Key, Vec<(u64, usize)>, RandomState>,
}

impl<L, R, O, F, J> LookupOperator<L, R, O, F, J>
where
    L: Lookup,
    F: Fn(&R) -> Option<L::Key>,
    J: FnMut(R, Option<&L::Value>) -> O,
{
    pub(super) fn new(desk: Arc<Desk<L>>, ordered: bool, waker: Waker, key: F, join: J) -> Self {
        let (works, places) = (VecDeque::new(), HashMap::default());
        Self { desk, mailbox: Mailbox::new(waker), ordered, key, join, works, first: 0, places }
    }

    /// Takes a batch. What cannot be joined now is asked for.
    fn take(&mut self, capability: &InputCapability<Time>, batch: Batch<R>) -> Option<Batch<O>> {
        let Batch { records, marks, credit, .. } = batch;
        let number = self.first + self.works.len() as u64;
        let (mut waiting, mut missing, mut asked) = (Vec::with_capacity(records.len()), 0, Vec::new());
        let mut hits = 0;
        for (record, time) in records {
            let answer = match (self.key)(&record) {
                None => Some(None),
                Some(key) => {
                    let answer = self.desk.cached(&key);
                    if answer.is_some() {
                        hits += 1;
                    } else {
                        missing += 1;
                        let places = self.places.entry(key.clone()).or_insert_with(|| {
                            asked.push(key);
                            Vec::new()
                        });
                        places.push((number, waiting.len()));
                    }
                    answer
                }
            };
            waiting.push(Some(Waiting { record, time, answer }));
        }
        self.desk.counts.batch(hits, missing as u64);
        let mut ready = Batch::default();
        if missing == 0 && (self.works.is_empty() || (!self.ordered && marks.is_empty())) {
            for waiting in waiting.into_iter().flatten() {
                join_one(&mut self.join, waiting, &mut ready);
            }
            (ready.marks, ready.credit) = (marks, credit);
            return Some(ready);
        }
        if !asked.is_empty() {
            self.desk.ask(asked, &self.mailbox);
        }
        let capability = capability.retain_least(0)?;
        let mut work = Work { capability, records: waiting, missing, ready, marks, credit };
        if !self.ordered {
            work.join_answered(&mut self.join);
        }
        self.works.push_back(work);
        None
    }

    /// Takes the answers that came.
    fn take_answers(&mut self) {
        for (key, answer) in self.mailbox.take() {
            for (number, place) in self.places.remove(&key).unwrap_or_default() {
                let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
                let Some(work) = self.works.get_mut(index) else { continue };
                work.missing -= 1;
                if let Some(waiting) = &mut work.records[place] {
                    waiting.answer = Some(answer.clone());
                }
                if !self.ordered
                    && let Some(waiting) = work.records[place].take()
                {
                    join_one(&mut self.join, waiting, &mut work.ready);
                }
            }
        }
    }

    /// Sends what may be sent.
    fn send(&mut self, output: &mut Output<Time, Batch<O>>)
    where
        O: 'static,
    {
        let mut output = output.activate();
        while let Some(work) = self.works.front_mut()
            && work.missing == 0
        {
            work.join_answered(&mut self.join);
            work.ready.marks = std::mem::take(&mut work.marks);
            work.ready.credit = std::mem::take(&mut work.credit);
            output.give(&work.capability, &mut work.ready);
            self.works.pop_front();
            self.first += 1;
        }
        if self.ordered {
            return;
        }
        for work in self.works.iter_mut().filter(|work| !work.ready.records.is_empty()) {
            let sent = work.ready.records.len();
            work.ready.credit = work.credit.split(sent, sent + work.missing);
            output.give(&work.capability, &mut std::mem::take(&mut work.ready));
        }
    }
}

impl<R, V, O> Work<R, V, O> {
    /// Joins every record whose answer is there, in order.
    fn join_answered(&mut self, join: &mut impl FnMut(R, Option<&V>) -> O) {
        for place in &mut self.records {
            if place.as_ref().is_some_and(|waiting| waiting.answer.is_some())
                && let Some(waiting) = place.take()
            {
                join_one(join, waiting, &mut self.ready);
            }
        }
    }
}

fn join_one<R, V, O>(
    join: &mut impl FnMut(R, Option<&V>) -> O,
    Waiting { record, time, answer }: Waiting<R, V>,
    ready: &mut Batch<O>,
) {
    let value = answer.flatten();
    ready.records.push(join(record, value.as_deref()), time);
}

/// Adds the operator to the graph.
pub(super) fn add<'s, L, R, O, F, J>(
    stream: Stream<'s, R>,
    uid: Uid,
    make: impl FnOnce(Waker) -> LookupOperator<L, R, O, F, J>,
) -> Stream<'s, O>
where
    L: Lookup,
    R: 'static,
    O: 'static,
    F: Fn(&R) -> Option<L::Key> + 'static,
    J: FnMut(R, Option<&L::Value>) -> O + 'static,
{
    let Stream { inner, graph, origins, .. } = stream;
    let mut builder = OperatorBuilder::new(format!("lookup {uid}"), graph.scope());
    let address = builder.operator_info().address;
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut output, inner) = builder.new_output();
    let waker = Waker::new(graph.scope().worker().sync_activator_for(address.to_vec()));
    let mut operator = make(waker);
    let place = Place { uid: uid.clone(), operator: "lookup" };
    builder.build(move |_| {
        move |_| {
            operator.mailbox.waker().taken();
            place.run(|| {
                operator.take_answers();
                operator.send(&mut output);
                input.for_each(|capability, batch| {
                    if let Some(mut joined) = operator.take(&capability, std::mem::take(batch)) {
                        output.activate().give(&capability, &mut joined);
                    }
                });
                operator.send(&mut output);
            });
        }
    });
    Stream { inner, graph, origins, after: uid }
}
