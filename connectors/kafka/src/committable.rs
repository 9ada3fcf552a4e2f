//! What a snapshot keeps of a prepared transaction, and the names of transactional ids.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Committable, DELIMITER, Error, Result, TargetName, Versioned, unknown_version};

/// A prepared transaction: all that a fresh process needs to end it or to find out what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaCommittable {
    /// The cluster that holds it: another one under the same address is another world.
    pub cluster_id: String,
    /// The transactional id.
    pub transactional_id: String,
    /// The producer id.
    pub producer_id: i64,
    /// The producer epoch.
    pub producer_epoch: i16,
    /// When it began, in milliseconds since 1970 by its coordinator's clock. Tells it from an earlier
    /// or later transaction of the same producer.
    pub started_at_ms: i64,
    /// How long after its beginning the coordinator aborts it.
    pub timeout_ms: i32,
    /// The partitions that it wrote to, by topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

impl KafkaCommittable {
    /// Every topic and partition that it wrote to.
    pub fn places(&self) -> impl Iterator<Item = (&str, i32)> {
        self.partitions
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |one| (topic.as_str(), *one)))
    }

    /// Names it in an error.
    pub(crate) fn named_in(&self, error: Error) -> Error {
        error
            .with("transactional_id", &self.transactional_id)
            .with("producer_id", self.producer_id)
            .with("producer_epoch", self.producer_epoch)
    }

    /// One for tests of decisions: begun at 1,000 by producer 7 in producer epoch 3.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            cluster_id: "c".into(),
            transactional_id: "a.out.1.0.0".into(),
            producer_id: 7,
            producer_epoch: 3,
            started_at_ms: 1_000,
            timeout_ms: 60_000,
            partitions: BTreeMap::from([("t".to_owned(), vec![0])]),
        }
    }
}

impl Versioned for KafkaCommittable {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for KafkaCommittable {}

/// The name of a slot, which is its transactional id: `job.uid.attempt.writer.slot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotName {
    pub(crate) target: TargetName,
    pub(crate) slot: u32,
}

impl SlotName {
    /// Reads a transactional id whole. `None` where it is not one that a sink of ours made.
    pub(crate) fn parse(transactional_id: &str) -> Option<Self> {
        let (target, slot) = transactional_id.rsplit_once(DELIMITER)?;
        let parsed = Self { target: TargetName::parse(target)?, slot: slot.parse().ok()? };
        // Only the spelling that we write is ours.
        (parsed.to_string() == transactional_id).then_some(parsed)
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{DELIMITER}{}", self.target, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use tidelock::{Generation, JobId, Position, SinkAttempt, Stored, Uid};

    use super::*;

    #[test]
    fn a_transactional_id_is_read_whole_or_not_at_all() {
        let name = SlotName::parse("orders.out.17.0.3").expect("five parts");
        assert_eq!((name.target.attempt.0, name.slot), (17, 3));
        assert_eq!(name.to_string(), "orders.out.17.0.3");
        for foreign in
            ["orders.out.17.0", "orders.out.17.0.3.4", "orders.out.17.0.03", "orders.out.17.0.+3", "", "x"]
        {
            assert_eq!(SlotName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn leftovers_are_those_of_older_attempts_of_exactly_this_job_and_sink() {
        let attempt = SinkAttempt {
            job: JobId::new("a").expect("a job id"),
            uid: Uid::new("out").expect("a uid"),
            number: Position(5),
            generation: Generation(1),
            chunks: None,
        };
        let is_leftover =
            |id: &str| SlotName::parse(id).is_some_and(|name| name.target.is_leftover_for(&attempt));
        assert!(is_leftover("a.out.4.0.0"));
        assert!(!is_leftover("a.out.5.0.0"), "our own");
        assert!(!is_leftover("a.out.6.0.0"), "a newer attempt's");
        assert!(!is_leftover("a-b.out.4.0.0"), "another job's");
        assert!(!is_leftover("a.out-2.4.0.0"), "another sink's");
    }

    /// The stored form of version 1, never to be changed.
    const GOLDEN: &str = r#"{"cluster_id":"4L6g3nShT-eMCtK--X86sw","transactional_id":"orders.out.17.0.3","producer_id":1003,"producer_epoch":2,"started_at_ms":1700000000000,"timeout_ms":900000,"partitions":{"totals":[0,2]}}"#;

    #[test]
    fn the_stored_form_of_version_1_is_still_read_and_written() {
        let read: KafkaCommittable = serde_json::from_str(GOLDEN).expect("readable");
        assert_eq!(read.places().collect::<Vec<_>>(), [("totals", 0), ("totals", 2)]);
        let stored = Stored::encode(&read).expect("storable");
        assert_eq!((stored.version, stored.json.get()), (1, GOLDEN));
        assert!(KafkaCommittable::upgrade(9, GOLDEN).is_err());
    }
}
