//! Records to bytes, file by file.

use serde::Serialize;
use tidelock::Result;

use crate::config::{CsvWriting, SinkFormat};
use crate::format::faithful::{Form, Watch, unwritable};
#[cfg(feature = "parquet")]
use crate::format::parquet::ParquetEncoder;

/// Makes the content of one file. An enum and not a trait object, so that the call for a record is a
/// direct one.
pub(crate) enum Encoder {
    /// One JSON value a line.
    JsonLines(JsonEncoder),
    /// Comma-separated values.
    Csv(Box<CsvEncoder>),
    /// Parquet.
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetEncoder>),
}

impl Encoder {
    /// Begins a file. Where it is `careful`, a record that cannot be written leaves every file as it was; of JSON
    /// Lines and CSV it always does, and of Parquet it costs to try each record beforehand.
    #[cfg_attr(not(feature = "parquet"), allow(unused_variables))]
    pub(crate) fn new(format: &SinkFormat, careful: bool) -> Result<Self> {
        Ok(match format {
            SinkFormat::JsonLines => Self::JsonLines(JsonEncoder::new()),
            SinkFormat::Csv(csv) => Self::Csv(Box::new(CsvEncoder::new(csv))),
            #[cfg(feature = "parquet")]
            SinkFormat::Parquet(columns) => Self::Parquet(Box::new(ParquetEncoder::new(columns, careful)?)),
        })
    }

    /// Adds a record. A record of which the format would make another one is an error; the file is then as it was
    /// before, of Parquet where it is careful.
    pub(crate) fn push<T: Serialize>(&mut self, record: &T) -> Result<()> {
        match self {
            Self::JsonLines(json) => json.push(record),
            Self::Csv(csv) => csv.push(record),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.push(record),
        }
    }

    /// How many bytes there are to be taken.
    pub(crate) fn ready(&self) -> usize {
        match self {
            Self::JsonLines(json) => json.bytes.len(),
            Self::Csv(csv) => csv.writer.get_ref().len(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.ready(),
        }
    }

    /// How many bytes the file grows by, with what is ready: about, where the format gathers rows.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::JsonLines(_) | Self::Csv(_) => self.ready(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.ready() + parquet.gathered(),
        }
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::JsonLines(_) | Self::Csv(_) => self.ready(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.memory(),
        }
    }

    /// Makes everything ready that can be without an end of the file.
    pub(crate) fn make_ready(&mut self) -> Result<()> {
        match self {
            Self::JsonLines(_) | Self::Csv(_) => Ok(()),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.end_group(),
        }
    }

    /// Takes the bytes that are ready.
    pub(crate) fn take(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::JsonLines(json) => Ok(std::mem::take(&mut json.bytes)),
            Self::Csv(csv) => csv.take(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => Ok(parquet.take()),
        }
    }

    /// Ends the file, and takes the bytes that remain.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::JsonLines(json) => Ok(json.bytes),
            Self::Csv(mut csv) => csv.take(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.finish(),
        }
    }
}

/// Makes JSON Lines.
pub(crate) struct JsonEncoder {
    bytes: Vec<u8>,
    watch: Watch,
}

impl JsonEncoder {
    fn new() -> Self {
        Self { bytes: Vec::new(), watch: Watch::new(Form::Json) }
    }

    fn push<T: Serialize>(&mut self, record: &T) -> Result<()> {
        let before = self.bytes.len();
        match serde_json::to_writer(&mut self.bytes, &self.watch.record(record)) {
            Ok(()) => {
                self.watch.written();
                self.bytes.push(b'\n');
                Ok(())
            }
            Err(error) => {
                self.watch.refused();
                self.bytes.truncate(before);
                Err(unwritable("JSON", error))
            }
        }
    }
}

/// Makes comma-separated values, with a header from the names of the first record's fields.
pub(crate) struct CsvEncoder {
    writer: csv::Writer<Vec<u8>>,
    delimiter: u8,
    watch: Watch,
    /// The header was written, or is not to be.
    has_header: bool,
}

impl CsvEncoder {
    fn new(config: &CsvWriting) -> Self {
        let delimiter = u8::try_from(config.delimiter).expect("invariant: validate() took ASCII only");
        let watch = Watch::new(Form::Csv { empty_is_missing: config.empty_is_missing });
        Self { writer: Self::writer(delimiter, true, Vec::new()), delimiter, watch, has_header: false }
    }

    fn writer(delimiter: u8, header: bool, bytes: Vec<u8>) -> csv::Writer<Vec<u8>> {
        // The watch compares every record with the header: the library would compare with the first record
        // since the bytes were last taken.
        csv::WriterBuilder::new().delimiter(delimiter).has_headers(header).flexible(true).from_writer(bytes)
    }

    fn push<T: Serialize>(&mut self, record: &T) -> Result<()> {
        let before = self.writer.get_ref().len();
        let written =
            self.writer.serialize(self.watch.record(record)).map_err(|error| unwritable("CSV", error));
        // Record by record, so that the bytes that are ready are all there are, and end with a whole record.
        let flushed = self.writer.flush().map_err(|error| unwritable("CSV", error));
        if let Err(error) = written.and(flushed) {
            self.watch.refused();
            let mut bytes = self.take()?;
            bytes.truncate(before);
            self.writer = Self::writer(self.delimiter, !self.has_header, bytes);
            return Err(error);
        }
        self.watch.written();
        self.has_header = true;
        Ok(())
    }

    /// The writer gives up its bytes only when it ends, so another one goes on, without a header.
    fn take(&mut self) -> Result<Vec<u8>> {
        let writer =
            std::mem::replace(&mut self.writer, Self::writer(self.delimiter, !self.has_header, Vec::new()));
        writer.into_inner().map_err(|error| unwritable("CSV", error.into_error()))
    }
}
