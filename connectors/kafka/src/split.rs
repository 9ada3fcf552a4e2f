//! A partition with the position from which it is read.

use serde::{Deserialize, Serialize};
use tidelock::{Result, Split, SplitId, Versioned, unknown_version};

/// What stands for an id where a broker keeps none: those before Kafka 2.8. While brokers are replaced by newer ones, some
/// tell a topic's id and others do not.
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

/// A partition with its position and, where reading is bounded, its stop position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSplit {
    /// The topic.
    pub topic: String,
    /// The topic's id when the split was found: another one means another topic under the same name.
    pub topic_id: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to be read.
    pub offset: i64,
    /// Reading ends before this offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<i64>,
}

impl KafkaSplit {
    /// The name of a partition's split.
    pub(crate) fn id_of(topic: &str, partition: i32) -> SplitId {
        // No topic name contains a slash.
        SplitId::new(format!("{topic}/{partition}"))
    }

    /// Whether a topic of this id is the one that the split is of, as far as ids tell.
    pub(crate) fn is_of(&self, topic_id: &str) -> bool {
        self.topic_id == topic_id || self.topic_id == NO_ID || topic_id == NO_ID
    }

    /// The topic has this id: a broker that kept none did not tell.
    pub(crate) fn learn(&mut self, topic_id: &str) {
        if self.topic_id == NO_ID {
            topic_id.clone_into(&mut self.topic_id);
        }
    }

    /// The partition of a split's name.
    pub(crate) fn place_of(id: &SplitId) -> Option<(&str, i32)> {
        let (topic, partition) = id.as_str().rsplit_once('/')?;
        Some((topic, partition.parse().ok()?))
    }
}

impl Versioned for KafkaSplit {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Split for KafkaSplit {
    fn id(&self) -> SplitId {
        Self::id_of(&self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Stored;

    use super::*;

    /// The stored form of version 1, never to be changed.
    const GOLDEN: &str = r#"{"topic":"flights","topic_id":"a6c05ab3-5a5b-4b3f-9d3e-2f1f8f0c9b11","partition":3,"offset":120,"stop":400}"#;

    #[test]
    fn the_stored_form_of_version_1_is_still_read_and_written() {
        let split: KafkaSplit = serde_json::from_str(GOLDEN).expect("readable");
        assert_eq!((split.id().as_str(), split.stop), ("flights/3", Some(400)));
        assert_eq!(Stored::encode(&split).expect("storable").json.get(), GOLDEN);
        assert!(KafkaSplit::upgrade(9, GOLDEN).is_err());
    }

    #[test]
    fn a_splits_name_says_which_partition_it_is_of() {
        assert_eq!(KafkaSplit::place_of(&KafkaSplit::id_of("flights", 12)), Some(("flights", 12)));
        assert_eq!(KafkaSplit::place_of(&SplitId::new("flights")), None);
    }

    #[test]
    fn a_broker_that_tells_no_id_says_nothing_about_the_topic() {
        let mut split =
            KafkaSplit { topic_id: NO_ID.into(), ..serde_json::from_str(GOLDEN).expect("readable") };
        assert!(split.is_of(NO_ID) && split.is_of("one"), "the brokers were replaced by newer ones");
        split.learn("one");
        assert!(split.is_of("one") && split.is_of(NO_ID), "one of the older brokers answers");
        split.learn("two");
        assert!(!split.is_of("two"), "made again");
        assert_eq!(uuid_of_none(), NO_ID);
    }

    /// As [`Topic`](crate::control::topics::Topic) has it.
    fn uuid_of_none() -> String {
        kafka_protocol::messages::metadata_response::MetadataResponseTopic::default().topic_id.to_string()
    }

    #[test]
    fn an_unbounded_split_has_no_stop() {
        let text = r#"{"topic":"t","topic_id":"x","partition":0,"offset":0}"#;
        let split: KafkaSplit = serde_json::from_str(text).expect("readable");
        assert_eq!(split.stop, None);
        assert_eq!(Stored::encode(&split).expect("storable").json.get(), text);
    }
}
