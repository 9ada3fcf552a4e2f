//! Records that cannot be read: what the policy makes of them, and the dead letters that are written.

use std::sync::Arc;

use rdkafka::ClientConfig;
use tidelock::{Error, ErrorKind, Result};

use crate::config::RecordPolicy;
use crate::defaults;
use crate::librdkafka::Librdkafka;
use crate::properties::Properties;
use crate::record::{Header, KafkaRecord, ProducerRecord};
use crate::wire::Wire;

/// Writes dead letters.
pub(crate) struct Letters {
    properties: Properties,
    /// Made with the first one.
    wire: Option<Box<dyn Wire>>,
    /// Some were sent and are not known to be durable: whoever waited may have been dropped in between.
    unflushed: bool,
}

impl Letters {
    pub(crate) fn new(properties: &Properties) -> Self {
        Self { properties: properties.clone(), wire: None, unflushed: false }
    }

    /// Writes letters, and returns when they are durable: no snapshot may have a position behind a lost one.
    pub(crate) async fn write(&mut self, letters: &mut Vec<ProducerRecord>) -> Result<()> {
        if letters.is_empty() && !self.unflushed {
            return Ok(());
        }
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(Box::new(Librdkafka::start(letter_config(&self.properties)).await?)),
        };
        self.unflushed = true;
        wire.send(letters).await?;
        wire.flush().await?;
        self.unflushed = false;
        Ok(())
    }
}

fn letter_config(properties: &Properties) -> Arc<ClientConfig> {
    let mut config = ClientConfig::new();
    defaults::apply(defaults::PRODUCER, &mut config);
    config.set("linger.ms", "0");
    defaults::replace(properties.iter(), &mut config);
    Arc::new(config)
}

/// Applies the policy of `setting` to a record that cannot be read: what is to be written of it, if anything.
///
/// # Errors
/// The error that names the record, where the policy is to fail.
pub(crate) fn set_aside(
    policy: &RecordPolicy,
    setting: &str,
    record: KafkaRecord,
    why: String,
) -> Result<Option<ProducerRecord>> {
    let KafkaRecord { topic, partition, offset, timestamp, key, value, mut headers } = record;
    if *policy == RecordPolicy::Fail {
        return Err(Error::new(ErrorKind::Data, "read from Kafka", "a record cannot be decoded")
            .with("topic", topic)
            .with("partition", partition)
            .with("offset", offset)
            .with("remedy", format_args!("mend what wrote it, or choose another policy: {setting}"))
            .because(why));
    }
    metrics::counter!("tidelock_kafka_records_undecodable").increment(1);
    let RecordPolicy::DeadLetter(to) = policy else {
        tracing::warn!(%topic, partition, offset, why, "a record cannot be decoded: left out");
        return Ok(None);
    };
    let facts = [
        ("tidelock.error", why),
        ("tidelock.topic", topic.to_string()),
        ("tidelock.partition", partition.to_string()),
        ("tidelock.offset", offset.to_string()),
    ];
    headers.extend(facts.map(|(name, value)| Header { name: name.into(), value: Some(value.into()) }));
    // librdkafka would replace a time of 0: the letter has its own then.
    let timestamp = timestamp.filter(|time| *time != 0);
    Ok(Some(ProducerRecord { topic: to.as_str().into(), partition: None, timestamp, key, value, headers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad() -> KafkaRecord {
        KafkaRecord {
            topic: "t".into(),
            partition: 3,
            offset: 42,
            timestamp: Some(7),
            key: Some("k".into()),
            value: Some("\u{0}".into()),
            headers: vec![],
        }
    }

    fn aside(policy: &RecordPolicy, record: KafkaRecord) -> Result<Option<ProducerRecord>> {
        set_aside(policy, "the policy of decode", record, "no number".into())
    }

    #[test]
    fn fail_names_topic_partition_offset_cause_and_the_setting() {
        let error = aside(&RecordPolicy::Fail, bad()).expect_err("refused");
        let text = format!("{error:?}");
        for part in ["topic=t", "partition=3", "offset=42", "no number", "the policy of decode"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_dead_letter_is_the_record_with_where_it_came_from() {
        let policy = RecordPolicy::DeadLetter("dead".into());
        let letter = aside(&policy, bad()).expect("set aside").expect("a letter");
        assert_eq!((&*letter.topic, letter.key, letter.value), ("dead", bad().key, bad().value));
        assert_eq!(letter.timestamp, Some(7));
        let offset = letter.headers.iter().find(|one| &*one.name == "tidelock.offset").expect("a header");
        assert_eq!(offset.value.as_deref(), Some(&b"42"[..]));
        assert_eq!(aside(&RecordPolicy::Skip, bad()).expect("skipped"), None);
    }

    #[test]
    fn a_letter_about_a_record_of_1970_is_one_that_can_be_written() {
        let policy = RecordPolicy::DeadLetter("dead".into());
        let letter = aside(&policy, KafkaRecord { timestamp: Some(0), ..bad() }).expect("set aside");
        assert_eq!(letter.expect("a letter").timestamp, None);
    }
}
