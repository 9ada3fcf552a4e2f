//! A stream on a real server, and the shim before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock_kinesis::{FanOutConfig, KinesisStream, KinesisStreamConfig};

use crate::common::{NewStream, shared};
use crate::shim::Shim;

pub(crate) struct World {
    pub(crate) shim: Shim,
    pub(crate) stream: NewStream,
    /// How many records each key got.
    pub(crate) put: BTreeMap<String, u64>,
}

impl World {
    pub(crate) async fn with_shards(shards: i32) -> Self {
        let stream = NewStream::make(shared(), shards).await;
        Self { shim: Shim::start(shared()).await, stream, put: BTreeMap::new() }
    }

    pub(crate) fn fan_out() -> FanOutConfig {
        // A second of the service is a few milliseconds here.
        let mut fan_out = FanOutConfig::new("reader").with_times_ms(60_000, 25, 1_000);
        fan_out.idle_timeout_ms = 500;
        fan_out
    }

    pub(crate) fn config(&self) -> KinesisStreamConfig {
        let mut config = KinesisStreamConfig::new(self.shim.config(), [&self.stream.name]);
        config.fan_out = Some(Self::fan_out());
        config.kinesis.call_timeout_ms = 5_000;
        config
    }

    pub(crate) async fn source(&self, change: impl FnOnce(&mut KinesisStreamConfig)) -> Arc<KinesisStream> {
        let mut config = self.config();
        change(&mut config);
        Arc::new(KinesisStream::connect(config).await.unwrap())
    }

    /// Puts so many records for each of some keys, numbered on.
    pub(crate) async fn put(&mut self, keys: u64, records: u64) {
        for _ in 0..records {
            let mut texts = Vec::new();
            for key in 0..keys {
                let key = format!("key-{key}");
                let next = self.put.entry(key.clone()).or_default();
                texts.push((key.clone(), format!("{key}:{next}")));
                *next += 1;
            }
            self.stream.put(texts).await;
        }
    }

    /// Puts so many records of so many bytes, with one key.
    pub(crate) async fn put_large(&mut self, records: u64, bytes: usize) {
        let next = self.put.entry("large".into()).or_default();
        for number in *next..*next + records {
            self.stream.put([("large".into(), format!("large:{number}:{}", "x".repeat(bytes)))]).await;
        }
        *next += records;
    }

    /// How many records were put.
    pub(crate) fn total(&self) -> usize {
        usize::try_from(self.put.values().sum::<u64>()).unwrap()
    }

    /// Panics where what was read is not everything, once, and in the order of each key.
    pub(crate) fn check(&self, seen: &[String]) {
        let mut by_key = BTreeMap::<&str, Vec<u64>>::new();
        for text in seen {
            let mut parts = text.split(':');
            let (key, number) = (parts.next().unwrap(), parts.next().unwrap());
            by_key.entry(key).or_default().push(number.parse().unwrap());
        }
        for (key, count) in &self.put {
            let expected: Vec<u64> = (0..*count).collect();
            assert_eq!(by_key.remove(key.as_str()).unwrap_or_default(), expected, "{key}");
        }
        assert!(by_key.is_empty(), "{by_key:?}");
    }

    /// Splits every open shard in its middle.
    pub(crate) async fn split_all(&self) {
        for shard in self.stream.open_shards().await {
            self.stream.split(&shard).await;
        }
    }

    /// Merges the open shards, two by two.
    pub(crate) async fn merge_all(&self) {
        for pair in self.stream.open_shards().await.chunks_exact(2) {
            self.stream.merge(&pair[0], &pair[1]).await;
        }
    }
}
