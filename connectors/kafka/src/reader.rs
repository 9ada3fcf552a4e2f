//! Reads one partition.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka_protocol::ResponseError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidelock::{Batch, Error, ErrorKind, Result, SplitReader};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::blocking::blocking;
use crate::consumer::{Consumer, Queue};
use crate::control::fault::Fault;
use crate::copies::Copies;
use crate::error::kafka_error;
use crate::letters::{Letters, set_aside};
use crate::native::queue::Polled;
use crate::position::{Position, Reading};
use crate::record::{KafkaRecord, ProducerRecord};
use crate::split::KafkaSplit;
use crate::watch::Followed;

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
    /// What a call began to attach to, or to detach from. It stays where that call was dropped in the middle: then a thread
    /// may still be at it.
    under_way: Option<Arc<Consumer>>,
    wake: Arc<Notify>,
    reading: Arc<Reading>,
    split: KafkaSplit,
    /// Keys and values of the last batch.
    batch_bytes: u64,
    /// What was taken off the queue and is not handed over yet.
    taken: Option<Taken>,
    /// What was met behind records that were handed over: it comes with the next call.
    met: Met,
    /// Nothing is to be read of the partition any more: it is gone, or dropped.
    ended: bool,
    topic: Followed,
    copies: Copies,
    letters: Letters,
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

/// A partition that is being fetched. To drop it ends that, and blocks for a moment.
struct Fetched {
    // Dropped first: the consumer must outlive its queues.
    queue: Queue,
    assigned: Assigned,
}

/// A partition that a consumer fetches, until this is dropped: also where nobody waits any more for the call that began
/// to fetch it.
struct Assigned {
    consumer: Arc<Consumer>,
    topic: String,
    partition: i32,
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.consumer.detach(&self.topic, self.partition);
    }
}

/// What taking records off the queue met behind them.
#[derive(Default)]
enum Met {
    /// Nothing: the queue is empty or the batch is full.
    #[default]
    Nothing,
    /// The position that was to be read does not exist.
    NoSuchOffset,
    /// The topic does not exist, or is another one.
    NoSuchTopic,
    /// An error.
    Failed(Error),
}

/// What a reader without news is waiting for.
enum Quiet {
    /// For records that are not written yet.
    Rightly,
    /// For records that are there and do not come.
    Stuck,
    /// For a position that does not exist.
    NoSuchOffset,
}

/// What was taken off the queue.
#[derive(Default)]
struct Taken {
    records: Vec<KafkaRecord>,
    letters: Vec<ProducerRecord>,
    bytes: usize,
}

impl KafkaReader {
    /// Opens a split whose position was checked.
    pub(crate) async fn open(reading: Arc<Reading>, split: KafkaSplit, position: Position) -> Result<Self> {
        let topic: Arc<str> = split.topic.as_str().into();
        let mut reader = Self {
            fetched: None,
            under_way: None,
            taken: None,
            wake: Arc::new(Notify::new()),
            met: Met::Nothing,
            ended: position == Position::Gone,
            topic: reading.watch.follow(&split.topic),
            copies: Copies::of(&topic, split.partition),
            letters: Letters::new(&reading.config.properties),
            reading,
            split,
            batch_bytes: 0,
            quiet_since: Instant::now(),
            stuck_at: None,
        };
        if !reader.ended {
            reader.attach().await?;
        }
        Ok(reader)
    }

    /// Begins to fetch at the split's position.
    async fn attach(&mut self) -> Result<()> {
        self.give_up_what_is_under_way();
        let consumer = self.reading.consumer.get(&self.reading.config).await?;
        self.under_way = Some(Arc::clone(&consumer));
        let (split, wake) = (self.split.clone(), Arc::clone(&self.wake));
        let attach = move || {
            let queue = consumer.attach(&split, wake)?;
            let KafkaSplit { topic, partition, .. } = split;
            Ok(Fetched { queue, assigned: Assigned { consumer, topic, partition } })
        };
        self.fetched = Some(blocking(attach).await?);
        self.under_way = None;
        Ok(())
    }

    /// Ends to fetch.
    async fn detach(&mut self) -> Result<()> {
        let Some(fetched) = self.fetched.take() else { return Ok(()) };
        self.under_way = Some(Arc::clone(&fetched.assigned.consumer));
        blocking(move || {
            drop(fetched);
            Ok(())
        })
        .await?;
        self.under_way = None;
        Ok(())
    }

    /// What a call left half done ends on its own, late: with a consumer that nobody attaches to any more.
    fn give_up_what_is_under_way(&mut self) {
        if let Some(consumer) = self.under_way.take() {
            consumer.retire();
        }
    }

    /// Another consumer takes the partitions that are opened from now on.
    fn retire_consumer(&self) {
        if let Some(Fetched { assigned, .. }) = &self.fetched {
            assigned.consumer.retire();
        }
    }

    /// Takes what is in the queue, up to a batch, and what is met behind it. Does not wait.
    fn take(&mut self) -> (Taken, Met) {
        let mut taken = Taken::default();
        let Self { fetched: Some(Fetched { queue, .. }), reading, split, copies, .. } = self else {
            return (taken, Met::Nothing);
        };
        while taken.records.len() < reading.config.batch_records && taken.bytes < reading.config.batch_bytes {
            match queue.poll() {
                None => break,
                Some(Polled::Record(message)) => {
                    let offset = message.offset();
                    if split.stop.is_some_and(|stop| offset >= stop) {
                        split.offset = split.offset.max(offset);
                        break;
                    }
                    if offset < split.offset {
                        continue;
                    }
                    taken.bytes +=
                        message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len);
                    match copies.record(&message) {
                        Ok(record) => taken.records.push(record),
                        Err(unreadable) => {
                            let policy = &reading.config.on_unreadable;
                            match set_aside(policy, "on_unreadable", unreadable.record, unreadable.why) {
                                Ok(letter) => taken.letters.extend(letter),
                                Err(error) => return (taken, Met::Failed(error)),
                            }
                        }
                    }
                    split.offset = offset + 1;
                }
                // What lies before it and was not in the queue is seen by no reader: the markers that end transactions,
                // aborted records. A position that stayed before them would be lost with the next retention, and
                // nobody could tell any more that nothing was.
                Some(Polled::End(offset)) => split.offset = split.offset.max(offset),
                Some(Polled::Failed(error)) => return (taken, met(error, split)),
            }
        }
        (taken, Met::Nothing)
    }

    /// Whether a bounded split is read to its end. A partition may end with what no reader sees: its end moves the
    /// position, too.
    fn is_done(&self) -> bool {
        self.ended || self.split.stop.is_some_and(|stop| self.split.offset >= stop)
    }

    /// Looks again whether the position exists, and goes on where the policy says.
    async fn check_position(&mut self) -> Result<()> {
        self.detach().await?;
        match self.reading.check_position(&mut self.split).await? {
            Position::Exists => self.attach().await,
            Position::Gone => {
                self.ended = true;
                Ok(())
            }
        }
    }

    /// Does what follows from what was met. It is forgotten only then.
    async fn go_by_what_was_met(&mut self) -> Result<()> {
        match std::mem::take(&mut self.met) {
            Met::Nothing => return Ok(()),
            Met::Failed(error) => return Err(error),
            Met::NoSuchOffset => self.met = Met::NoSuchOffset,
            Met::NoSuchTopic => {
                self.met = Met::NoSuchTopic;
                // What this consumer believes of the topic is out of date.
                self.retire_consumer();
            }
        }
        self.check_position().await?;
        self.met = Met::Nothing;
        Ok(())
    }

    /// What a reader that had no record for long is waiting for.
    async fn look_around(&mut self) -> Quiet {
        let KafkaSplit { topic, partition, offset, .. } = &self.split;
        let committed = !self.reading.config.read_uncommitted;
        let mut arrives = pin!(self.wake.notified());
        let answer = tokio::select! {
            () = &mut arrives => return Quiet::Rightly,
            answer = self.reading.cluster.has_more(topic, *partition, *offset, committed) => answer,
        };
        match answer {
            Ok(true) if timeout(ARRIVAL_MAX, arrives).await.is_err() => Quiet::Stuck,
            Ok(true) => Quiet::Rightly,
            // Or its records will never come.
            Ok(false) => match self.reading.is_behind_the_end(&self.split).await {
                Ok(true) => Quiet::NoSuchOffset,
                Ok(false) => Quiet::Rightly,
                Err(fault) => {
                    tracing::debug!(
                        ?fault,
                        topic,
                        partition,
                        "the end of a quiet partition could not be asked for"
                    );
                    Quiet::Rightly
                }
            },
            Err(Fault::Code(ResponseError::OffsetOutOfRange)) => Quiet::NoSuchOffset,
            Err(fault) => {
                tracing::debug!(?fault, topic, partition, "a quiet partition could not be asked for records");
                Quiet::Rightly
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
        self.retire_consumer();
        self.detach().await?;
        self.attach().await
    }
}

#[async_trait]
impl SplitReader for KafkaReader {
    type Record = KafkaRecord;
    type Split = KafkaSplit;

    /// May be dropped in the middle: whatever it took, met or left undone, the next call finds.
    async fn next(&mut self) -> Result<Option<Batch<KafkaRecord, KafkaSplit>>> {
        loop {
            if let Some(Taken { letters, .. }) = &mut self.taken {
                // Durable before the position passes their records.
                self.letters.write(letters).await?;
            }
            if let Some(Taken { records, .. }) = self.taken.take() {
                return Ok(Some(Batch { records, resume: self.split.clone() }));
            }
            self.go_by_what_was_met().await?;
            if self.is_done() {
                return Ok(None);
            }
            if self.topic.is_another(&self.split) {
                self.met = Met::NoSuchTopic;
                continue;
            }
            if self.fetched.is_none() {
                self.attach().await?;
            }
            let before = self.split.offset;
            let (taken, met) = self.take();
            self.batch_bytes = taken.bytes as u64;
            self.met = met;
            if self.split.offset != before {
                self.quiet_since = Instant::now();
                self.taken = Some(taken);
                continue;
            }
            if !matches!(self.met, Met::Nothing) {
                continue;
            }
            if let Some(Fetched { assigned, .. }) = &self.fetched {
                assigned.consumer.check()?;
            }
            // Woken by the queue; what was put there between `take` and here has left its mark.
            let woken = timeout(LOOK_INTERVAL, self.wake.notified()).await.is_ok();
            if !woken && self.quiet_since.elapsed() > QUIET_MAX {
                self.quiet_since = Instant::now();
                match self.look_around().await {
                    Quiet::Rightly => {}
                    Quiet::Stuck => self.unstick().await?,
                    Quiet::NoSuchOffset => self.met = Met::NoSuchOffset,
                }
            }
        }
    }

    fn heap_bytes(&self) -> u64 {
        self.batch_bytes
    }
}

/// What an error in a partition's queue means for it.
fn met(error: KafkaError, split: &KafkaSplit) -> Met {
    use RDKafkaErrorCode as C;
    match error.rdkafka_error_code() {
        Some(C::AutoOffsetReset | C::OffsetOutOfRange) => Met::NoSuchOffset,
        Some(C::UnknownTopic | C::UnknownPartition | C::UnknownTopicOrPartition | C::UnknownTopicId) => {
            Met::NoSuchTopic
        }
        _ => Met::Failed(
            kafka_error("read from Kafka", error)
                .with("topic", &split.topic)
                .with("partition", split.partition)
                .with("offset", split.offset),
        ),
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.give_up_what_is_under_way();
        let Some(fetched) = self.fetched.take() else { return };
        fetched.assigned.consumer.retire();
        let end = move || drop(fetched);
        // It blocks for a moment, which no worker of the runtime should.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
