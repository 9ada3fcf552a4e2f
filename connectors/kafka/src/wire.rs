//! The side of the sink that carries records: one small trait, so that another producer can take
//! librdkafka's place without touching slots, commit or recovery. Looking at transactions and ending
//! them goes through the control client, for every producer alike.

use async_trait::async_trait;
use tidelock::Result;

use crate::record::ProducerRecord;

/// A producer with one transactional id, or with none in at-least-once mode.
#[async_trait]
pub(crate) trait Wire: Send + 'static {
    /// Sends records, in their order; the first one begins a transaction. Takes them all, and waits
    /// where its buffer is full.
    async fn send(&mut self, records: &mut Vec<ProducerRecord>) -> Result<()>;

    /// Returns when everything that was sent has arrived: durable, and invisible to `read_committed`
    /// readers where there is a transaction. A record that did not arrive is an error.
    async fn flush(&mut self) -> Result<()>;

    /// Where the transaction begins in each partition that was written to, as the broker reported the
    /// first record there: what the partition itself must say. Forgotten when taken.
    fn take_begins(&mut self) -> Vec<Begin>;

    /// Makes it ready for the next transaction, after the last one was ended by the control client.
    /// With `fresh`, or where anything looks doubtful, as a new producer with a higher producer epoch.
    async fn recycle(self: Box<Self>, fresh: bool) -> Result<Recycled>;
}

/// The first record of a transaction in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    /// The offset. `None`: the broker has the record from a request that it did not answer, and did not
    /// say where.
    pub(crate) offset: Option<i64>,
}

/// A producer that is ready for its next transaction.
pub(crate) struct Recycled {
    /// The producer.
    pub(crate) wire: Box<dyn Wire>,
    /// Its producer epoch is another one now.
    pub(crate) is_new: bool,
}
