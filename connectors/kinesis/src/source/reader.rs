//! Reads one shard.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::{Batch, Error, ErrorKind, Result, Retry, SplitReader};
use tokio::time::sleep;

use super::api::children;
use super::config::name_of;
use super::fetch::{Child, Fetch, Page, Place, Refusal};
use super::gate::{Clock, Gap, Gate};
use super::loss::loss;
use super::open::{Opened, Opener};
use super::reading::{Reading, now_ms};
use super::shard::{End, KinesisShard, Position};
use crate::header::stream_sum;
use crate::record::KinesisRecord;

/// How often in a row a place may be refused.
const REFUSALS_MAX: u32 = 20;

/// So many times in a row a shard is not there, before that is believed: what is new, or what a list lacks, may be told a moment later.
const LOOKS_MAX: u32 = 5;

/// Before a place is asked for again that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// A shard that has nothing new says so that often. Records are kept for a day at least.
const CAUGHT_UP_TOLD_EVERY_MS: i64 = 60 * 1_000;

/// Where a reader is.
#[derive(Debug)]
enum Stand {
    /// More may come.
    Reading,
    /// All records were read. The service may have said what goes on from the shard.
    Closed(Vec<Child>),
    /// There are none any more, and nobody knows what goes on from the shard.
    Lost,
    /// What comes next is not to be read.
    Stopped,
    /// The end was told.
    Ended,
}

/// What there is of a shard.
#[derive(Debug, Clone, Copy)]
enum There {
    /// It is in its stream.
    Shard,
    /// Its stream is there, and it is not.
    Stream(Clock),
    /// Its stream is not there, or another one under its name.
    Nothing,
}

/// Reads the records of one shard in their order.
pub struct KinesisReader {
    split: KinesisShard,
    reading: Arc<Reading>,
    fetch: Box<dyn Fetch>,
    gate: Gate,
    opener: Opener,
    stand: Stand,
    /// What came and was not handed over yet.
    came: VecDeque<Opened>,
    /// For how long records are kept, and for how long they were when it was last sure that none is missing.
    kept_ms: (i64, i64),
    /// How often a place was refused, since records came.
    refusals: u32,
    /// What the last records take.
    bytes: u64,
}

impl fmt::Debug for KinesisReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisReader").field("split", &self.split).finish_non_exhaustive()
    }
}

impl KinesisReader {
    /// # Errors
    /// The loss, where the shard or its stream is not there any more and that is the policy.
    pub(super) async fn open(
        reading: Arc<Reading>,
        split: KinesisShard,
        fetch: Box<dyn Fetch>,
    ) -> Result<Self> {
        let opener = Opener {
            stream: name_of(&split.stream).into(),
            shard: split.shard.as_str().into(),
            range: split.range,
            sum: stream_sum(&split.stream),
        };
        let (gate, stand, came) = (Gate::new(&split), Stand::Ended, VecDeque::new());
        let kept_ms = (i64::MAX, split.kept_ms.unwrap_or(i64::MAX));
        let mut reader =
            Self { split, reading, fetch, gate, opener, stand, came, kept_ms, refusals: 0, bytes: 0 };
        if reader.split.end.is_none() {
            reader.begin().await?;
        }
        Ok(reader)
    }

    /// The time, and how long the stream keeps records, or did: who has them kept for longer brings none back. `None`: it is not there any more.
    async fn clock(&mut self) -> Result<Option<Clock>> {
        let said = self.reading.summary(&self.split.stream).await?;
        let is_ours = |made_ms: i64| made_ms == self.split.made_ms;
        let ours = said.ok().filter(|summary| is_ours(summary.made_ms));
        Ok(ours.map(|summary| self.clock_of(summary.kept_ms)))
    }

    fn clock_of(&mut self, kept_ms: i64) -> Clock {
        self.kept_ms.0 = kept_ms;
        Clock { now_ms: now_ms(), kept_ms: kept_ms.min(self.kept_ms.1) }
    }

    /// Seeks the place where reading goes on.
    async fn begin(&mut self) -> Result<()> {
        self.stand = Stand::Reading;
        loop {
            let Some(clock) = self.clock().await? else { return self.lost(There::Nothing) };
            if self.fetch.seek(self.gate.place(clock)).await?.is_ok() {
                return Ok(());
            }
            let there = self.look().await?;
            if !matches!(there, There::Shard) {
                return self.lost(there);
            }
            let is_number = self.split.position.since_ms().is_none();
            if is_number && self.fetch.seek(Place::Oldest).await?.is_ok() {
                // The number is not known any more. What is awaited does not come, and that is found out when another one does.
                self.gate.is_unknown();
                return Ok(());
            }
            self.again().await?;
        }
    }

    /// Whether the shard is in its stream still. That its place is refused says nothing of it, and one list that lacks it says little.
    async fn look(&mut self) -> Result<There> {
        let KinesisShard { stream, made_ms, shard, .. } = self.split.clone();
        let mut looks_left = LOOKS_MAX;
        loop {
            let summary = self.reading.new_summary(&stream).await?;
            let Some(summary) = summary.ok().filter(|summary| summary.made_ms == made_ms) else {
                return Ok(There::Nothing);
            };
            let api = &self.reading.api;
            let Ok(listed) = api.shards(&stream).await? else { return Ok(There::Nothing) };
            let is_listed = listed.iter().any(|one| one.id == shard);
            if is_listed || api.iterator(&stream, &shard, Place::Oldest).await?.is_ok() {
                return Ok(There::Shard);
            }
            looks_left -= 1;
            if looks_left == 0 {
                return Ok(There::Stream(self.clock_of(summary.kept_ms)));
            }
            sleep(REFUSED_PAUSE).await;
        }
    }

    /// The shard is not there any more, nor are its records.
    fn lost(&mut self, there: There) -> Result<()> {
        self.stand = Stand::Lost;
        // What arrived since it was found would be kept. What was there before moves with the horizon, and is none of the job's losses.
        let had_only_older = match (there, self.split.position.since_ms()) {
            (There::Stream(clock), Some(since_ms)) => !clock.is_long_ago(since_ms),
            _ => false,
        };
        if had_only_older {
            return Ok(());
        }
        let why = if matches!(there, There::Nothing) {
            "the stream of a shard that is being read was deleted, or deleted and made again"
        } else {
            "a shard that is being read is not there any more, nor are its records"
        };
        self.accept(loss(ErrorKind::NotFound, why), "it goes on with the shards that are there")
    }

    fn accept(&self, loss: Error, then: &str) -> Result<()> {
        let KinesisShard { stream, shard, position, arrival_ms, caught_up_ms, .. } = &self.split;
        let mut loss = loss.with("shard", shard).with("position", position);
        for (name, time) in [("last_arrival_ms", arrival_ms), ("caught_up_ms", caught_up_ms)] {
            if let Some(time) = time {
                loss = loss.with(name, time);
            }
        }
        self.reading.losses.accept(stream, loss, then)
    }

    /// Waits before a place is asked for again.
    ///
    /// # Errors
    /// Where that was too often: a service that refuses every place that it gives is not asked for ever.
    async fn again(&mut self) -> Result<()> {
        self.refusals += 1;
        if self.refusals > REFUSALS_MAX {
            let why = "every place in a shard is refused, however new it is";
            let error = Error::new(ErrorKind::Unavailable, "read a stream", why).with_retry(Retry::Restart);
            return Err(error.with("shard", &self.split.shard).with("position", &self.split.position));
        }
        sleep(REFUSED_PAUSE).await;
        Ok(())
    }

    /// Reads on.
    async fn read(&mut self) -> Result<()> {
        let Some(clock) = self.clock().await? else { return self.lost(There::Nothing) };
        if self.gate.is_in_doubt(clock) {
            self.begin().await?;
            if !matches!(self.stand, Stand::Reading) {
                return Ok(());
            }
        }
        self.gate.ask(clock);
        match self.fetch.next().await? {
            Ok(page) => self.take(page, Clock { now_ms: now_ms(), ..clock }),
            Err(Refusal::Stale) if self.refusals == 0 => {
                self.refusals += 1;
                self.begin().await
            }
            Err(_) => {
                self.again().await?;
                match self.look().await? {
                    There::Shard => self.begin().await,
                    there => self.lost(there),
                }
            }
        }
    }

    fn take(&mut self, mut page: Page, clock: Clock) -> Result<()> {
        self.refusals = 0;
        self.tell_behind(page.behind_ms);
        if let Err(Gap { why, next }) = self.gate.admit(&mut page, clock) {
            let mut loss = loss(ErrorKind::Expired, why).with("kept_ms", clock.kept_ms);
            if let Some(next) = next {
                loss = loss.with("oldest_there", next.number);
                if let Some(arrival_ms) = next.arrival_ms {
                    loss = loss.with("oldest_arrival_ms", arrival_ms);
                }
            }
            self.accept(loss, "it goes on with the oldest record that is there")?;
        }
        if self.gate.is_sure() {
            self.kept_ms.1 = self.kept_ms.0;
        }
        let Page { records, children, is_end, .. } = page;
        for raw in records {
            self.came.extend(self.opener.open(raw)?);
        }
        if is_end {
            self.stand = Stand::Closed(children);
        }
        Ok(())
    }

    fn tell_behind(&self, behind_ms: Option<i64>) {
        let Some(behind_ms) = behind_ms else { return };
        let (stream, shard) = (self.opener.stream.to_string(), self.opener.shard.to_string());
        metrics::gauge!("tidelock_kinesis_millis_behind", "stream" => stream, "shard" => shard)
            .set(behind_ms as f64);
    }

    /// Hands over what came: nothing where there is nothing, and the position has not moved.
    fn hand_over(&mut self) -> Option<Batch<KinesisRecord, KinesisShard>> {
        let (mut records, mut has_moved) = (Vec::new(), false);
        while records.len() < self.reading.config.batch_records as usize
            && let Some(opened) = self.came.pop_front()
        {
            if self.split.stop_ms.is_some_and(|stop_ms| opened.arrival_ms.is_some_and(|at| at >= stop_ms)) {
                self.came.clear();
                self.stand = Stand::Stopped;
                break;
            }
            has_moved = true;
            records.extend(self.step(opened));
        }
        if !has_moved {
            return self.caught_up();
        }
        self.bytes = records.iter().map(KinesisRecord::heap_bytes).sum();
        Some(Batch { records, resume: self.split.clone() })
    }

    /// The position moves over a record, which is handed over unless it was before.
    fn step(&mut self, opened: Opened) -> Option<KinesisRecord> {
        let Opened { record, header, sequence_number, sub_sequence, is_last, arrival_ms } = opened;
        match &mut self.split.position {
            Position::After { sequence_number: read, sub_sequence: last, is_whole }
                if **read == *sequence_number && sub_sequence <= *last =>
            {
                *is_whole = is_last;
                self.split.arrival_ms = arrival_ms;
                return None;
            }
            position => {
                let sequence_number = sequence_number.to_string();
                *position = Position::After { sequence_number, sub_sequence, is_whole: is_last };
            }
        }
        self.split.arrival_ms = arrival_ms;
        // The time of the stream: where the service tells none, ours is close.
        let is_new = |header| self.split.seen.take(header, arrival_ms.unwrap_or_else(now_ms));
        record.filter(|_| header.as_ref().is_none_or(is_new))
    }

    /// There is nothing more to read: that is told now and then, and it may be the end.
    fn caught_up(&mut self) -> Option<Batch<KinesisRecord, KinesisShard>> {
        let caught_up_ms = self.gate.caught_up_ms().filter(|_| matches!(self.stand, Stand::Reading))?;
        if self.split.stop_ms.is_some_and(|stop_ms| caught_up_ms >= stop_ms) {
            self.stand = Stand::Stopped;
            return None;
        }
        let is_due = |told_ms: i64| caught_up_ms.saturating_sub(told_ms) >= CAUGHT_UP_TOLD_EVERY_MS;
        if !self.split.caught_up_ms.is_none_or(is_due) {
            return None;
        }
        self.split.caught_up_ms = Some(caught_up_ms);
        self.split.kept_ms = Some(self.kept_ms.1);
        self.bytes = 0;
        Some(Batch { records: Vec::new(), resume: self.split.clone() })
    }

    /// The shards that go on from this one, which has ended.
    async fn children(&mut self) -> Result<Vec<Child>> {
        let KinesisShard { stream, shard, .. } = &self.split;
        let Ok(children) = self.reading.api.children_of_ended(stream, shard).await? else {
            let why = "the stream is not there any more, and what goes on from a shard is not known";
            self.accept(loss(ErrorKind::NotFound, why), "it goes on with what is there")?;
            return Ok(Vec::new());
        };
        Ok(children)
    }

    /// Those that are listed now: of a shard that is not there any more no others are told.
    async fn listed_children(&mut self) -> Result<Vec<Child>> {
        let KinesisShard { stream, made_ms, shard, .. } = &self.split;
        let summary = self.reading.new_summary(stream).await?;
        if summary.ok().is_none_or(|summary| summary.made_ms != *made_ms) {
            return Ok(Vec::new());
        }
        let listed = self.reading.api.shards(stream).await?.unwrap_or_default();
        Ok(children(listed, shard))
    }

    /// The last position: it says how the shard ended.
    fn end(&mut self, end: End) -> Batch<KinesisRecord, KinesisShard> {
        self.split.caught_up_ms = self.split.caught_up_ms.max(self.gate.caught_up_ms());
        self.split.end = Some(end);
        self.stand = Stand::Ended;
        self.bytes = 0;
        self.tell_behind(Some(0));
        Batch { records: Vec::new(), resume: self.split.clone() }
    }
}

#[async_trait]
impl SplitReader for KinesisReader {
    type Record = KinesisRecord;
    type Split = KinesisShard;

    async fn next(&mut self) -> Result<Option<Batch<KinesisRecord, KinesisShard>>> {
        loop {
            if let Some(batch) = self.hand_over() {
                return Ok(Some(batch));
            }
            let end = match &mut self.stand {
                Stand::Ended => return Ok(None),
                Stand::Stopped => End::Stopped,
                Stand::Lost => End::Children(self.listed_children().await?),
                Stand::Closed(told) => match std::mem::take(told) {
                    told if told.is_empty() => End::Children(self.children().await?),
                    told => End::Children(told),
                },
                Stand::Reading => {
                    self.read().await?;
                    continue;
                }
            };
            return Ok(Some(self.end(end)));
        }
    }

    fn heap_bytes(&self) -> u64 {
        self.bytes
    }
}
