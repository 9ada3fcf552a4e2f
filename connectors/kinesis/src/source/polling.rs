//! Asks for the records of a shard, again and again, within what the service allows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::Result;
use tokio::time::{Instant, sleep, sleep_until};

use super::api::Records;
use super::budget::{Budget, Idle};
use super::fetch::{Fetch, Page, Place, Refusal, Said};
use super::reading::Reading;

/// Reads a shard by GetRecords.
pub(super) struct Polling {
    reading: Arc<Reading>,
    /// The stream's ARN.
    stream: String,
    shard: String,
    /// With it the next records are had.
    iterator: Option<String>,
    budget: Budget,
    idle: Idle,
    /// The last answer had nothing, and nothing was to be had.
    has_nothing: bool,
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Polling {
    pub(super) fn new(reading: Arc<Reading>, stream: &str, shard: &str) -> Self {
        let config = &reading.config;
        let budget = Budget::new(config.calls_per_second, Instant::now());
        let (first, longest) = (config.idle_wait_ms, config.idle_wait_max_ms);
        let idle = Idle::new(Duration::from_millis(first), Duration::from_millis(longest));
        let (stream, shard) = (stream.to_owned(), shard.to_owned());
        Self { reading, stream, shard, iterator: None, budget, idle, has_nothing: false }
    }
}

#[async_trait]
impl Fetch for Polling {
    async fn next(&mut self) -> Result<Said<Page>> {
        if self.has_nothing {
            sleep(self.idle.pause()).await;
        }
        sleep_until(self.budget.free_at()).await;
        // Without one the shard has ended, or the reader was refused a place and asks on: it is to seek.
        let Some(iterator) = &self.iterator else { return Ok(Err(Refusal::Stale)) };
        let begun = Instant::now();
        let said = self.reading.api.records(iterator, self.reading.config.batch_records).await;
        let said = said.map_err(|error| error.with("stream", &self.stream).with("shard", &self.shard))?;
        let Records { records, next, behind_ms, children } = match said {
            Ok(records) => records,
            Err(refusal) => {
                self.budget.spend(begun, 0);
                return Ok(Err(refusal));
            }
        };
        self.budget.spend(begun, records.iter().map(|record| record.data.len() as u64).sum());
        self.has_nothing = records.is_empty() && behind_ms.is_none_or(|behind| behind == 0);
        if !self.has_nothing {
            self.idle.end();
        }
        let is_end = next.is_none();
        self.iterator = next;
        Ok(Ok(Page { records, behind_ms, children, is_end }))
    }

    async fn seek(&mut self, place: Place<'_>) -> Result<Said<()>> {
        self.iterator = None;
        let said = self.reading.api.iterator(&self.stream, &self.shard, place).await?;
        Ok(said.map(|iterator| self.iterator = Some(iterator)))
    }
}
