//! What is read: a record of a user.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One record that was put into a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KinesisRecord {
    /// The stream, by its name.
    pub stream: Arc<str>,
    /// The shard's id.
    pub shard: Arc<str>,
    /// The number that the service gave it: decimal digits, longer than any integer. Within a shard a later record has a greater one, as a number and not as a
    /// text.
    pub sequence_number: String,
    /// Which one it is of the user records that were put together in one aggregate, counted from 0. Of a record that is no aggregate: 0.
    pub sub_sequence: u64,
    /// The key that decides the shard, and whose records keep their order.
    pub partition_key: String,
    /// What was said instead of the key's hash. The service tells it of no record; an aggregate tells it of those in it.
    pub explicit_hash_key: Option<String>,
    /// What was put.
    pub data: Bytes,
    /// When the service took it, in milliseconds since 1970, about.
    pub arrival_ms: Option<i64>,
}

/// A record beside its data and its key.
const RECORD: usize = 96;

impl KinesisRecord {
    /// About what it takes of the memory.
    pub(crate) fn heap_bytes(&self) -> u64 {
        (RECORD + self.sequence_number.len() + self.partition_key.len() + self.data.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_pass_it_on_as_it_is() {
        let record = KinesisRecord {
            stream: "flights".into(),
            shard: "shardId-000000000000".into(),
            sequence_number: "49590338271490256608559692538361571095921575989136588898".into(),
            sub_sequence: 7,
            partition_key: "ä".into(),
            explicit_hash_key: Some("1".into()),
            data: Bytes::from_static(&[0, 255]),
            arrival_ms: Some(7),
        };
        let bytes = postcard::to_allocvec(&record).expect("bytes");
        assert_eq!(postcard::from_bytes::<KinesisRecord>(&bytes).expect("a record"), record);
        let json = serde_json::to_string(&record).expect("JSON");
        assert_eq!(serde_json::from_str::<KinesisRecord>(&json).expect("a record"), record);
    }
}
