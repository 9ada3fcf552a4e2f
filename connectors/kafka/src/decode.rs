//! A source of decoded records, and what happens to those that cannot be decoded.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::ClientConfig;
use tidelock::{Batch, Discovery, Error, ErrorKind, Known, Result, Source, SplitReader};

use crate::config::RecordPolicy;
use crate::librdkafka::Librdkafka;
use crate::properties::Properties;
use crate::reader::KafkaReader;
use crate::record::{Header, KafkaRecord, ProducerRecord};
use crate::source::KafkaSource;
use crate::split::KafkaSplit;
use crate::wire::Wire;

type Decode<T> = Arc<dyn Fn(&KafkaRecord) -> Result<T, String> + Send + Sync>;

/// A [`KafkaSource`] whose records are decoded as they are read: see [`KafkaSource::decode`].
pub struct DecodedSource<T> {
    source: KafkaSource,
    decode: Decode<T>,
    policy: RecordPolicy,
}

impl<T> fmt::Debug for DecodedSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodedSource").field("source", &self.source).field("policy", &self.policy).finish()
    }
}

impl KafkaSource {
    /// Decodes records as they are read; `policy` says what happens to those that cannot be.
    ///
    /// A dead letter is durable before the position passes its record. It is written without a
    /// transaction, so after a failure it may be there twice: its headers name topic, partition and
    /// offset.
    pub fn decode<T, E: fmt::Display>(
        self,
        decode: impl Fn(&KafkaRecord) -> Result<T, E> + Send + Sync + 'static,
        policy: RecordPolicy,
    ) -> DecodedSource<T> {
        let decode = move |record: &KafkaRecord| decode(record).map_err(|error| error.to_string());
        DecodedSource { source: self, decode: Arc::new(decode), policy }
    }
}

#[async_trait]
impl<T: Send + 'static> Source for DecodedSource<T> {
    type Record = T;
    type Split = KafkaSplit;
    type Reader = DecodedReader<T>;

    const OPEN_SPLITS_MAX: usize = KafkaSource::OPEN_SPLITS_MAX;

    async fn discover(&self, known: &Known<KafkaSplit>) -> Result<Discovery<KafkaSplit>> {
        self.source.discover(known).await
    }

    async fn open(&self, split: KafkaSplit) -> Result<DecodedReader<T>> {
        Ok(DecodedReader {
            reader: self.source.open(split).await?,
            decode: Arc::clone(&self.decode),
            policy: self.policy.clone(),
            properties: self.source.shared.config.properties.clone(),
            letters: None,
        })
    }

    async fn acknowledge(&self, durable: &[KafkaSplit]) -> Result<()> {
        self.source.acknowledge(durable).await
    }
}

/// Reads and decodes the records of one partition.
pub struct DecodedReader<T> {
    reader: KafkaReader,
    decode: Decode<T>,
    policy: RecordPolicy,
    properties: Properties,
    /// Writes dead letters. Made with the first one.
    letters: Option<Box<dyn Wire>>,
}

impl<T> fmt::Debug for DecodedReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodedReader").field("reader", &self.reader).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: Send + 'static> SplitReader for DecodedReader<T> {
    type Record = T;
    type Split = KafkaSplit;

    async fn next(&mut self) -> Result<Option<Batch<T, KafkaSplit>>> {
        let Some(Batch { records, resume }) = self.reader.next().await? else { return Ok(None) };
        let mut decoded = Vec::with_capacity(records.len());
        let mut letters = Vec::new();
        for record in records {
            match (self.decode)(&record) {
                Ok(value) => decoded.push(value),
                Err(why) => letters.extend(set_aside(&self.policy, record, why)?),
            }
        }
        if !letters.is_empty() {
            // Durable before the batch is handed over: no snapshot has a position behind a lost letter.
            let wire = match &mut self.letters {
                Some(wire) => wire,
                none => none.insert(Box::new(Librdkafka::start(letter_config(&self.properties)).await?)),
            };
            wire.send(&mut letters).await?;
            wire.flush().await?;
        }
        Ok(Some(Batch { records: decoded, resume }))
    }
}

fn letter_config(properties: &Properties) -> Arc<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
    for (name, value) in properties.iter() {
        config.set(name, value);
    }
    Arc::new(config)
}

/// Applies the policy to a record that cannot be decoded: what is to be written of it, if anything.
fn set_aside(policy: &RecordPolicy, record: KafkaRecord, why: String) -> Result<Option<ProducerRecord>> {
    let KafkaRecord { topic, partition, offset, timestamp, key, value, mut headers } = record;
    if *policy == RecordPolicy::Fail {
        return Err(Error::new(ErrorKind::Data, "read from Kafka", "a record cannot be decoded")
            .with("topic", topic)
            .with("partition", partition)
            .with("offset", offset)
            .because(why));
    }
    metrics::counter!("tidelock_kafka_records_undecodable").increment(1);
    let RecordPolicy::DeadLetter(to) = policy else {
        tracing::warn!(%topic, partition, offset, why, "a record cannot be decoded: left out");
        return Ok(None);
    };
    let facts = [
        ("tidelock.error", why),
        ("tidelock.topic", topic.to_string()),
        ("tidelock.partition", partition.to_string()),
        ("tidelock.offset", offset.to_string()),
    ];
    headers.extend(facts.map(|(name, value)| Header { name: name.into(), value: Some(value.into()) }));
    Ok(Some(ProducerRecord { topic: to.as_str().into(), partition: None, timestamp, key, value, headers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad() -> KafkaRecord {
        KafkaRecord {
            topic: "t".into(),
            partition: 3,
            offset: 42,
            timestamp: Some(7),
            key: Some("k".into()),
            value: Some("\u{0}".into()),
            headers: vec![],
        }
    }

    #[test]
    fn fail_names_topic_partition_offset_and_cause() {
        let error = set_aside(&RecordPolicy::Fail, bad(), "no number".into()).expect_err("refused");
        let text = format!("{error:?}");
        for part in ["topic=t", "partition=3", "offset=42", "no number"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_dead_letter_is_the_record_with_where_it_came_from() {
        let policy = RecordPolicy::DeadLetter("dead".into());
        let letter = set_aside(&policy, bad(), "no number".into()).expect("set aside").expect("a letter");
        assert_eq!((&*letter.topic, letter.key, letter.value), ("dead", bad().key, bad().value));
        let offset = letter.headers.iter().find(|one| &*one.name == "tidelock.offset").expect("a header");
        assert_eq!(offset.value.as_deref(), Some(&b"42"[..]));
        assert_eq!(set_aside(&RecordPolicy::Skip, bad(), String::new()).expect("skipped"), None);
    }
}
