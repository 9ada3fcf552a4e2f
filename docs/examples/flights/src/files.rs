//! Flights and rows in files.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tidelock::{DeadLetter, Result};
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, OnBadRecord, SinkFormat,
    SourceFormat,
};

use crate::ends::{Flights, Rows, timed};
use crate::flight::{Flight, Line, Row};
use crate::options::Options;
use crate::pace::{Pace, Paced};

/// The flights of a folder, as records of some type.
fn read<T: DeserializeOwned + Send + 'static>(
    data: &str,
    on_bad_record: OnBadRecord,
    pace: Arc<Pace>,
) -> Result<Arc<Paced<FilesSource<T>>>> {
    let mut reading = FilesSourceConfig::new(data, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    reading.batch_records_max = pace.batch_records();
    reading.on_bad_record = on_bad_record;
    Ok(Arc::new(Paced::new(FilesSource::new(reading)?, pace)))
}

/// The flights of a folder.
pub(crate) fn source(data: &str, pace: Arc<Pace>) -> Result<Arc<Paced<FilesSource<Flight>>>> {
    read(data, OnBadRecord::Fail, pace)
}

/// Reads the flights of a folder, one file after the other.
pub(crate) fn flights(options: &Options, pace: Arc<Pace>) -> Result<Flights> {
    if let Some(folder) = &options.dead_letters {
        return flights_or_letters(options, folder, pace);
    }
    let source = source(&options.data, pace)?;
    let out_of_orderness = options.out_of_orderness;
    Ok(Box::new(move |graph| timed(graph, &source, out_of_orderness).in_order_of_names().stream()))
}

/// The same, where a line may be damaged. One with every column becomes a dead letter in the checkpoint of the lines
/// beside it; one that is no record of CSV never gets into the graph, and the source itself writes its letter.
fn flights_or_letters(options: &Options, folder: &str, pace: Arc<Pace>) -> Result<Flights> {
    let on_bad_record = OnBadRecord::DeadLetter(folder.to_owned());
    let source = read::<Line>(&options.data, on_bad_record, pace)?;
    let writing = FilesSinkConfig::new(folder, SinkFormat::JsonLines);
    let letters: Arc<FilesSink<DeadLetter>> = Arc::new(FilesSink::new(writing)?);
    let out_of_orderness = options.out_of_orderness;
    Ok(Box::new(move |graph| {
        let lines = graph
            .source("flights", &source)
            .event_time(Line::time)
            .out_of_orderness(out_of_orderness)
            .in_order_of_names()
            .stream();
        let (flights, damaged) = lines.try_map_or("parse", Line::flight);
        damaged.letters().sink("letters", &letters);
        flights
    }))
}

/// Writes rows into a folder, as lines of JSON.
pub(crate) fn rows(out: &str) -> Result<Rows> {
    let writing = FilesSinkConfig::new(out, SinkFormat::JsonLines);
    let sink: Arc<FilesSink<Row>> = Arc::new(FilesSink::new(writing)?);
    Ok(Box::new(move |rows| rows.sink("rows", &sink)))
}
