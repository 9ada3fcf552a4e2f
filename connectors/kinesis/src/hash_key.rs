//! Where in a stream a record goes: the hash of its key, and the part of all hashes that a shard has.

use std::fmt;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// A place among the 2^128 that the shards of a stream share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HashKey(pub(crate) u128);

/// The part of the hashes that a shard has, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HashRange {
    pub(crate) start: u128,
    pub(crate) end: u128,
}

impl HashKey {
    /// That of a partition key: its MD5 as a number.
    pub(crate) fn of_partition_key(key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(key.as_bytes()).into()))
    }

    /// That which was said with a record, as the service writes it: decimal digits. `None` where it is no such number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // `u128` takes a plus sign, too, and the service does not.
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_digits.then(|| text.parse().ok().map(Self)).flatten()
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl HashRange {
    /// The range of a stream with one shard.
    pub(crate) const ALL: Self = Self { start: 0, end: u128::MAX };

    /// The range as the service says it. `None` where these are no two numbers in their order.
    pub(crate) fn parse(start: &str, end: &str) -> Option<Self> {
        let (HashKey(start), HashKey(end)) = (HashKey::parse(start)?, HashKey::parse(end)?);
        (start <= end).then_some(Self { start, end })
    }

    /// Whether a record with this hash goes to the shard.
    pub(crate) fn contains(&self, key: HashKey) -> bool {
        (self.start..=self.end).contains(&key.0)
    }
}

impl fmt::Debug for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.end)
    }
}

/// The stored form: the decimal text of the service, since numbers of JSON are not that long everywhere.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    start: String,
    end: String,
}

impl Serialize for HashRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form { start: self.start.to_string(), end: self.end.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HashRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Form { start, end } = Form::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("{start}..={end} is no range of hash keys"));
        Self::parse(&start, &end).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_key_has_the_hash_that_the_service_gives_it() {
        // MD5 of the empty text and of "a", from RFC 1321.
        assert_eq!(HashKey::of_partition_key(""), HashKey(0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e));
        assert_eq!(HashKey::of_partition_key("a"), HashKey(0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661));
    }

    #[test]
    fn what_the_service_says_is_read_and_nothing_else() {
        let largest = "340282366920938463463374607431768211455";
        assert_eq!(HashRange::parse("0", largest), Some(HashRange::ALL));
        for wrong in ["", "+1", "-1", " 1", "1.0", "0x1", "340282366920938463463374607431768211456"] {
            assert_eq!(HashKey::parse(wrong), None, "{wrong:?}");
            assert_eq!(HashRange::parse("0", wrong), None, "{wrong:?}");
        }
        assert_eq!(HashRange::parse("8", "7"), None);
        let range = HashRange::parse("7", "8").expect("a range");
        assert_eq!([6, 7, 8, 9].map(|key| range.contains(HashKey(key))), [false, true, true, false]);
    }

    #[test]
    fn it_is_stored_as_text() {
        let stored = serde_json::to_string(&HashRange::ALL).expect("stored");
        assert_eq!(stored, r#"{"start":"0","end":"340282366920938463463374607431768211455"}"#);
        assert_eq!(serde_json::from_str::<HashRange>(&stored).expect("read"), HashRange::ALL);
        assert!(serde_json::from_str::<HashRange>(r#"{"start":"8","end":"7"}"#).is_err());
    }
}
