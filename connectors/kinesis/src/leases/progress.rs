//! How far a shard was read, as a lease says it.
//!
//! | position | checkpoint |
//! |---|---|
//! | after a record, or after one within it | its number, and which one within it |
//! | at the oldest record, or at that which was the oldest when the job began | `TRIM_HORIZON` |
//! | at a time | `AT_TIMESTAMP` |
//! | read to its end | `SHARD_END` |

use std::collections::BTreeMap;

use tidelock::{Error, ErrorKind, Result};

use super::lease::Checkpoint;
use crate::source::{End, KinesisShard, Position};

/// How far a shard was processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The stream as `account:stream:created`, where the source reads several.
    pub(super) stream: Option<String>,
    /// The same as nobody else writes it: the ARN, and when the stream was made.
    pub(super) from: String,
    pub(super) shard: String,
    pub(super) parents: Vec<String>,
    /// Of a shard that has ended.
    pub(super) children: Vec<String>,
    /// The first and the last hash key, as the service writes them.
    pub(super) hash_range: (String, String),
    pub(super) checkpoint: Checkpoint,
}

impl Progress {
    /// What its row is called by.
    pub(super) fn key(&self) -> String {
        self.key_of(&self.shard)
    }

    /// What the row of another shard of the stream is called by.
    pub(super) fn key_of(&self, shard: &str) -> String {
        match &self.stream {
            Some(stream) => format!("{stream}:{shard}"),
            None => shard.to_owned(),
        }
    }

    fn of(shard: &KinesisShard, stream: Option<String>) -> Self {
        let checkpoint = match (&shard.end, &shard.position) {
            (Some(End::Children(_)), _) => Checkpoint::ShardEnd,
            (_, Position::Oldest { .. } | Position::First { .. }) => Checkpoint::TrimHorizon,
            (_, Position::Time { .. }) => Checkpoint::AtTimestamp,
            (_, Position::After { sequence_number, sub_sequence, .. }) => {
                let (sequence_number, sub_sequence) = (sequence_number.clone(), *sub_sequence);
                Checkpoint::After { sequence_number, sub_sequence }
            }
        };
        Self {
            stream,
            from: format!("{}@{}", shard.stream, shard.made_ms),
            shard: shard.shard.clone(),
            parents: shard.parents.clone(),
            children: shard.children().iter().map(|child| child.id.clone()).collect(),
            hash_range: (shard.range.start.to_string(), shard.range.end.to_string()),
            checkpoint,
        }
    }
}

/// Shards of a source, as leases. With `names_streams` they are called as those of an application that reads several. Of a stream that was deleted and made again
/// the last one counts: KCL knows no other.
///
/// # Errors
/// Where a stream is called by something that is no ARN: that is never stored.
pub(crate) fn all_of(shards: &[KinesisShard], names_streams: bool) -> Result<Vec<Progress>> {
    let mut made: BTreeMap<&str, i64> = BTreeMap::new();
    for shard in shards {
        let last = made.entry(&shard.stream).or_insert(shard.made_ms);
        *last = shard.made_ms.max(*last);
    }
    let of_last = shards.iter().filter(|shard| made.get(shard.stream.as_str()) == Some(&shard.made_ms));
    let progress = of_last.map(|shard| {
        let stream = if names_streams { Some(named(shard)?) } else { None };
        Ok(Progress::of(shard, stream))
    });
    progress.collect()
}

/// As KCL calls a stream among several.
fn named(shard: &KinesisShard) -> Result<String> {
    // arn:aws:kinesis:region:account:stream/name
    let parts: Vec<&str> = shard.stream.splitn(6, ':').collect();
    let name = parts.get(5).and_then(|resource| resource.strip_prefix("stream/"));
    let (Some(account), Some(name)) = (parts.get(4), name) else {
        let why = "a stream in the snapshot is not called by its ARN";
        let error = Error::new(ErrorKind::Corrupt, "export positions as leases", why);
        return Err(error.with("stream", &shard.stream));
    };
    Ok(format!("{account}:{name}:{}", shard.made_ms.div_euclid(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_key::HashRange;
    use crate::source::{Child, End};

    fn shard(name: &str, position: Position) -> KinesisShard {
        KinesisShard {
            stream: "arn:aws:kinesis:eu-central-1:123456789012:stream/flights".into(),
            made_ms: 1_764_471_600_999,
            kept_ms: None,
            shard: name.into(),
            parents: Vec::new(),
            range: HashRange { start: 0, end: u128::MAX },
            position,
            arrival_ms: None,
            caught_up_ms: None,
            stop_ms: None,
            seen: crate::seen::Seen::default(),
            end: None,
        }
    }

    fn after(sub_sequence: u64, is_whole: bool) -> Position {
        Position::After { sequence_number: "497".into(), sub_sequence, is_whole }
    }

    fn checkpoint(shard: &KinesisShard) -> String {
        all_of(std::slice::from_ref(shard), false).unwrap()[0].checkpoint.to_string()
    }

    #[test]
    fn each_position_is_the_checkpoint_of_what_was_processed_and_of_no_more() {
        for (position, expected) in [
            (Position::Oldest { since_ms: 7 }, "TRIM_HORIZON"),
            // Nothing was read of it.
            (Position::First { sequence_number: "497".into() }, "TRIM_HORIZON"),
            (Position::Time { at_ms: 7, since_ms: 7 }, "AT_TIMESTAMP"),
            (after(0, true), "497"),
            (after(2, false), "497/2"),
            (after(2, true), "497/2"),
        ] {
            assert_eq!(checkpoint(&shard("a", position)), expected);
        }
        let child =
            Child { id: "b".into(), parents: vec!["a".into()], range: HashRange { start: 0, end: 7 } };
        let mut ended = shard("a", after(0, true));
        ended.end = Some(End::Stopped);
        assert_eq!(checkpoint(&ended), "497", "there may be more of it");
        ended.end = Some(End::Children(vec![child]));
        let progress = all_of(std::slice::from_ref(&ended), false).unwrap().remove(0);
        assert_eq!((progress.checkpoint, progress.children), (Checkpoint::ShardEnd, vec!["b".to_owned()]));
        assert_eq!(progress.hash_range.1, "340282366920938463463374607431768211455");
    }

    #[test]
    fn shards_are_called_as_kcl_calls_them() {
        let flights = shard("shardId-000000000000", after(0, true));
        let key = |names_streams| all_of(std::slice::from_ref(&flights), names_streams).unwrap()[0].key();
        assert_eq!(key(false), "shardId-000000000000");
        assert_eq!(key(true), "123456789012:flights:1764471600:shardId-000000000000");
    }

    #[test]
    fn of_a_stream_that_was_made_again_the_last_one_counts() {
        let old = shard("a", after(2, false));
        let new = KinesisShard { made_ms: old.made_ms + 1, ..shard("a", after(0, true)) };
        let progress = all_of(&[old, new], false).unwrap();
        assert_eq!((progress.len(), progress[0].checkpoint.to_string().as_str()), (1, "497"));
    }
}
