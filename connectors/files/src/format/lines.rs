//! Lines, the raw ones and what JSON Lines is made of.

use std::io::{BufRead, BufReader, Read};

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use tidelock::Result;

use crate::format::record_limit::too_long;
use crate::format::{BadRecord, Next};
use crate::input::Input;

/// How much is read from a file at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A mark that some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads the lines of one file.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    offset: u64,
    limit: usize,
    /// The line at hand with its ending: one buffer for all of them.
    line: Vec<u8>,
}

/// A line without its ending, and where it begins.
pub(crate) struct Line<'a> {
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
}

impl Line<'_> {
    pub(crate) fn bad<T>(&self, reason: String) -> Next<T> {
        Next::Bad(BadRecord { offset: self.offset, reason, bytes: self.bytes.to_vec() })
    }
}

impl Lines {
    pub(crate) fn open(input: &Input, offset: u64, limit: usize) -> Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, input.read_from(offset)?);
        Ok(Self { reader, offset, limit, line: Vec::new() })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; nothing at the end. The last one may lack its ending.
    pub(crate) fn next_line(&mut self, input: &Input) -> Result<Option<Line<'_>>> {
        let offset = self.offset;
        self.line.clear();
        let read = (&mut self.reader)
            .take(self.limit as u64)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| input.failed(error).with("offset", offset))?;
        if read == 0 {
            return Ok(None);
        }
        self.offset += read as u64;
        let mut bytes = &*self.line;
        match bytes.strip_suffix(b"\n") {
            Some(line) => bytes = line.strip_suffix(b"\r").unwrap_or(line),
            None if read == self.limit => {
                return Err(too_long(self.limit).with("file", input.name()).with("offset", offset));
            }
            None => {}
        }
        if offset == 0 {
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        Ok(Some(Line { offset, bytes }))
    }

    /// The next line as a record: a `String`, or what can be made of one.
    pub(crate) fn next_record<T: DeserializeOwned>(&mut self, input: &Input) -> Result<Next<T>> {
        let Some(line) = self.next_line(input)? else { return Ok(Next::End) };
        let text = match std::str::from_utf8(line.bytes) {
            Ok(text) => text,
            Err(error) => return Ok(line.bad(format!("the line is not UTF-8: {error}"))),
        };
        let text: StrDeserializer<'_, ValueError> = text.into_deserializer();
        Ok(T::deserialize(text).map_or_else(|error| line.bad(error.to_string()), Next::Record))
    }
}
