//! What a snapshot stores of the records that wait to be put.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use tidelock::log::ChunkRef;
use tidelock::write_ahead::WriteAheadCommittable;
use tidelock::{Committable, Epoch, Result, Stored, Versioned, unknown_version};

use crate::header::NumberingId;
use crate::mark::Mark;

/// What is pending of a sink. In the mode `direct` nothing ever is; either mode puts what a run in the mode `numbered` left.
///
/// It names the stream that it is for, and the numbering in which its records are numbered, from 0 on.
#[derive(Debug, Clone)]
pub struct KinesisCommittable {
    pub(super) stream: Mark,
    pub(super) numbering: NumberingId,
    /// The first epoch of the numbering.
    pub(super) since: Epoch,
    pub(super) records: WriteAheadCommittable,
}

/// The stored form: the records with a version of their own.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    stream: Mark,
    numbering: NumberingId,
    since: Epoch,
    records: Stored,
}

impl Serialize for KinesisCommittable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = Stored::encode(&self.records).map_err(S::Error::custom)?;
        let Self { stream, numbering, since, .. } = self.clone();
        Form { stream, numbering, since, records }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KinesisCommittable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Form { stream, numbering, since, records } = Form::deserialize(deserializer)?;
        Ok(Self { stream, numbering, since, records: records.decode().map_err(D::Error::custom)? })
    }
}

impl Versioned for KinesisCommittable {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for KinesisCommittable {
    fn chunks(&self) -> Vec<ChunkRef> {
        self.records.chunks()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn every_stored_form_is_read_and_the_newest_written() {
        let golden = include_str!("../../tests/golden/committable_v1.json");
        for (json, chunks) in golden.lines().zip([0, 1]) {
            let json = RawValue::from_string(json.to_owned()).expect("JSON");
            let stored = Stored { version: 1, json };
            let read: KinesisCommittable = stored.decode().expect("readable");
            assert_eq!((read.stream.made_ms, read.since), (1_764_471_600_000, Epoch(7)));
            assert_eq!(read.chunks().len(), chunks, "what it needs is named");
            let written = Stored::encode(&read).expect("storable");
            assert_eq!((written.version, written.json.get()), (1, stored.json.get()));
        }
        assert_eq!(golden.lines().count(), 2);
        let newer = Stored { version: 2, json: RawValue::from_string("{}".into()).expect("JSON") };
        assert!(newer.decode::<KinesisCommittable>().is_err());
    }
}
