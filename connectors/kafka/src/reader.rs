//! Reads one partition.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rdkafka::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use tidelock::{Batch, Result, SplitReader};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::blocking::blocking;
use crate::consumer::{Consumer, Queue};
use crate::control::stable::Remains;
use crate::error::kafka_error;
use crate::record::{Header, KafkaRecord};
use crate::source::Shared;
use crate::split::KafkaSplit;

/// Fields of records are copied into shared pieces of this size, instead of one allocation each.
const PIECE_BYTES: usize = 64 << 10;

/// Names of headers that are remembered, so that each is one allocation and not one for each record.
const NAMES_MAX: usize = 64;

/// How often a reader without news looks whether it is done, or the consumer failed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the records of one partition in their order.
pub struct KafkaReader {
    // Dropped first: the consumer must outlive its queues.
    queue: Option<Queue>,
    wake: Arc<Notify>,
    shared: Arc<Shared>,
    split: KafkaSplit,
    topic: Arc<str>,
    copies: Copies,
    /// The end of the partition was met after the last record that was handed over.
    met_end: bool,
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaReader").field("split", &self.split).finish_non_exhaustive()
    }
}

/// What taking records off the queue found beside them.
enum Met {
    /// Nothing: the queue is empty or the batch is full.
    Nothing,
    /// The position that was to be read does not exist.
    NoSuchOffset,
}

impl KafkaReader {
    pub(crate) async fn open(shared: Arc<Shared>, split: KafkaSplit) -> Result<Self> {
        let mut reader = Self {
            queue: None,
            wake: Arc::new(Notify::new()),
            topic: Arc::from(split.topic.as_str()),
            shared,
            split,
            copies: Copies::default(),
            met_end: false,
        };
        reader.attach().await?;
        Ok(reader)
    }

    /// Begins to fetch at the split's position.
    async fn attach(&mut self) -> Result<()> {
        let (shared, split) = (Arc::clone(&self.shared), self.split.clone());
        let wake = Arc::clone(&self.wake);
        self.shared
            .consumer
            .get_or_try_init(|| {
                let shared = Arc::clone(&self.shared);
                blocking(move || Consumer::start(&shared.config))
            })
            .await?;
        let attach = move || {
            let consumer = shared.consumer.get().expect("invariant: made just now");
            consumer.attach(&split, wake)
        };
        self.queue = Some(blocking(attach).await?);
        self.met_end = false;
        Ok(())
    }

    /// Ends to fetch.
    async fn detach(&mut self) -> Result<()> {
        self.queue = None;
        let shared = Arc::clone(&self.shared);
        let (topic, partition) = (Arc::clone(&self.topic), self.split.partition);
        blocking(move || {
            if let Some(consumer) = shared.consumer.get() {
                consumer.detach(&topic, partition);
            }
            Ok(())
        })
        .await
    }

    /// Takes what is in the queue, up to a batch. Does not wait.
    fn take(&mut self, records: &mut Vec<KafkaRecord>) -> Result<Met> {
        let Self { queue: Some(queue), shared, split, topic, copies, met_end, .. } = self else {
            return Ok(Met::Nothing);
        };
        let mut bytes = 0;
        while records.len() < shared.config.batch_records && bytes < shared.config.batch_bytes {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let offset = message.offset();
                    if split.stop.is_some_and(|stop| offset >= stop) {
                        split.offset = split.offset.max(offset);
                        break;
                    }
                    if offset < split.offset {
                        continue;
                    }
                    split.offset = offset + 1;
                    *met_end = false;
                    let record = copies.record(topic, &message)?;
                    bytes += message.key_len() + message.payload_len();
                    records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => *met_end = true,
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                        return Ok(Met::NoSuchOffset);
                    }
                    _ => {
                        return Err(kafka_error("read from Kafka", error)
                            .with("topic", &split.topic)
                            .with("partition", split.partition)
                            .with("offset", split.offset));
                    }
                },
            }
        }
        Ok(Met::Nothing)
    }

    /// Whether a bounded split is read to its end. A partition may end with what no reader sees, so
    /// this asks for what remains, and does not wait for a last record that never comes.
    async fn is_done(&self) -> Result<bool> {
        let Some(stop) = self.split.stop else { return Ok(false) };
        let KafkaSplit { topic, partition, offset, .. } = &self.split;
        if *offset >= stop {
            return Ok(true);
        }
        if !self.met_end {
            return Ok(false);
        }
        let committed = !self.shared.config.read_uncommitted;
        let remains = self.shared.cluster.remains(topic, *partition, *offset, stop, committed).await;
        Ok(remains.map_err(|fault| fault.into_error("read from Kafka"))? == Remains::Nothing)
    }
}

#[async_trait]
impl SplitReader for KafkaReader {
    type Record = KafkaRecord;
    type Split = KafkaSplit;

    async fn next(&mut self) -> Result<Option<Batch<KafkaRecord, KafkaSplit>>> {
        loop {
            let mut records = Vec::new();
            let met = self.take(&mut records)?;
            if !records.is_empty() {
                return Ok(Some(Batch { records, resume: self.split.clone() }));
            }
            if let Met::NoSuchOffset = met {
                self.detach().await?;
                let mut split = self.split.clone();
                self.shared.check_position(&mut split).await?;
                self.split = split;
                self.attach().await?;
                continue;
            }
            if self.is_done().await? {
                return Ok(None);
            }
            if let Some(consumer) = self.shared.consumer.get() {
                consumer.check()?;
            }
            // Woken by the queue; what was put there between `take` and here has left its mark.
            let _ = timeout(LOOK_INTERVAL, self.wake.notified()).await;
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.queue = None;
        let shared = Arc::clone(&self.shared);
        let (topic, partition) = (Arc::clone(&self.topic), self.split.partition);
        let detach = move || {
            if let Some(consumer) = shared.consumer.get() {
                consumer.detach(&topic, partition);
            }
        };
        // It blocks for a moment, which no worker of the runtime should.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(detach)),
            Err(_) => detach(),
        }
    }
}

/// Copies records out of librdkafka's memory.
#[derive(Default)]
struct Copies {
    piece: BytesMut,
    names: Vec<Arc<str>>,
}

impl Copies {
    fn record(&mut self, topic: &Arc<str>, message: &BorrowedMessage<'_>) -> Result<KafkaRecord> {
        let mut headers = Vec::new();
        if let Some(found) = message.headers() {
            headers.reserve_exact(found.count());
            for header in found.iter() {
                let name = self.name(header.key);
                headers.push(Header { name, value: header.value.map(|value| self.bytes(value)) });
            }
        }
        Ok(KafkaRecord {
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(|key| self.bytes(key)),
            value: message.payload().map(|value| self.bytes(value)),
            headers,
        })
    }

    fn bytes(&mut self, source: &[u8]) -> Bytes {
        if self.piece.capacity() < source.len() {
            self.piece = BytesMut::with_capacity(PIECE_BYTES.max(source.len()));
        }
        self.piece.extend_from_slice(source);
        self.piece.split().freeze()
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.iter().find(|known| ***known == *name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        if self.names.len() < NAMES_MAX {
            self.names.push(Arc::clone(&new));
        }
        new
    }
}
