//! Comma-separated values. The first record of a file names the columns.
//!
//! The library finds the fields; whether a record is good is decided here, from its bytes as they stand in the
//! file. A record whose quotes are wrong ends with the line that it begins in, and what follows is read anew:
//! a quote that is never closed takes no good record with it.

use std::io::{Read, SeekFrom};

use csv::{ByteRecord, DeserializeErrorKind, ErrorKind as CsvError, Position, ReaderBuilder};
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};

use crate::config::{CsvQuotes, CsvReading};
use crate::format::columns::{self, Fields};
use crate::format::next::{BadRecord, Next, too_long};
use crate::format::quotes;
use crate::format::tape::{Tape, TooLong};
use crate::input::Input;
use crate::split::Place;

/// How much is read from a file at once.
const BUFFER_BYTES: usize = 256 << 10;

type Reader = csv::Reader<Tape<Box<dyn Read + Send>>>;

/// Reads the records of one file.
pub(crate) struct CsvParser {
    reader: Reader,
    /// Where the bytes of `reader` begin in the content.
    base: Place,
    header: ByteRecord,
    /// The record at hand: one buffer for all of them.
    record: ByteRecord,
    config: CsvReading,
    limit: usize,
    /// A record with its nulls made empty: one buffer for all of them.
    without_nulls: ByteRecord,
}

/// What the library found.
enum Found {
    /// Fields, from this place on.
    Fields(Place),
    /// Bytes that are no record.
    Bad(BadRecord),
    /// The end of the file.
    End,
}

impl CsvParser {
    /// Reads the header, wherever reading starts, holds it to what the record type reads, and goes to `place`.
    pub(crate) fn open(
        input: &Input,
        place: Place,
        config: &CsvReading,
        limit: usize,
        fields: Fields,
    ) -> Result<Self> {
        let mut parser = Self {
            reader: open_reader(input, Place::BEGIN, config, limit)?,
            base: Place::BEGIN,
            header: ByteRecord::new(),
            record: ByteRecord::new(),
            config: config.clone(),
            limit,
            without_nulls: ByteRecord::new(),
        };
        let begin = parser.reader.get_mut().skip_mark().map_err(|error| input.failed(error))?;
        parser.base.offset = begin;
        match parser.read(input)? {
            Found::Fields(_) => {
                std::mem::swap(&mut parser.header, &mut parser.record);
                columns::check(&parser.header, fields, &config.optional_columns, &input.name())?;
            }
            Found::Bad(bad) => {
                return Err(Error::new(ErrorKind::Data, "read the header", bad.reason)
                    .with("file", input.name())
                    .with("offset", bad.offset));
            }
            Found::End => {}
        }
        if place.offset > 0 {
            parser.reader = open_reader(input, place, config, limit)?;
            parser.base = place;
        }
        Ok(parser)
    }

    pub(crate) fn place(&self) -> Place {
        let position = self.reader.position();
        self.base.after(position.byte(), position.line() - 1)
    }

    pub(crate) fn next<T: DeserializeOwned>(&mut self, input: &Input) -> Result<Next<T>> {
        let begin = match self.read(input)? {
            Found::Fields(begin) => begin,
            Found::Bad(bad) => return Ok(Next::Bad(bad)),
            Found::End => return Ok(Next::End),
        };
        if self.record.len() != self.header.len() {
            let (columns, fields) = (self.header.len(), self.record.len());
            return Ok(self
                .bad(begin, format!("the header names {columns} columns, the record has {fields} fields")));
        }
        self.replace_nulls();
        match self.record.deserialize(Some(&self.header)) {
            Ok(record) => Ok(Next::Record(record)),
            Err(error) => self.not_of_the_type(input, begin, &error),
        }
    }

    /// Reads the fields of the next record that is not an empty line.
    fn read(&mut self, input: &Input) -> Result<Found> {
        let mut begin = self.place();
        self.reader.get_mut().begin_record(begin.offset);
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(Found::End),
            Err(error) => match error.into_kind() {
                CsvError::Io(error) if error.get_ref().is_some_and(|error| error.is::<TooLong>()) => {
                    return self.end_with_line(input, begin, too_long(self.limit)).map(Found::Bad);
                }
                CsvError::Io(error) => return Err(input.failed(error).with("offset", begin.offset)),
                // Records are read as bytes and of any length, so that the library has nothing else to refuse.
                other => {
                    return Err(Error::new(ErrorKind::Bug, "read a record", format!("{other:?}"))
                        .with("file", input.name())
                        .with("offset", begin.offset));
                }
            },
        }
        let raw = self.reader.get_ref().between(begin.offset, self.place().offset);
        // The library passes over empty lines without a word, and calls them a part of the next record.
        let empty = raw.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let lines = raw[..empty].iter().filter(|byte| **byte == b'\n').count();
        let raw = &raw[empty..];
        begin = begin.after(empty as u64, lines as u64);
        let delimiter = delimiter(&self.config);
        if raw.len() > self.limit {
            return self.end_with_line(input, begin, too_long(self.limit)).map(Found::Bad);
        }
        if self.config.quotes == CsvQuotes::Strict
            && let Err(reason) = quotes::check(raw, delimiter)
        {
            return self.end_with_line(input, begin, reason.to_owned()).map(Found::Bad);
        }
        Ok(Found::Fields(begin))
    }

    /// Calls the line that begins at `begin` a bad record, and goes on behind it.
    fn end_with_line(&mut self, input: &Input, begin: Place, reason: String) -> Result<BadRecord> {
        let failed = |error| input.failed(error).with("offset", begin.offset);
        let line = self.reader.get_mut().take_line(begin.offset).map_err(failed)?;
        let end = begin.after(line.end - begin.offset, u64::from(line.ends));
        let mut position = Position::new();
        let lines = end.line.zip(self.base.line).map_or(0, |(end, base)| end - base);
        position.set_byte(end.offset - self.base.offset).set_line(lines + 1);
        self.reader.seek_raw(SeekFrom::Start(end.offset), position).map_err(|error| {
            Error::new(ErrorKind::Bug, "read a record", error.to_string()).with("file", input.name())
        })?;
        Ok(BadRecord { offset: begin.offset, line: begin.line, reason, bytes: line.bytes })
    }

    /// Makes fields that stand for a missing value empty.
    fn replace_nulls(&mut self) {
        let Some(null_value) = self.config.null_value.as_deref().map(str::as_bytes) else { return };
        if !self.record.iter().any(|field| field == null_value) {
            return;
        }
        self.without_nulls.clear();
        for field in &self.record {
            self.without_nulls.push_field(if field == null_value { b"" } else { field });
        }
        std::mem::swap(&mut self.record, &mut self.without_nulls);
    }

    fn not_of_the_type<T>(&self, input: &Input, begin: Place, error: &csv::Error) -> Result<Next<T>> {
        let CsvError::Deserialize { err, .. } = error.kind() else {
            return Ok(self.bad(begin, error.to_string()));
        };
        if let DeserializeErrorKind::Message(message) = err.kind()
            && is_about_columns(message)
        {
            // Every record of the file would be bad, so no policy for single records applies.
            let columns: Vec<_> = self.header.iter().map(String::from_utf8_lossy).collect();
            return Err(Error::new(
                ErrorKind::Data,
                "read a record",
                format!("the columns of the file are not those of the record type: {message}"),
            )
            .with("file", input.name())
            .with("header", columns.join(",")));
        }
        let column = err.field().and_then(|field| self.header.get(usize::try_from(field).ok()?));
        Ok(self.bad(
            begin,
            match column {
                Some(column) => format!("column {}: {}", String::from_utf8_lossy(column), err.kind()),
                None => err.kind().to_string(),
            },
        ))
    }

    /// The record at hand is bad as a whole: its end is known.
    fn bad<T>(&self, begin: Place, reason: String) -> Next<T> {
        let bytes = self.reader.get_ref().between(begin.offset, self.place().offset).to_vec();
        Next::Bad(BadRecord { offset: begin.offset, line: begin.line, reason, bytes })
    }
}

fn delimiter(config: &CsvReading) -> u8 {
    u8::try_from(config.delimiter).expect("invariant: validate() took ASCII only")
}

fn open_reader(input: &Input, place: Place, config: &CsvReading, limit: usize) -> Result<Reader> {
    Ok(ReaderBuilder::new()
        .delimiter(delimiter(config))
        .has_headers(false)
        // We count the fields ourselves, so that a record with too many or too few is still at hand.
        .flexible(true)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(Tape::new(input.read_from(place.offset)?, place.offset, limit)))
}

/// Whether serde's message says that the columns are not those of the record type: what a header alone does
/// not show, such as a column that the type refuses, or two that are one field by an alias.
fn is_about_columns(message: &str) -> bool {
    ["missing field `", "unknown field `", "duplicate field `"].iter().any(|begin| message.starts_with(begin))
}
