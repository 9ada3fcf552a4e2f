//! A writer: what it was given is on its way when the call returns, and in the table when it has prepared, or something newer is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tidelock::{Rejects, Result, SinkAttempt, WriterId};

use super::lanes::Lanes;
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
    /// As many as requests may be under way.
    lanes: Lanes,
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
        let lanes = Lanes::new(Arc::clone(&sender), at_once);
        Ok(Self { ready, sender, stamps, lanes, rejects: Rejects::default(), whole: Whole::default() })
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

    /// See [`SinkWriter::prepare`](tidelock::SinkWriter::prepare). What was written has arrived then, and readers see it.
    pub(crate) async fn prepare(&mut self) -> Result<()> {
        self.whole.begin(self.sender.table())?;
        let arrived = self.lanes.arrived().await;
        self.sender.requests().tell();
        arrived?;
        self.whole.end();
        Ok(())
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
        self.lanes.send(chains).await
    }
}
