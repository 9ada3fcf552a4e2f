//! How the records of a shard are had: by asking for them, or as they are sent.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_kinesis::types::{ChildShard, HashKeyRange, Record};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result};

use crate::hash_key::HashRange;

/// Why there is nothing to be had, where trying again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such stream or shard. Some servers say the same of a sequence number.
    Gone,
    /// The iterator is too old.
    Stale,
    /// The service does not know what was named.
    Unknown,
}

/// What the service says to a question that was understood.
pub(crate) type Said<T> = std::result::Result<T, Refusal>;

/// What brings the records of one shard, in their order, from a place on.
#[async_trait]
pub(super) trait Fetch: Send + fmt::Debug {
    /// The next answer; waits as the service wants it. It may be without records.
    async fn next(&mut self) -> Result<Said<Page>>;

    /// Goes on from another place: after an expired iterator, or a refusal.
    async fn seek(&mut self, place: Place<'_>) -> Result<Said<()>>;
}

/// Where in a shard reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// At the oldest record that is there.
    Oldest,
    /// At the record with this number.
    At(&'a str),
    /// After the record with this number. Where that was thrown away, some servers go on from the oldest one without a word.
    After(&'a str),
    /// At the first record that arrived then or later, in milliseconds since 1970.
    Time(i64),
}

/// What came of a shard.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<Raw>,
    /// By how much reading lags behind what is put.
    pub(super) behind_ms: Option<i64>,
    /// What goes on from the shard, where it has ended and the service says it.
    pub(super) children: Vec<Child>,
    /// Nothing comes after these records.
    pub(super) is_end: bool,
}

/// A record as the service has it: perhaps many of a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) sequence_number: String,
    pub(super) partition_key: String,
    pub(super) data: Bytes,
    /// When it was taken, in milliseconds since 1970.
    pub(super) arrival_ms: Option<i64>,
}

/// A shard that goes on from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Child {
    pub(crate) id: String,
    pub(crate) parents: Vec<String>,
    pub(crate) range: HashRange,
}

impl Raw {
    /// # Errors
    /// [`ErrorKind::Data`] where there is no number: the SDK puts an empty text there.
    pub(super) fn of_wire(record: Record) -> Result<Self> {
        if record.sequence_number.is_empty() {
            return Err(Error::new(ErrorKind::Data, "read a stream", "a record has no sequence number"));
        }
        Ok(Self {
            sequence_number: record.sequence_number,
            partition_key: record.partition_key,
            data: Bytes::from(record.data.into_inner()),
            arrival_ms: record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok()),
        })
    }
}

impl Child {
    /// # Errors
    /// [`ErrorKind::Data`] where it lacks what every shard has.
    pub(super) fn of_wire(child: ChildShard) -> Result<Self> {
        let ChildShard { shard_id: id, parent_shards: parents, hash_key_range, .. } = child;
        let range = range_of(&id, hash_key_range.as_ref())?;
        Ok(Self { id, parents, range })
    }
}

/// The part of the hashes that a shard has.
///
/// # Errors
/// [`ErrorKind::Data`] where the service does not say it.
pub(super) fn range_of(shard: &str, range: Option<&HashKeyRange>) -> Result<HashRange> {
    let range = range.and_then(|range| HashRange::parse(range.starting_hash_key(), range.ending_hash_key()));
    range.filter(|_| !shard.is_empty()).ok_or_else(|| {
        let why = "a shard has no name, or no range of hash keys";
        Error::new(ErrorKind::Data, "list the shards of a stream", why).with("shard", shard)
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::{Blob, DateTime};

    use super::*;

    #[test]
    fn a_record_without_a_number_is_an_error_and_not_a_gap() {
        let record = Record::builder().data(Blob::new("x")).partition_key("k");
        let record = record.approximate_arrival_timestamp(DateTime::from_secs_and_nanos(7, 250_000_000));
        let raw = Raw::of_wire(record.clone().sequence_number("49").build().expect("whole")).expect("whole");
        assert_eq!(
            (raw.arrival_ms, &raw.data[..], raw.partition_key.as_str()),
            (Some(7_250), &b"x"[..], "k")
        );
        let error = Raw::of_wire(record.sequence_number("").build().expect("whole")).expect_err("no number");
        assert_eq!(error.kind(), ErrorKind::Data);
    }

    #[test]
    fn a_shard_without_a_range_is_none() {
        let range = |start: &str| {
            HashKeyRange::builder().starting_hash_key(start).ending_hash_key("7").build().expect("whole")
        };
        let child = |range| {
            let child = ChildShard::builder().shard_id("B").parent_shards("A").hash_key_range(range);
            Child::of_wire(child.build().expect("whole"))
        };
        let expected =
            Child { id: "B".into(), parents: vec!["A".into()], range: HashRange { start: 0, end: 7 } };
        assert_eq!(child(range("0")).expect("whole"), expected);
        assert_eq!(child(range("")).expect_err("no range").kind(), ErrorKind::Data);
    }
}
