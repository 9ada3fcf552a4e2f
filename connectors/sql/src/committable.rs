//! What a snapshot stores of prepared rows, in every mode.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use tidelock::log::ChunkRef;
use tidelock::write_ahead::WriteAheadCommittable;
use tidelock::{Committable, Result, Stored, Versioned, from_json, unknown_version};

use crate::prepared::TransactionName;

/// What is pending of a sink: by whichever [`Mode`](crate::Mode) it was written, any mode commits it. In the mode `upsert` nothing
/// is ever pending.
#[derive(Debug, Clone)]
pub struct SqlCommittable(pub(crate) Kind);

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// The rows themselves.
    Ledger(WriteAheadCommittable),
    /// Where the rows wait in the database.
    Prepared(Branch),
}

/// A transaction that was prepared.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Branch {
    pub(crate) transaction: TransactionName,
    /// How many changes it has, for people.
    pub(crate) changes: u64,
}

impl SqlCommittable {
    pub(crate) fn ledger(committable: WriteAheadCommittable) -> Self {
        Self(Kind::Ledger(committable))
    }

    pub(crate) fn prepared(branch: Branch) -> Self {
        Self(Kind::Prepared(branch))
    }

    /// The transaction that holds the rows in the database; `None` where the snapshot has the rows themselves.
    pub fn transaction(&self) -> Option<&TransactionName> {
        match &self.0 {
            Kind::Prepared(branch) => Some(&branch.transaction),
            Kind::Ledger(_) => None,
        }
    }
}

impl Versioned for Branch {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// The stored form: each kind with a version of its own.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Ledger(Stored),
    Prepared(Stored),
}

impl Serialize for SqlCommittable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match &self.0 {
            Kind::Ledger(rows) => Stored::encode(rows).map(Form::Ledger),
            Kind::Prepared(branch) => Stored::encode(branch).map(Form::Prepared),
        };
        form.map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SqlCommittable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kind = match Form::deserialize(deserializer)? {
            Form::Ledger(stored) => stored.decode().map(Kind::Ledger),
            Form::Prepared(stored) => stored.decode().map(Kind::Prepared),
        };
        kind.map(Self).map_err(D::Error::custom)
    }
}

/// Versions below the first of ours are those of the ledger's rows, which once were all that was stored.
const FIRST_VERSION: u16 = 100;

impl Versioned for SqlCommittable {
    const VERSION: u16 = FIRST_VERSION;

    fn upgrade(version: u16, json: &str) -> Result<Self> {
        if version == WriteAheadCommittable::VERSION {
            return from_json(json).map(Self::ledger);
        }
        if version < FIRST_VERSION {
            return WriteAheadCommittable::upgrade(version, json).map(Self::ledger);
        }
        Err(unknown_version::<Self>(version))
    }
}

impl Committable for SqlCommittable {
    fn chunks(&self) -> Vec<ChunkRef> {
        match &self.0 {
            Kind::Ledger(rows) => rows.chunks(),
            Kind::Prepared(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden texts never change: what an older build stored is read for ever.
    const LEDGER_ALONE: &str = r#"{"job":"orders","generation":7,"v":1,"records":[]}"#;
    const LEDGER: &str = r#"{"ledger":{"v":1,"json":{"job":"orders","generation":7,"v":1,"records":[]}}}"#;
    const LEDGER_2: &str = r#"{"ledger":{"v":2,"json":{"job":"orders","generation":7,"v":1,"records":[]}}}"#;
    const CHUNKS: &str = r#"{"ledger":{"v":2,"json":{"job":"orders","generation":7,"v":1,"chunks":[{"chunk":{"name":"chunks/1","bytes":9,"crc32c":5},"records":3,"json_bytes":8}]}}}"#;
    const LEDGER_3: &str = r#"{"ledger":{"v":3,"json":{"job":"orders","generation":7,"v":1,"records":[]}}}"#;
    const CHUNKS_3: &str = r#"{"ledger":{"v":3,"json":{"job":"orders","generation":7,"place":"table a of database b","v":1,"chunks":[{"chunk":{"name":"chunks/1","bytes":9,"crc32c":5},"records":3,"json_bytes":8}]}}}"#;
    const PREPARED: &str =
        r#"{"prepared":{"v":1,"json":{"transaction":"tidelock:orders.out:17.0.3:1f2e3d4c","changes":5}}}"#;

    fn stored(version: u16, json: &str) -> Stored {
        Stored { version, json: serde_json::value::RawValue::from_string(json.into()).expect("JSON") }
    }

    #[test]
    fn every_stored_form_is_read_and_the_newest_written() {
        for (version, json, written) in [
            (1, LEDGER_ALONE, LEDGER_3),
            (100, LEDGER, LEDGER_3),
            (100, LEDGER_2, LEDGER_3),
            (100, LEDGER_3, LEDGER_3),
            (100, CHUNKS, &CHUNKS.replace("\"v\":2", "\"v\":3")),
            (100, CHUNKS_3, CHUNKS_3),
            (100, PREPARED, PREPARED),
        ] {
            let read: SqlCommittable = stored(version, json).decode().expect("readable");
            let again = Stored::encode(&read).expect("storable");
            assert_eq!(again.version, 100);
            assert_eq!(again.json.get(), written);
            assert_eq!(read.transaction().is_some(), json == PREPARED);
            let has_chunk = json == CHUNKS || json == CHUNKS_3;
            assert_eq!(read.chunks().len(), usize::from(has_chunk), "what it needs is named");
        }
        assert!(stored(101, PREPARED).decode::<SqlCommittable>().is_err());
    }
}
