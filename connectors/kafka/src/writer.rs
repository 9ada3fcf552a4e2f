//! The writer: records of an epoch into one transaction, which `prepare` leaves open.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join;
use tidelock::{Epoch, Error, ErrorKind, Prepared, Rejecting, Rejects, Result, SinkWriter};
use tokio::time::Instant;

use crate::committable::KafkaCommittable;
use crate::control::producers::Producers;
use crate::control::transactions::TransactionState;
use crate::policy::{misfit, refusal, replace};
use crate::record::ProducerRecord;
use crate::slots::{Identity, Ready, Slots};
use crate::target::Target;
use crate::wire::{Begin, Wire};

/// Writes to Kafka: see [`KafkaSink`](crate::KafkaSink).
pub struct KafkaWriter {
    target: Arc<Target>,
    mode: Mode,
    /// The largest record that each topic takes, in bytes.
    limits: HashMap<Arc<str>, usize>,
    /// Where records go that no broker would take; the policy decides where the host has no place for them.
    rejects: Option<Rejects<ProducerRecord>>,
}

pub(crate) enum Mode {
    ExactlyOnce(Box<Transactional>),
    AtLeastOnce(Box<dyn Wire>),
}

/// A writer's slots, and the one that it writes to.
pub(crate) struct Transactional {
    pub(crate) slots: Slots,
    pub(crate) current: Option<Current>,
}

/// The slot that the epoch's records go to.
pub(crate) struct Current {
    index: usize,
    ready: Ready,
    /// When its first record was sent, and with it the transaction begun.
    begun: Option<Instant>,
}

impl std::fmt::Debug for KafkaWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaWriter").field("target", &self.target).finish_non_exhaustive()
    }
}

impl KafkaWriter {
    pub(crate) fn new(target: Arc<Target>, mode: Mode) -> Self {
        Self { target, mode, limits: HashMap::new(), rejects: None }
    }

    /// Applies the policy to records that cannot be written as they are. Touches nothing where all fit.
    async fn apply_policy(&mut self, records: &mut Vec<ProducerRecord>) -> Result<()> {
        let mut misfits = false;
        let mut last: Option<(Arc<str>, usize)> = None;
        for record in records.iter() {
            let limit = match &last {
                Some((topic, limit)) if *topic == record.topic => *limit,
                _ => self.limit(&record.topic).await?,
            };
            last = Some((Arc::clone(&record.topic), limit));
            misfits |= misfit(record, limit).is_some();
        }
        if !misfits {
            return Ok(());
        }
        let mut fitting = Vec::with_capacity(records.len());
        for record in records.drain(..) {
            let limit = self.limit(&record.topic).await?;
            let Some(misfit) = misfit(&record, limit) else {
                fitting.push(record);
                continue;
            };
            metrics::counter!("tidelock_kafka_records_unwritable").increment(1);
            match &self.rejects {
                Some(rejects) => {
                    let error = refusal(&record, misfit);
                    rejects.push(record, error)?;
                }
                None => fitting.extend(replace(&self.target.config.on_unwritable, &record, misfit)?),
            }
        }
        *records = fitting;
        Ok(())
    }

    async fn limit(&mut self, topic: &Arc<str>) -> Result<usize> {
        if let Some(limit) = self.limits.get(topic) {
            return Ok(*limit);
        }
        self.target.check_topic(topic).await?;
        let limit = self.target.record_bytes_max(topic).await?;
        self.limits.insert(Arc::clone(topic), limit);
        Ok(limit)
    }
}

/// Found out before anything is sent: a transaction cannot give one record back.
impl Rejecting for KafkaWriter {
    fn reject_to(&mut self, rejects: Rejects<ProducerRecord>) {
        self.rejects = Some(rejects);
    }
}

#[async_trait]
impl SinkWriter for KafkaWriter {
    type Record = ProducerRecord;
    type Committable = KafkaCommittable;

    async fn write(&mut self, records: &mut Vec<ProducerRecord>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if let Mode::ExactlyOnce(transactional) = &mut self.mode
            && !transactional.has_place().await?
        {
            return Ok(());
        }
        self.apply_policy(records).await?;
        match &mut self.mode {
            Mode::AtLeastOnce(wire) => wire.send(records).await,
            Mode::ExactlyOnce(transactional) => transactional.send(records).await,
        }
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Prepared<KafkaCommittable>>> {
        match &mut self.mode {
            Mode::AtLeastOnce(wire) => wire.flush().await.map(|()| Vec::new()),
            Mode::ExactlyOnce(transactional) => {
                Ok(transactional.prepare(&self.target, epoch).await?.into_iter().collect())
            }
        }
    }

    async fn settled(&mut self, epoch: Epoch, reinit: bool) -> Result<()> {
        if let Mode::ExactlyOnce(transactional) = &mut self.mode {
            transactional.slots.settled(epoch, reinit);
        }
        Ok(())
    }
}

impl Transactional {
    async fn has_place(&mut self) -> Result<bool> {
        if self.current.is_none() {
            let free = self.slots.take().await?;
            self.current = free.map(|(index, ready)| Current { index, ready, begun: None });
        }
        Ok(self.current.is_some())
    }

    async fn send(&mut self, records: &mut Vec<ProducerRecord>) -> Result<()> {
        let current = self.current.as_mut().expect("invariant: has_place came first");
        if !records.is_empty() {
            // Before the first record: the broker's clock for the timeout starts later than ours.
            current.begun.get_or_insert_with(Instant::now);
        }
        current.ready.wire.send(records).await
    }

    /// An epoch without records leaves no transaction, and its slot for the next one.
    async fn prepare(&mut self, target: &Target, epoch: Epoch) -> Result<Option<Prepared<KafkaCommittable>>> {
        let Some(Current { index, mut ready, begun: Some(begun) }) =
            self.current.take_if(|current| current.begun.is_some())
        else {
            return Ok(None);
        };
        ready.wire.flush().await?;
        let begins = ready.wire.take_begins();
        let (committable, ()) =
            try_join(look(target, &ready.identity), look_at_begins(target, &ready.identity, begins)).await?;
        let timeout = Duration::from_millis(u64::try_from(committable.timeout_ms).unwrap_or(0));
        let expires_in = Some(timeout.saturating_sub(begun.elapsed()));
        self.slots.prepared(index, ready, epoch);
        Ok(Some(Prepared { committable, expires_in }))
    }
}

/// Nothing is promised yet, so this ends the attempt, and the epoch is written again.
fn gone(ours: &Identity, why: &str) -> Error {
    Error::new(ErrorKind::Conflict, "prepare in Kafka", why)
        .with("transactional_id", &ours.transactional_id)
        .with("producer_id", ours.producer_id)
        .with("producer_epoch", ours.producer_epoch)
}

/// Asks each partition for the transaction: it must begin there with our first record. An operator who
/// aborts by offset in the middle of an epoch ends it in that partition alone, and neither the producer
/// nor the coordinator hears of it: what comes after would be committed without what came before (I7).
async fn look_at_begins(target: &Target, ours: &Identity, begins: Vec<Begin>) -> Result<()> {
    let places: Vec<_> = begins.iter().map(|begin| (begin.topic.as_str(), begin.partition)).collect();
    let known = target.cluster.producers(&places).await;
    let known = known.map_err(|fault| fault.into_error("prepare in Kafka"))?;
    for (begin, producers) in begins.iter().zip(known) {
        let named = |why| gone(ours, why).with("topic", &begin.topic).with("partition", begin.partition);
        let Producers::Known(producers) = producers else {
            return Err(named("a partition that the epoch was written to was deleted"));
        };
        let found = producers.into_iter().find(|one| one.producer_id == ours.producer_id);
        let open_since = found.and_then(|one| one.open_since);
        if !begins_at(begin, open_since) {
            let why = "a partition does not hold all of the transaction: somebody ended it there";
            return Err(named(why)
                .with("first_record", shown(begin.offset, "unknown"))
                .with("open_since", shown(open_since, "nothing is open")));
        }
    }
    Ok(())
}

/// An offset, as a person reads it.
fn shown(offset: Option<i64>, none: &str) -> String {
    offset.map_or_else(|| none.to_owned(), |offset| offset.to_string())
}

fn begins_at(begin: &Begin, open_since: Option<i64>) -> bool {
    match begin.offset {
        Some(_) => open_since == begin.offset,
        None => open_since.is_some(),
    }
}

/// Asks the coordinator for what was written: it must be open, and ours.
async fn look(target: &Target, ours: &Identity) -> Result<KafkaCommittable> {
    let gone = |why: &str| gone(ours, why);
    let described = target
        .cluster
        .describe_transaction(&ours.transactional_id)
        .await
        .map_err(|fault| fault.into_error("prepare in Kafka"))?
        .ok_or_else(|| gone("the broker does not know the transaction"))?;
    if (described.producer_id, described.producer_epoch) != (ours.producer_id, ours.producer_epoch) {
        return Err(gone("somebody else began a transaction under this transactional id"));
    }
    if described.state != TransactionState::Ongoing || described.partitions.is_empty() {
        return Err(
            gone("the transaction is not open any more").with("state", format!("{:?}", described.state))
        );
    }
    let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in described.partitions {
        partitions.entry(topic).or_default().push(partition);
    }
    Ok(KafkaCommittable {
        cluster_id: target.cluster_id.clone(),
        transactional_id: ours.transactional_id.clone(),
        producer_id: ours.producer_id,
        producer_epoch: ours.producer_epoch,
        started_at_ms: described.start_time_ms,
        timeout_ms: described.timeout_ms,
        partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_whole_in_a_partition_where_it_begins_with_our_first_record() {
        let begin = |offset| Begin { topic: "t".into(), partition: 0, offset };
        assert!(begins_at(&begin(Some(7)), Some(7)));
        assert!(!begins_at(&begin(Some(7)), Some(9)), "its beginning was ended there");
        assert!(!begins_at(&begin(Some(7)), None), "all of it was");
        assert!(!begins_at(&begin(Some(7)), Some(3)), "an older one is open still");
        // The broker did not say where the first record is: that it is open must do.
        assert!(begins_at(&begin(None), Some(7)));
        assert!(!begins_at(&begin(None), None));
    }
}
