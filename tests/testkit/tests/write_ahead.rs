//! The framework's write-ahead sink against the sink suite, on targets that keep one version for all and
//! on targets that keep one for each row; and on targets that break its contract.

// The targets here are tests: a poisoned lock is a failed test.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::memory::InMemory;
use serde::{Deserialize, Serialize};
use tidelock::log::{ChunkStore, Log};
use tidelock::write_ahead::{Apply, Version, WriteAhead, WriteAheadConfig, WriteAheadWriter, Writes};
use tidelock::{JobId, Position, Rejecting, Rejects, Result, Uid, Versioned, unknown_version};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{
    RejectingHarness, Row, Shape, SinkFacets, SinkHarness, Value, ValuesHarness,
};

/// A row as a user's record, and a number that may have no form in JSON.
#[derive(Serialize, Deserialize)]
struct Write(Row, f64);

impl Versioned for Write {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// What a target does with versions.
#[derive(Clone, Copy)]
enum Kind {
    /// All records of an epoch in one step, and one version for each job and sink.
    Together,
    /// Each row by itself, with its version.
    RowByRow,
    /// As `Together`, and whatever comes is applied.
    TogetherWithoutVersions,
    /// As `RowByRow`, and whatever comes is written.
    RowByRowWithoutVersions,
    /// As `Together`, and the version is looked at by the client: it reads first and writes later.
    TogetherReadThenWrite,
}

#[derive(Default)]
struct State {
    newest: BTreeMap<(JobId, Uid), Version>,
    log: Vec<Row>,
    table: BTreeMap<String, (Version, u64)>,
}

impl State {
    fn take_together(&mut self, writes: &Writes<Write>, records: Vec<Write>) {
        self.newest.insert((writes.job.clone(), writes.uid.clone()), writes.version);
        self.log.extend(records.into_iter().map(|Write(row, _)| row));
    }

    fn is_newer<R>(&self, writes: &Writes<R>) -> bool {
        let newest = self.newest.get(&(writes.job.clone(), writes.uid.clone()));
        newest.is_none_or(|newest| writes.version > *newest)
    }
}

struct Target {
    kind: Kind,
    state: Arc<Mutex<State>>,
}

#[async_trait]
impl Apply for Target {
    type Record = Write;

    async fn newest(&self, job: &JobId, uid: &Uid) -> Result<Option<Version>> {
        Ok(self.state.lock().unwrap().newest.get(&(job.clone(), uid.clone())).copied())
    }

    async fn apply(&self, writes: Writes<Write>) -> Result<()> {
        let records = writes.all().await?;
        tokio::task::yield_now().await;
        match self.kind {
            Kind::Together => {
                let mut state = self.state.lock().unwrap();
                if state.is_newer(&writes) {
                    state.take_together(&writes, records);
                }
            }
            Kind::TogetherWithoutVersions => self.state.lock().unwrap().take_together(&writes, records),
            Kind::TogetherReadThenWrite => {
                let newer = self.state.lock().unwrap().is_newer(&writes);
                tokio::task::yield_now().await;
                if newer {
                    self.state.lock().unwrap().take_together(&writes, records);
                }
            }
            Kind::RowByRow | Kind::RowByRowWithoutVersions => {
                for Write(Row { key, value }, _) in records {
                    // Readers and crashes may come between two rows.
                    tokio::task::yield_now().await;
                    let mut state = self.state.lock().unwrap();
                    let newer = state.table.get(&key).is_none_or(|(version, _)| writes.version >= *version);
                    if newer || matches!(self.kind, Kind::RowByRowWithoutVersions) {
                        state.table.insert(key, (writes.version, value));
                    }
                }
            }
        }
        Ok(())
    }
}

struct Harness {
    kind: Kind,
    state: Arc<Mutex<State>>,
    /// Where every epoch is kept, in chunks of a few records. Without it all of it is in the entry.
    chunks: Option<ChunkStore>,
}

impl Harness {
    fn new(kind: Kind) -> Self {
        Self { kind, state: Arc::default(), chunks: None }
    }

    /// With a log for its chunks, which outlives every process.
    fn in_chunks(kind: Kind) -> Self {
        let log = Log::on(Arc::new(InMemory::new()), "log".into());
        Self { chunks: Some(log.chunk_store(Position(1))), ..Self::new(kind) }
    }

    fn is_table(&self) -> bool {
        matches!(self.kind, Kind::RowByRow | Kind::RowByRowWithoutVersions)
    }
}

#[async_trait]
impl SinkHarness for Harness {
    type Sink = WriteAhead<Target>;

    async fn sink(&self) -> Result<WriteAhead<Target>> {
        let target = Target { kind: self.kind, state: Arc::clone(&self.state) };
        let mut config = WriteAheadConfig::default();
        if self.chunks.is_some() {
            (config.in_entry_bytes_max, config.chunk_bytes) = (0, 100);
        }
        WriteAhead::new(target, config)
    }

    fn record(&self, row: &Row) -> Write {
        Write(row.clone(), 1.0)
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        let state = self.state.lock().unwrap();
        let rows = state.table.iter().map(|(key, (_, value))| Row::new(key, *value));
        Ok(if self.is_table() { rows.collect() } else { state.log.clone() })
    }

    fn facets(&self) -> SinkFacets<'_> {
        let facets = SinkFacets::new(if self.is_table() { Shape::Table } else { Shape::Log });
        match &self.chunks {
            Some(chunks) => facets.with_chunks(chunks),
            None => facets,
        }
    }
}

impl RejectingHarness for Harness {
    fn bad(&self, row: &Row) -> Write {
        Write(row.clone(), f64::NAN)
    }

    fn row(&self, Write(row, _): &Write) -> Row {
        row.clone()
    }

    fn reject_to(&self, writer: &mut WriteAheadWriter<Write>, rejects: Rejects<Write>) {
        writer.reject_to(rejects);
    }
}

mod together {
    use super::*;

    async fn boot() -> Result<Option<Harness>> {
        Ok(Some(Harness::new(Kind::Together)))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
    conformance::rejecting!(boot);
}

/// As `together`, with every epoch in chunks.
mod together_in_chunks {
    use super::*;

    async fn boot() -> Result<Option<Harness>> {
        Ok(Some(Harness::in_chunks(Kind::Together)))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
    conformance::rejecting!(boot);
}

/// As `row_by_row`, with every epoch in chunks.
mod row_by_row_in_chunks {
    use super::*;

    async fn boot() -> Result<Option<Harness>> {
        Ok(Some(Harness::in_chunks(Kind::RowByRow)))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
}

mod row_by_row {
    use super::*;

    async fn boot() -> Result<Option<Harness>> {
        Ok(Some(Harness::new(Kind::RowByRow)))
    }

    conformance::sink!(boot, without [expiry, leftovers]);
}

/// A value as a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Single(Value);

impl Versioned for Single {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// Values that are written together, with one version for all.
#[derive(Debug, Clone, Default)]
struct Values(Arc<Mutex<(Option<Version>, Vec<Value>)>>);

#[async_trait]
impl Apply for Values {
    type Record = Single;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(self.0.lock().unwrap().0)
    }

    async fn apply(&self, writes: Writes<Single>) -> Result<()> {
        let records = writes.all().await?;
        let mut values = self.0.lock().unwrap();
        if values.0 < Some(writes.version) {
            values.0 = Some(writes.version);
            values.1.extend(records.into_iter().map(|Single(value)| value));
        }
        Ok(())
    }
}

#[async_trait]
impl ValuesHarness for Values {
    type Sink = WriteAhead<Self>;

    async fn sink(&self) -> Result<WriteAhead<Self>> {
        WriteAhead::new(self.clone(), WriteAheadConfig::default())
    }

    fn record(&self, value: &Value) -> Option<Single> {
        Some(Single(value.clone()))
    }

    async fn visible(&self) -> Result<Vec<Value>> {
        Ok(self.0.lock().unwrap().1.clone())
    }
}

mod values {
    use super::*;

    async fn boot() -> Result<Option<Values>> {
        Ok(Some(Values::default()))
    }

    conformance::values!(boot);
}

async fn failed_checks(kind: Kind) -> BTreeSet<&'static str> {
    let mut failed = BTreeSet::new();
    for name in conformance::sink::CHECKS {
        let harness = Harness::new(kind);
        if Box::pin(conformance::sink::check(name, &harness)).await.expect("a check of this name").is_err() {
            failed.insert(*name);
        }
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn a_table_that_ignores_versions_is_found_by_the_late_commit_alone() {
    let failed = failed_checks(Kind::RowByRowWithoutVersions).await;
    assert_eq!(failed, BTreeSet::from(["a_late_commit_changes_nothing"]));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ignores_versions_is_found_by_every_check_that_commits_again() {
    let failed = failed_checks(Kind::TogetherWithoutVersions).await;
    let again = [
        "committing_again_changes_nothing",
        "concurrent_commits_are_one",
        "a_commit_that_is_done_in_part_completes",
        "a_late_commit_changes_nothing",
        "a_crash_after_commit_doubles_nothing",
        "an_older_attempt_that_commits_late_changes_nothing",
    ];
    assert_eq!(failed, BTreeSet::from(again));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_client_compares_is_found_by_concurrent_commits() {
    let failed = failed_checks(Kind::TogetherReadThenWrite).await;
    assert_eq!(failed, BTreeSet::from(["concurrent_commits_are_one"]));
}
