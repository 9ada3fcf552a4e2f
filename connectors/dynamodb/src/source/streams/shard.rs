//! A shard of a stream, and how far it was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Result, Split, SplitId, Versioned, unknown_version};

/// A shard of a stream: the records of it that come after the last one that was read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoShard {
    /// The stream's ARN: of a stream that is made again for a table it is another one.
    pub(super) stream: String,
    pub(super) shard: String,
    /// The shard that it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<String>,
    pub(super) position: Position,
    /// The shards that go on from it. `None`: it was not read to its end. Where nothing of it is to be read they are known from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) children: Option<Vec<String>>,
}

/// Where in a shard reading goes on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Position {
    /// At the oldest record that is there: nobody knows what was there before. What came after the moment when the shard was found must all be
    /// there still.
    Oldest {
        /// That moment, in milliseconds since 1970.
        since_ms: i64,
    },
    /// At its first record: all of it is to be read.
    Whole {
        /// The number of its first record, where it was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<String>,
        /// When it was found.
        since_ms: i64,
    },
    /// At what came after the moment when it was found.
    Now {
        /// Says the very place, for a quarter of an hour.
        iterator: String,
        /// That moment.
        since_ms: i64,
    },
    /// After the record with this number.
    After(String),
}

impl DynamoShard {
    /// The name of a shard's split.
    pub(super) fn id_of(stream: &str, shard: &str) -> SplitId {
        SplitId::new(format!("{stream}/{shard}"))
    }

    /// The stream and the shard of a split's name.
    pub(super) fn place_of(id: &SplitId) -> Option<(&str, &str)> {
        // No shard's name has a slash in it.
        id.as_str().rsplit_once('/')
    }
}

/// The ARN of the table that a stream is of.
pub(super) fn table_of(stream: &str) -> &str {
    stream.rsplit_once("/stream/").map_or(stream, |(table, _)| table)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest { .. } => f.write_str("the oldest record"),
            Self::Whole { .. } => f.write_str("the first record"),
            Self::Now { .. } => f.write_str("the moment when the job began"),
            Self::After(number) => write!(f, "after {number}"),
        }
    }
}

/// Without the iterator, which is long and says nothing to a person.
impl fmt::Debug for DynamoShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoShard")
            .field("stream", &self.stream)
            .field("shard", &self.shard)
            .field("parent", &self.parent)
            .field("position", &format_args!("{}", self.position))
            .field("children", &self.children)
            .finish()
    }
}

impl Split for DynamoShard {
    fn id(&self) -> SplitId {
        Self::id_of(&self.stream, &self.shard)
    }
}

impl Versioned for DynamoShard {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use tidelock::{ErrorKind, Stored};

    use super::*;

    const STREAM: &str =
        "arn:aws:dynamodb:eu-central-1:123456789012:table/flights/stream/2026-11-30T03:00:00.000";

    fn shards() -> Vec<DynamoShard> {
        let shard = |shard: &str, parent: Option<&str>, position| DynamoShard {
            stream: STREAM.into(),
            shard: shard.into(),
            parent: parent.map(str::to_owned),
            position,
            children: None,
        };
        let first = Some("100000000000000000007".to_owned());
        let ended = shard("shardId-1", Some("shardId-0"), Position::After("100000000000000000009".into()));
        vec![
            shard("shardId-1", None, Position::Oldest { since_ms: 1_764_471_600_000 }),
            shard("shardId-2", Some("shardId-1"), Position::Whole { first, since_ms: 7 }),
            shard("shardId-3", Some("shardId-1"), Position::Whole { first: None, since_ms: 7 }),
            shard("shardId-4", None, Position::Now { iterator: "AAAB==".into(), since_ms: 7 }),
            DynamoShard { children: Some(vec!["shardId-2".into(), "shardId-3".into()]), ..ended.clone() },
            DynamoShard { children: Some(Vec::new()), ..ended },
        ]
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        let golden = include_str!("../../../tests/golden/shards_v1.json");
        let golden: Vec<Stored> = serde_json::from_str(golden).expect("a golden file");
        assert_eq!(golden.len(), shards().len());
        for (golden, shard) in golden.iter().zip(shards()) {
            assert_eq!(golden.decode::<DynamoShard>().expect("it loads"), shard);
            assert_eq!(Stored::encode(&shard).expect("stored"), *golden);
        }
    }

    #[test]
    fn a_version_that_was_never_released_is_named() {
        let mut stored = Stored::encode(&shards()[0]).expect("stored");
        stored.version = 2;
        let error = stored.decode::<DynamoShard>().expect_err("a newer one");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("version=2"), "{error}");
    }

    #[test]
    fn a_name_says_which_shard_of_which_stream_it_is_of() {
        let id = shards()[0].id();
        assert_eq!(id.as_str(), format!("{STREAM}/shardId-1"));
        assert_eq!(DynamoShard::place_of(&id), Some((STREAM, "shardId-1")));
        assert_eq!(table_of(STREAM), "arn:aws:dynamodb:eu-central-1:123456789012:table/flights");
        assert!(!format!("{:?}", shards()[3]).contains("AAAB"));
    }
}
