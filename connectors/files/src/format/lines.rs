//! Lines, the raw ones and what JSON Lines is made of.

use std::io::{BufRead, BufReader, Read};

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use tidelock::Result;

use crate::format::next::{BadRecord, Next, too_long};
use crate::input::Input;
use crate::split::Place;

/// How much is read from a file at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A mark that some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads the lines of one file.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    place: Place,
    limit: usize,
    /// The line at hand with its ending: one buffer for all of them.
    line: Vec<u8>,
}

/// A line without its ending, and where it begins.
pub(crate) struct Line<'a> {
    pub(crate) place: Place,
    pub(crate) bytes: &'a [u8],
    /// It is longer than the limit, and these are its first bytes.
    pub(crate) too_long: bool,
}

impl Line<'_> {
    pub(crate) fn bad<T>(&self, reason: String) -> Next<T> {
        let Place { offset, line } = self.place;
        Next::Bad(BadRecord { offset, line, reason, bytes: self.bytes.to_vec() })
    }
}

impl Lines {
    pub(crate) fn open(input: &Input, place: Place, limit: usize) -> Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, input.read_from(place.offset)?);
        Ok(Self { reader, place, limit, line: Vec::new() })
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The next line; nothing at the end. The last one may lack its ending.
    pub(crate) fn next_line(&mut self, input: &Input) -> Result<Option<Line<'_>>> {
        let place = self.place;
        let failed = |error| input.failed(error).with("offset", place.offset);
        self.line.clear();
        // One byte more than a line may have, to tell one that is too long.
        let wanted = (self.limit as u64).saturating_add(1);
        let read = (&mut self.reader).take(wanted).read_until(b'\n', &mut self.line).map_err(failed)? as u64;
        if read == 0 {
            return Ok(None);
        }
        let too_long = read == wanted;
        let mut passed = read;
        if too_long && !self.line.ends_with(b"\n") {
            passed += self.reader.skip_until(b'\n').map_err(failed)? as u64;
        }
        self.place = place.after(passed, 1);
        let mut bytes = &*self.line;
        if let Some(line) = bytes.strip_suffix(b"\n") {
            bytes = line.strip_suffix(b"\r").unwrap_or(line);
        }
        if place.offset == 0 {
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        Ok(Some(Line { place, bytes, too_long }))
    }

    /// The next line as a record: a `String`, or what can be made of one.
    pub(crate) fn next_record<T: DeserializeOwned>(&mut self, input: &Input) -> Result<Next<T>> {
        let limit = self.limit;
        let Some(line) = self.next_line(input)? else { return Ok(Next::End) };
        if line.too_long {
            return Ok(line.bad(too_long(limit)));
        }
        let text = match std::str::from_utf8(line.bytes) {
            Ok(text) => text,
            Err(error) => return Ok(line.bad(format!("the line is not UTF-8: {error}"))),
        };
        let text: StrDeserializer<'_, ValueError> = text.into_deserializer();
        Ok(T::deserialize(text).map_or_else(|error| line.bad(error.to_string()), Next::Record))
    }
}
