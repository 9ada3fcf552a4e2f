//! Records to bytes, file by file.

use serde::Serialize;
use tidelock::{Error, ErrorKind, Result};

use crate::config::{CsvWriting, SinkFormat};

/// Makes the content of one file. An enum and not a trait object, so that the call for a record is a
/// direct one.
pub(crate) enum Encoder {
    /// One JSON value a line.
    JsonLines(Vec<u8>),
    /// Comma-separated values.
    Csv(Box<CsvEncoder>),
    /// Parquet.
    #[cfg(feature = "parquet")]
    Parquet(Box<crate::format::parquet::ParquetEncoder>),
}

impl Encoder {
    /// Begins a file.
    pub(crate) fn new(format: &SinkFormat) -> Result<Self> {
        Ok(match format {
            SinkFormat::JsonLines => Self::JsonLines(Vec::new()),
            SinkFormat::Csv(csv) => Self::Csv(Box::new(CsvEncoder::new(csv))),
            #[cfg(feature = "parquet")]
            SinkFormat::Parquet(columns) => {
                Self::Parquet(Box::new(crate::format::parquet::ParquetEncoder::new(columns)?))
            }
        })
    }

    /// Adds a record.
    pub(crate) fn push<T: Serialize>(&mut self, record: &T) -> Result<()> {
        match self {
            Self::JsonLines(bytes) => {
                serde_json::to_writer(&mut *bytes, record).map_err(|error| unwritable("JSON", error))?;
                bytes.push(b'\n');
                Ok(())
            }
            Self::Csv(csv) => csv.writer.serialize(record).map_err(|error| unwritable("CSV", error)),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.push(record),
        }
    }

    /// How many bytes there are to be taken.
    pub(crate) fn ready(&self) -> usize {
        match self {
            Self::JsonLines(bytes) => bytes.len(),
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
            Self::Parquet(parquet) => parquet.ready() + parquet.in_progress(),
        }
    }

    /// Takes the bytes that are ready.
    pub(crate) fn take(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::JsonLines(bytes) => Ok(std::mem::take(bytes)),
            Self::Csv(csv) => csv.take(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => Ok(parquet.take()),
        }
    }

    /// Ends the file, and takes the bytes that remain.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::JsonLines(bytes) => Ok(bytes),
            Self::Csv(mut csv) => csv.take(),
            #[cfg(feature = "parquet")]
            Self::Parquet(parquet) => parquet.finish(),
        }
    }
}

/// The error of a record that a format has no form for.
pub(crate) fn unwritable(
    format: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let error = error.into();
    Error::new(ErrorKind::Data, "write a record", format!("the record cannot be written: {error}"))
        .with("format", format)
        .because(error)
}

/// Makes comma-separated values, with a header from the names of the first record's fields.
pub(crate) struct CsvEncoder {
    writer: csv::Writer<Vec<u8>>,
    delimiter: u8,
}

impl CsvEncoder {
    fn new(config: &CsvWriting) -> Self {
        let delimiter = u8::try_from(config.delimiter).expect("invariant: validate() took ASCII only");
        Self { writer: Self::writer(delimiter, true), delimiter }
    }

    fn writer(delimiter: u8, header: bool) -> csv::Writer<Vec<u8>> {
        csv::WriterBuilder::new().delimiter(delimiter).has_headers(header).from_writer(Vec::new())
    }

    /// The writer gives up its bytes only when it ends, so another one goes on, without a header.
    fn take(&mut self) -> Result<Vec<u8>> {
        let writer = std::mem::replace(&mut self.writer, Self::writer(self.delimiter, false));
        writer.into_inner().map_err(|error| unwritable("CSV", error.into_error()))
    }
}
