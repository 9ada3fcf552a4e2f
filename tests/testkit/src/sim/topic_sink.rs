//! The connector to a [`Topic`](super::topic::Topic): a writer rotates over slots, each with an identity
//! that carries job, uid, attempt, writer and slot.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidelock::{
    CommitPermit, Committed, Epoch, Error, ErrorKind, Pending, Position, Prepared, Result, Sink, SinkAttempt,
    SinkWriter, TargetName, Uid, WriterId,
};

use super::doubles::Double;
use super::input::{Record, unavailable};
use super::points::Point;
use super::topic::{self, Described, Refused, Transaction};
use super::world::{Client, State};

/// How a topic is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// The sink's uid.
    pub uid: Uid,
    /// The target's name.
    pub topic: String,
    /// How many transactions a writer may have prepared or open at once.
    pub slots: u32,
    /// After how many milliseconds the target throws away an open transaction.
    pub timeout_ms: u64,
    /// Bytes that make each committable larger.
    pub padding: usize,
}

/// The connector of one process.
#[derive(Debug)]
pub struct TopicSink {
    client: Client,
    config: Arc<TopicConfig>,
    /// Writers for whose committables an answer was missing.
    missing: Mutex<BTreeSet<(Position, WriterId)>>,
}

impl TopicSink {
    /// The connector of one process.
    pub fn new(client: Client, config: TopicConfig) -> Self {
        Self { client, config: Arc::new(config), missing: Mutex::default() }
    }

    fn double(&self) -> Option<Double> {
        self.client.world.lock().double
    }

    async fn sweep(&self, attempt: &SinkAttempt, pending: &[Pending<Transaction>]) -> Result<()> {
        let name = self.config.topic.clone();
        let list = move |state: &mut State| {
            topic::expire(state, &name);
            state.topics.get(&name).map(super::topic::Topic::open).unwrap_or_default()
        };
        let open = self.client.ask(Point::Sweep, list).await.map_err(unavailable("sweep"))?.value;
        let double = self.double();
        for leftover in open {
            let ours = leftover.made_by().is_some_and(|name| {
                name.is_leftover_for(attempt)
                    || (double == Some(Double::SinkSweepsNewer) && name.attempt != attempt.number)
            });
            let listed = pending.iter().any(|pending| pending.committable.is(&leftover))
                && double != Some(Double::SinkSweepsPending);
            if !ours || listed {
                continue;
            }
            let name = self.config.topic.clone();
            let abort = move |state: &mut State| {
                // Refused: it ended by itself.
                let _ = topic::end(state, &name, &leftover.id, leftover.producer_epoch, false);
                state.reached("a leftover was aborted");
            };
            self.client.ask(Point::SweepAbort, abort).await.map_err(unavailable("abort a leftover"))?;
        }
        Ok(())
    }

    async fn look(&self, pending: &Pending<Transaction>) -> Result<()> {
        let (name, transaction) = (self.config.topic.clone(), pending.committable.clone());
        let describe = move |state: &mut State| topic::describe(state, &name, &transaction);
        let found = self.client.ask(Point::LookPending, describe).await.map_err(unavailable("look"))?.value;
        match found {
            Described::Ongoing | Described::Committed => Ok(()),
            Described::Gone if self.double() == Some(Double::SinkSkipsExpired) => Ok(()),
            Described::Gone => Err(expired("recover", &pending.committable)),
        }
    }

    fn point(&self) -> Point {
        let opened = self.client.world.lock().processes[self.client.process].opened;
        if opened { Point::Commit } else { Point::RecoveryCommit }
    }
}

fn expired(operation: &'static str, transaction: &Transaction) -> Error {
    Error::new(ErrorKind::Expired, operation, "the target threw prepared data away")
        .with("transaction", transaction)
}

#[async_trait]
impl Sink for TopicSink {
    type Record = Record;
    type Committable = Transaction;
    type Writer = TopicWriter;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<Transaction>]) -> Result<()> {
        self.sweep(attempt, pending).await?;
        for pending in pending {
            self.look(pending).await?;
        }
        Ok(())
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<TopicWriter> {
        let mut name = attempt.target_name(writer);
        if self.double() == Some(Double::SinkNamesWithoutAttempt) {
            name.attempt = Position(0);
        }
        let mut slots = Vec::new();
        for slot in 0..self.config.slots {
            let id = format!("{name}/{slot}");
            let producer_epoch = initialise(&self.client, Point::OpenWriter, &self.config, &id).await?;
            slots.push(Slot { id, producer_epoch, held: Held::Nothing });
        }
        let (client, config) = (self.client.clone(), Arc::clone(&self.config));
        Ok(TopicWriter { client, config, name, generation: attempt.generation.0, slots, kept: None })
    }

    fn keeps_prepared(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.config.timeout_ms))
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<Transaction>>,
    ) -> Result<Committed> {
        let point = self.point();
        if self.double() == Some(Double::SinkForgetsPending) && point == Point::RecoveryCommit {
            return Ok(Committed::default());
        }
        let mut committed = Committed::default();
        for pending in &committables {
            if pending.epoch > permit.epoch() || *permit.uid() != self.config.uid {
                let wrong = format!("I3: {permit:?} does not cover {pending:?}");
                self.client.world.lock().accuse(wrong);
            }
            let writer = (pending.attempt, pending.writer);
            let (name, transaction) = (self.config.topic.clone(), pending.committable.clone());
            let end = move |state: &mut State| {
                topic::end(state, &name, &transaction.id, transaction.producer_epoch, true)
            };
            let answer = self.client.ask(point, end).await;
            let unclear = answer.is_err() || answer.is_ok_and(|answer| answer.retried);
            if unclear {
                self.missing.lock().expect("invariant: never poisoned").insert(writer);
            }
            let skips = self.double() == Some(Double::SinkSkipsExpired);
            match answer.map_err(unavailable("commit"))?.value {
                Err(Refused::Fenced | Refused::InvalidState) if !skips => {
                    return Err(expired("commit", &pending.committable));
                }
                _ => {}
            }
        }
        let mut missing = self.missing.lock().expect("invariant: never poisoned");
        for pending in &committables {
            if missing.remove(&(pending.attempt, pending.writer)) {
                committed.reinit.insert(pending.writer);
            }
        }
        Ok(committed)
    }
}

async fn initialise(client: &Client, point: Point, config: &TopicConfig, id: &str) -> Result<u32> {
    let (name, id) = (config.topic.clone(), id.to_owned());
    // A target knows its client's own retry again and answers it as before: it aborts nothing twice.
    let mut known = None;
    let ask = move |state: &mut State| *known.get_or_insert_with(|| topic::initialise(state, &name, &id));
    Ok(client.ask(point, ask).await.map_err(unavailable("initialise"))?.value)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Open(u64),
    Prepared(Epoch),
}

#[derive(Debug)]
struct Slot {
    id: String,
    producer_epoch: u32,
    held: Held,
}

/// Writes to a topic.
#[derive(Debug)]
pub struct TopicWriter {
    client: Client,
    config: Arc<TopicConfig>,
    name: TargetName,
    generation: u64,
    slots: Vec<Slot>,
    /// The record that [`Double::HostLetsBarrierOvertake`] holds back.
    kept: Option<Record>,
}

impl TopicWriter {
    fn double(&self) -> Option<Double> {
        self.client.world.lock().double
    }

    /// The slot to write to: the open one, else one that holds nothing.
    fn slot(&self) -> Option<usize> {
        let early = self.double() == Some(Double::SinkReusesSlotsEarly);
        let open = |slot: &Slot| matches!(slot.held, Held::Open(_));
        let free = |slot: &Slot| slot.held == Held::Nothing;
        let any = |_: &Slot| early;
        let found = self.slots.iter().position(open).or_else(|| self.slots.iter().position(free));
        found.or_else(|| self.slots.iter().position(any))
    }

    async fn send(&mut self, slot: usize, records: Vec<Record>) -> Result<()> {
        let (config, generation) = (Arc::clone(&self.config), self.generation);
        let (id, producer_epoch) = (self.slots[slot].id.clone(), self.slots[slot].producer_epoch);
        let write = move |state: &mut State| {
            let client = (&*id, producer_epoch);
            topic::write(state, &config.topic, client, records.clone(), generation, config.timeout_ms)
        };
        let answer = self.client.ask(Point::Write, write).await.map_err(undelivered)?;
        let begun = Held::Open(answer.value.map_err(|_| fenced("write", &self.name))?);
        let before = std::mem::replace(&mut self.slots[slot].held, begun);
        // A target that threw the open transaction away begins another one for what comes next.
        let torn = before != Held::Nothing && before != begun;
        if torn && self.double() != Some(Double::SinkWritesOnInATornEpoch) {
            self.client.world.lock().reached("a writer learned that a part of its epoch was thrown away");
            return Err(torn_epoch(&self.name));
        }
        Ok(())
    }
}

/// A delivery without an answer is an error of the attempt: nothing else is known to be right.
fn undelivered(_: super::world::NoAnswer) -> Error {
    Error::new(ErrorKind::Unavailable, "write", "a delivery was not acknowledged")
}

/// I7: nothing of the epoch is prepared, so nothing is lost: it is written again, whole.
fn torn_epoch(name: &TargetName) -> Error {
    let why = "the target threw away what was written before in this epoch";
    Error::new(ErrorKind::Expired, "write", why).with_retry(tidelock::Retry::Restart).with("writer", name)
}

fn fenced(operation: &'static str, name: &TargetName) -> Error {
    Error::new(ErrorKind::Conflict, operation, "the target refuses the writer").with("writer", name)
}

#[async_trait]
impl SinkWriter for TopicWriter {
    type Record = Record;
    type Committable = Transaction;

    async fn write(&mut self, records: &mut Vec<Record>) -> Result<()> {
        let Some(slot) = self.slot().filter(|_| !records.is_empty()) else {
            if self.double() == Some(Double::HostDropsWhatWasGivenBack) && !records.is_empty() {
                records.remove(0);
            }
            return Ok(());
        };
        let mut taken = std::mem::take(records);
        if self.double() == Some(Double::HostLetsBarrierOvertake) {
            taken.splice(0..0, self.kept.take());
            self.kept = taken.pop();
        }
        if taken.is_empty() { Ok(()) } else { self.send(slot, taken).await }
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<Transaction>>> {
        let open = self.slots.iter().position(|slot| matches!(slot.held, Held::Open(_)));
        let Some(slot) = open.map(|slot| &mut self.slots[slot]) else { return Ok(Vec::new()) };
        let Held::Open(start) = slot.held else { return Ok(Vec::new()) };
        let mut committable = Transaction::new(&slot.id, slot.producer_epoch, start);
        committable.padding = "x".repeat(self.config.padding);
        let (topic, transaction) = (self.config.topic.clone(), committable.clone());
        let ask = move |state: &mut State| {
            let kept = topic::prepare(state, &topic, &transaction.id, transaction.producer_epoch);
            if state.double == Some(Double::SinkCommitsAtPrepare) {
                let _ = topic::end(state, &topic, &transaction.id, transaction.producer_epoch, true);
            }
            kept
        };
        let kept = self.client.ask(Point::Prepare, ask).await.map_err(undelivered)?.value;
        let kept = kept.map_err(|_| fenced("prepare", &self.name))?;
        slot.held = Held::Prepared(epoch);
        Ok(vec![Prepared { committable, expires_in: Some(Duration::from_millis(kept)) }])
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        let reinit = reinit && self.double() != Some(Double::SinkIgnoresReinit);
        for slot in &mut self.slots {
            if !matches!(slot.held, Held::Prepared(prepared) if prepared <= epoch) {
                continue;
            }
            if reinit {
                slot.producer_epoch = initialise(&self.client, Point::Reinit, &self.config, &slot.id).await?;
                self.client.world.lock().reached("a writer went on with a fresh identity");
            }
            slot.held = Held::Nothing;
        }
        Ok(())
    }
}
