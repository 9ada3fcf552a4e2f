//! What the readers of a source share: the consumers of its streams, and the connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tidelock::Result;

use super::config::FanOutConfig;
use super::connections::Connections;
use super::consumer::Consumer;
use super::fetch::FanOut;
use crate::source::config::KinesisStreamConfig;
use crate::source::reading::Reading;

/// The consumers of all streams of a source.
#[derive(Debug)]
pub(crate) struct Consumers {
    client: Client,
    config: FanOutConfig,
    connections: Arc<Connections>,
    again_for: Duration,
    /// By the ARN of the stream.
    all: Mutex<BTreeMap<String, Arc<Consumer>>>,
}

impl Consumers {
    /// Where the settings ask for enhanced fan-out.
    pub(crate) fn of(client: &Client, config: &KinesisStreamConfig) -> Option<Self> {
        Some(Self {
            client: client.clone(),
            config: config.fan_out.clone()?,
            connections: Arc::new(Connections::new(config.kinesis.clone())),
            again_for: Duration::from_millis(config.retry_for_ms),
            all: Mutex::default(),
        })
    }

    /// The consumer of a stream: the same for all who ask.
    fn consumer(&self, stream_arn: &str) -> Arc<Consumer> {
        let new = || Consumer::new(self.client.clone(), stream_arn, &self.config, self.again_for);
        let mut all = self.lock();
        Arc::clone(all.entry(stream_arn.to_owned()).or_insert_with(|| Arc::new(new())))
    }

    /// Waits until the consumer of a stream can be used.
    ///
    /// # Errors
    /// Where there is none, and it is not for the job to register it.
    pub(crate) async fn ready(&self, stream_arn: &str) -> Result<()> {
        self.consumer(stream_arn).arn().await?;
        Ok(())
    }

    /// Who reads a shard. A place is to be sought first.
    pub(in crate::source) fn fetch(&self, reading: &Arc<Reading>, stream_arn: &str, shard: &str) -> FanOut {
        let (consumer, connections) = (self.consumer(stream_arn), Arc::clone(&self.connections));
        FanOut::new(Arc::clone(reading), consumer, connections, self.config.clone(), shard)
    }

    /// Removes the consumers, where the settings say so.
    ///
    /// # Errors
    /// Where the service refuses, or is away for too long.
    pub(crate) async fn remove(&self) -> Result<()> {
        let all: Vec<Arc<Consumer>> = self.lock().values().cloned().collect();
        for consumer in all {
            consumer.remove().await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Consumer>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
