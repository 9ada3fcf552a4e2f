//! Streams of records, and what needs no state to work on them.

use std::fmt;

use tidelock::{Error, ErrorKind, Result, Uid};
use timely::Accountable;
use timely::dataflow::Stream as TimelyStream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::batch::Batch;
use crate::graph::Graph;
use crate::marks::Origins;
use crate::meeting::Meeting;
use crate::stop::Place;
use crate::time::Time;

/// A stream of records of one type, on one worker.
pub struct Stream<'s, R> {
    pub(crate) inner: TimelyStream<'s, Time, Batch<R>>,
    pub(crate) graph: Graph<'s>,
    /// Where its watermarks come from; nowhere, where it has no event time.
    pub(crate) origins: Origins,
    /// The nearest uid at or above: errors of functions without a uid name it.
    pub(crate) after: Uid,
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
        self.stateless("map", move |batch| Ok(batch.with(|records| records.map(&mut logic))))
    }

    /// Makes one record of each, or fails the job.
    pub fn try_map<B: 'static>(self, mut logic: impl FnMut(R) -> Result<B> + 'static) -> Stream<'s, B> {
        self.stateless("try_map", move |batch| batch.try_with(|records| records.try_map(&mut logic)))
    }

    /// Keeps the records that `keep` wants.
    pub fn filter(self, mut keep: impl FnMut(&R) -> bool + 'static) -> Self {
        self.stateless("filter", move |mut batch| {
            batch.records.retain(&mut keep);
            Ok(batch)
        })
    }

    /// Makes any number of records of each. They have its event time.
    pub fn flat_map<I>(self, mut logic: impl FnMut(R) -> I + 'static) -> Stream<'s, I::Item>
    where
        I: IntoIterator<Item: 'static>,
    {
        self.stateless("flat_map", move |batch| Ok(batch.with(|records| records.flat_map(&mut logic))))
    }

    /// Looks at each record.
    pub fn inspect(self, mut look: impl FnMut(&R) + 'static) -> Self {
        self.stateless("inspect", move |batch| {
            batch.records.iter().for_each(&mut look);
            Ok(batch)
        })
    }

    /// Joins two streams. Records of both keep their order, but come in any order towards each other.
    ///
    /// Either both have event time or none has: see [`Stream::without_event_time`]. Event time is that of the
    /// slower one; where both come from one source, no record is late because it took the longer way.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let Self { inner, graph, origins, after } = self;
        if origins.is_empty() != other.origins.is_empty() {
            graph.fail(half_timed(origins.is_empty(), &after, &other.after));
        }
        let seat = graph.inner.seat;
        let mut builder = OperatorBuilder::new("union".to_owned(), graph.scope());
        let mut inputs = [builder.new_input(inner, Pipeline), builder.new_input(other.inner, Pipeline)];
        let (mut output, inner) = builder.new_output();
        let ways = [(0, origins.lanes(seat)), (1, other.origins.lanes(seat))];
        let mut meeting = Meeting::new(ways.into_iter());
        for input in 0..inputs.len() {
            builder.set_notify_for(input, FrontierInterest::Never);
        }
        builder.build(move |_| {
            move |_| {
                let mut output = output.activate();
                for (way, input) in (0..).zip(&mut inputs) {
                    input.for_each(|capability, batch| {
                        meeting.pass(way, &mut batch.marks);
                        output.give(&capability, batch);
                    });
                }
            }
        });
        Self { inner, graph, origins: origins.joined(other.origins), after }
    }

    /// Takes the event time away: the records go on without it. For a union with a stream that has none.
    pub fn without_event_time(self) -> Self {
        let untimed = self.stateless("without_event_time", |mut batch| {
            batch.marks.clear();
            Ok(batch.with(|records| records.into_vec().into()))
        });
        Self { origins: Origins::default(), ..untimed }
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
        let records = convert(inner, "to timely", |batch: Batch<R>| batch.records.into_vec());
        let inner = convert(build(records), "from timely", |records: Vec<O>| Batch {
            records: records.into(),
            ..Batch::default()
        });
        Stream { inner, graph, origins: Origins::default(), after }
    }

    /// An operator that turns each batch into one, at once and without state.
    pub(crate) fn stateless<B: 'static>(
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

/// The error of a union of a stream with event time and one without.
fn half_timed(first_is_untimed: bool, first: &Uid, second: &Uid) -> Error {
    let (timed, untimed) = if first_is_untimed { (second, first) } else { (first, second) };
    let why = "a union of a stream with event time and one without: give it to the other source with \
               SourceBuilder::event_time, or take it away with Stream::without_event_time";
    Error::new(ErrorKind::Config, "union", why)
        .with("with_event_time", timed)
        .with("without_event_time", untimed)
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
