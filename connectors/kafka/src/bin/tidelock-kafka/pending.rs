//! What the newest entry of a job's log says is pending in Kafka.

use std::collections::BTreeMap;

use tidelock::log::Log;
use tidelock::{Error, ErrorKind, JobId, Position, Result, Stored};
use tidelock_kafka::KafkaCommittable;

/// What is pending, and whose log says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The job.
    pub(crate) job: JobId,
    /// Its newest attempt, which may be running.
    pub(crate) attempt: Position,
    /// The transactions, in the order of epochs.
    pub(crate) committables: Vec<KafkaCommittable>,
}

impl Pending {
    /// Reads the newest entry of a log. Changes nothing.
    pub(crate) async fn read(url: &str) -> Result<Self> {
        let log = Log::look(url).await?;
        let Some(entry) = log.newest().await? else {
            let why = "there is no log of a job";
            return Err(Error::new(ErrorKind::NotFound, "read the log", why).with("log", url));
        };
        let mut committables = Vec::new();
        for pending in entry.state.iter().flat_map(|state| state.sinks.values().flatten()) {
            let json = log.read_segment(&pending.committable).await?;
            let json = serde_json::from_slice(&json).map_err(|error| {
                let why = "something pending is not JSON";
                Error::new(ErrorKind::Corrupt, "read the log", why).with("log", url).because(error)
            })?;
            let stored = Stored { version: pending.version, json };
            // A job may have sinks of other systems: their committables have other forms.
            committables.extend(stored.decode::<KafkaCommittable>().ok());
        }
        Ok(Self { job: entry.job, attempt: entry.attempt, committables })
    }
}

/// Partitions by their topic.
pub(crate) fn by_topic(partitions: Vec<(String, i32)>) -> BTreeMap<String, Vec<i32>> {
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        by_topic.entry(topic).or_default().push(partition);
    }
    by_topic
}
