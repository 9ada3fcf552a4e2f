//! The parser of a file, of whatever format.

use serde::de::DeserializeOwned;
use tidelock::Result;

use crate::config::{FilesSourceConfig, SourceFormat};
use crate::format::columns::Fields;
use crate::format::csv::CsvParser;
use crate::format::json_lines;
use crate::format::lines::Lines;
use crate::format::next::Next;
use crate::input::Input;
use crate::split::Place;

/// Reads the records of one file. An enum and not a trait object, so that the call for a record is a
/// direct one.
pub(crate) enum Parser {
    /// Comma-separated values.
    Csv(Box<CsvParser>),
    /// One JSON value in each line.
    JsonLines(Lines),
    /// Lines.
    Lines(Lines),
}

impl Parser {
    /// Starts reading at `place`, which is the beginning or what [`Parser::place`] returned before. `fields` is
    /// what the record type reads.
    pub(crate) fn open(
        input: &Input,
        place: Place,
        config: &FilesSourceConfig,
        fields: Fields,
    ) -> Result<Self> {
        let limit = config.record_bytes_max;
        Ok(match &config.format {
            SourceFormat::Csv(csv) => Self::Csv(Box::new(CsvParser::open(input, place, csv, limit, fields)?)),
            SourceFormat::JsonLines => Self::JsonLines(Lines::open(input, place, limit)?),
            SourceFormat::Lines => Self::Lines(Lines::open(input, place, limit)?),
        })
    }

    /// Where the next unread record begins.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Csv(csv) => csv.place(),
            Self::JsonLines(lines) | Self::Lines(lines) => lines.place(),
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
