//! A row of KCL's table, and what it says.
//!
//! | row | what tells it |
//! |---|---|
//! | a lease of KCL 1 or 2 | no `entityType` |
//! | a lease of KCL 3 | `entityType` is `LEASE` |
//! | anything else of KCL 3.5: the leader, workers and their load, migrations | another `entityType` |
//!
//! A lease is called by its shard where the application reads one stream, and else by `account:stream:created:shard`.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use tidelock::{Error, ErrorKind, Result};

const READ: &str = "read a table of leases";

/// The attributes that are read or written.
pub(super) mod name {
    pub(in crate::leases) const KEY: &str = "leaseKey";
    pub(in crate::leases) const OWNER: &str = "leaseOwner";
    pub(in crate::leases) const COUNTER: &str = "leaseCounter";
    pub(in crate::leases) const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
    pub(in crate::leases) const CHECKPOINT: &str = "checkpoint";
    pub(in crate::leases) const SUB: &str = "checkpointSubSequenceNumber";
    pub(in crate::leases) const PENDING: &str = "pendingCheckpoint";
    pub(in crate::leases) const PENDING_SUB: &str = "pendingCheckpointSubSequenceNumber";
    /// What an application left with a pending checkpoint: bytes, or a number by a mistake of KCL, or a text by one of a server. Nobody reads it here.
    pub(in crate::leases) const PENDING_STATE: &str = "pendingCheckpointState";
    pub(in crate::leases) const PARENTS: &str = "parentShardId";
    pub(in crate::leases) const CHILDREN: &str = "childShardIds";
    pub(in crate::leases) const HASH_START: &str = "startingHashKey";
    pub(in crate::leases) const HASH_END: &str = "endingHashKey";
    pub(in crate::leases) const ENTITY: &str = "entityType";
    pub(in crate::leases) const STREAM: &str = "streamName";
    pub(in crate::leases) const SHARD: &str = "shardId";
    /// Ours alone: from which stream a row was exported, and when that was made. KCL leaves it as it is.
    pub(in crate::leases) const FROM: &str = "exportedFrom";
}

/// What `entityType` says of a lease.
pub(super) const LEASE: &str = "LEASE";

/// A row as the service gives it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// How far a shard was processed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checkpoint {
    /// Nothing was: it begins with the oldest record.
    TrimHorizon,
    /// Nothing was: it begins with what comes.
    Latest,
    /// Nothing was: it begins at a time that stands in the configuration of the application, and not in the table.
    AtTimestamp,
    /// To this record, and within an aggregate to this one of its records, counted from 0.
    After {
        /// The number of the record.
        sequence_number: String,
        /// The record within the aggregate.
        sub_sequence: u64,
    },
    /// All of it.
    ShardEnd,
}

/// The stream of a lease, where the table says it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeasedStream {
    /// The account that has it.
    pub account: String,
    /// Its name.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created_s: i64,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// What the row is called by.
    pub key: String,
    /// The stream. `None`: the application reads one, and the table does not say which.
    pub stream: Option<LeasedStream>,
    /// The shard.
    pub shard: String,
    /// How far it was processed.
    pub checkpoint: Checkpoint,
    /// How far it was about to be said that it was processed, when the application prepared a checkpoint and did not end it.
    pub pending: Option<Checkpoint>,
    /// The worker that has it, or had it: it stays where a worker ends.
    pub owner: Option<String>,
    /// It moves as long as a worker has the lease.
    pub counter: u64,
    /// The shards that this one goes on from.
    pub parents: Vec<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Lease(Lease),
    /// KCL's own, of this kind.
    Other {
        key: String,
        kind: String,
        /// The worker that it is about, where it says one.
        worker: Option<String>,
    },
}

impl Checkpoint {
    pub(super) const SHARD_END: &str = "SHARD_END";
    pub(super) const TRIM_HORIZON: &str = "TRIM_HORIZON";
    pub(super) const LATEST: &str = "LATEST";
    pub(super) const AT_TIMESTAMP: &str = "AT_TIMESTAMP";

    /// What stands in the table. `None`: it is none of what KCL writes.
    fn parse(text: &str, sub_sequence: u64) -> Option<Self> {
        match text {
            Self::TRIM_HORIZON => Some(Self::TrimHorizon),
            Self::LATEST => Some(Self::Latest),
            Self::AT_TIMESTAMP => Some(Self::AtTimestamp),
            Self::SHARD_END => Some(Self::ShardEnd),
            number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::After { sequence_number: number.to_owned(), sub_sequence })
            }
            _ => None,
        }
    }

    /// As it stands in the table: the text, and the number beside it.
    pub(super) fn written(&self) -> (&str, u64) {
        match self {
            Self::TrimHorizon => (Self::TRIM_HORIZON, 0),
            Self::Latest => (Self::LATEST, 0),
            Self::AtTimestamp => (Self::AT_TIMESTAMP, 0),
            Self::ShardEnd => (Self::SHARD_END, 0),
            Self::After { sequence_number, sub_sequence } => (sequence_number, *sub_sequence),
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written() {
            (text, 0) => f.write_str(text),
            (text, sub) => write!(f, "{text}/{sub}"),
        }
    }
}

impl Row {
    /// Reads a row.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] naming the row, where it is none that KCL writes: taken for nothing it could be a shard that was half processed.
    pub(super) fn of(item: &Item) -> Result<Self> {
        let key = text(item, name::KEY).unwrap_or_default().to_owned();
        match text(item, name::ENTITY) {
            None | Some(LEASE) => Lease::of(key, item).map(Self::Lease),
            Some(kind) => {
                let worker = match kind {
                    "WORKER_METRIC_STATS" => Some(key.clone()),
                    _ => text(item, "ownerName").map(str::to_owned),
                };
                Ok(Self::Other { key, kind: kind.to_owned(), worker })
            }
        }
    }
}

impl Lease {
    fn of(key: String, item: &Item) -> Result<Self> {
        let wrong = |why: &str| Error::new(ErrorKind::Data, READ, why).with("lease", &key);
        let checkpoint = text(item, name::CHECKPOINT);
        let checkpoint = checkpoint.ok_or_else(|| wrong("a row is no lease of KCL: it has no checkpoint"))?;
        let sub = number(item, name::SUB).map_err(|why| wrong(&why))?;
        let checkpoint = Checkpoint::parse(checkpoint, sub.unwrap_or_default()).ok_or_else(|| {
            wrong("the checkpoint of a lease is neither a sequence number nor a word of KCL's")
        })?;
        let pending_sub = number(item, name::PENDING_SUB).map_err(|why| wrong(&why))?;
        let pending = text(item, name::PENDING).filter(|pending| !pending.is_empty());
        let pending = pending.map(|pending| {
            Checkpoint::parse(pending, pending_sub.unwrap_or_default()).ok_or_else(|| {
                wrong("the pending checkpoint of a lease is neither a sequence number nor a word of KCL's")
            })
        });
        let (stream, shard) = parse_key(&key)
            .ok_or_else(|| wrong("the key of a lease is neither a shard nor account:stream:created:shard"))?;
        Ok(Self {
            stream,
            shard,
            checkpoint,
            pending: pending.transpose()?,
            owner: text(item, name::OWNER).map(str::to_owned),
            counter: number(item, name::COUNTER).map_err(|why| wrong(&why))?.unwrap_or_default(),
            parents: texts(item, name::PARENTS),
            key,
        })
    }

    /// Whether all of the shard was processed.
    pub(super) fn is_over(&self) -> bool {
        self.checkpoint == Checkpoint::ShardEnd
    }
}

/// The stream and the shard that a lease is called by.
fn parse_key(key: &str) -> Option<(Option<LeasedStream>, String)> {
    let parts: Vec<&str> = key.split(':').collect();
    match parts[..] {
        [shard] if !shard.is_empty() => Some((None, shard.to_owned())),
        [account, stream, created, shard] if !stream.is_empty() && !shard.is_empty() => {
            let created_s = created.parse().ok()?;
            let stream = LeasedStream { account: account.to_owned(), name: stream.to_owned(), created_s };
            Some((Some(stream), shard.to_owned()))
        }
        _ => None,
    }
}

pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn texts(item: &Item, name: &str) -> Vec<String> {
    let mut texts = item.get(name).and_then(|value| value.as_ss().ok()).cloned().unwrap_or_default();
    texts.sort_unstable();
    texts
}

fn number(item: &Item, name: &str) -> std::result::Result<Option<u64>, String> {
    let Some(value) = item.get(name) else { return Ok(None) };
    let number = value.as_n().ok().and_then(|number| number.parse().ok());
    number.map(Some).ok_or_else(|| format!("{name} of a lease is no whole number from 0 on"))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A row as the service writes it, as an item.
    pub(in crate::leases) fn item(row: &Value) -> Item {
        let value = |value: &Value| {
            let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
            let text = || value.as_str().unwrap().to_owned();
            match kind.as_str() {
                "S" => AttributeValue::S(text()),
                "N" => AttributeValue::N(text()),
                "B" => AttributeValue::B(text().into_bytes().into()),
                "SS" => {
                    let all = value.as_array().unwrap().iter();
                    AttributeValue::Ss(all.map(|one| one.as_str().unwrap().to_owned()).collect())
                }
                // Nobody looks into these.
                _ => AttributeValue::Null(true),
            }
        };
        row.as_object().unwrap().iter().map(|(name, one)| (name.clone(), value(one))).collect()
    }

    fn row(with: Value) -> Value {
        let mut row = json!({ "leaseKey": { "S": "shardId-000000000001" }, "leaseCounter": { "N": "7" }, "checkpoint": { "S": "TRIM_HORIZON" } });
        row.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        row
    }

    fn lease(with: Value) -> Lease {
        match Row::of(&item(&row(with))).unwrap() {
            Row::Lease(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_word_of_a_checkpoint_is_known_and_a_number_keeps_its_place_within_an_aggregate() {
        let of = |text: &str| lease(json!({ "checkpoint": { "S": text } })).checkpoint;
        for (text, checkpoint) in [
            ("TRIM_HORIZON", Checkpoint::TrimHorizon),
            ("LATEST", Checkpoint::Latest),
            ("AT_TIMESTAMP", Checkpoint::AtTimestamp),
            ("SHARD_END", Checkpoint::ShardEnd),
            ("496", Checkpoint::After { sequence_number: "496".into(), sub_sequence: 0 }),
        ] {
            assert_eq!(of(text), checkpoint);
            assert_eq!(checkpoint.written(), (text, 0));
        }
        let sub = lease(json!({ "checkpoint": { "S": "496" }, "checkpointSubSequenceNumber": { "N": "2" } }));
        assert_eq!(sub.checkpoint, Checkpoint::After { sequence_number: "496".into(), sub_sequence: 2 });
        assert_eq!(sub.checkpoint.to_string(), "496/2");
    }

    #[test]
    fn rows_of_every_version_are_told_apart() {
        let old = lease(json!({}));
        assert_eq!((old.shard.as_str(), old.stream.as_ref(), old.counter), ("shardId-000000000001", None, 7));
        assert_eq!(lease(json!({ "entityType": { "S": "LEASE" } })), old);
        for kind in ["LEADER", "CLIENT_VERSION_MIGRATION", "STREAM", "SOMETHING_NEW"] {
            let other =
                json!({ "leaseKey": { "S": "x" }, "entityType": { "S": kind }, "ownerName": { "S": "w" } });
            let told = Row::Other { key: "x".into(), kind: kind.into(), worker: Some("w".into()) };
            assert_eq!(Row::of(&item(&other)).unwrap(), told);
        }
        let load = json!({ "leaseKey": { "S": "worker-1" }, "entityType": { "S": "WORKER_METRIC_STATS" } });
        let Row::Other { worker, .. } = Row::of(&item(&load)).unwrap() else { panic!("no lease") };
        assert_eq!(worker.as_deref(), Some("worker-1"));
    }

    #[test]
    fn a_lease_among_those_of_several_streams_says_its_stream() {
        let several =
            lease(json!({ "leaseKey": { "S": "123456789012:flights:1764470000:shardId-000000000003" } }));
        let stream =
            LeasedStream { account: "123456789012".into(), name: "flights".into(), created_s: 1_764_470_000 };
        assert_eq!((several.stream, several.shard.as_str()), (Some(stream), "shardId-000000000003"));
    }

    #[test]
    fn what_an_application_left_with_a_pending_checkpoint_may_be_of_any_kind() {
        for state in [json!({ "B": "app-state" }), json!({ "N": "1" }), json!({ "S": "app-state" })] {
            let pending = lease(json!({
                "pendingCheckpoint": { "S": "497" },
                "pendingCheckpointSubSequenceNumber": { "N": "1" },
                "pendingCheckpointState": state,
            }));
            assert_eq!(pending.checkpoint, Checkpoint::TrimHorizon);
            let expected = Checkpoint::After { sequence_number: "497".into(), sub_sequence: 1 };
            assert_eq!(pending.pending, Some(expected));
        }
    }

    #[test]
    fn a_row_that_kcl_does_not_write_is_an_error_that_names_it_and_not_a_shard_less() {
        for (with, named) in [
            (json!({ "checkpoint": { "S": "TRIM" } }), "checkpoint"),
            (json!({ "checkpoint": { "S": "" } }), "checkpoint"),
            (json!({ "checkpoint": { "N": "5" } }), "checkpoint"),
            (json!({ "checkpoint": { "S": "49.5" } }), "checkpoint"),
            (json!({ "checkpointSubSequenceNumber": { "N": "-1" } }), "checkpointSubSequenceNumber"),
            (json!({ "leaseCounter": { "S": "1" } }), "leaseCounter"),
            (json!({ "pendingCheckpoint": { "S": "soon" } }), "pending"),
            (json!({ "leaseKey": { "S": "a:b:c" } }), "account:stream"),
            (json!({ "leaseKey": { "S": "1:flights:soon:shardId-1" } }), "account:stream"),
            (json!({ "leaseKey": { "S": "" } }), "account:stream"),
        ] {
            let error = Row::of(&item(&row(with))).expect_err(named);
            assert!(error.kind() == ErrorKind::Data && error.to_string().contains(named), "{error}");
        }
    }
}
