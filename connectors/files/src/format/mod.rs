//! Records in bytes: one module for each format.

pub(crate) mod csv;
pub(crate) mod encoder;
pub(crate) mod json_lines;
pub(crate) mod lines;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
mod record_limit;

use serde::de::DeserializeOwned;
use tidelock::Result;

use crate::config::{FilesSourceConfig, SourceFormat};
use crate::input::Input;

/// What a parser found next.
pub(crate) enum Next<T> {
    /// A record.
    Record(T),
    /// Bytes that are no record of the type. The parser stands after them.
    Bad(BadRecord),
    /// The end of the file.
    End,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Where it begins: a byte offset in the decompressed content.
    pub(crate) offset: u64,
    /// Why it cannot be read.
    pub(crate) reason: String,
    /// The record as it stands in the file; of CSV the fields, written anew.
    pub(crate) bytes: Vec<u8>,
}

/// Reads the records of one file. An enum and not a trait object, so that the call for a record is a
/// direct one.
pub(crate) enum Parser {
    /// Comma-separated values.
    Csv(Box<csv::CsvParser>),
    /// One JSON value a line.
    JsonLines(lines::Lines),
    /// Lines.
    Lines(lines::Lines),
}

impl Parser {
    /// Starts reading at `offset`, which is 0 or what [`Parser::offset`] returned before.
    pub(crate) fn open(input: &Input, offset: u64, config: &FilesSourceConfig) -> Result<Self> {
        let limit = config.record_bytes_max;
        Ok(match &config.format {
            SourceFormat::Csv(csv) => Self::Csv(Box::new(csv::CsvParser::open(input, offset, csv, limit)?)),
            SourceFormat::JsonLines => Self::JsonLines(lines::Lines::open(input, offset, limit)?),
            SourceFormat::Lines => Self::Lines(lines::Lines::open(input, offset, limit)?),
        })
    }

    /// Where the next unread record begins.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Csv(csv) => csv.offset(),
            Self::JsonLines(lines) | Self::Lines(lines) => lines.offset(),
        }
    }

    /// The next record.
    pub(crate) fn next<T: DeserializeOwned>(&mut self, input: &Input) -> Result<Next<T>> {
        match self {
            Self::Csv(csv) => csv.next(input),
            Self::JsonLines(lines) => json_lines::next(lines, input),
            Self::Lines(lines) => lines.next_record(input),
        }
    }
}
