//! Streams of records, and what needs no state to work on them.

use std::fmt;

use tidelock::{Result, Uid};
use timely::Accountable;
use timely::dataflow::Stream as TimelyStream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::Concatenate;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::batch::{Batch, Millis};
use crate::graph::{Graph, Time};
use crate::stop::Place;

/// A stream of records of one type, on one worker.
pub struct Stream<'s, R> {
    pub(crate) inner: TimelyStream<'s, Time, Batch<R>>,
    pub(crate) graph: Graph<'s>,
    pub(crate) origins: Vec<Origin>,
    /// The nearest uid at or above: errors of functions without a uid name it.
    pub(crate) after: Uid,
}

/// Where a stream's watermarks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The number of the source or operator.
    pub(crate) number: u32,
    /// Its marks come from all workers, because the stream was exchanged on the way; else from this
    /// one alone.
    pub(crate) from_all: bool,
}

impl<R: Clone + 'static> Clone for Stream<'_, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            graph: self.graph.clone(),
            origins: self.origins.clone(),
            after: self.after.clone(),
        }
    }
}

impl<R> fmt::Debug for Stream<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("after", &self.after).finish_non_exhaustive()
    }
}

impl<'s, R: 'static> Stream<'s, R> {
    /// Makes one record of each.
    pub fn map<B: 'static>(self, mut logic: impl FnMut(R) -> B + 'static) -> Stream<'s, B> {
        self.stateless("map", move |batch| Ok(batch.map(&mut logic)))
    }

    /// Makes one record of each, or fails the job.
    pub fn try_map<B: 'static>(self, mut logic: impl FnMut(R) -> Result<B> + 'static) -> Stream<'s, B> {
        self.stateless("try_map", move |batch| {
            let Batch { records, times, marks, target, credit } = batch;
            let records = records.into_iter().map(&mut logic).collect::<Result<_>>()?;
            Ok(Batch { records, times, marks, target, credit })
        })
    }

    /// Keeps the records that `keep` wants.
    pub fn filter(self, mut keep: impl FnMut(&R) -> bool + 'static) -> Self {
        self.stateless("filter", move |mut batch| {
            batch.retain(&mut keep);
            Ok(batch)
        })
    }

    /// Makes any number of records of each. They have its event time.
    pub fn flat_map<I>(self, mut logic: impl FnMut(R) -> I + 'static) -> Stream<'s, I::Item>
    where
        I: IntoIterator<Item: 'static>,
    {
        self.stateless("flat_map", move |batch| {
            let Batch { records, times, marks, target, credit } = batch;
            if times.is_empty() {
                let records = records.into_iter().flat_map(&mut logic).collect();
                return Ok(Batch { records, times, marks, target, credit });
            }
            let mut made = Vec::with_capacity(records.len());
            let mut made_times: Vec<Millis> = Vec::with_capacity(records.len());
            for (record, time) in records.into_iter().zip(times) {
                made.extend(logic(record));
                made_times.resize(made.len(), time);
            }
            Ok(Batch { records: made, times: made_times, marks, target, credit })
        })
    }

    /// Looks at each record.
    pub fn inspect(self, mut look: impl FnMut(&R) + 'static) -> Self {
        self.stateless("inspect", move |batch| {
            batch.records.iter().for_each(&mut look);
            Ok(batch)
        })
    }

    /// Joins two streams. Records of both keep their order, but come in any order towards each other.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let Self { inner, graph, mut origins, after } = self;
        origins.extend(other.origins);
        origins.sort_unstable();
        origins.dedup();
        let inner = graph.scope().concatenate([inner, other.inner]);
        Self { inner, graph, origins, after }
    }

    /// Continues the stream with operators of timely itself: the way out where this crate has no word for
    /// something.
    ///
    /// **Unstable**: it shows the types of one exact version of timely. The timestamp is the epoch.
    /// Operators keep it: a record that leaves in a later epoch than it came is lost or doubled by a
    /// restart, and so is all state, which no snapshot has. Event time does not pass through.
    pub fn with_timely<O: 'static>(
        self,
        build: impl FnOnce(TimelyStream<'s, u64, Vec<R>>) -> TimelyStream<'s, u64, Vec<O>>,
    ) -> Stream<'s, O> {
        let Self { inner, graph, after, .. } = self;
        let records = convert(inner, "to timely", |batch: Batch<R>| batch.records);
        let inner = convert(build(records), "from timely", |records| Batch { records, ..Batch::default() });
        Stream { inner, graph, origins: Vec::new(), after }
    }

    /// An operator that turns each batch into one, at once and without state.
    fn stateless<B: 'static>(
        self,
        operator: &'static str,
        mut logic: impl FnMut(Batch<R>) -> Result<Batch<B>> + 'static,
    ) -> Stream<'s, B> {
        let Self { inner, graph, origins, after } = self;
        let mut builder = OperatorBuilder::new(operator.to_owned(), graph.scope());
        let mut input = builder.new_input(inner, Pipeline);
        builder.set_notify_for(0, FrontierInterest::Never);
        let (mut output, inner) = builder.new_output();
        let place = Place { uid: after.clone(), operator };
        let stop = std::sync::Arc::clone(&graph.inner.shared.stop);
        builder.build(move |_| {
            move |_| {
                let mut output = output.activate();
                place.run(|| {
                    input.for_each(|capability, batch| match logic(std::mem::take(batch)) {
                        Ok(mut batch) => output.give(&capability, &mut batch),
                        Err(error) => stop.fail(Some(place.uid.clone()), error.with("operator", operator)),
                    });
                });
            }
        });
        Stream { inner, graph, origins, after }
    }
}

/// Changes the container of a stream.
fn convert<'s, A, B>(
    stream: TimelyStream<'s, Time, A>,
    name: &str,
    mut convert: impl FnMut(A) -> B + 'static,
) -> TimelyStream<'s, Time, B>
where
    A: Accountable + Default + 'static,
    B: Accountable + Default + 'static,
{
    let mut builder = OperatorBuilder::new(name.to_owned(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut output, converted) = builder.new_output();
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            input.for_each(|capability, batch| {
                output.give(&capability, &mut convert(std::mem::take(batch)));
            });
        }
    });
    converted
}
