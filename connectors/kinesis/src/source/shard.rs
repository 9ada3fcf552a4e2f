//! A shard of a stream, and how far it was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Result, Split, SplitId, Versioned, unknown_version};

use super::fetch::Child;
use crate::hash_key::HashRange;
use crate::seen::Seen;

/// A shard of a stream: the records of it that come after the last one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KinesisShard {
    /// The stream's ARN.
    pub(crate) stream: String,
    /// When the stream was made, in milliseconds since 1970: of one that is made again under its name it is another time.
    pub(crate) made_ms: i64,
    /// For how long the stream kept records when the times below were true, in milliseconds: what was thrown away meanwhile does not come back when they are kept for
    /// longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept_ms: Option<i64>,
    pub(crate) shard: String,
    /// The shards that it goes on from: none, one that was split, or two that were merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parents: Vec<String>,
    /// The part of the hash keys that it has.
    pub(crate) range: HashRange,
    pub(crate) position: Position,
    /// When the last record that was read arrived, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival_ms: Option<i64>,
    /// When there was nothing more to read, in milliseconds since 1970: what was thrown away since then arrived later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) caught_up_ms: Option<i64>,
    /// What arrived then or later is not read, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_ms: Option<i64>,
    /// What was read, here and in the shards before, of records that a sink of ours may put again.
    #[serde(default, skip_serializing_if = "Seen::is_empty")]
    pub(crate) seen: Seen,
    /// How it ended. `None`: it was not read to its end. Where nothing of it is to be read that is known from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
}

/// Where in a shard reading goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Position {
    /// At the oldest record that is there: nobody knows what was there before.
    Oldest {
        /// What arrived from this time on must all be there still, in milliseconds since 1970.
        since_ms: i64,
    },
    /// At the first record that arrived then or later.
    Time {
        /// In milliseconds since 1970.
        at_ms: i64,
        /// As above.
        since_ms: i64,
    },
    /// At this record, which was the oldest one when the job began.
    First {
        /// Its number.
        sequence_number: String,
    },
    /// After what was read of this record.
    After {
        /// Its number.
        sequence_number: String,
        /// The last one that was read of the user records in it, counted from 0.
        sub_sequence: u64,
        /// Whether that was the last one of them. Where it is not known that it was, the record is looked into again.
        is_whole: bool,
    },
}

/// How a shard ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum End {
    /// It was read to its end, and these go on from it.
    Children(Vec<Child>),
    /// What comes next is not to be read.
    Stopped,
}

/// One stream, and none that is made after it under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Made<'a> {
    pub(super) stream: &'a str,
    pub(super) at_ms: i64,
}

impl KinesisShard {
    /// The name of a shard's split.
    pub(super) fn id_of(of: Made<'_>, shard: &str) -> SplitId {
        SplitId::new(format!("{}@{}/{shard}", of.stream, of.at_ms))
    }

    /// The stream and the shard of a split's name.
    pub(super) fn place_of(id: &SplitId) -> Option<(Made<'_>, &str)> {
        // No shard's name has a slash in it.
        let (stream, shard) = id.as_str().rsplit_once('/')?;
        let (stream, at_ms) = stream.rsplit_once('@')?;
        Some((Made { stream, at_ms: at_ms.parse().ok()? }, shard))
    }

    /// The stream that it is of.
    pub(super) fn of(&self) -> Made<'_> {
        Made { stream: &self.stream, at_ms: self.made_ms }
    }

    /// What arrived before this time was read, or was not wanted. `None`: nothing is known of it.
    pub(super) fn sure_ms(&self) -> Option<i64> {
        self.position.since_ms().max(self.arrival_ms).max(self.caught_up_ms)
    }

    /// The shards that go on from it, where it was read to its end.
    pub(crate) fn children(&self) -> &[Child] {
        match &self.end {
            Some(End::Children(children)) => children,
            Some(End::Stopped) | None => &[],
        }
    }
}

impl Position {
    /// Where no record was read: what arrived from this time on must all be there still.
    pub(super) fn since_ms(&self) -> Option<i64> {
        match self {
            Self::Oldest { since_ms } | Self::Time { since_ms, .. } => Some(*since_ms),
            Self::First { .. } | Self::After { .. } => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest { .. } => f.write_str("the oldest record"),
            Self::Time { at_ms, .. } => write!(f, "the first record since {at_ms} ms"),
            Self::First { sequence_number } => write!(f, "at {sequence_number}"),
            Self::After { sequence_number, is_whole: true, .. } => write!(f, "after {sequence_number}"),
            Self::After { sequence_number, sub_sequence, .. } => {
                write!(f, "after {sub_sequence} in {sequence_number}")
            }
        }
    }
}

impl Split for KinesisShard {
    fn id(&self) -> SplitId {
        Self::id_of(self.of(), &self.shard)
    }
}

impl Versioned for KinesisShard {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use tidelock::{ErrorKind, Stored};

    use super::*;

    const STREAM: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/flights";
    const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

    fn shard(shard: &str, parents: &[&str], position: Position) -> KinesisShard {
        KinesisShard {
            stream: STREAM.into(),
            made_ms: 1_764_471_600_000,
            kept_ms: None,
            shard: shard.into(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            range: HashRange::ALL,
            position,
            arrival_ms: None,
            caught_up_ms: None,
            stop_ms: None,
            seen: Seen::default(),
            end: None,
        }
    }

    fn after(sub_sequence: u64, is_whole: bool) -> Position {
        Position::After { sequence_number: NUMBER.into(), sub_sequence, is_whole }
    }

    fn shards() -> Vec<KinesisShard> {
        let lower = HashRange { start: 0, end: 7 };
        let child = |id: &str| Child { id: id.into(), parents: vec!["shardId-3".into()], range: lower };
        let read = shard("shardId-3", &["shardId-1", "shardId-2"], after(0, true));
        vec![
            KinesisShard {
                kept_ms: Some(86_400_000),
                ..shard("shardId-0", &[], Position::Oldest { since_ms: 7 })
            },
            shard("shardId-1", &["shardId-0"], Position::Time { at_ms: 5, since_ms: 7 }),
            shard("shardId-2", &[], Position::First { sequence_number: NUMBER.into() }),
            KinesisShard {
                arrival_ms: Some(8),
                caught_up_ms: Some(9),
                stop_ms: Some(10),
                ..shard("shardId-3", &[], after(7, false))
            },
            KinesisShard {
                end: Some(End::Children(vec![child("shardId-4"), child("shardId-5")])),
                ..read.clone()
            },
            KinesisShard { end: Some(End::Stopped), range: lower, ..read },
        ]
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        let golden = include_str!("../../tests/golden/shards_v1.json");
        let golden: Vec<Stored> = serde_json::from_str(golden).expect("a golden file");
        let stored: Vec<Stored> =
            shards().iter().map(|shard| Stored::encode(shard).expect("stored")).collect();
        assert_eq!(stored, golden, "{}", serde_json::to_string(&stored).expect("JSON"));
        for (golden, shard) in golden.iter().zip(shards()) {
            assert_eq!(golden.decode::<KinesisShard>().expect("it loads"), shard);
        }
    }

    #[test]
    fn a_version_that_was_never_released_is_named() {
        let mut stored = Stored::encode(&shards()[0]).expect("stored");
        stored.version = 2;
        let error = stored.decode::<KinesisShard>().expect_err("a newer one");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("version=2"), "{error}");
    }

    #[test]
    fn a_name_says_which_shard_of_which_stream_it_is_of() {
        let id = shards()[1].id();
        let made = Made { stream: STREAM, at_ms: 1_764_471_600_000 };
        assert_eq!(KinesisShard::place_of(&id), Some((made, "shardId-1")));
        assert_eq!(KinesisShard::id_of(made, "shardId-1"), id);
        assert_eq!(KinesisShard::place_of(&SplitId::new("something else")), None);
    }

    #[test]
    fn what_was_surely_read_is_told_by_the_latest_evidence() {
        let sure: Vec<Option<i64>> = shards().iter().map(KinesisShard::sure_ms).collect();
        assert_eq!(sure, [Some(7), Some(7), None, Some(9), None, None]);
    }
}
