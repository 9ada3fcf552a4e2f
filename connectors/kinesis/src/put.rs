//! What is written: the record of a sink.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelock::{Result, Versioned, unknown_version};

/// A record that is put into a stream.
///
/// ```
/// # use tidelock_kinesis::KinesisPut;
/// let put = KinesisPut::new("LH-1234", r#"{"delay":17}"#);
/// // Another place than that of its key: here the first of all hash keys.
/// let put = put.with_hash_key(0);
/// assert_eq!(put.explicit_hash_key.as_deref(), Some("0"));
/// ```
///
/// In JSON the data is base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KinesisPut {
    /// The key, of 1 to 256 characters. Its hash decides the shard, and records of one key keep their order.
    pub partition_key: String,
    /// What decides the shard instead of the key's hash: a number below 2^128, in decimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explicit_hash_key: Option<String>,
    /// The data, as readers get it.
    #[serde(with = "crate::bytes_text")]
    pub data: Bytes,
}

impl KinesisPut {
    /// A record with this key.
    pub fn new(partition_key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), explicit_hash_key: None, data: data.into() }
    }

    /// The same for the shard that has this hash key. Records with one partition key and several of these may come to several shards, and have no order then.
    #[must_use]
    pub fn with_hash_key(mut self, hash_key: u128) -> Self {
        self.explicit_hash_key = Some(hash_key.to_string());
        self
    }
}

impl Versioned for KinesisPut {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_of_every_version_is_read() {
        let golden = include_str!("../tests/golden/put_v1.json");
        let puts: Vec<KinesisPut> = serde_json::from_str(golden).expect("puts");
        let expected =
            [KinesisPut::new("a", vec![0, 255]), KinesisPut::new("ä", "").with_hash_key(u128::MAX)];
        assert_eq!(puts, expected);
        assert_eq!(serde_json::to_string(&puts).expect("stored"), golden.trim_end());
    }
}
