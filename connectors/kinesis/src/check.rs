//! What is known of a record alone: whether it can be put.
//!
//! Kinesis refuses a whole request for one record that cannot be, and does not say which: so nothing is sent that was not looked at.

use tidelock::{Error, ErrorKind, Result};

use crate::hash_key::HashKey;
use crate::put::KinesisPut;

/// The most characters of a partition key.
const KEY_CHARACTERS_MAX: usize = 256;

/// What a stream and the mode allow.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    pub(crate) stream: String,
    /// The most bytes of a record, its key included.
    pub(crate) record_bytes_max: usize,
    /// What comes to the data of a record by the sink.
    pub(crate) own_bytes: usize,
}

impl Checks {
    /// # Errors
    /// [`ErrorKind::Data`] where the record cannot be put, now or ever.
    pub(crate) fn check(&self, record: &KinesisPut) -> Result<()> {
        let KinesisPut { partition_key, explicit_hash_key, data } = record;
        if partition_key.is_empty() || partition_key.chars().count() > KEY_CHARACTERS_MAX {
            let why = format!("a partition key has 1 to {KEY_CHARACTERS_MAX} characters");
            return Err(self.refused(&why).with("characters", partition_key.chars().count()));
        }
        if explicit_hash_key.as_ref().is_some_and(|key| HashKey::parse(key).is_none()) {
            let why = "an explicit hash key is a number below 2^128, in decimal digits";
            return Err(self.refused(why).with("partition_key", partition_key));
        }
        let bytes = partition_key.len() + data.len() + self.own_bytes;
        if bytes > self.record_bytes_max {
            let why = "a record is larger than the stream takes, with its key and what the sink adds to it; a stream takes up to 10 MiB where its \
                       owner allows it (`aws kinesis update-max-record-size`)";
            return Err(self
                .refused(why)
                .with("partition_key", partition_key)
                .with("bytes", bytes)
                .with("record_bytes_max", self.record_bytes_max));
        }
        Ok(())
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(ErrorKind::Data, "put a record", why).with("stream", &self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_would_refuse_for_ever_is_refused_by_name() {
        let checks = Checks { stream: "flights".into(), record_bytes_max: 100, own_bytes: 10 };
        let hash_key = |text: &str| KinesisPut {
            explicit_hash_key: Some(text.into()),
            ..KinesisPut::new("key", "data")
        };
        let long = "ä".repeat(KEY_CHARACTERS_MAX);
        for good in [
            KinesisPut::new("key", vec![7; 87]),
            KinesisPut::new("key", ""),
            hash_key("0"),
            KinesisPut::new("key", "").with_hash_key(u128::MAX),
        ] {
            checks.check(&good).expect("it can be put");
        }
        Checks { record_bytes_max: 1_000, ..checks.clone() }
            .check(&KinesisPut::new(long.clone(), ""))
            .expect("256 characters of two bytes");
        for (wrong, named) in [
            (KinesisPut::new("", "data"), "characters=0"),
            (KinesisPut::new(format!("{long}a"), "data"), "characters=257"),
            (KinesisPut::new("key", vec![7; 88]), "bytes=101"),
            (hash_key(""), "explicit hash key"),
            (hash_key("340282366920938463463374607431768211456"), "explicit hash key"),
        ] {
            let error = checks.check(&wrong).expect_err(named);
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(named), "{error}");
        }
    }
}
