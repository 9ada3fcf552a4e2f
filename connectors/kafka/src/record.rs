//! What the source reads and the sink writes.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How Kafka writes that a record has no time.
const NO_TIME: i64 = -1;

/// One header of a record. A name may occur more than once; order is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: Arc<str>,
    /// Its value. `None` is Kafka's null, which is not the empty value.
    pub value: Option<Bytes>,
}

/// A record as it was read.
///
/// Keys, values and header values of records that were read together share one allocation: a record
/// kept for long keeps up to a batch of its neighbours in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition of the topic.
    pub partition: i32,
    /// The record's place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970: when the record was made or appended, as the topic is configured. `None`: it has none.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value. `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition. `None`: chosen by the key as Java's default partitioner does, or freely where
    /// there is no key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970. `None`: now, by the clock of the writing machine. `Some(-1)`: no time, which a reader
    /// sees as `None`.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value. `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
}

impl ProducerRecord {
    /// A record with a value and nothing else.
    pub fn new(topic: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    /// The same record in another topic: key, value, headers, timestamp and partition kept, also that it has no timestamp.
    pub fn copy_of(record: KafkaRecord, topic: impl Into<Arc<str>>) -> Self {
        let KafkaRecord { partition, timestamp, key, value, headers, .. } = record;
        let timestamp = Some(timestamp.unwrap_or(NO_TIME));
        Self { topic: topic.into(), partition: Some(partition), timestamp, key, value, headers }
    }

    /// Gives the record a key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }
}
