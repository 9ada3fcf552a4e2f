//! Records that cannot be written as they are.

use std::sync::Arc;

use bytes::Bytes;
use tidelock::{Error, ErrorKind, Result};

use crate::config::RecordPolicy;
use crate::record::{Header, ProducerRecord};

/// What a record needs beside key, value and headers, at most: lengths, and the header of its batch.
const OVERHEAD_BYTES: usize = 128;

/// A record's size as the broker counts it, about.
pub(crate) fn size(record: &ProducerRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize =
        record.headers.iter().map(|header| header.name.len() + length(&header.value) + 10).sum();
    length(&record.key) + length(&record.value) + headers + OVERHEAD_BYTES
}

/// Whether a record is larger than what its topic takes.
pub(crate) fn is_too_large(record: &ProducerRecord, bytes_max: usize) -> bool {
    size(record) > bytes_max
}

/// What is written in the place of a record that is too large: nothing, or a dead letter.
///
/// # Errors
/// The error that names the record, where the policy is to fail.
pub(crate) fn replace_too_large(
    policy: &RecordPolicy,
    record: &ProducerRecord,
    bytes_max: usize,
) -> Result<Option<ProducerRecord>> {
    let bytes = size(record);
    match policy {
        RecordPolicy::Fail => {
            Err(Error::new(ErrorKind::Data, "write to Kafka", "a record is too large for its topic")
                .with("topic", &record.topic)
                .with("key", key_for_people(record))
                .with("bytes", bytes)
                .with("bytes_max", bytes_max)
                .with(
                    "remedy",
                    "raise max.message.bytes of the topic and message.max.bytes, or choose another policy",
                ))
        }
        RecordPolicy::Skip => {
            tracing::warn!(topic = &*record.topic, bytes, bytes_max, "a record is too large: left out");
            Ok(None)
        }
        RecordPolicy::DeadLetter(topic) => Ok(Some(dead_letter(topic, record, bytes, bytes_max))),
    }
}

/// The beginning of a record that did not fit, with where it was to go and why it did not.
fn dead_letter(topic: &str, record: &ProducerRecord, bytes: usize, bytes_max: usize) -> ProducerRecord {
    // Key and value together take half of what fits, so that the letter itself fits for certain.
    let cut =
        |bytes: &Option<Bytes>| bytes.as_ref().map(|whole| whole.slice(..whole.len().min(bytes_max / 4)));
    let fact = |name: &str, value: String| Header { name: name.into(), value: Some(value.into()) };
    let mut headers = vec![
        fact("tidelock.error", "the record is too large for its topic; what is here may be cut off".into()),
        fact("tidelock.topic", record.topic.to_string()),
        fact("tidelock.bytes", bytes.to_string()),
        fact("tidelock.bytes_max", bytes_max.to_string()),
    ];
    if let Some(partition) = record.partition {
        headers.push(fact("tidelock.partition", partition.to_string()));
    }
    ProducerRecord {
        topic: Arc::from(topic),
        partition: None,
        timestamp: record.timestamp,
        key: cut(&record.key),
        value: cut(&record.value),
        headers,
    }
}

/// The beginning of a record's key, so that a person can find it.
fn key_for_people(record: &ProducerRecord) -> String {
    const SHOWN_BYTES: usize = 64;
    match &record.key {
        None => "none".to_owned(),
        Some(key) => format!("{:?}", String::from_utf8_lossy(&key[..key.len().min(SHOWN_BYTES)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> ProducerRecord {
        ProducerRecord::new("t", vec![b'x'; 5_000]).with_key("k1")
    }

    #[test]
    fn a_record_that_is_too_large_names_itself_under_fail() {
        let error = replace_too_large(&RecordPolicy::Fail, &large(), 1_000).expect_err("refused").to_string();
        assert!(
            error.contains("topic=t") && error.contains("k1") && error.contains("bytes_max=1000"),
            "{error}"
        );
    }

    #[test]
    fn skip_writes_nothing_in_its_place() {
        assert_eq!(replace_too_large(&RecordPolicy::Skip, &large(), 1_000).expect("skipped"), None);
    }

    #[test]
    fn a_dead_letter_fits_and_says_where_the_record_was_to_go() {
        let policy = RecordPolicy::DeadLetter("dead".into());
        let letter = replace_too_large(&policy, &large(), 2_000).expect("replaced").expect("a letter");
        assert_eq!((&*letter.topic, letter.key.as_deref()), ("dead", Some(&b"k1"[..])));
        assert!(!is_too_large(&letter, 2_000), "{} bytes", size(&letter));
        assert!(
            letter
                .headers
                .iter()
                .any(|one| &*one.name == "tidelock.topic" && one.value.as_deref() == Some(b"t"))
        );
    }

    #[test]
    fn headers_count_for_the_size() {
        let record = ProducerRecord::new("t", "v").with_header("h", vec![0u8; 3_000]);
        assert!(is_too_large(&record, 3_000) && !is_too_large(&record, 4_000));
    }
}
