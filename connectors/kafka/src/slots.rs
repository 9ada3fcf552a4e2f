//! The transactional ids of a writer, in rotation.
//!
//! ```text
//!            take                prepared(epoch)             settled(epoch)
//!   Free ───────────> in use ───────────────────> Prepared ─────────────────> Making ──> Free
//!                                                                               ^
//!                                              a slot that is made for the first time
//! ```
//!
//! The steps of a slot, and what each waits for:
//!
//! 1. *Taken*: a writer with records takes a free slot. The first record begins the transaction at the broker.
//! 2. *Prepared*: everything has arrived, and the transaction stays open. Nothing is sent under the id any more.
//! 3. The coordinator of the job ends the transaction by the control client. The producer hears nothing of it.
//! 4. *Settled*: the commit is confirmed, and a later durable entry no longer lists it. Before this nobody may begin
//!    a transaction under the id or initialise it: then no snapshot that a recovery could restore lists its last one,
//!    and a raised producer epoch always means lost, never committed and used again.
//! 5. *Making*: librdkafka commits as well, finds the transaction committed, and may begin the next one. Where a
//!    second copy of a request to end the last one may be under way, a new producer takes the id instead.
//! 6. *Free*: a new producer was asked at the broker who it is.
//!
//! A copy of a request that arrives late would end whatever is open then, half an epoch. It names the producer
//! epoch that it was sent with, so a new producer, whose epoch is higher, is safe from it. Two may send copies: the
//! control client, which then says `reinit`, and librdkafka in step 5, which says nothing.
//! [`Librdkafka`](crate::librdkafka::Librdkafka) finds it out.

use std::sync::Arc;

use futures::future::select_all;
use rdkafka::ClientConfig;
use tidelock::{Epoch, Error, ErrorKind, Result, TargetName};
use tokio::task::JoinHandle;

use crate::committable::SlotName;
use crate::control::cluster::Cluster;
use crate::control::transactions::Described;
use crate::librdkafka::Librdkafka;
use crate::wire::{Recycled, Wire};

/// A producer that may begin a transaction, with its identity as the broker knows it.
pub(crate) struct Ready {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) identity: Identity,
}

/// Who a producer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) transactional_id: String,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
}

enum Slot {
    Making(JoinHandle<Result<Ready>>),
    Free(Ready),
    InUse,
    Prepared(Ready, Epoch),
}

/// The slots of one writer.
pub(crate) struct Slots {
    target: TargetName,
    cluster: Arc<Cluster>,
    config: Arc<ClientConfig>,
    slots_max: usize,
    slots: Vec<Slot>,
}

impl Slots {
    /// Slots for a writer; `config` is librdkafka's without the transactional id.
    pub(crate) fn new(
        target: TargetName,
        cluster: Arc<Cluster>,
        config: ClientConfig,
        slots_max: u32,
    ) -> Self {
        Self { target, cluster, config: Arc::new(config), slots_max: slots_max as usize, slots: Vec::new() }
    }

    /// Makes this many slots ready, and returns when they are.
    pub(crate) async fn make_ready(&mut self, count: u32) -> Result<()> {
        while self.slots.len() < count as usize {
            self.add();
        }
        while self.slots.iter().any(|slot| matches!(slot, Slot::Making(_))) {
            self.finish_one().await?;
        }
        Ok(())
    }

    /// Takes a free slot, or waits for one that is being made. `None`: all hold transactions that are
    /// not settled.
    pub(crate) async fn take(&mut self) -> Result<Option<(usize, Ready)>> {
        loop {
            if let Some(index) = self.slots.iter().position(|slot| matches!(slot, Slot::Free(_)))
                && let Slot::Free(ready) = std::mem::replace(&mut self.slots[index], Slot::InUse)
            {
                return Ok(Some((index, ready)));
            }
            let is_making = self.slots.iter().any(|slot| matches!(slot, Slot::Making(_)));
            if !is_making {
                if self.slots.len() >= self.slots_max {
                    return Ok(None);
                }
                self.add();
            }
            self.finish_one().await?;
        }
    }

    /// Puts a slot away until its epoch is settled.
    pub(crate) fn prepared(&mut self, index: usize, ready: Ready, epoch: Epoch) {
        self.slots[index] = Slot::Prepared(ready, epoch);
    }

    /// Makes the slots of all epochs up to `epoch` ready again, in the background.
    pub(crate) fn settled(&mut self, epoch: Epoch, fresh: bool) {
        for slot in &mut self.slots {
            let Slot::Prepared(_, of) = slot else { continue };
            if *of > epoch {
                continue;
            }
            if let Slot::Prepared(ready, _) = std::mem::replace(slot, Slot::InUse) {
                let cluster = Arc::clone(&self.cluster);
                *slot = Slot::Making(tokio::spawn(recycle(cluster, ready, fresh)));
            }
        }
    }

    fn add(&mut self) {
        let slot = u32::try_from(self.slots.len()).expect("invariant: bounded by slots_max");
        let name = SlotName { target: self.target.clone(), slot };
        let mut config = (*self.config).clone();
        config.set("transactional.id", name.to_string());
        let making = make(Arc::clone(&self.cluster), config, name.to_string());
        self.slots.push(Slot::Making(tokio::spawn(making)));
    }

    /// Waits for one of the slots that are being made.
    async fn finish_one(&mut self) -> Result<()> {
        let mut making = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Making(task) = slot {
                making.push((index, task));
            }
        }
        if making.is_empty() {
            return Ok(());
        }
        let indexes: Vec<_> = making.iter().map(|(index, _)| *index).collect();
        let (made, which, _) = select_all(making.into_iter().map(|(_, task)| task)).await;
        let ready = made.unwrap_or_else(|failed| {
            let why = "a producer could not be made ready";
            Err(Error::new(ErrorKind::Bug, "open a Kafka producer", why).because(failed))
        });
        self.slots[indexes[which]] = Slot::InUse;
        self.slots[indexes[which]] = Slot::Free(ready?);
        Ok(())
    }
}

async fn make(cluster: Arc<Cluster>, config: ClientConfig, transactional_id: String) -> Result<Ready> {
    let wire = Librdkafka::start(Arc::new(config)).await?;
    identify(&cluster, Box::new(wire), transactional_id).await
}

async fn recycle(cluster: Arc<Cluster>, ready: Ready, fresh: bool) -> Result<Ready> {
    let Ready { wire, identity } = ready;
    let Recycled { wire, is_new } = wire.recycle(fresh).await?;
    if is_new {
        return identify(&cluster, wire, identity.transactional_id).await;
    }
    Ok(Ready { wire, identity })
}

/// Asks who a producer is that was initialised just now, so that a transaction that somebody else
/// begins under its transactional id is never taken for ours.
async fn identify(cluster: &Cluster, wire: Box<dyn Wire>, transactional_id: String) -> Result<Ready> {
    let described = cluster
        .describe_transaction(&transactional_id)
        .await
        .map_err(|fault| fault.into_error("open a Kafka producer"))?
        .ok_or_else(|| {
            let why = "the broker does not know a transactional id that was initialised just now";
            Error::new(ErrorKind::Conflict, "open a Kafka producer", why)
                .with("transactional_id", &transactional_id)
        })?;
    let Described { producer_id, producer_epoch, .. } = described;
    Ok(Ready { wire, identity: Identity { transactional_id, producer_id, producer_epoch } })
}
