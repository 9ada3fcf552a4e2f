//! The task that puts records until all are there.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tidelock::{Error, ErrorKind, Result, Retry};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::brakes::Brakes;
use super::lanes::{Lanes, Rules, Unit, Waiting};
use super::request::{Entry, Requests, Went};
use crate::aggregate::Aggregate;
use crate::put::KinesisPut;

/// A stream that takes nothing at all of a writer for so long is away: that is for the attempt's restart.
const AGAIN_FOR: Duration = Duration::from_secs(120);

/// So many records wait in memory, or are under way.
const RECORDS_MAX: usize = 20_000;

/// So many bytes of them: more than a request has, so that the next one is ready.
const BYTES_MAX: usize = 24 * 1_024 * 1_024;

/// The pauses after a request of which nothing is known, or a record that was refused for another reason than that there are too many.
const PAUSE_MIN_MS: u64 = 20;
const PAUSE_MAX_MS: u64 = 2_000;

/// What a mode makes of records.
pub(crate) trait Stamp: Send + 'static {
    /// The data as it goes to the stream, of the record that came as this one.
    fn stamp(&mut self, index: u64, data: &Bytes) -> Bytes;

    /// This one is in the stream, there.
    ///
    /// # Errors
    /// Where the place cannot be.
    fn put(&mut self, index: u64, at: &At<'_>) -> Result<()>;

    /// Whether the next one may come, of this number.
    fn has_room(&self, next: u64) -> bool;
}

/// Where a record is in a stream.
#[derive(Debug)]
pub(crate) struct At<'a> {
    pub(crate) shard: &'a str,
    pub(crate) sequence_number: &'a str,
    /// When its request was made.
    pub(crate) sent: Instant,
}

/// How much goes at once, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) is_ordered: bool,
    pub(crate) aggregates: bool,
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    /// The most that the stamp adds to a record.
    pub(crate) own_bytes: usize,
    pub(crate) at_once: usize,
}

/// What the task is asked.
#[derive(Debug)]
pub(super) enum Command {
    Put(Vec<KinesisPut>),
    /// Tell when all are there.
    Flush(oneshot::Sender<()>),
}

/// Units that were sent together, and what became of them.
type Answered = (Vec<Unit>, Instant, Result<Vec<Went>>);

pub(super) struct Driver<S> {
    requests: Requests,
    stamp: S,
    at_once: usize,
    lanes: Lanes,
    brakes: Brakes,
    /// Halves of a request that was refused for one of its records.
    parts: Vec<Vec<Unit>>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    next: u64,
    began: Instant,
    /// When the stream took something last, or had nothing to take.
    taken: Instant,
    pause_ms: u64,
    /// Nothing is sent before.
    paused_until: Option<Instant>,
}

impl<S: Stamp> Driver<S> {
    pub(super) fn new(requests: Requests, bounds: Bounds, stamp: S) -> Self {
        let Bounds { is_ordered, aggregates, records_max, bytes_max, own_bytes, at_once } = bounds;
        let rules = Rules { is_ordered, aggregates, records_max, bytes_max, own_bytes };
        let now = Instant::now();
        Self {
            requests,
            stamp,
            at_once,
            lanes: Lanes::new(rules),
            brakes: Brakes::default(),
            parts: Vec::new(),
            under_way: FuturesUnordered::new(),
            next: 0,
            began: now,
            taken: now,
            pause_ms: 0,
            paused_until: None,
        }
    }

    /// Puts what comes, until nobody wants it any more. Nothing is under way when it ends.
    ///
    /// # Errors
    /// The first that trying again does not mend, or did not for long enough.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        unwanted: CancellationToken,
    ) -> Result<()> {
        let ended = unwanted.run_until_cancelled(self.serve(&mut commands)).await;
        while self.under_way.next().await.is_some() {}
        ended.unwrap_or(Ok(()))
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<()> {
        let mut flush: Option<oneshot::Sender<()>> = None;
        loop {
            self.send_what_may_go();
            if self.lanes.records() == 0
                && let Some(flush) = flush.take()
            {
                // Whoever asked may have gone.
                let _ = flush.send(());
            }
            let takes_more = flush.is_none() && self.has_room();
            let due = self.due();
            tokio::select! {
                Some((units, sent, went)) = self.under_way.next() => self.answered(units, sent, went)?,
                command = commands.recv(), if takes_more => match command {
                    Some(Command::Put(records)) => self.add(records),
                    Some(Command::Flush(done)) => flush = Some(done),
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or(self.began)), if due.is_some() => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        self.lanes.records() < RECORDS_MAX && self.lanes.bytes() < BYTES_MAX && self.stamp.has_room(self.next)
    }

    fn add(&mut self, records: Vec<KinesisPut>) {
        if self.lanes.records() == 0 {
            self.taken = Instant::now();
        }
        for put in records {
            self.lanes.add(Waiting { index: self.next, put });
            self.next += 1;
        }
    }

    /// When something may go that may not go now. What is under way comes by itself.
    fn due(&self) -> Option<Instant> {
        if self.under_way.len() >= self.at_once {
            return None;
        }
        if let Some(paused_until) = self.paused_until {
            return Some(paused_until);
        }
        self.lanes.next_due().map(|due_ms| self.began + Duration::from_millis(due_ms))
    }

    fn now_ms(&self) -> u64 {
        // A process does not live for more milliseconds than that.
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn send_what_may_go(&mut self) {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.paused_until = None;
        while self.under_way.len() < self.at_once {
            let units = match self.parts.pop() {
                Some(part) => part,
                None => self.lanes.take(self.now_ms(), &mut self.brakes),
            };
            if units.is_empty() {
                return;
            }
            self.send(units);
        }
    }

    fn send(&mut self, units: Vec<Unit>) {
        let entries = units.iter().filter_map(|unit| self.entry(unit)).collect();
        let requests = self.requests.clone();
        self.under_way.push(Box::pin(async move {
            let sent = Instant::now();
            let went = requests.put(entries).await;
            (units, sent, went)
        }));
    }

    fn entry(&mut self, unit: &Unit) -> Option<Entry> {
        let (partition_key, explicit_hash_key) =
            unit.put().map(|put| (put.partition_key.clone(), put.explicit_hash_key.clone()))?;
        let stamp = &mut self.stamp;
        let mut stamped = unit.records.iter().map(|record| stamp.stamp(record.index, &record.put.data));
        let data = match &unit.records[..] {
            [_] => stamped.next()?,
            _ => {
                let mut aggregate = Aggregate::new(partition_key.clone(), explicit_hash_key.clone());
                stamped.for_each(|data| aggregate.add(data));
                aggregate.into_bytes()
            }
        };
        Some(Entry { partition_key, explicit_hash_key, data })
    }

    fn answered(&mut self, units: Vec<Unit>, sent: Instant, went: Result<Vec<Went>>) -> Result<()> {
        let went = match went {
            Ok(went) => went,
            Err(error) if error.kind() == ErrorKind::Data && units.len() > 1 => {
                // One of them is what the service refuses: it is found, and the others go.
                let mut first = units;
                let second = first.split_off(first.len() / 2);
                self.parts.extend([second, first]);
                return Ok(());
            }
            Err(error) => return self.nothing_known(units, error),
        };
        let (mut error, mut put, mut throttled, mut refused) = (None, 0, 0, 0);
        let now_ms = self.now_ms();
        for (unit, went) in units.into_iter().zip(went) {
            match went {
                Went::Put { shard, sequence_number } => {
                    put += unit.records.len() as u64;
                    self.put(unit, &At { shard: &shard, sequence_number: &sequence_number, sent })?;
                }
                Went::Throttled(why) => {
                    throttled += 1;
                    let from_ms = self.brakes.throttled(unit.hash, now_ms);
                    self.lanes.again(unit, from_ms);
                    error = Some(why);
                }
                Went::Refused(why) => {
                    refused += 1;
                    self.lanes.again(unit, now_ms + PAUSE_MIN_MS);
                    error = Some(why);
                }
            }
        }
        self.count("tidelock_kinesis_put_total", put);
        self.count("tidelock_kinesis_throttled_total", throttled);
        self.count("tidelock_kinesis_refused_total", refused);
        error.map_or(Ok(()), |error| self.check_patience(error))
    }

    fn put(&mut self, unit: Unit, at: &At<'_>) -> Result<()> {
        self.taken = Instant::now();
        self.pause_ms = 0;
        self.brakes.learn(unit.hash, at.shard);
        for record in &unit.records {
            self.stamp.put(record.index, at)?;
        }
        self.lanes.done(unit);
        Ok(())
    }

    /// Of a whole request nothing is known, or nothing of it was done.
    fn nothing_known(&mut self, units: Vec<Unit>, error: Error) -> Result<()> {
        if error.retry() != Retry::Retry {
            let [only] = &units[..] else { return Err(error) };
            let key = only.put().map(|put| put.partition_key.clone()).unwrap_or_default();
            return Err(error.with("partition_key", key));
        }
        self.count("tidelock_kinesis_calls_again_total", 1);
        let now_ms = self.now_ms();
        // In its order: what was first is before others again.
        for unit in units {
            self.lanes.again(unit, now_ms);
        }
        self.pause_ms = (2 * self.pause_ms).clamp(PAUSE_MIN_MS, PAUSE_MAX_MS);
        // Half of it at random, so that writers do not come together again.
        let pause_ms = self.pause_ms / 2 + rand::random_range(0..=self.pause_ms / 2);
        self.paused_until = Some(Instant::now() + Duration::from_millis(pause_ms));
        self.check_patience(error)
    }

    /// A stream that takes something is slow, and not away.
    fn check_patience(&self, error: Error) -> Result<()> {
        if self.taken.elapsed() < AGAIN_FOR {
            return Ok(());
        }
        Err(error.with_retry(Retry::Restart).with("tried_for", format_args!("{AGAIN_FOR:?}")))
    }

    /// Once for a request: it is too dear for each record.
    fn count(&self, name: &'static str, more: u64) {
        if more == 0 {
            return;
        }
        metrics::counter!(name, "stream" => self.requests.stream.to_string()).increment(more);
    }
}
