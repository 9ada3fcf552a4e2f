//! The graph of the job.
//!
//! ```text
//!   flights ──> plane by tail number ──> airline by carrier ──> by origin ──> hours ──> rows
//! ```
//!
//! Both ends are in files, or in Kafka.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidelock::{Error, ErrorKind, Result};
use tidelock_runtime::{LookupTables, Tumbling, Window, fold};

use crate::ends::{Flights, Flow, Rows};
use crate::flight::{Enriched, Hour};
use crate::options::Options;
use crate::pace::Pace;
use crate::places::Places;
use crate::{files, kafka, tables};

/// How long a window is.
const HOUR: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What the options ask for: to count flights, or to load them into Kafka.
pub(crate) async fn of(options: &Options, places: &Places, pace: Arc<Pace>) -> Result<Flow> {
    if let Some(topic) = &options.load {
        return kafka::load(topic, &options.data, pace).await;
    }
    let flights = match &options.from_kafka {
        Some(topic) => kafka::flights(options, topic, pace).await?,
        None => files::flights(options, pace)?,
    };
    let rows = match &options.to_kafka {
        Some(topic) => kafka::rows(topic).await?,
        None => files::rows(&places.out)?,
    };
    count(&options.data, flights, rows)
}

/// Reads the tables, and counts flights by airport and hour.
fn count(data: &str, flights: Flights, rows: Rows) -> Result<Flow> {
    let planes = Arc::new(tables::planes(data)?);
    let airlines = Arc::new(tables::airlines(data)?);
    // Tables of a few thousand rows: in memory as a whole, a flight costs one hash of its key. Files do not change.
    let how = LookupTables::refreshed_every(DAY);
    Ok(Box::new(move |graph| {
        let count = |hour: &mut Hour, flight: &Enriched| hour.add(flight);
        let row = |origin: &String, window: Window, hour: &Hour| hour.row(origin.clone(), start_of(window));
        let (hours, late) = flights(graph)
            .lookup_table("planes", &planes, how, |flight, planes| {
                let seats = flight.tailnum.as_deref().and_then(|tailnum| planes.get(tailnum)).copied();
                (flight, seats)
            })
            .lookup_table("airlines", &airlines, how, |(flight, seats), airlines| Enriched {
                airline: airlines.get(&*flight.carrier).cloned(),
                origin: flight.origin,
                time_hour: flight.time_hour,
                dep_delay: flight.dep_delay,
                seats,
            })
            .key_by(|flight| flight.origin.clone())
            .window("hours", Tumbling::of(HOUR), fold(count, row));
        rows(hours);
        late.try_map(refuse_late);
    }))
}

fn start_of(window: Window) -> Timestamp {
    // A window begins at most an hour before a time that could be read.
    Timestamp::from_millisecond(window.start).unwrap_or(Timestamp::MIN)
}

/// The hour of a late flight has its row already: a row that lacks a flight must not pass for the answer.
fn refuse_late(flight: Enriched) -> Result<()> {
    let why =
        "a flight came too late: the row of its hour is written. Start over with a longer --out-of-orderness";
    Err(Error::new(ErrorKind::Data, "count by hour", why)
        .with("time_hour", flight.time_hour)
        .with("origin", flight.origin))
}
