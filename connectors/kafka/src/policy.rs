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

/// Why a record cannot be written as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Its topic takes no more than so many bytes.
    TooLarge { bytes: usize, bytes_max: usize },
    /// librdkafka writes the time of now in the place of a time of 0, the first moment of 1970.
    TimeZero,
    /// A header's name has a zero byte, which ends it for every reader that is built on librdkafka, ours included.
    HeaderName,
}

/// Looks at a record before it is sent to a topic that takes records of so many bytes.
pub(crate) fn misfit(record: &ProducerRecord, bytes_max: usize) -> Option<Misfit> {
    let bytes = size(record);
    if bytes > bytes_max {
        return Some(Misfit::TooLarge { bytes, bytes_max });
    }
    if record.headers.iter().any(|header| header.name.contains('\0')) {
        return Some(Misfit::HeaderName);
    }
    (record.timestamp == Some(0)).then_some(Misfit::TimeZero)
}

/// What is written in the place of a record that does not fit: nothing, or a dead letter.
///
/// # Errors
/// The error that names the record, where the policy is to fail.
pub(crate) fn replace(
    policy: &RecordPolicy,
    record: &ProducerRecord,
    misfit: Misfit,
) -> Result<Option<ProducerRecord>> {
    match policy {
        RecordPolicy::Fail => Err(refusal(record, misfit)),
        RecordPolicy::Skip => {
            tracing::warn!(topic = &*record.topic, ?misfit, "a record cannot be written: left out");
            Ok(None)
        }
        RecordPolicy::DeadLetter(topic) => Ok(Some(dead_letter(topic, record, misfit))),
    }
}

pub(crate) fn refusal(record: &ProducerRecord, misfit: Misfit) -> Error {
    let refuse = |why| {
        Error::new(ErrorKind::Data, "write to Kafka", why)
            .with("topic", &record.topic)
            .with("key", key_for_people(record))
    };
    match misfit {
        Misfit::TooLarge { bytes, bytes_max } => refuse("a record is too large for its topic")
            .with("bytes", bytes)
            .with("bytes_max", bytes_max)
            .with(
                "remedy",
                "raise max.message.bytes of the topic and message.max.bytes, or choose another on_unwritable",
            ),
        Misfit::TimeZero => refuse("a record has the timestamp 0, which librdkafka would replace by now")
            .with(
                "remedy",
                "give it another time, or -1 for none, before the sink; or choose another on_unwritable",
            ),
        Misfit::HeaderName => refuse(
            "the name of a header has a zero byte, and readers would see another name",
        )
        .with("remedy", "give the header another name before the sink; or choose another on_unwritable"),
    }
}

/// A record that did not fit, or the beginning of one that is too large, with where it was to go and why it did not.
fn dead_letter(topic: &str, record: &ProducerRecord, misfit: Misfit) -> ProducerRecord {
    let fact = |name: &str, value: String| Header { name: name.into(), value: Some(value.into()) };
    let (mut letter, why) = match misfit {
        Misfit::TooLarge { bytes, bytes_max } => {
            // Key and value together take half of what fits, so that the letter itself fits for certain.
            let cut = |bytes: &Option<Bytes>| {
                bytes.as_ref().map(|whole| whole.slice(..whole.len().min(bytes_max / 4)))
            };
            let mut letter = record.clone();
            (letter.key, letter.value) = (cut(&record.key), cut(&record.value));
            letter.headers = vec![
                fact("tidelock.bytes", bytes.to_string()),
                fact("tidelock.bytes_max", bytes_max.to_string()),
            ];
            (letter, "the record is too large for its topic; what is here may be cut off")
        }
        Misfit::TimeZero => (record.clone(), "the record has the timestamp 0, which cannot be written"),
        Misfit::HeaderName => (record.clone(), "the name of a header has a zero byte, here written as \\0"),
    };
    for header in letter.headers.iter_mut().filter(|header| header.name.contains('\0')) {
        header.name = header.name.replace('\0', "\\0").into();
    }
    letter.headers.push(fact("tidelock.error", why.into()));
    letter.headers.push(fact("tidelock.topic", record.topic.to_string()));
    letter
        .headers
        .extend(record.partition.map(|partition| fact("tidelock.partition", partition.to_string())));
    letter.timestamp = record.timestamp.filter(|time| *time != 0);
    ProducerRecord { topic: Arc::from(topic), partition: None, ..letter }
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

    fn replaced(
        policy: &RecordPolicy,
        record: &ProducerRecord,
        bytes_max: usize,
    ) -> Result<Option<ProducerRecord>> {
        replace(policy, record, misfit(record, bytes_max).expect("it does not fit"))
    }

    #[test]
    fn a_record_that_is_too_large_names_itself_under_fail() {
        let error = replaced(&RecordPolicy::Fail, &large(), 1_000).expect_err("refused").to_string();
        assert!(
            error.contains("topic=t") && error.contains("k1") && error.contains("bytes_max=1000"),
            "{error}"
        );
    }

    #[test]
    fn skip_writes_nothing_in_its_place() {
        assert_eq!(replaced(&RecordPolicy::Skip, &large(), 1_000).expect("skipped"), None);
    }

    #[test]
    fn a_dead_letter_fits_and_says_where_the_record_was_to_go() {
        let policy = RecordPolicy::DeadLetter("dead".into());
        let letter = replaced(&policy, &large(), 2_000).expect("replaced").expect("a letter");
        assert_eq!((&*letter.topic, letter.key.as_deref()), ("dead", Some(&b"k1"[..])));
        assert_eq!(misfit(&letter, 2_000), None, "{} bytes", size(&letter));
        assert!(
            letter
                .headers
                .iter()
                .any(|one| &*one.name == "tidelock.topic" && one.value.as_deref() == Some(b"t"))
        );
    }

    #[test]
    fn the_first_moment_of_1970_is_refused_by_name_and_its_neighbours_are_not() {
        let at =
            |timestamp| ProducerRecord { timestamp, ..ProducerRecord::new("t", "v").with_header("h", "1") };
        for fits in [None, Some(-1), Some(1), Some(-2), Some(i64::MAX)] {
            assert_eq!(misfit(&at(fits), 1_000), None);
        }
        let error = replaced(&RecordPolicy::Fail, &at(Some(0)), 1_000).expect_err("refused").to_string();
        assert!(error.contains("timestamp 0") && error.contains("topic=t"), "{error}");
        let policy = RecordPolicy::DeadLetter("dead".into());
        let letter = replaced(&policy, &at(Some(0)), 1_000).expect("replaced").expect("a letter");
        assert_eq!((misfit(&letter, 1_000), letter.value.as_deref()), (None, Some(&b"v"[..])));
        assert_eq!(&*letter.headers[0].name, "h", "it is whole");
    }

    #[test]
    fn a_header_name_with_a_zero_byte_is_refused_by_name() {
        let record = || ProducerRecord::new("t", "v").with_header("a\0b", "1");
        let error = replaced(&RecordPolicy::Fail, &record(), 1_000).expect_err("refused").to_string();
        assert!(error.contains("zero byte") && error.contains("topic=t"), "{error}");
        let policy = RecordPolicy::DeadLetter("dead".into());
        // Also where the time does not fit either.
        for timestamp in [None, Some(0)] {
            let record = ProducerRecord { timestamp, ..record() };
            let letter = replaced(&policy, &record, 1_000).expect("replaced").expect("a letter");
            assert_eq!((misfit(&letter, 1_000), &*letter.headers[0].name), (None, "a\\0b"));
        }
    }

    #[test]
    fn headers_count_for_the_size() {
        let record = ProducerRecord::new("t", "v").with_header("h", vec![0u8; 3_000]);
        assert!(misfit(&record, 3_000).is_some() && misfit(&record, 4_000).is_none());
    }
}
