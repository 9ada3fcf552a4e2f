//! What a source and its readers share.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelock::Result;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{Api, Summary};
use super::config::KinesisStreamConfig;
use super::fetch::Said;
use super::loss::Losses;

/// How long it is believed what a stream was described as: all of its shards are opened at once, and a description may be asked for twenty times a second.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) config: KinesisStreamConfig,
    pub(crate) api: Api,
    pub(super) losses: Losses,
    summaries: Mutex<Summaries>,
}

/// By their ARNs, with the moment when they were told.
type Summaries = BTreeMap<String, (Summary, Instant)>;

impl Reading {
    pub(super) fn new(config: KinesisStreamConfig, api: Api) -> Self {
        let losses = Losses::new(config.on_data_loss);
        Self { config, api, losses, summaries: Mutex::default() }
    }

    /// What a stream is now, or was a moment ago. Who asks meanwhile waits for the same answer.
    pub(super) async fn summary(&self, stream: &str) -> Result<Said<Summary>> {
        let mut summaries = self.summaries.lock().await;
        if let Some((summary, at)) = summaries.get(stream)
            && at.elapsed() < BELIEVED_FOR
        {
            return Ok(Ok(summary.clone()));
        }
        let said = self.api.summary(stream).await?;
        learn(&mut summaries, stream, &said);
        Ok(said)
    }

    /// What a stream is now.
    pub(super) async fn new_summary(&self, stream: &str) -> Result<Said<Summary>> {
        let said = self.api.summary(stream).await?;
        learn(&mut *self.summaries.lock().await, stream, &said);
        Ok(said)
    }
}

/// Readers know a stream by its ARN, whatever it is called in the settings.
fn learn(summaries: &mut Summaries, stream: &str, said: &Said<Summary>) {
    match said {
        Ok(summary) => summaries.insert(summary.arn.clone(), (summary.clone(), Instant::now())),
        Err(_) => summaries.remove(stream),
    };
}

/// The time in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
