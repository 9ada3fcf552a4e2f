//! What a snapshot stores of the changes that wait to be applied.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use tidelock::log::ChunkRef;
use tidelock::write_ahead::WriteAheadCommittable;
use tidelock::{Committable, Result, Stored, Versioned, unknown_version};

use crate::mark::Mark;

/// What is pending of a sink. In the modes that write at once nothing ever is; any mode commits what a run in the mode `ledger` left.
///
/// It names the table that it is for, and the ledger that says what of it was applied: what is pending must not go elsewhere, and must not be
/// judged by another ledger.
#[derive(Debug, Clone)]
pub struct DynamoCommittable {
    pub(super) table: Mark,
    pub(super) ledger: Mark,
    pub(super) changes: WriteAheadCommittable,
}

/// The stored form: the changes with a version of their own.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    table: Mark,
    ledger: Mark,
    changes: Stored,
}

impl Serialize for DynamoCommittable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let changes = Stored::encode(&self.changes).map_err(S::Error::custom)?;
        Form { table: self.table.clone(), ledger: self.ledger.clone(), changes }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DynamoCommittable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Form { table, ledger, changes } = Form::deserialize(deserializer)?;
        Ok(Self { table, ledger, changes: changes.decode().map_err(D::Error::custom)? })
    }
}

impl Versioned for DynamoCommittable {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for DynamoCommittable {
    fn chunks(&self) -> Vec<ChunkRef> {
        self.changes.chunks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn every_stored_form_is_read_and_the_newest_written() {
        let golden = include_str!("../../tests/golden/committable_v1.json");
        for (json, chunks) in golden.lines().zip([0, 1]) {
            let json = serde_json::value::RawValue::from_string(json.to_owned()).expect("JSON");
            let stored = Stored { version: 1, json };
            let read: DynamoCommittable = stored.decode().expect("readable");
            assert_eq!((read.table.name.as_str(), read.ledger.name.as_str()), ("orders", "tidelock_ledger"));
            assert_eq!(read.chunks().len(), chunks, "what it needs is named");
            // The changes have a version of their own, and are written in the newest one.
            let newest = stored.json.get().replacen(r#""changes":{"v":2,"#, r#""changes":{"v":3,"#, 1);
            let written = Stored::encode(&read).expect("storable");
            assert_eq!((written.version, written.json.get()), (1, newest.as_str()));
        }
        assert_eq!(golden.lines().count(), 2);
        let newer =
            Stored { version: 2, json: serde_json::value::RawValue::from_string("{}".into()).expect("JSON") };
        assert!(newer.decode::<DynamoCommittable>().is_err());
    }
}
