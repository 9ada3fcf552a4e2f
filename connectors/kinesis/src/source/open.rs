//! What of a record of the service is a user's.

use std::sync::Arc;

use bytes::Bytes;
use tidelock::Result;

use super::fetch::Raw;
use crate::aggregate;
use crate::hash_key::HashRange;
use crate::header::{self, Header};
use crate::record::KinesisRecord;

/// A record of a user, or none: then only the position moves.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) record: Option<KinesisRecord>,
    /// By it a sink of ours is known that put the record, and which one it is of that sink's.
    pub(super) header: Option<Header>,
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
    pub(super) range: HashRange,
    /// What the headers of its own records say of the stream.
    pub(super) sum: u32,
}

/// What a user put: one record, or one of an aggregate.
struct Put {
    partition_key: String,
    explicit_hash_key: Option<String>,
    data: Bytes,
}

impl Opener {
    /// The records of a user in one of the service, in their order, and at least one element.
    ///
    /// # Errors
    /// Where a newer build put a header that this one cannot read.
    pub(super) fn open(&self, raw: Raw) -> Result<Vec<Opened>> {
        let Raw { sequence_number, partition_key, data, arrival_ms } = raw;
        let number: Arc<str> = sequence_number.into();
        let puts = match aggregate::open(&data, &self.range) {
            aggregate::Opened::Plain => vec![Put { partition_key, explicit_hash_key: None, data }],
            aggregate::Opened::Records(records) => records
                .into_iter()
                .map(|one| Put {
                    partition_key: one.partition_key,
                    explicit_hash_key: one.explicit_hash_key,
                    data: one.data,
                })
                .collect(),
            aggregate::Opened::Foreign => {
                let stream = self.stream.to_string();
                metrics::counter!("tidelock_kinesis_foreign_aggregates_total", "stream" => stream)
                    .increment(1);
                Vec::new()
            }
        };
        if puts.is_empty() {
            let (record, header) = (None, None);
            return Ok(vec![Opened {
                record,
                header,
                sequence_number: number,
                sub_sequence: 0,
                is_last: true,
                arrival_ms,
            }]);
        }
        let last = puts.len() - 1;
        let puts = puts.into_iter().enumerate();
        puts.map(|(at, put)| self.opened(&number, at as u64, at == last, arrival_ms, put)).collect()
    }

    fn opened(
        &self,
        number: &Arc<str>,
        sub_sequence: u64,
        is_last: bool,
        arrival_ms: Option<i64>,
        put: Put,
    ) -> Result<Opened> {
        let Put { partition_key, explicit_hash_key, data } = put;
        let (header, data) = match header::open(&data)? {
            // Of a record that was copied from another stream nothing is known.
            Some((header, data)) => {
                (Some(header).filter(|header| [0, self.sum].contains(&header.stream)), data)
            }
            None => (None, data),
        };
        let record = KinesisRecord {
            stream: Arc::clone(&self.stream),
            shard: Arc::clone(&self.shard),
            sequence_number: number.to_string(),
            sub_sequence,
            partition_key,
            explicit_hash_key,
            data,
            arrival_ms,
        };
        let sequence_number = Arc::clone(number);
        Ok(Opened { record: Some(record), header, sequence_number, sub_sequence, is_last, arrival_ms })
    }
}
