//! What of a record of the service is a user's.

use std::sync::Arc;

use super::fetch::Raw;
use crate::record::KinesisRecord;

/// A record of a user, or none: then only the position moves.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) record: Option<KinesisRecord>,
    pub(super) sequence_number: Arc<str>,
    pub(super) sub_sequence: u64,
    /// Whether it is the last one of the service's record.
    pub(super) is_last: bool,
    pub(super) arrival_ms: Option<i64>,
}

/// Opens the records of one shard.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) stream: Arc<str>,
    pub(super) shard: Arc<str>,
}

impl Opener {
    /// The records of a user in one of the service, in their order, and at least one element.
    pub(super) fn open(&self, raw: Raw) -> Vec<Opened> {
        let Raw { sequence_number, partition_key, data, arrival_ms } = raw;
        let number: Arc<str> = sequence_number.as_str().into();
        let record = KinesisRecord {
            stream: Arc::clone(&self.stream),
            shard: Arc::clone(&self.shard),
            sequence_number,
            sub_sequence: 0,
            partition_key,
            explicit_hash_key: None,
            data,
            arrival_ms,
        };
        vec![Opened {
            record: Some(record),
            sequence_number: number,
            sub_sequence: 0,
            is_last: true,
            arrival_ms,
        }]
    }
}
