//! A target without transactions: rows with versions, and a write that is refused where the row is
//! newer. The core's write-ahead sink writes to it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tidelock::write_ahead::{Apply, Version, Writes};
use tidelock::{Epoch, Generation, JobId, Result, Uid, Versioned, unknown_version};

use super::doubles::Double;
use super::input::{Record, unavailable};
use super::points::Point;
use super::process::log_root;
use super::world::{Client, State};

impl Versioned for Record {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// What a row says, and which write said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The version of the write.
    pub version: Version,
    /// The record.
    pub record: Record,
}

/// Names a row: a split's records go round over a few of them, so that each is written often.
pub type Key = (u32, u64);

/// How many rows the records of a split share.
pub const KEYS: u64 = 5;

/// The row of a record.
pub fn key_of(record: &Record) -> Key {
    (record.split, record.place % KEYS)
}

/// A target that keeps the newest record of each key.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<Key, Row>,
    newest: Option<Version>,
}

impl Table {
    /// The rows.
    pub fn rows(&self) -> &BTreeMap<Key, Row> {
        &self.rows
    }
}

/// How a table is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// The sink's uid.
    pub uid: Uid,
    /// The target's name.
    pub table: String,
}

/// The connector of one process: what the write-ahead sink needs of a target.
#[derive(Debug)]
pub struct TableTarget {
    client: Client,
    table: String,
}

impl TableTarget {
    /// The connector of one process.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

#[async_trait]
impl Apply for TableTarget {
    type Record = Record;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        let name = self.table.clone();
        let look = move |state: &mut State| state.tables.get(&name).and_then(|table| table.newest);
        Ok(self.client.ask(Point::LookPending, look).await.map_err(unavailable("look"))?.value)
    }

    async fn apply(&self, writes: Writes<Record>) -> Result<()> {
        let opened = self.client.world.lock().processes[self.client.process].opened;
        let point = if opened { Point::Commit } else { Point::RecoveryCommit };
        let (name, records) = (self.table.clone(), writes.all().await?);
        let (job, version) = (writes.job, writes.version);
        let apply = move |state: &mut State| apply(state, &name, (&job, version), &records);
        self.client.ask(point, apply).await.map_err(unavailable("apply"))?;
        Ok(())
    }
}

/// Writes rows where they are not newer already, in one step.
fn apply(state: &mut State, table: &str, (job, version): (&JobId, Version), records: &[Record]) {
    if !is_covered(state, job, version) {
        state.accuse(format!("I1: version {version} was applied and no durable entry covers it"));
    }
    let unversioned = state.double == Some(Double::TableIgnoresVersions);
    let (mut late, mut wrong) = (false, None);
    // One step: of a row that the writes name twice, the last one counts.
    let rows: BTreeMap<Key, &Record> = records.iter().map(|record| (key_of(record), record)).collect();
    let target = state.tables.entry(table.to_owned()).or_default();
    target.newest = target.newest.max(Some(version));
    for (key, record) in rows {
        if let Some(row) = target.rows.get(&key) {
            if row.version > version && !unversioned {
                late = true;
                continue;
            }
            let same_history = row.version.generation == version.generation;
            if row.version > version || (same_history && row.record.place > record.place) {
                wrong = Some(format!("row {key:?} went back from {row:?} to {record:?} of {version}"));
            }
        }
        target.rows.insert(key, Row { version, record: record.clone() });
    }
    if late {
        state.reached("a commit arrived after a later epoch's");
    }
    if let Some(wrong) = wrong {
        state.accuse(wrong);
    }
}

/// I1: an entry that covers the epoch is or was durable.
fn is_covered(state: &State, job: &JobId, version: Version) -> bool {
    let Version { generation, epoch } = version;
    let covers = |(of, up_to): (Generation, Epoch)| of == generation && up_to >= epoch;
    let root = log_root(job);
    let entries = state.objects.entries(&root).rev();
    entries.map(|fact| (fact.entry.lineage.generation, fact.entry.epoch)).any(covers)
}
