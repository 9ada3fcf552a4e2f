//! Comma-separated values. The first record of a file names the columns.
//!
//! The library finds the fields; whether a record is good is decided here, from its bytes as they stand in the
//! file. A record whose quotes are wrong ends with the line that it begins in, and what follows is read anew:
//! a quote that is never closed takes no good record with it. What the library read in vain is then run through
//! without it, so that many such records take no longer than others.

use std::io::{Read, SeekFrom};

use csv::{ByteRecord, DeserializeErrorKind, ErrorKind as CsvError, Position, ReaderBuilder};
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};

use crate::config::{CsvQuotes, CsvReading};
use crate::format::ahead::{Looked, Scout};
use crate::format::columns::{self, Fields};
use crate::format::next::{BadRecord, Next};
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
    scout: Scout,
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

/// What is known of the next record before the library reads it.
enum Ahead {
    /// Nothing.
    Unknown,
    /// It begins here.
    Good(Place),
    /// It is bad, and passed.
    Bad(BadRecord),
    /// There were empty lines, and they are passed.
    Empty,
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
            scout: Scout::new(delimiter(config), config.quotes == CsvQuotes::Strict, limit),
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
            parser.scout = Scout::new(delimiter(config), config.quotes == CsvQuotes::Strict, limit);
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
        loop {
            let mut begin = self.place();
            self.reader.get_mut().begin_record(begin.offset);
            let is_good = match self.look_ahead(input, begin)? {
                Ahead::Unknown => false,
                Ahead::Good(place) => {
                    begin = place;
                    true
                }
                Ahead::Bad(bad) => return Ok(Found::Bad(bad)),
                Ahead::Empty => continue,
            };
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {
                    if let Some(begin) = self.good(begin) {
                        return Ok(Found::Fields(begin));
                    }
                }
                Ok(false) => return Ok(Found::End),
                Err(error) => match error.into_kind() {
                    CsvError::Io(error) if error.get_ref().is_some_and(|error| error.is::<TooLong>()) => {}
                    CsvError::Io(error) => return Err(input.failed(error).with("offset", begin.offset)),
                    // Records are read as bytes and of any length, so that the library has nothing else to refuse.
                    other => return Err(bug(input, begin, format!("{other:?}"))),
                },
            }
            if is_good {
                return Err(bug(input, begin, "the library calls a record bad that is good".to_owned()));
            }
            // Once more, without the library: as far as it read it read in vain.
            let end = self.reader.get_ref().end();
            self.scout.read_in_vain(end);
            self.wind(input, begin)?;
        }
    }

    /// Looks at the next record where the library read in vain before. A good one is all that the library then gets.
    fn look_ahead(&mut self, input: &Input, begin: Place) -> Result<Ahead> {
        if !self.scout.covers(begin.offset) {
            return Ok(Ahead::Unknown);
        }
        let looked = self.scout.look(self.reader.get_mut(), begin.offset);
        Ok(match looked.map_err(|error| input.failed(error).with("offset", begin.offset))? {
            Looked::Nothing => Ahead::Unknown,
            // To the library they are a part of the next record, and too long a one where there are more of them than a
            // record may have bytes.
            Looked::Empty(empty) => {
                self.wind(input, begin.after(empty.bytes, empty.lines))?;
                Ahead::Empty
            }
            Looked::Good { empty, end } => {
                let begin = begin.after(empty.bytes, empty.lines);
                self.reader.get_mut().begin_record(begin.offset);
                self.reader.get_mut().hand_out_until(end);
                Ahead::Good(begin)
            }
            Looked::Bad { empty, reason } => {
                Ahead::Bad(self.end_with_line(input, begin.after(empty.bytes, empty.lines), reason)?)
            }
        })
    }

    /// Where the record at hand begins, if it is a good one.
    fn good(&self, begin: Place) -> Option<Place> {
        let raw = self.reader.get_ref().between(begin.offset, self.place().offset);
        // The library passes over empty lines without a word, and calls them a part of the next record.
        let empty = raw.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let lines = raw[..empty].iter().filter(|byte| **byte == b'\n').count();
        let raw = &raw[empty..];
        let is_strict = self.config.quotes == CsvQuotes::Strict;
        let is_bad =
            raw.len() > self.limit || is_strict && quotes::check(raw, delimiter(&self.config)).is_err();
        (!is_bad).then(|| begin.after(empty as u64, lines as u64))
    }

    /// Calls the line that begins at `begin` a bad record, and goes on behind it.
    fn end_with_line(&mut self, input: &Input, begin: Place, reason: String) -> Result<BadRecord> {
        let failed = |error| input.failed(error).with("offset", begin.offset);
        let line = self.reader.get_mut().take_line(begin.offset).map_err(failed)?;
        self.wind(input, begin.after(line.end - begin.offset, u64::from(line.ends)))?;
        Ok(BadRecord { offset: begin.offset, line: begin.line, reason, bytes: line.bytes })
    }

    /// Goes on at a place in what is kept.
    fn wind(&mut self, input: &Input, to: Place) -> Result<()> {
        let mut position = Position::new();
        let lines = to.line.zip(self.base.line).map_or(0, |(to, base)| to - base);
        position.set_byte(to.offset - self.base.offset).set_line(lines + 1);
        let wound = self.reader.seek_raw(SeekFrom::Start(to.offset), position);
        wound.map_err(|error| bug(input, to, error.to_string()))
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

fn bug(input: &Input, at: Place, what: String) -> Error {
    Error::new(ErrorKind::Bug, "read a record", what).with("file", input.name()).with("offset", at.offset)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use tempfile::TempDir;
    use tokio::runtime::Handle;

    use super::*;
    use crate::config::{Compression, FilesSourceConfig};
    use crate::discovery;
    use crate::folder::Folder;
    use crate::selection::Selection;

    /// A record that was found at a place, or why it is bad.
    type One = (u64, Option<u64>, Result<Vec<String>, String>);

    async fn input(folder: &TempDir, content: &[u8]) -> Input {
        fs::write(folder.path().join("a.csv"), content).unwrap();
        let folder = Folder::Local(folder.path().to_owned());
        let listing = discovery::list(&folder, &Selection::new("*").unwrap(), false).await.unwrap();
        let config = FilesSourceConfig { compression: Compression::None, ..FilesSourceConfig::default() };
        Input::open(&folder, &listing.files[0], &config, Handle::current()).unwrap()
    }

    fn next(parser: &mut CsvParser, input: &Input) -> Option<One> {
        let Place { offset, line } = parser.place();
        match parser.next(input).unwrap() {
            Next::Record(fields) => Some((offset, line, Ok(fields))),
            Next::Bad(bad) => Some((bad.offset, bad.line, Err(bad.reason))),
            Next::End => None,
        }
    }

    #[tokio::test]
    async fn what_is_a_record_does_not_depend_on_where_reading_began() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let folder = TempDir::new().unwrap();
        for _ in 0..400 {
            let parts = ["\"", "\"", "\"\"", ",", ",\"", "\n", "\n", "\r\n", "x", "y\""];
            let count = random.random_range(0..60);
            let body: String = (0..count).map(|_| parts[random.random_range(0..parts.len())]).collect();
            let input = input(&folder, format!("a,b\n{body}").as_bytes()).await;
            let limit = [5, 12, 1000][random.random_range(0..3)];
            let quotes = [CsvQuotes::Strict, CsvQuotes::Lenient][random.random_range(0..2)];
            let config = CsvReading { quotes, ..CsvReading::default() };
            let open = |place| CsvParser::open(&input, place, &config, limit, None).unwrap();
            let mut whole = open(Place::BEGIN);
            loop {
                let mut anew = open(whole.place());
                let (one, same) = (next(&mut whole, &input), next(&mut anew, &input));
                assert_eq!(one, same, "limit {limit}, {:?}, of {body:?}", config.quotes);
                assert_eq!(whole.place(), anew.place(), "limit {limit}, {:?}, of {body:?}", config.quotes);
                if one.is_none() {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn empty_lines_are_passed_over_also_where_they_are_more_than_a_record_may_have_bytes() {
        let folder = TempDir::new().unwrap();
        for (end, limit) in [("\n", 5), ("\r\n", 5), ("\n", 12), ("\r\n", 12)] {
            let many = end.repeat(100);
            let content = format!("a,b{end}x,y{end}{many}x,y{end}{many}x,y{end}{many}");
            let input = input(&folder, content.as_bytes()).await;
            let mut parser =
                CsvParser::open(&input, Place::BEGIN, &CsvReading::default(), limit, None).unwrap();
            // On a thread of its own: where this fails, it never ends.
            let (found, read) = std::sync::mpsc::sync_channel(8);
            std::thread::spawn(move || {
                while let Some((_, _, fields)) = next(&mut parser, &input) {
                    found.send(fields).unwrap();
                }
            });
            let next = || read.recv_timeout(Duration::from_secs(60));
            for _record in 0..3 {
                assert_eq!(next(), Ok(Ok(vec!["x".to_owned(), "y".to_owned()])), "{end:?}, {limit}");
            }
            assert_eq!(next(), Err(RecvTimeoutError::Disconnected), "{end:?}, {limit}: the end");
        }
    }

    #[tokio::test]
    async fn a_file_of_bad_lines_takes_the_time_of_its_bytes() {
        // Given to the library line by line, this were hundreds of gigabytes to read, each byte several times.
        const LINES: usize = 200_000;
        let folder = TempDir::new().unwrap();
        for (line, quotes) in [
            ("a\"b,\"c", CsvQuotes::Strict),
            ("x\",\",", CsvQuotes::Strict),
            ("x\",\",", CsvQuotes::Lenient),
            ("\"x", CsvQuotes::Strict),
        ] {
            let input =
                input(&folder, format!("a,b\n{}", format!("{line}\n").repeat(LINES)).as_bytes()).await;
            let config = CsvReading { quotes, ..CsvReading::default() };
            let mut parser = CsvParser::open(&input, Place::BEGIN, &config, 16 << 20, None).unwrap();
            let (mut bad, mut good) = (0, 0);
            while let Some((_, _, found)) = next(&mut parser, &input) {
                *(if found.is_ok() { &mut good } else { &mut bad }) += 1;
            }
            println!("{line:?}, {quotes:?}: {bad} bad and {good} good records");
            assert!(bad > 0 && parser.place().line == Some(LINES as u64 + 2), "{:?}", parser.place());
        }
    }
}
