//! A writer: what it was given is in the table when the call returns, or something newer is.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::{Error, ErrorKind, Rejects, Result, SinkAttempt, WriterId};
use tokio::task::JoinSet;

use super::merge::{Chain, Write, follow};
use super::request::Sender;
use super::version::{ItemVersion, Stamps};
use crate::change::ItemChange;
use crate::key::Key;
use crate::sink_config::Versions;
use crate::target::{Ready, Target};
use crate::whole::Whole;

/// Writes items by their versions: see [`Mode::Versioned`](crate::Mode::Versioned).
pub(crate) struct VersionedWriter {
    ready: Arc<Ready>,
    sender: Arc<Sender>,
    /// `None`: versions are those of the records.
    stamps: Option<Stamps>,
    /// How many requests of this writer are made at once at most.
    at_once: usize,
    rejects: Rejects<ItemChange>,
    whole: Whole,
}

impl fmt::Debug for VersionedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedWriter")
            .field("table", &self.sender.table())
            .field("stamps", &self.stamps)
            .finish_non_exhaustive()
    }
}

impl VersionedWriter {
    /// See [`Sink::open`](tidelock::Sink::open).
    pub(crate) async fn open(
        target: &Target,
        ready: Arc<Ready>,
        attempt: &SinkAttempt,
        writer: WriterId,
    ) -> Result<Self> {
        let stamps = match target.config.versions {
            Versions::Attempt => Some(Stamps::of(attempt, writer)?),
            Versions::Record => None,
        };
        let sender = Sender::new(target.requests().await?, ready.table.key.clone(), &target.config);
        let sender = Arc::new(sender);
        let at_once = usize::try_from(target.config.requests_in_flight_max).unwrap_or(usize::MAX);
        Ok(Self { ready, sender, stamps, at_once, rejects: Rejects::default(), whole: Whole::default() })
    }

    /// See [`Rejecting`](tidelock::Rejecting).
    pub(crate) fn reject_to(&mut self, rejects: Rejects<ItemChange>) {
        self.rejects = rejects;
    }

    /// See [`SinkWriter::write`](tidelock::SinkWriter::write).
    pub(crate) async fn write(&mut self, records: &mut Vec<ItemChange>) -> Result<()> {
        self.whole.begin(self.sender.table())?;
        let taken = self.take(records).await;
        self.sender.requests().tell();
        taken?;
        self.whole.end();
        Ok(())
    }

    /// See [`SinkWriter::prepare`](tidelock::SinkWriter::prepare). What was written has arrived when its call returned, and readers see it.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.whole.check(self.sender.table())
    }

    async fn take(&mut self, records: &mut Vec<ItemChange>) -> Result<()> {
        let mut places: HashMap<Key, usize> = HashMap::with_capacity(records.len());
        // In the order in which their keys came: nobody waits for who came later.
        let mut chains: Vec<(Key, Chain)> = Vec::with_capacity(records.len());
        for record in records.drain(..) {
            let key = match self.ready.checks.check(&record) {
                Ok(key) => key,
                Err(error) => {
                    self.rejects.push(record, error)?;
                    continue;
                }
            };
            let version = match &mut self.stamps {
                Some(stamps) => ItemVersion::Attempt(stamps.next()?),
                // Where it has none it was refused.
                None => ItemVersion::Record(record.version.unwrap_or_default()),
            };
            let write = Write { version, change: record.change };
            let place = *places.entry(key).or_insert_with_key(|key| {
                chains.push((key.clone(), Chain::new()));
                chains.len() - 1
            });
            if !follow(&mut chains[place].1, write) {
                self.sender.requests().passed();
            }
        }
        self.send_all(chains).await
    }

    /// Sends the changes of many keys at once. Each lane is a task of its own: on one task all requests would be made on one core, and each answer
    /// would come to it from another one. A call that is dropped ends them.
    async fn send_all(&self, chains: Vec<(Key, Chain)>) -> Result<()> {
        let lanes = self.at_once.min(chains.len());
        let chains = Arc::new(Mutex::new(chains.into_iter()));
        let mut under_way = JoinSet::new();
        for _ in 0..lanes {
            under_way.spawn(send_some(Arc::clone(&self.sender), Arc::clone(&chains)));
        }
        while let Some(ended) = under_way.join_next().await {
            ended.map_err(|error| {
                let why = "what sends items ended in the middle: which of them are there is unknown";
                Error::new(ErrorKind::Other, "write items", why).because(error)
            })??;
        }
        Ok(())
    }
}

/// Sends the changes of one key after the other, until there are no more keys.
async fn send_some(
    sender: Arc<Sender>,
    chains: Arc<Mutex<impl Iterator<Item = (Key, Chain)>>>,
) -> Result<()> {
    let next = || chains.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some((key, chain)) = next() {
        for write in &chain {
            sender.send(&key, write).await?;
        }
    }
    Ok(())
}
