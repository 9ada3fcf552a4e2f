//! The graph of the job.
//!
//! ```text
//!   flights*.csv ──> plane by tail number ──> airline by carrier ──> by origin ──> hours ──> rows
//! ```

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidelock::{Error, ErrorKind, Result, Uid};
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_runtime::{Graph, Lookups, Tumbling, Window, fold};

use crate::flight::{Enriched, Flight, Hour, Row};
use crate::options::Options;
use crate::pace::{Pace, Paced, batch_records};
use crate::places::Places;
use crate::tables::{self, Table};

/// How long a window is.
const HOUR: Duration = Duration::from_secs(3_600);

/// Everything that the graph is made of.
#[derive(Debug)]
pub(crate) struct Flow {
    flights: Arc<Paced<FilesSource<Flight>>>,
    rows: Arc<FilesSink<Row>>,
    planes: Arc<Table<u64>>,
    airlines: Arc<Table<Arc<str>>>,
    out_of_orderness: Duration,
}

impl Flow {
    /// Reads the tables and checks the settings. `read` is told how many flights are read.
    pub(crate) fn new(
        options: &Options,
        places: &Places,
        rate: u64,
        read: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut reading =
            FilesSourceConfig::new(&places.data, SourceFormat::Csv(CsvReading::with_null("NA")));
        reading.glob = "flights*.csv".into();
        reading.batch_records_max = batch_records(rate);
        let writing = FilesSinkConfig::new(&places.out, SinkFormat::JsonLines);
        Ok(Self {
            flights: Arc::new(Paced::new(FilesSource::new(reading)?, Pace::new(rate, read))),
            rows: Arc::new(FilesSink::new(Uid::new("rows")?, writing)?),
            planes: Arc::new(tables::planes(&places.data)?),
            airlines: Arc::new(tables::airlines(&places.data)?),
            out_of_orderness: options.out_of_orderness,
        })
    }
}

impl Flow {
    /// Builds the graph on one worker.
    pub(crate) fn build(&self, graph: &Graph<'_>) {
        let count = |hour: &mut Hour, flight: &Enriched| hour.add(flight);
        let row = |origin: &String, window: Window, hour: &Hour| hour.row(origin.clone(), start_of(window));
        let (rows, late) = graph
            .source("flights", &self.flights)
            .event_time(|flight| flight.time_hour.as_millisecond())
            .out_of_orderness(self.out_of_orderness)
            .in_order_of_names()
            .stream()
            .lookup(
                "planes",
                &self.planes,
                Lookups::ordered(),
                |flight| flight.tailnum.clone(),
                |flight, seats: Option<&u64>| (flight, seats.copied()),
            )
            .lookup(
                "airlines",
                &self.airlines,
                Lookups::ordered(),
                |(flight, _)| Some(flight.carrier.clone()),
                |(flight, seats), airline: Option<&Arc<str>>| Enriched {
                    origin: flight.origin,
                    time_hour: flight.time_hour,
                    dep_delay: flight.dep_delay,
                    seats,
                    airline: airline.cloned(),
                },
            )
            .key_by(|flight| flight.origin.clone())
            .window("hours", Tumbling::of(HOUR), fold(count, row));
        rows.sink("rows", &self.rows);
        late.try_map(refuse_late);
    }
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
