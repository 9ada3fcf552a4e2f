//! Comma-separated values. The first record of a file names the columns.

use std::io::Read;

use csv::{ByteRecord, DeserializeErrorKind, ErrorKind as CsvError, ReaderBuilder};
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};

use crate::config::CsvReading;
use crate::format::record_limit::RecordLimit;
use crate::format::{BadRecord, Next};
use crate::input::Input;

/// How much is read from a file at once.
const BUFFER_BYTES: usize = 256 << 10;

type Reader = csv::Reader<RecordLimit<Box<dyn Read + Send>>>;

/// Reads the records of one file.
pub(crate) struct CsvParser {
    reader: Reader,
    /// Where the bytes of `reader` begin in the content.
    base: u64,
    header: ByteRecord,
    /// The record at hand: one buffer for all of them.
    record: ByteRecord,
    delimiter: u8,
    null_value: Option<Vec<u8>>,
    /// A record with its nulls made empty: one buffer for all of them.
    without_nulls: ByteRecord,
}

impl CsvParser {
    /// Reads the header, wherever reading starts, and goes to `offset`.
    pub(crate) fn open(input: &Input, offset: u64, config: &CsvReading, limit: usize) -> Result<Self> {
        let delimiter = u8::try_from(config.delimiter).expect("invariant: validate() took ASCII only");
        let mut reader = open_reader(input, 0, delimiter, limit)?;
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header).map_err(|error| cannot_read(input, 0, error))?;
        if offset > 0 {
            reader = open_reader(input, offset, delimiter, limit)?;
        }
        Ok(Self {
            reader,
            base: offset,
            header,
            record: ByteRecord::new(),
            delimiter,
            null_value: config.null_value.clone().map(String::into_bytes),
            without_nulls: ByteRecord::new(),
        })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.base + self.reader.position().byte()
    }

    pub(crate) fn next<T: DeserializeOwned>(&mut self, input: &Input) -> Result<Next<T>> {
        let offset = self.offset();
        self.reader.get_mut().next_record();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(Next::End),
            Err(error) => return Err(cannot_read(input, offset, error)),
        }
        if self.record.len() != self.header.len() {
            let (columns, fields) = (self.header.len(), self.record.len());
            return Ok(self
                .bad(offset, format!("the header names {columns} columns, the record has {fields} fields")));
        }
        self.replace_nulls();
        match self.record.deserialize(Some(&self.header)) {
            Ok(record) => Ok(Next::Record(record)),
            Err(error) => self.not_of_the_type(input, offset, &error),
        }
    }

    /// Makes fields that stand for a missing value empty.
    fn replace_nulls(&mut self) {
        let Some(null_value) = self.null_value.as_deref() else { return };
        if !self.record.iter().any(|field| field == null_value) {
            return;
        }
        self.without_nulls.clear();
        for field in &self.record {
            self.without_nulls.push_field(if field == null_value { b"" } else { field });
        }
        std::mem::swap(&mut self.record, &mut self.without_nulls);
    }

    fn not_of_the_type<T>(&self, input: &Input, offset: u64, error: &csv::Error) -> Result<Next<T>> {
        let CsvError::Deserialize { err, .. } = error.kind() else {
            return Ok(self.bad(offset, error.to_string()));
        };
        if let Some(column) = missing_column(err.kind()) {
            // Every record of the file would be bad, so no policy for single records applies.
            return Err(Error::new(ErrorKind::Data, "read a record", "the file lacks a column")
                .with("file", input.name())
                .with("column", column)
                .with("header", self.columns()));
        }
        let column = err.field().and_then(|field| self.header.get(usize::try_from(field).ok()?));
        Ok(self.bad(
            offset,
            match column {
                Some(column) => format!("column {}: {}", String::from_utf8_lossy(column), err.kind()),
                None => err.kind().to_string(),
            },
        ))
    }

    fn bad<T>(&self, offset: u64, reason: String) -> Next<T> {
        Next::Bad(BadRecord { offset, reason, bytes: self.written_anew() })
    }

    fn columns(&self) -> String {
        self.header.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
    }

    /// The fields of the record as a line: the bytes themselves are gone by now.
    fn written_anew(&self) -> Vec<u8> {
        let mut writer =
            csv::WriterBuilder::new().delimiter(self.delimiter).flexible(true).from_writer(Vec::new());
        writer
            .write_byte_record(&self.record)
            .ok()
            .and_then(|()| writer.into_inner().ok())
            .expect("invariant: a flexible writer into memory takes every record")
    }
}

fn open_reader(input: &Input, offset: u64, delimiter: u8, limit: usize) -> Result<Reader> {
    Ok(ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        // We count the fields ourselves, so that a record with too many or too few is still at hand.
        .flexible(true)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(RecordLimit::new(input.read_from(offset)?, limit)))
}

fn cannot_read(input: &Input, offset: u64, error: csv::Error) -> Error {
    match error.into_kind() {
        CsvError::Io(error) => input.failed(error).with("offset", offset),
        // Records are read as bytes and of any length, so that the library has nothing else to refuse.
        other => Error::new(ErrorKind::Bug, "read a record", format!("{other:?}"))
            .with("file", input.name())
            .with("offset", offset),
    }
}

/// The column that the record type wants and the header has not, out of serde's message for it.
fn missing_column(kind: &DeserializeErrorKind) -> Option<&str> {
    let DeserializeErrorKind::Message(message) = kind else { return None };
    message.strip_prefix("missing field `")?.strip_suffix('`')
}
