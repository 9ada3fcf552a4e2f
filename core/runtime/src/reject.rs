//! Functions that may fail for a single record: what they reject goes to a stream of its own, and the job
//! goes on.
//!
//! ```text
//!   records ──> function ──> made
//!                   └──────> rejected ──> letters ──> a sink
//! ```
//!
//! Both outputs are of the epoch of the input and carry its watermarks, so whatever they end in is part of
//! the same checkpoint: a rejected record is there once, as the others are.

use std::fmt;

use serde::Serialize;
use tidelock::{DeadLetter, Rejected, Uid};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::batch::Batch;
use crate::records::Records;
use crate::stop::Place;
use crate::stream::Stream;

impl<'s, R: 'static> Stream<'s, R> {
    /// Makes one record of each. Those for which it fails are the second stream, whole and with the reason;
    /// the function gets a reference, so that they still are. `uid` names it there and in
    /// [`Handle::records_rejected`](crate::Handle::records_rejected); it keeps no state.
    ///
    /// A panic is no failure of a record: it ends the attempt.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tidelock::{DeadLetter, Sink};
    /// # use tidelock_runtime::Stream;
    /// # fn read(
    /// #     lines: Stream<'_, String>,
    /// #     numbers: Arc<impl Sink<Record = u64>>,
    /// #     letters: Arc<impl Sink<Record = DeadLetter>>,
    /// # ) {
    /// let (parsed, rejected) = lines.try_map_or("parse", |line| line.parse::<u64>());
    /// parsed.sink("numbers", &numbers);
    /// rejected.letters().sink("letters", &letters);
    /// # }
    /// ```
    pub fn try_map_or<B: 'static, E: fmt::Display>(
        self,
        uid: &str,
        mut logic: impl FnMut(&R) -> Result<B, E> + 'static,
    ) -> (Stream<'s, B>, Stream<'s, Rejected<R>>) {
        self.divide(uid, "try_map_or", move |record, made| match logic(&record) {
            Ok(one) => {
                made.push(one);
                Ok(())
            }
            Err(error) => Err((record, error.to_string())),
        })
    }

    /// Keeps the records that `keep` wants. Those for which it fails are the second stream: see
    /// [`Stream::try_map_or`].
    pub fn try_filter_or<E: fmt::Display>(
        self,
        uid: &str,
        mut keep: impl FnMut(&R) -> Result<bool, E> + 'static,
    ) -> (Self, Stream<'s, Rejected<R>>) {
        self.divide(uid, "try_filter_or", move |record, kept| match keep(&record) {
            Ok(true) => {
                kept.push(record);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err((record, error.to_string())),
        })
    }

    /// Makes any number of records of each; they have its event time. Those for which it fails are the
    /// second stream: see [`Stream::try_map_or`].
    pub fn try_flat_map_or<I, E: fmt::Display>(
        self,
        uid: &str,
        mut logic: impl FnMut(&R) -> Result<I, E> + 'static,
    ) -> (Stream<'s, I::Item>, Stream<'s, Rejected<R>>)
    where
        I: IntoIterator<Item: 'static>,
    {
        self.divide(uid, "try_flat_map_or", move |record, made| match logic(&record) {
            Ok(several) => {
                made.extend(several);
                Ok(())
            }
            Err(error) => Err((record, error.to_string())),
        })
    }

    /// An operator without state and with a second output for what `logic` gives back.
    fn divide<B: 'static>(
        self,
        uid: &str,
        operator: &'static str,
        mut logic: impl FnMut(R, &mut Vec<B>) -> Result<(), (R, String)> + 'static,
    ) -> (Stream<'s, B>, Stream<'s, Rejected<R>>) {
        let Self { inner, graph, origins, .. } = self;
        let uid = graph.uid(uid);
        graph.take_uid(&uid);
        let mut builder = OperatorBuilder::new(format!("{operator} {uid}"), graph.scope());
        let mut input = builder.new_input(inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut made, made_stream) = builder.new_output();
        let (mut rejected, rejected_stream) = builder.new_output();
        let place = Place { uid: uid.clone(), operator };
        let counter = graph.inner.shared.counters.rejection(&uid);
        builder.build(move |_| {
            move |_| {
                let (mut made, mut rejected) = (made.activate(), rejected.activate());
                place.run(|| {
                    input.for_each(|capability, batch| {
                        let (mut good, mut bad) = divide(std::mem::take(batch), &place.uid, &mut logic);
                        counter.add(bad.records.len());
                        made.give(&capability, &mut good);
                        // Mostly there is nothing.
                        if !bad.records.is_empty() || !bad.marks.is_empty() {
                            rejected.give(&capability, &mut bad);
                        }
                    });
                });
            }
        });
        let made =
            Stream { inner: made_stream, graph: graph.clone(), origins: origins.clone(), after: uid.clone() };
        (made, Stream { inner: rejected_stream, graph, origins, after: uid })
    }
}

/// What `logic` makes of a batch, and what it gives back. The marks go both ways.
fn divide<R, B>(
    batch: Batch<R>,
    uid: &Uid,
    logic: &mut impl FnMut(R, &mut Vec<B>) -> Result<(), (R, String)>,
) -> (Batch<B>, Batch<Rejected<R>>) {
    let Batch { records, marks, mut credit, .. } = batch;
    let whole = records.len();
    let (mut good, mut bad) = (Records::with_capacity(whole), Records::default());
    let mut made = Vec::new();
    for (record, time) in records {
        if let Err((record, reason)) = logic(record, &mut made) {
            bad.push(Rejected { uid: uid.clone(), reason, time, record }, time);
        }
        good.extend(made.drain(..), time);
    }
    let rejected = Batch {
        credit: credit.split(bad.len(), whole),
        records: bad,
        marks: marks.clone(),
        ..Batch::default()
    };
    (Batch { records: good, marks, credit, ..Batch::default() }, rejected)
}

impl<'s, R: 'static> Stream<'s, Rejected<R>> {
    /// Makes a [`DeadLetter`] of each: a form that every sink can hold, with the record as JSON.
    pub fn letters(self) -> Stream<'s, DeadLetter>
    where
        R: Serialize,
    {
        self.map(DeadLetter::from)
    }

    /// Goes on without them, by choice. They are counted, and a warning has the reason of the first of
    /// each batch.
    pub fn skip(self) {
        self.stateless("skip", |batch: Batch<Rejected<R>>| {
            if let Some(Rejected { uid, reason, .. }) = batch.records.iter().next() {
                let skipped = batch.records.len();
                tracing::warn!(%uid, %reason, skipped, "records are left out");
            }
            Ok(Batch::<()>::default())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Lane, Mark};
    use crate::budget::Budget;

    #[test]
    fn both_parts_keep_their_times_the_marks_and_the_credit() {
        let budget = Budget::new(1_000, None);
        let batch = Batch {
            records: Records::new(vec![1, 2, 3, 4], vec![10, 20, 30, 40]),
            marks: vec![(Lane(0), Mark::At(9))],
            credit: budget.take(400),
            ..Batch::default()
        };
        let mut logic = |record: i32, made: &mut Vec<i32>| match record {
            3 => Err((record, "three".to_owned())),
            _ => {
                made.extend([record; 2]);
                Ok(())
            }
        };
        let uid = Uid::new("parse").unwrap();
        let (good, bad) = divide(batch, &uid, &mut logic);
        assert_eq!(good.records.parts(), (&[1, 1, 2, 2, 4, 4][..], &[10, 10, 20, 20, 40, 40][..]));
        let rejected = Rejected { uid, reason: "three".to_owned(), time: Some(30), record: 3 };
        assert_eq!(bad.records.parts(), (&[rejected][..], &[30][..]));
        assert_eq!(good.marks, bad.marks);
        drop(good);
        assert_eq!(budget.in_flight(), 100);
        drop(bad);
        assert_eq!(budget.in_flight(), 0);
    }
}
