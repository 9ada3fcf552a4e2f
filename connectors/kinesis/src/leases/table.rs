//! The table: all of its rows, and whether somebody writes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use tidelock::{Error, ErrorKind, Patience, Result};
use tidelock_aws::{failed, says_nothing};
use tokio::time::sleep;

use super::lease::{Item, Lease, Row, name, text};
use crate::source::name_of;

const READ: &str = "read a table of leases";

/// Calls that are made again, by table.
pub(super) const CALLS_AGAIN: &str = "tidelock_kinesis_calls_again_total";

/// DynamoDB is not away for longer without being down.
pub(super) const AGAIN_FOR: Duration = Duration::from_secs(60);

/// A stream has 10,000 shards at most in a quarter of a day, and a page more than a thousand rows.
const PAGES_MAX: usize = 10_000;

/// The pause between two looks at the table: about as often as a worker writes. Reading all of it costs something.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A table of leases.
#[derive(Debug)]
pub(super) struct LeaseTable {
    client: Client,
    name: String,
}

/// All rows of a table, by their keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rows(BTreeMap<String, Item>);

impl LeaseTable {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    /// Reads all rows, as they are now and not as they were a moment ago.
    pub(super) async fn rows(&self) -> Result<Rows> {
        let (mut rows, mut after) = (BTreeMap::new(), None);
        for _ in 0..PAGES_MAX {
            let (page, more) = self.page(after).await?;
            for item in page {
                let key = item.get(name::KEY).and_then(|key| key.as_s().ok()).cloned();
                let key = key.ok_or_else(|| self.no_leases())?;
                rows.insert(key, item);
            }
            // Of an empty key there is none, whatever a server writes for it.
            after = more.filter(|more| !more.is_empty());
            if after.is_none() {
                return Ok(Rows(rows));
            }
        }
        Err(Error::new(ErrorKind::Other, READ, "the table does not end").with("table", &self.name))
    }

    async fn page(&self, after: Option<Item>) -> Result<(Vec<Item>, Option<Item>)> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            let request = self.client.scan().table_name(&self.name).consistent_read(true);
            let error = match request.set_exclusive_start_key(after.clone()).send().await {
                Ok(answer) => match answer.items {
                    Some(items) => return Ok((items, answer.last_evaluated_key)),
                    None => says_nothing(READ),
                },
                Err(answer) => failed(READ, answer),
            };
            patience.after(error.with("table", &self.name), &self.name).await?;
        }
    }

    fn no_leases(&self) -> Error {
        let why = "the table is none of KCL's: a row has no leaseKey. It is called as the application is";
        Error::new(ErrorKind::Config, READ, why).with("table", &self.name)
    }

    /// Looks at the table until something in it changes, or for so long. The rows that it ended with, and who wrote meanwhile.
    pub(super) async fn watch(&self, at_most: Duration) -> Result<(Rows, BTreeSet<String>)> {
        let first = self.rows().await?;
        let (mut rows, mut watched) = (first.clone(), Duration::ZERO);
        while watched < at_most {
            let pause = LOOK_EVERY.min(at_most.saturating_sub(watched));
            sleep(pause).await;
            watched += pause;
            rows = self.rows().await?;
            let writers = rows.writers_since(&first)?;
            if !writers.is_empty() {
                return Ok((rows, writers));
            }
        }
        Ok((rows, BTreeSet::new()))
    }
}

impl Rows {
    /// The leases, and how many rows there are of other kinds.
    pub(super) fn leases(&self) -> Result<(Vec<Lease>, BTreeMap<String, usize>)> {
        let (mut leases, mut others) = (Vec::new(), BTreeMap::new());
        for item in self.0.values() {
            match Row::of(item)? {
                Row::Lease(lease) => leases.push(lease),
                Row::Other { kind, .. } => *others.entry(kind).or_default() += 1,
            }
        }
        Ok((leases, others))
    }

    /// A row that was not exported from one of these streams, or that an application has taken, and why it is none of ours.
    pub(super) fn first_of_others(&self, streams: &[String]) -> Option<(&str, &'static str)> {
        self.0.iter().find_map(|(key, row)| {
            let from = text(row, name::FROM).and_then(|from| from.rsplit_once('@'));
            let why = match from {
                _ if row.contains_key(name::OWNER) => "an application of KCL has taken this one",
                None => "this one is of an application of KCL",
                Some((from, _)) if !streams.iter().any(|stream| name_of(stream) == name_of(from)) => {
                    "this one is of another source"
                }
                Some(_) => return None,
            };
            Some((key.as_str(), why))
        })
    }

    /// Who wrote to the table since: the worker, where a row says one, and else the row. A worker renews its leases, the leader its lock, and all of
    /// them what they say of their load. Nobody else writes there.
    fn writers_since(&self, before: &Self) -> Result<BTreeSet<String>> {
        let mut writers = BTreeSet::new();
        for key in self.0.keys().chain(before.0.keys()) {
            let (now, then) = (self.0.get(key), before.0.get(key));
            if now == then {
                continue;
            }
            let Some(item) = now.or(then) else { continue };
            let worker = match Row::of(item)? {
                Row::Lease(lease) => lease.owner,
                Row::Other { worker, .. } => worker,
            };
            writers.insert(worker.unwrap_or_else(|| format!("somebody who wrote the row {key}")));
        }
        Ok(writers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::lease::tests::item;
    use super::*;

    fn rows(rows: &[Value]) -> Rows {
        let rows = rows.iter().map(|row| (row["leaseKey"]["S"].as_str().unwrap().to_owned(), item(row)));
        Rows(rows.collect())
    }

    fn lease(shard: &str, owner: Option<&str>, counter: u64) -> Value {
        let mut row = json!({ "leaseKey": { "S": shard }, "leaseCounter": { "N": counter.to_string() }, "checkpoint": { "S": "5" } });
        if let Some(owner) = owner {
            row["leaseOwner"] = json!({ "S": owner });
        }
        row
    }

    fn writers(now: &[Value], before: &[Value]) -> Vec<String> {
        rows(now).writers_since(&rows(before)).unwrap().into_iter().collect()
    }

    #[test]
    fn a_worker_that_is_alive_moves_a_counter_and_one_that_ended_leaves_its_name_alone() {
        let ended = [lease("a", Some("w-1"), 7), lease("b", Some("w-2"), 9)];
        assert_eq!(writers(&ended, &ended), [""; 0]);
        let renewed = [lease("a", Some("w-1"), 7), lease("b", Some("w-2"), 10)];
        assert_eq!(writers(&renewed, &ended), ["w-2"]);
        let taken = [lease("a", Some("w-2"), 8), lease("b", Some("w-2"), 9)];
        assert_eq!(writers(&taken, &ended), ["w-2"]);
    }

    #[test]
    fn whoever_writes_without_having_a_lease_is_noticed() {
        let leader = |record: &str| json!({ "leaseKey": { "S": "Leader" }, "entityType": { "S": "LEADER" }, "ownerName": { "S": "w-3" }, "recordVersionNumber": { "S": record } });
        assert_eq!(writers(&[leader("y")], &[leader("x")]), ["w-3"]);
        let load = |at: &str| json!({ "leaseKey": { "S": "w-4" }, "entityType": { "S": "WORKER_METRIC_STATS" }, "lut": { "N": at } });
        assert_eq!(writers(&[load("2")], &[load("1")]), ["w-4"]);
        // A row that comes or goes; and one without an owner, as our own export writes it.
        assert_eq!(writers(&[leader("x"), load("1")], &[leader("x")]), ["w-4"]);
        assert_eq!(writers(&[], &[leader("x")]), ["w-3"]);
        let unowned = writers(&[lease("a", None, 8)], &[lease("a", None, 7)]);
        assert_eq!(unowned, ["somebody who wrote the row a"]);
    }
}
