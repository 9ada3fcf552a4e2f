//! The graph of the job.
//!
//! ```text
//!   flights ──> plane by tail number ──> airline by carrier ──> by origin ──> hours ──> rows
//! ```
//!
//! Flights are in files or in Kafka, planes and airlines in files or in a database, and rows go to files, to Kafka, to a
//! database, to HBase or to DynamoDB.

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
use crate::tables::Table;
use crate::{dynamodb, files, hbase, kafka, sql, tables};

/// How long a window is.
const HOUR: Duration = Duration::from_secs(3_600);

const MINUTE: Duration = Duration::from_secs(60);

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
    let rows = rows(options, places).await?;
    // Tables of a few thousand rows: in memory as a whole, a flight costs one hash of its key. Files do not change.
    let (planes, airlines, refreshed) = match &options.planes_from {
        Some(database) => (sql::planes(database).await?, sql::airlines(database).await?, MINUTE),
        None => (tables::planes(&options.data)?, tables::airlines(&options.data)?, DAY),
    };
    Ok(count(flights, planes, airlines, LookupTables::refreshed_every(refreshed), rows))
}

/// Where the options say that rows go: to one of these alone.
async fn rows(options: &Options, places: &Places) -> Result<Rows> {
    let Options { to_kafka, to_sql, to_hbase, to_dynamodb, .. } = options;
    match (to_kafka, to_sql, to_hbase, to_dynamodb) {
        (Some(topic), ..) => kafka::rows(topic).await,
        (_, Some(database), ..) => sql::rows(database).await,
        (_, _, Some(table), _) => hbase::rows(table).await,
        (.., Some(table)) => dynamodb::rows(table).await,
        (None, None, None, None) => files::rows(&places.out),
    }
}

/// Counts flights by airport and hour.
fn count(
    flights: Flights,
    planes: Table<u64>,
    airlines: Table<Arc<str>>,
    how: LookupTables,
    rows: Rows,
) -> Flow {
    let (planes, airlines) = (Arc::new(planes), Arc::new(airlines));
    Box::new(move |graph| {
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
    })
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
