//! An aggregate is opened.

use bytes::Bytes;
use prost::Message as _;

use super::form::{AggregatedRecord, DIGEST_BYTES, MAGIC, Record, digest};
use crate::hash_key::{HashKey, HashRange};

/// What a record of a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// Itself, and no aggregate.
    Plain,
    /// These, in their order. The place of each is its sub-sequence number. There may be none.
    Records(Vec<UserRecord>),
    /// An aggregate of which a record belongs to another shard: its producer puts it once more, so that nothing of it counts.
    Foreign,
}

/// A record that was put into an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRecord {
    pub(crate) partition_key: String,
    pub(crate) explicit_hash_key: Option<String>,
    /// A part of the aggregate's bytes, without a copy.
    pub(crate) data: Bytes,
}

/// Opens a record of a shard with this range.
pub(crate) fn open(data: &Bytes, range: &HashRange) -> Opened {
    let Some(aggregated) = protobuf(data).and_then(|protobuf| AggregatedRecord::decode(protobuf).ok()) else {
        return Opened::Plain;
    };
    let (partition_keys, hash_keys) = (&aggregated.partition_key_table, &aggregated.explicit_hash_key_table);
    let mut records = Vec::with_capacity(aggregated.records.len());
    let mut is_foreign = false;
    for record in aggregated.records {
        let Some((record, hash_key)) = record_of(record, partition_keys, hash_keys) else {
            return Opened::Plain;
        };
        is_foreign |= !range.contains(hash_key);
        records.push(record);
    }
    if is_foreign { Opened::Foreign } else { Opened::Records(records) }
}

/// The protobuf of what may be an aggregate. One that is empty is none: so every consumer says.
fn protobuf(data: &Bytes) -> Option<Bytes> {
    let end = data.len().checked_sub(DIGEST_BYTES)?;
    if end <= MAGIC.len() || !data.starts_with(&MAGIC) {
        return None;
    }
    let protobuf = data.slice(MAGIC.len()..end);
    (digest(&protobuf)[..] == data[end..]).then_some(protobuf)
}

fn record_of(
    record: Record,
    partition_keys: &[String],
    hash_keys: &[String],
) -> Option<(UserRecord, HashKey)> {
    let key_at = |table: &[String], index: u64| table.get(usize::try_from(index).ok()?).cloned();
    let partition_key = key_at(partition_keys, record.partition_key_index?)?;
    let (explicit_hash_key, hash_key) = match record.explicit_hash_key_index {
        Some(index) => {
            let text = key_at(hash_keys, index)?;
            let hash_key = HashKey::parse(&text)?;
            (Some(text), hash_key)
        }
        None => (None, HashKey::of_partition_key(&partition_key)),
    };
    Some((UserRecord { partition_key, explicit_hash_key, data: record.data? }, hash_key))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde::Deserialize;

    use super::*;

    /// The lower half of the hash keys: that of the first of two shards.
    const HALF: HashRange = HashRange { start: 0, end: u128::MAX / 2 };

    #[derive(Deserialize)]
    struct Sample {
        name: String,
        data_base64: String,
        /// What a KCL 3.5.1 made of it; a text where it made nothing but an error.
        user_records: serde_json::Value,
    }

    #[derive(Deserialize)]
    struct Expected {
        sub: Option<usize>,
        partition_key: String,
        explicit_hash_key: Option<String>,
        data_base64: String,
    }

    fn samples() -> Vec<Sample> {
        serde_json::from_str(include_str!("../../tests/kpl/samples.json")).expect("samples")
    }

    fn bytes(base64: &str) -> Bytes {
        BASE64.decode(base64).expect("base64").into()
    }

    /// `tests/kpl/samples.json` was made by a public aggregator and by hand, and read by a KCL.
    #[test]
    fn what_a_kcl_makes_of_aggregates_is_made_of_them_here() {
        for sample in samples().into_iter().filter(|sample| sample.name != "index_out_of_range") {
            let name = sample.name;
            let expected: Vec<Expected> = serde_json::from_value(sample.user_records).expect("records");
            let data = bytes(&sample.data_base64);
            let opened = open(&data, &HashRange::ALL);
            if let [Expected { sub: None, data_base64, .. }] = &expected[..] {
                assert_eq!((opened, &bytes(data_base64)), (Opened::Plain, &data), "{name}");
                continue;
            }
            let wanted = expected.into_iter().enumerate().map(|(at, record)| {
                assert_eq!(record.sub, Some(at), "{name}");
                UserRecord {
                    partition_key: record.partition_key,
                    explicit_hash_key: record.explicit_hash_key,
                    data: bytes(&record.data_base64),
                }
            });
            assert_eq!(opened, Opened::Records(wanted.collect()), "{name}");
        }
    }

    #[test]
    fn of_an_aggregate_with_a_record_of_another_shard_nothing_counts() {
        for (name, foreign) in [
            ("three_keys", true),
            ("explicit_hash_keys", true),
            ("hundred", true),
            ("mixed_ehk_and_tag", true),
            ("keys_but_no_records", false),
        ] {
            let samples = samples();
            let sample = samples.iter().find(|sample| sample.name == name).expect(name);
            let opened = open(&bytes(&sample.data_base64), &HALF);
            let expected = if foreign { Opened::Foreign } else { Opened::Records(Vec::new()) };
            assert_eq!(opened, expected, "{name}");
        }
    }

    #[test]
    fn what_names_keys_that_it_does_not_have_is_a_plain_record_in_every_shard() {
        let samples = samples();
        let sample = samples.iter().find(|sample| sample.name == "index_out_of_range").expect("it is there");
        let data = bytes(&sample.data_base64);
        assert_eq!([open(&data, &HashRange::ALL), open(&data, &HALF)], [Opened::Plain, Opened::Plain]);
    }

    #[test]
    fn what_was_cut_or_changed_is_a_plain_record_and_never_a_panic() {
        let samples = samples();
        let whole = bytes(&samples[0].data_base64);
        for end in 0..whole.len() {
            assert_eq!(open(&whole.slice(..end), &HashRange::ALL), Opened::Plain, "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            assert_eq!(open(&changed.into(), &HashRange::ALL), Opened::Plain, "changed at {at}");
        }
    }
}
