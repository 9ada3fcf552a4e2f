//! Flights and rows in files.

use std::sync::Arc;

use tidelock::Result;
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};

use crate::flight::{Flight, Row};
use crate::flow::{Flights, Rows, timed};
use crate::options::Options;
use crate::pace::{Pace, Paced};

/// The flights of a folder.
pub(crate) fn source(data: &str, pace: Arc<Pace>) -> Result<Arc<Paced<FilesSource<Flight>>>> {
    let mut reading = FilesSourceConfig::new(data, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    reading.batch_records_max = pace.batch_records();
    Ok(Arc::new(Paced::new(FilesSource::new(reading)?, pace)))
}

/// Reads the flights of a folder, one file after the other.
pub(crate) fn flights(options: &Options, pace: Arc<Pace>) -> Result<Flights> {
    let source = source(&options.data, pace)?;
    let out_of_orderness = options.out_of_orderness;
    Ok(Box::new(move |graph| timed(graph, &source, out_of_orderness).in_order_of_names().stream()))
}

/// Writes rows into a folder, as lines of JSON.
pub(crate) fn rows(out: &str) -> Result<Rows> {
    let writing = FilesSinkConfig::new(out, SinkFormat::JsonLines);
    let sink: Arc<FilesSink<Row>> = Arc::new(FilesSink::new(writing)?);
    Ok(Box::new(move |rows| rows.sink("rows", &sink)))
}
