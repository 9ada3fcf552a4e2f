//! What is read of a shard by subscriptions, one after the other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::types::SubscribeToShardEvent;
use tidelock::{Error, ErrorKind, Patience, Result, Retry};
use tidelock_aws::says_nothing;
use tokio::time::{Instant, sleep, sleep_until};

use super::call::{Beginning, subscribe};
use super::config::FanOutConfig;
use super::connections::Connections;
use super::consumer::Consumer;
use super::fault::{Fault, SUBSCRIBE};
use super::subscription::{Limits, Over, Subscription, Told};
use super::times::is_all_there;
use crate::client::CALLS_AGAIN;
use crate::source::fetch::{Child, Fetch, Page, Place, Raw};
use crate::source::fetch::{Refusal, Said};
use crate::source::reading::{Reading, now_ms};

/// How often a shard whose end is not certain is read past answers that have neither records nor the end.
const EMPTY_PAGES_MAX: u32 = 20;

/// Between those: a shard may be read five times a second.
const EMPTY_PAGE_WAIT: Duration = Duration::from_millis(250);

/// What the last event said of what comes after it.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at_ms: i64,
    behind_ms: i64,
}

/// Reads a shard by enhanced fan-out.
pub(in crate::source) struct FanOut {
    reading: Arc<Reading>,
    consumer: Arc<Consumer>,
    connections: Arc<Connections>,
    config: FanOutConfig,
    shard: String,
    /// Where the next subscription begins.
    from: Beginning,
    /// Whether an event said so: `None` where the reader did.
    heard: Option<Heard>,
    live: Option<Subscription>,
    /// Whether an event came by it.
    has_brought: bool,
    not_before: Instant,
    /// Since the last event.
    patience: Option<Patience>,
    /// Why the next subscription is needed, for the figures.
    why: &'static str,
    is_taking_told: bool,
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut").field("shard", &self.shard).field("from", &self.from).finish_non_exhaustive()
    }
}

impl FanOut {
    pub(in crate::source) fn new(
        reading: Arc<Reading>,
        consumer: Arc<Consumer>,
        connections: Arc<Connections>,
        config: FanOutConfig,
        shard: &str,
    ) -> Self {
        Self {
            reading,
            consumer,
            connections,
            config,
            shard: shard.to_owned(),
            from: Beginning::Oldest,
            heard: None,
            live: None,
            has_brought: false,
            not_before: Instant::now(),
            patience: None,
            why: "opened",
            is_taking_told: false,
        }
    }

    /// A subscription, tried for until there is one.
    async fn subscribe(&mut self) -> Result<Said<()>> {
        loop {
            sleep_until(self.not_before).await;
            let consumer = self.consumer.arn().await?;
            let seat = self.connections.seat().await?;
            let in_time = Duration::from_millis(self.reading.config.kinesis.call_timeout_ms);
            let stream = self.consumer.stream_arn().to_owned();
            metrics::counter!("tidelock_kinesis_subscriptions_total", "stream" => stream, "why" => self.why)
                .increment(1);
            match subscribe(seat.client(), &consumer, &self.shard, &self.from, in_time).await {
                Ok(events) => {
                    self.keep_apart();
                    let limits = Limits {
                        life: self.config.times.life(rand::random()),
                        idle: Duration::from_millis(self.config.idle_timeout_ms),
                        no_room: self.config.times.no_room,
                    };
                    self.live = Some(Subscription::begin(events, limits, seat));
                    self.has_brought = false;
                    return Ok(Ok(()));
                }
                Err(fault) => {
                    if let Some(refusal) = self.after(fault, &consumer).await? {
                        return Ok(Err(refusal));
                    }
                }
            }
        }
    }

    /// The next subscription comes so much later.
    fn keep_apart(&mut self) {
        self.not_before = Instant::now() + self.config.times.apart(rand::random());
    }

    /// What is done about something that is wrong: nothing more than to wait, or the reader decides by the refusal.
    async fn after(&mut self, fault: Fault, consumer: &str) -> Result<Option<Refusal>> {
        let error = match fault {
            Fault::Taken(error) => {
                self.tell_of_taking();
                self.keep_apart();
                self.why = "taken";
                error
            }
            Fault::Missing(error) => {
                // Only a shard that is not there when it is asked for by itself is gone.
                if let Err(refusal) = self.iterator(Place::Oldest).await? {
                    return Ok(Some(refusal));
                }
                self.consumer.forget(consumer).await;
                self.why = "failed";
                error.with_retry(Retry::Retry)
            }
            Fault::Place(error) => match self.from {
                Beginning::At(_) | Beginning::After(_) => return Ok(Some(Refusal::Unknown)),
                Beginning::Oldest | Beginning::Time(_) => error,
            },
            Fault::Other(error) => {
                self.why = "failed";
                error
            }
        };
        self.wait(error).await?;
        Ok(None)
    }

    /// Waits before the next subscription, for as long as nothing came that is not too long.
    async fn wait(&mut self, error: Error) -> Result<()> {
        let again_for = Duration::from_millis(self.reading.config.retry_for_ms);
        let patience = self.patience.get_or_insert_with(|| Patience::new(CALLS_AGAIN, again_for));
        let error = error.with("shard", &self.shard).with("consumer", self.consumer.name());
        patience.after(error, self.consumer.stream_arn()).await
    }

    /// Once for each reader: a job that goes on elsewhere takes the shards of the one that it fences, and two that share a consumer do it all the time.
    fn tell_of_taking(&mut self) {
        if !std::mem::replace(&mut self.is_taking_told, true) {
            let (shard, consumer) = (&self.shard, self.consumer.name());
            tracing::warn!(
                shard,
                consumer,
                "another subscription has taken a shard, or had it a moment ago: another job must have a consumer of its own"
            );
        }
    }

    async fn iterator(&self, place: Place<'_>) -> Result<Said<String>> {
        self.reading.api.iterator(self.consumer.stream_arn(), &self.shard, place).await
    }

    /// A subscription is over. What is to be done about it, other than to wait, the reader decides.
    async fn over(&mut self, over: Over) -> Result<Option<Refusal>> {
        self.live = None;
        let (why, said) = match over {
            Over::Fault(fault) => {
                let consumer = self.consumer.arn().await?;
                return self.after(fault, &consumer).await;
            }
            Over::NoRoom => {
                // Events were taken from it.
                self.why = "no_room";
                return Ok(None);
            }
            Over::Ended => ("ended", "a subscription ended before anything came by it"),
            Over::Silent => {
                ("silent", "a subscription brought nothing for too long, not even an empty event")
            }
        };
        self.why = why;
        if !self.has_brought {
            let error = Error::new(ErrorKind::Unavailable, SUBSCRIBE, said).with_retry(Retry::Retry);
            self.wait(error).await?;
        }
        Ok(None)
    }

    /// What an event has, and where the next subscription goes on.
    async fn take(&mut self, event: SubscribeToShardEvent) -> Result<Option<Page>> {
        let SubscribeToShardEvent { records, continuation_sequence_number: next, .. } = event;
        let behind_ms = event.millis_behind_latest;
        let children = event.child_shards.unwrap_or_default().into_iter().map(Child::of_wire);
        let children: Vec<Child> = children.collect::<Result<_>>()?;
        let records: Vec<Raw> = records.into_iter().map(Raw::of_wire).collect::<Result<_>>()?;
        // The SDK puts an empty text where there is none.
        let is_end = if next.is_empty() {
            let last = records.last().map(|record| record.sequence_number.clone());
            let is_end = !children.is_empty() || self.has_ended(last.as_deref()).await?;
            if let Some(last) = last {
                self.from = Beginning::After(last);
            }
            if !is_end && records.is_empty() {
                return self.said_nothing().await;
            }
            is_end
        } else {
            self.from = Beginning::After(next);
            false
        };
        self.heard = Some(Heard { at_ms: now_ms(), behind_ms });
        (self.has_brought, self.patience) = (true, None);
        Ok(Some(Page { records, behind_ms: Some(behind_ms), children, is_end }))
    }

    /// An event that has nothing in it: the subscription is replaced by another one.
    async fn said_nothing(&mut self) -> Result<Option<Page>> {
        self.live = None;
        self.why = "failed";
        self.wait(says_nothing(SUBSCRIBE)).await?;
        Ok(None)
    }

    /// Whether nothing comes after this record, as one hears who reads the shard without a consumer.
    async fn has_ended(&self, last: Option<&str>) -> Result<bool> {
        let place = last.map_or_else(|| self.from.place(), Place::After);
        let Ok(mut iterator) = self.iterator(place).await? else { return Ok(false) };
        for _ in 0..EMPTY_PAGES_MAX {
            let Ok(page) = self.reading.api.records(&iterator, 1).await? else { return Ok(false) };
            match page.next {
                _ if !page.records.is_empty() => return Ok(false),
                None => return Ok(true),
                Some(next) => iterator = next,
            }
            sleep(EMPTY_PAGE_WAIT).await;
        }
        Ok(false)
    }
}

#[async_trait]
impl Fetch for FanOut {
    async fn next(&mut self) -> Result<Said<Page>> {
        loop {
            let Some(live) = &mut self.live else {
                // What an event said of where to go on holds for a while only.
                if self.heard.is_some_and(|heard| !is_all_there(heard.at_ms, heard.behind_ms, now_ms())) {
                    self.why = "lagging";
                    return Ok(Err(Refusal::Stale));
                }
                if let Err(refusal) = self.subscribe().await? {
                    return Ok(Err(refusal));
                }
                continue;
            };
            match live.next().await {
                Told::Event(event) => {
                    if let Some(page) = self.take(event).await? {
                        return Ok(Ok(page));
                    }
                }
                Told::Over(over) => {
                    if let Some(refusal) = self.over(over).await? {
                        return Ok(Err(refusal));
                    }
                }
            }
        }
    }

    async fn seek(&mut self, place: Place<'_>) -> Result<Said<()>> {
        self.live = None;
        (self.from, self.heard) = (Beginning::of(place), None);
        self.subscribe().await
    }
}
