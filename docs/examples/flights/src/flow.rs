//! The graph of the job.
//!
//! ```text
//!   flights*.csv ──> plane by tail number ──> airline by carrier ──> by origin ──> hours ──> rows
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidelock::{Error, ErrorKind, Result, Uid};
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_runtime::{Context, Graph, KeyedOperator, State};

use crate::flight::{Enriched, Flight, Hour, Row};
use crate::options::Options;
use crate::pace::{Pace, Paced, batch_records};
use crate::places::Places;
use crate::tables::{self, Table};

/// Everything that the graph is made of.
#[derive(Debug)]
pub(crate) struct Flow {
    flights: Arc<Paced<FilesSource<Flight>>>,
    rows: Arc<FilesSink<Row>>,
    seats: Arc<Table<u64>>,
    airlines: Arc<Table<String>>,
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
            seats: Arc::new(tables::seats(&places.data)?),
            airlines: Arc::new(tables::airlines(&places.data)?),
            out_of_orderness: options.out_of_orderness,
        })
    }
}

impl Flow {
    /// Builds the graph on one worker.
    pub(crate) fn build(&self, graph: &Graph<'_>) {
        let (seats, airlines) = (Arc::clone(&self.seats), Arc::clone(&self.airlines));
        graph
            .source("flights", &self.flights)
            .event_time(|flight| flight.time_hour.as_millisecond())
            .out_of_orderness(self.out_of_orderness)
            .in_order_of_names()
            .stream()
            .map(move |flight| Enriched {
                seats: flight.tailnum.as_ref().and_then(|tailnum| seats.get(tailnum)),
                airline: airlines.get(&flight.carrier),
                origin: flight.origin,
                time_hour: flight.time_hour,
                dep_delay: flight.dep_delay,
            })
            .key_by(|flight| flight.origin.clone())
            .process("hours", Hours)
            .sink("rows", &self.rows);
    }
}

const HOUR: i64 = 3_600_000;

struct Hours;

impl KeyedOperator for Hours {
    type Key = String;
    type In = Enriched;
    type Out = Row;
    type State = BTreeMap<i64, Hour>;
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        _: &String,
        state: &mut State<Self::State>,
        flight: Enriched,
        context: &mut Context<'_, Row>,
    ) -> Result<()> {
        let start = flight.time_hour.as_millisecond().div_euclid(HOUR) * HOUR;
        if context.watermark() >= start + HOUR {
            return Err(Error::new(
                ErrorKind::Data,
                "count by hour",
                "a flight came too late: --out-of-orderness says how late it may be",
            )
            .with("time_hour", flight.time_hour));
        }
        context.set_timer(start + HOUR);
        state.get_or_insert_default().entry(start).or_default().add(flight);
        Ok(())
    }

    fn on_timer(
        &mut self,
        origin: &String,
        state: &mut State<Self::State>,
        at: i64,
        context: &mut Context<'_, Row>,
    ) -> Result<()> {
        let start = at - HOUR;
        let window_start = jiff::Timestamp::from_millisecond(start)
            .map_err(|error| Error::new(ErrorKind::Bug, "count by hour", error.to_string()))?;
        let hour = state.as_mut().and_then(|hours| hours.remove(&start));
        if let Some(hour) = hour {
            context.emit(hour.row(origin.clone(), window_start));
        }
        Ok(())
    }
}
