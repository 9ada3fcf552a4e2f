//! Versions of items: the greater one is newer.
//!
//! DynamoDB compares a text with a text byte by byte, and a number with a number; a text with a number it does not compare, so that an item whose
//! version is of the other kind refuses every change, and we see why.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use tidelock::{DELIMITER, Error, ErrorKind, Result, Retry, SinkAttempt, WriterId};

/// How many digits the parts of a stamp have: the order of the text is then that of the numbers. A generation is a time in milliseconds, which has
/// so many for 30,000 years; a log of which each entry takes a millisecond has so many entries in 30 years, and a writer so many changes at a
/// million a second.
const GENERATION: usize = 15;
const ATTEMPT: usize = 12;
const SEQUENCE: usize = 15;
const WRITER: usize = 5;
/// Of hexadecimal digits.
const SINK: usize = 8;

/// Between the parts. It is less than every digit, and all are at the same places.
const BETWEEN: char = '.';

/// The version of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemVersion {
    /// Of the sink's own.
    Attempt(Stamp),
    /// Of the record.
    Record(u64),
}

/// The version that an attempt gives to a change of one of its writers. No two changes have the same, whoever made them: one that is met in an
/// item is known for our own by being equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) generation: u64,
    pub(super) attempt: u64,
    pub(super) sequence: u64,
    pub(super) writer: u64,
    /// A sum of the names of job and sink: two sinks of a job count alike. `None`: an older build wrote it, which knew of one sink alone.
    pub(super) sink: Option<u32>,
}

impl ItemVersion {
    /// As it stands in an item.
    pub(super) fn to_value(self) -> AttributeValue {
        match self {
            Self::Attempt(stamp) => AttributeValue::S(stamp.to_string()),
            Self::Record(version) => AttributeValue::N(version.to_string()),
        }
    }
}

impl fmt::Display for ItemVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(stamp) => stamp.fmt(f),
            Self::Record(version) => version.fmt(f),
        }
    }
}

impl Stamp {
    /// Reads what was written, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(BETWEEN);
        let mut part = |digits: usize| {
            let part = parts.next()?;
            let is_one = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_one { part.parse().ok() } else { None }
        };
        let stamp = Self {
            generation: part(GENERATION)?,
            attempt: part(ATTEMPT)?,
            sequence: part(SEQUENCE)?,
            writer: part(WRITER)?,
            sink: None,
        };
        let stamp = match parts.next() {
            Some(sink) => Self { sink: Some(sum_of(sink)?), ..stamp },
            None => stamp,
        };
        parts.next().is_none().then_some(stamp)
    }

    /// The attempt that gave it, in the order of which is newer.
    pub(super) fn by(&self) -> (u64, u64) {
        (self.generation, self.attempt)
    }
}

/// The sum in a stamp, as it was written.
fn sum_of(text: &str) -> Option<u32> {
    let is_one = text.len() == SINK && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_one { u32::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, attempt, sequence, writer, sink } = self;
        write!(
            f,
            "{generation:0GENERATION$}{BETWEEN}{attempt:0ATTEMPT$}{BETWEEN}{sequence:0SEQUENCE$}{BETWEEN}{writer:0WRITER$}"
        )?;
        match sink {
            Some(sink) => write!(f, "{BETWEEN}{sink:0SINK$x}"),
            None => Ok(()),
        }
    }
}

/// Gives the changes of a writer their stamps: each is newer than the one before.
#[derive(Debug)]
pub(super) struct Stamps {
    last: Stamp,
}

impl Stamps {
    pub(super) fn of(attempt: &SinkAttempt, writer: WriterId) -> Result<Self> {
        Ok(Self {
            last: Stamp {
                generation: fitting("generation", attempt.generation.0, GENERATION)?,
                attempt: fitting("attempt", attempt.number.0, ATTEMPT)?,
                sequence: 0,
                writer: fitting("writer", writer.0.into(), WRITER)?,
                // Names have no delimiter.
                sink: Some(crc32c::crc32c(format!("{}{DELIMITER}{}", attempt.job, attempt.uid).as_bytes())),
            },
        })
    }

    pub(super) fn next(&mut self) -> Result<Stamp> {
        self.last.sequence = fitting("sequence", self.last.sequence + 1, SEQUENCE)?;
        Ok(self.last)
    }
}

/// A number of so many digits: one that is too large is told, because cut off it would be older than everything.
fn fitting(name: &'static str, number: u64, digits: usize) -> Result<u64> {
    let is_fitting = u32::try_from(digits).is_ok_and(|digits| number < 10_u64.pow(digits));
    if is_fitting {
        return Ok(number);
    }
    let why = "a part of a version is larger than its place in an item";
    Err(Error::new(ErrorKind::Data, "write items", why).with_retry(Retry::Halt).with(name, number))
}

#[cfg(test)]
mod tests {
    use tidelock::{Generation, JobId, Position, Uid};

    use super::*;

    fn stamp(generation: u64, attempt: u64, sequence: u64, writer: u64) -> Stamp {
        Stamp { generation, attempt, sequence, writer, sink: None }
    }

    fn of_sink(stamp: Stamp, sink: u32) -> Stamp {
        Stamp { sink: Some(sink), ..stamp }
    }

    /// Golden: what an older build wrote to tables is compared for ever.
    #[test]
    fn a_stamp_is_text_whose_order_is_that_of_its_numbers() {
        let all = [
            stamp(0, 1, 2, 3),
            of_sink(stamp(0, 1, 2, 3), 0),
            of_sink(stamp(0, 1, 2, 3), 0x9),
            of_sink(stamp(0, 1, 2, 3), 0xa),
            stamp(0, 1, 2, 4),
            stamp(0, 1, 10, 0),
            stamp(0, 9, 1, 0),
            stamp(0, 10, 0, 0),
            stamp(1_764_470_000_000, 7, 42, 12),
            stamp(1_764_470_000_001, 0, 0, 0),
            stamp(999_999_999_999_999, 999_999_999_999, 999_999_999_999_999, 99_999),
        ];
        let found = all.iter().map(ToString::to_string).find(|text| text.starts_with("001764470000000"));
        assert_eq!(found.as_deref(), Some("001764470000000.000000000007.000000000000042.00012"));
        let of_ours = of_sink(stamp(1_764_470_000_000, 7, 42, 12), 0xc0ffee);
        assert_eq!(of_ours.to_string(), "001764470000000.000000000007.000000000000042.00012.00c0ffee");
        for pair in all.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string(), "{pair:?}");
        }
        for one in all {
            assert_eq!(Stamp::parse(&one.to_string()), Some(one));
        }
    }

    #[test]
    fn nothing_else_is_read_as_a_stamp() {
        let whole = stamp(1, 2, 3, 4).to_string();
        for text in [
            "",
            "7",
            &whole[1..],
            &format!("{whole}."),
            &format!("{whole}.0"),
            &format!("{whole}.0000000g"),
            &format!("{whole}.0000000A"),
            &format!("{whole}.00000001."),
            &format!("{whole}.00000001.00000001"),
            &whole.replace('.', "-"),
            &whole.replacen("000", "+00", 1),
            &whole.replacen("0", "a", 1),
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_that_does_not_fit_is_an_error_and_does_not_begin_anew() {
        let attempt = |generation, number| SinkAttempt {
            job: JobId::new("job").expect("a name"),
            uid: Uid::new("out").expect("a name"),
            number: Position(number),
            generation: Generation(generation),
            chunks: None,
        };
        let mut stamps = Stamps::of(&attempt(1, 2), WriterId(3)).expect("they fit");
        let sink = crc32c::crc32c(b"job.out");
        assert_eq!(stamps.next().expect("one"), of_sink(stamp(1, 2, 1, 3), sink));
        stamps.last.sequence = 999_999_999_999_998;
        assert_eq!(stamps.next().expect("the last one").sequence, 999_999_999_999_999);
        for _ in 0..2 {
            let error = stamps.next().expect_err("there is none after it");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt));
            assert!(error.to_string().contains("sequence=1000000000000000"), "{error}");
        }
        for (attempt, writer, named) in [
            (attempt(u64::MAX, 2), 0, "generation"),
            (attempt(1, u64::MAX), 0, "attempt"),
            (attempt(1, 2), 100_000, "writer"),
        ] {
            let error = Stamps::of(&attempt, WriterId(writer)).expect_err(named).to_string();
            assert!(error.contains(&format!("{named}=")), "{error}");
        }
    }
}
