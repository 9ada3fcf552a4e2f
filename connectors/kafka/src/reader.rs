//! Reads one partition.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rdkafka::Message;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use tidelock::{Batch, Error, ErrorKind, Result, SplitReader};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

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

/// After this time without a record the broker is asked whether there is one: a consumer of librdkafka was seen
/// to read nothing any more after its broker was away, and to say nothing.
const QUIET_MAX: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 30 });

/// How long a record that is there may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(5);

/// Reads the records of one partition in their order.
pub struct KafkaReader {
    fetched: Option<Fetched>,
    wake: Arc<Notify>,
    shared: Arc<Shared>,
    split: KafkaSplit,
    topic: Arc<str>,
    copies: Copies,
    /// The end of the partition was met after the last record that was handed over.
    met_end: bool,
    /// When the last record came, or it was last asked whether there is one.
    quiet_since: Instant,
    /// The consumer was found stuck at this offset before.
    stuck_at: Option<i64>,
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaReader").field("split", &self.split).finish_non_exhaustive()
    }
}

/// A partition that is being fetched.
struct Fetched {
    // Dropped first: the consumer must outlive its queues.
    queue: Queue,
    consumer: Arc<Consumer>,
}

impl Fetched {
    /// Ends to fetch. Blocks for a moment.
    fn end(self, topic: &str, partition: i32) {
        let Self { queue, consumer } = self;
        drop(queue);
        consumer.detach(topic, partition);
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
            fetched: None,
            wake: Arc::new(Notify::new()),
            topic: Arc::from(split.topic.as_str()),
            shared,
            split,
            copies: Copies::default(),
            met_end: false,
            quiet_since: Instant::now(),
            stuck_at: None,
        };
        reader.attach().await?;
        Ok(reader)
    }

    /// Begins to fetch at the split's position.
    async fn attach(&mut self) -> Result<()> {
        let consumer = self.shared.consumer.get(&self.shared.config).await?;
        let (split, wake) = (self.split.clone(), Arc::clone(&self.wake));
        let attach = move || consumer.attach(&split, wake).map(|queue| Fetched { queue, consumer });
        self.fetched = Some(blocking(attach).await?);
        self.met_end = false;
        Ok(())
    }

    /// Ends to fetch.
    async fn detach(&mut self) -> Result<()> {
        let Some(fetched) = self.fetched.take() else { return Ok(()) };
        let (topic, partition) = (Arc::clone(&self.topic), self.split.partition);
        blocking(move || {
            fetched.end(&topic, partition);
            Ok(())
        })
        .await
    }

    /// Takes what is in the queue, up to a batch. Does not wait.
    fn take(&mut self, records: &mut Vec<KafkaRecord>) -> Result<Met> {
        let Self { fetched: Some(Fetched { queue, .. }), shared, split, topic, copies, met_end, .. } = self
        else {
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

    /// Whether there is a record to read that does not come.
    async fn is_stuck(&self) -> bool {
        let KafkaSplit { topic, partition, offset, .. } = &self.split;
        let committed = !self.shared.config.read_uncommitted;
        let mut arrives = pin!(self.wake.notified());
        let answer = tokio::select! {
            () = &mut arrives => return false,
            answer = self.shared.cluster.has_more(topic, *partition, *offset, committed) => answer,
        };
        match answer {
            Ok(true) => timeout(ARRIVAL_MAX, arrives).await.is_err(),
            Ok(false) => false,
            Err(fault) => {
                tracing::debug!(?fault, topic, partition, "a quiet partition could not be asked for records");
                false
            }
        }
    }

    /// Fetches the partition anew, with another consumer; where that did not help before, the attempt ends.
    async fn unstick(&mut self) -> Result<()> {
        let KafkaSplit { topic, partition, offset, .. } = self.split.clone();
        metrics::counter!("tidelock_kafka_consumers_stuck").increment(1);
        if self.stuck_at == Some(offset) {
            let why = "the partition has records, and two consumers read none of them";
            let error = Error::new(ErrorKind::Unavailable, "read from Kafka", why);
            return Err(error.with("topic", topic).with("partition", partition).with("offset", offset));
        }
        tracing::warn!(
            topic,
            partition,
            offset,
            "nothing was read for {QUIET_MAX:?} although there are records: another consumer takes the partition"
        );
        self.stuck_at = Some(offset);
        if let Some(Fetched { consumer, .. }) = &self.fetched {
            consumer.retire();
        }
        self.detach().await?;
        self.attach().await
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
                self.quiet_since = Instant::now();
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
            if let Some(Fetched { consumer, .. }) = &self.fetched {
                consumer.check()?;
            }
            // Woken by the queue; what was put there between `take` and here has left its mark.
            let woken = timeout(LOOK_INTERVAL, self.wake.notified()).await.is_ok();
            if !woken && self.quiet_since.elapsed() > QUIET_MAX {
                self.quiet_since = Instant::now();
                if self.is_stuck().await {
                    self.unstick().await?;
                }
            }
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        let Some(fetched) = self.fetched.take() else { return };
        fetched.consumer.retire();
        let (topic, partition) = (Arc::clone(&self.topic), self.split.partition);
        let end = move || fetched.end(&topic, partition);
        // It blocks for a moment, which no worker of the runtime should.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
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

#[cfg(test)]
pub(crate) mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use tidelock::{Known, Retry, Source};
    use tidelock_containers::Kafka;

    use super::*;
    use crate::config::{KafkaSourceConfig, Start, Subscription};
    use crate::properties::Properties;
    use crate::source::KafkaSource;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Writes one record to the first partition of a topic, which is made where it is missing.
    pub(crate) fn produce(brokers: &str, topic: &str, value: &str) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer");
        producer.send(BaseRecord::<(), str>::to(topic).partition(0).payload(value)).expect("sent");
        producer.flush(PATIENCE).expect("delivered");
    }

    async fn read_one(reader: &mut KafkaReader) -> Result<Bytes> {
        let batch = timeout(PATIENCE, reader.next()).await.expect("it does not hang")?.expect("a batch");
        Ok(batch.records[0].value.clone().expect("a value"))
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a container"]
    async fn a_consumer_that_reads_nothing_any_more_is_found_out() {
        let brokers = Kafka::shared().await.expect("a broker").brokers();
        let topic = format!("stuck-{:016x}", rand::random::<u64>());
        produce(&brokers, &topic, "1");
        let config =
            KafkaSourceConfig::new(Properties::new(&brokers), Subscription::Topics(vec![topic.clone()]));
        let source = KafkaSource::connect(config.with_start(Start::Earliest)).await.expect("connected");
        let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
        let split = source.discover(&known).await.expect("discovered").new.remove(0);
        let mut reader = source.open(split).await.expect("open");
        assert_eq!(read_one(&mut reader).await.expect("read"), "1");
        let consumer = |reader: &KafkaReader| Arc::clone(&reader.fetched.as_ref().expect("fetched").consumer);
        // Not assigned any more, behind the reader's back: nothing is fetched, and nobody is told.
        let wedge = |reader: &KafkaReader| consumer(reader).detach(&topic, 0);

        wedge(&reader);
        let first = consumer(&reader);
        produce(&brokers, &topic, "2");
        assert_eq!(read_one(&mut reader).await.expect("read"), "2");
        assert_eq!(reader.stuck_at, Some(1), "only because it was fetched anew");
        assert!(!Arc::ptr_eq(&first, &consumer(&reader)), "by another consumer");

        // Where that did not help before, the attempt ends.
        reader.stuck_at = Some(2);
        wedge(&reader);
        produce(&brokers, &topic, "3");
        let error = read_one(&mut reader).await.expect_err("stuck");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error:?}");
        assert!(error.to_string().contains(&topic), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a container"]
    async fn partitions_share_a_consumer_and_the_next_attempt_has_another_one() {
        let brokers = Kafka::shared().await.expect("a broker").brokers();
        let topics = [0, 1].map(|_| format!("shared-{:016x}", rand::random::<u64>()));
        topics.iter().for_each(|topic| produce(&brokers, topic, "1"));
        let config = KafkaSourceConfig::new(Properties::new(&brokers), Subscription::Topics(topics.to_vec()));
        let source = KafkaSource::connect(config.with_start(Start::Earliest)).await.expect("connected");
        let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
        let splits = source.discover(&known).await.expect("discovered").new;
        let open = async || {
            let mut readers = Vec::new();
            for split in &splits {
                let mut reader = source.open(split.clone()).await.expect("open");
                assert_eq!(read_one(&mut reader).await.expect("read"), "1");
                readers.push(reader);
            }
            let consumers =
                readers.iter().map(|one| Arc::clone(&one.fetched.as_ref().expect("fetched").consumer));
            let consumers: Vec<_> = consumers.collect();
            assert!(Arc::ptr_eq(&consumers[0], &consumers[1]));
            Arc::clone(&consumers[0])
        };
        // Held, as by the end of a reader that is late.
        let first = open().await;
        assert!(!Arc::ptr_eq(&first, &open().await));
    }
}
