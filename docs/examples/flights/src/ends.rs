//! What the graph and its two ends have in common.

use std::sync::Arc;
use std::time::Duration;

use tidelock::Source;
use tidelock_runtime::{Graph, SourceBuilder, Stream};

use crate::flight::{Flight, Row};

/// Builds the graph on one worker.
pub(crate) type Flow = Box<dyn Fn(&Graph<'_>) + Send + Sync>;

/// Adds the flights to a graph.
pub(crate) type Flights = Box<dyn for<'s> Fn(&Graph<'s>) -> Stream<'s, Flight> + Send + Sync>;

/// Takes the rows of a graph.
pub(crate) type Rows = Box<dyn for<'s> Fn(Stream<'s, Row>) + Send + Sync>;

/// A source of flights that tells the time by the hours that they were scheduled for.
pub(crate) fn timed<'s, S: Source<Record = Flight>>(
    graph: &Graph<'s>,
    source: &Arc<S>,
    out_of_orderness: Duration,
) -> SourceBuilder<'s, S> {
    graph
        .source("flights", source)
        .event_time(|flight| flight.time_hour.as_millisecond())
        .out_of_orderness(out_of_orderness)
}
