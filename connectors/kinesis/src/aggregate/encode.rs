//! An aggregate is made.

use bytes::Bytes;
use prost::Message as _;

use super::form::{AggregatedRecord, DIGEST_BYTES, MAGIC, Record, digest};

/// What an aggregate has at most beside its keys and its user records.
pub(crate) const OWN_BYTES: usize = 64;

/// What a user record has at most beside its data.
pub(crate) const RECORD_OWN_BYTES: usize = 16;

/// User records of one partition key and one explicit hash key, which go as one record.
///
/// They have one hash, and so they are in one shard whatever becomes of the stream: no consumer ever drops such an aggregate for a record of another
/// shard. The KPL also puts records of several keys together, by a map of the shards, and puts them again where it was old.
#[derive(Debug)]
pub(crate) struct Aggregate(AggregatedRecord);

impl Aggregate {
    /// One without records.
    pub(crate) fn new(partition_key: String, explicit_hash_key: Option<String>) -> Self {
        Self(AggregatedRecord {
            partition_key_table: vec![partition_key],
            explicit_hash_key_table: explicit_hash_key.into_iter().collect(),
            records: Vec::new(),
        })
    }

    /// Adds a user record.
    pub(crate) fn add(&mut self, data: Bytes) {
        let explicit_hash_key_index = (!self.0.explicit_hash_key_table.is_empty()).then_some(0);
        let record = Record { partition_key_index: Some(0), explicit_hash_key_index, data: Some(data) };
        self.0.records.push(record);
    }

    /// The bytes of the record that goes to the stream.
    pub(crate) fn into_bytes(self) -> Bytes {
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.0.encoded_len() + DIGEST_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.0.encode_to_vec());
        let digest = digest(&bytes[MAGIC.len()..]);
        bytes.extend(digest);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::decode::{Opened, UserRecord, open};
    use crate::hash_key::{HashKey, HashRange};

    proptest! {
        #[test]
        fn what_was_put_together_is_opened_in_its_shard_and_only_there(
            partition_key in ".{1,20}",
            explicit in proptest::option::of(any::<u128>()),
            all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
        ) {
            let hash = explicit.map_or_else(|| HashKey::of_partition_key(&partition_key), HashKey);
            let explicit_hash_key = explicit.map(|key| key.to_string());
            let mut aggregate = Aggregate::new(partition_key.clone(), explicit_hash_key.clone());
            all.iter().for_each(|data| aggregate.add(data.clone().into()));
            let bytes = aggregate.into_bytes();
            let keys = partition_key.len() + explicit_hash_key.as_ref().map_or(0, String::len);
            let records: usize = all.iter().map(|data| data.len() + RECORD_OWN_BYTES).sum();
            prop_assert!(bytes.len() <= OWN_BYTES + keys + records);
            let record = |data: Vec<u8>| UserRecord {
                partition_key: partition_key.clone(), explicit_hash_key: explicit_hash_key.clone(), data: data.into(),
            };
            let records = all.into_iter().map(record).collect();
            let own = HashRange { start: hash.0, end: hash.0 };
            prop_assert_eq!(open(&bytes, &own), Opened::Records(records));
            if hash.0 > 0 {
                let other = HashRange { start: 0, end: hash.0 - 1 };
                prop_assert_eq!(open(&bytes, &other), Opened::Foreign);
            }
        }
    }

    /// The length of a length grows, too.
    #[test]
    fn a_large_aggregate_has_no_more_bytes_than_are_said() {
        let key = "k".repeat(256);
        let mut aggregate = Aggregate::new(key.clone(), Some(u128::MAX.to_string()));
        let lengths = [0, 1, 120, 127, 128, 129, 16_380, 16_384, 10 << 20];
        lengths.iter().for_each(|length| aggregate.add(vec![7; *length].into()));
        let records: usize = lengths.iter().map(|length| length + RECORD_OWN_BYTES).sum();
        let bytes = aggregate.into_bytes().len();
        assert!(bytes <= OWN_BYTES + key.len() + 39 + records, "{bytes}");
    }
}
