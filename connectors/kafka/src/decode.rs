//! A source of decoded records, and what happens to those that cannot be decoded.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::{Batch, Discovery, Known, Result, Source, SourceName, SplitReader};

use crate::config::RecordPolicy;
use crate::letters::{Letters, set_aside};
use crate::reader::KafkaReader;
use crate::record::KafkaRecord;
use crate::source::KafkaSource;
use crate::split::KafkaSplit;

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
    /// offset. A record that the source cannot even read, as its header's name is no text, is for
    /// [`on_unreadable`](crate::KafkaSourceConfig::on_unreadable) to decide.
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
            letters: Letters::new(self.source.properties()),
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
    letters: Letters,
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
                Err(why) => letters.extend(set_aside(&self.policy, "the policy of decode", record, why)?),
            }
        }
        // Durable before the batch is handed over.
        self.letters.write(&mut letters).await?;
        Ok(Some(Batch { records: decoded, resume }))
    }

    /// What a record is decoded to is taken to need as much as what it was decoded from.
    fn heap_bytes(&self) -> u64 {
        self.reader.heap_bytes()
    }

    fn belongs_to(&mut self, source: &SourceName) {
        self.reader.belongs_to(source);
    }
}
