//! A table of HBase as a stranger sees it, and a sink that writes to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use tidelock::{
    CommitPermit, Epoch, Generation, JobId, Pending, Position, Rejecting as _, Rejects, Result, Sink,
    SinkAttempt, SinkWriter as _, Uid, WriterId,
};
use tidelock_containers::{CellKind, FamilyOptions, HbaseServer};
use tidelock_hbase::{
    Column, Deletes, HbaseConfig, HbaseSink, HbaseSinkConfig, HbaseWriter, Mode, RowChange, RowMutation,
    Versions,
};
use tidelock_testkit::harness::{IdempotentHarness, RejectingHarness, Row, Shape, SinkFacets, SinkHarness};

pub(crate) type Listed = Pending<<HbaseSink as Sink>::Committable>;

pub(crate) fn column(text: &str) -> Column {
    Column::parse(text).unwrap()
}

pub(crate) fn tombstones() -> Deletes {
    Deletes::Tombstones { column: column("f:deleted") }
}

/// A clock that is wrong by so much.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn off_by(millis: i64) -> Self {
        let clock = Self::default();
        clock.turn(millis);
        clock
    }

    pub(crate) fn turn(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond() + self.0.load(Ordering::SeqCst)
    }
}

/// A table of its own.
pub(crate) struct Place {
    pub(crate) server: &'static HbaseServer,
    pub(crate) config: HbaseSinkConfig,
}

impl Place {
    /// With one family `f`, which keeps deleted cells where they are deleted by markers.
    pub(crate) async fn new(mode: Mode, deletes: Deletes) -> Self {
        let family = FamilyOptions::new("f");
        let family = if deletes == Deletes::Markers { family.with_deleted_cells_kept() } else { family };
        Self::with(&[family], mode, deletes).await
    }

    pub(crate) async fn with(families: &[FamilyOptions], mode: Mode, deletes: Deletes) -> Self {
        let server = HbaseServer::shared().await.unwrap();
        let table = server.fresh_table(families).await.unwrap();
        let mut config = HbaseSinkConfig::new(HbaseConfig::new([server.gateway()]), table);
        (config.mode, config.deletes) = (mode, deletes);
        Self { server, config }
    }

    /// The usual one: written at once, and deletes are markers.
    pub(crate) async fn upsert() -> Self {
        Self::new(Mode::Upsert, Deletes::Markers).await
    }

    pub(crate) async fn ledger() -> Self {
        Self::new(Mode::Ledger, Deletes::Markers).await
    }

    /// The same table, with versions of records.
    pub(crate) fn by_record(mut self) -> Self {
        self.config.versions = Versions::Record;
        self
    }

    /// Versions in a table of its own, that a test may drop.
    pub(crate) fn with_own_versions(mut self) -> Self {
        self.config.versions_table = format!("versions_{}", self.table());
        self
    }

    pub(crate) fn table(&self) -> &str {
        &self.config.table
    }

    pub(crate) fn sink(&self) -> HbaseSink {
        HbaseSink::new(self.config.clone()).unwrap()
    }

    pub(crate) fn sink_at(&self, clock: &Clock) -> HbaseSink {
        let clock = clock.clone();
        HbaseSink::with_clock(self.config.clone(), move || clock.now()).unwrap()
    }

    /// What a reader sees: of each row the columns of family `f`.
    pub(crate) async fn seen(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut seen: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for cell in self.server.cells(self.table()).await.unwrap() {
            assert_eq!(cell.kind, CellKind::Put);
            let row = seen.entry(text(&cell.row)).or_default();
            // The newest version comes first.
            row.entry(text(&cell.qualifier)).or_insert_with(|| text(&cell.value));
        }
        if self.config.deletes == tombstones() {
            seen.retain(|_, row| row.remove("deleted").is_none_or(|value| value == "0"));
        }
        seen
    }

    /// What a reader sees in the column `f:value` of a row.
    pub(crate) async fn value(&self, row: &str) -> Option<u64> {
        self.seen().await.get(row)?.get("value").map(|value| value.parse().unwrap())
    }

    /// Forgets whatever HBase may forget.
    pub(crate) async fn compact(&self) {
        self.server.flush(self.table()).await.unwrap();
        self.server.major_compact(self.table()).await.unwrap();
    }

    /// A request arrives from long ago.
    pub(crate) async fn late_put(&self, row: &str, value: u64, timestamp: i64) {
        let value = value.to_string();
        self.server
            .put(self.table(), row.as_bytes(), ("f", b"value"), value.as_bytes(), Some(timestamp))
            .await
            .unwrap();
    }

    /// The timestamps of all that is in the table, also what no reader sees.
    pub(crate) async fn timestamps(&self) -> Vec<i64> {
        let cells = self.server.raw_cells(self.table()).await.unwrap();
        cells.iter().filter(|cell| !cell.row.starts_with(b"\0tidelock/")).map(|cell| cell.timestamp).collect()
    }
}

pub(crate) fn put(row: &str, value: u64) -> RowMutation {
    RowMutation::put(row.to_owned(), [(column("f:value"), value.to_string())])
}

pub(crate) fn gone(row: &str) -> RowMutation {
    RowMutation::delete_row(row.to_owned())
}

/// An attempt of a job's sink.
pub(crate) fn attempt_of(job: &str, generation: u64, number: u64) -> SinkAttempt {
    SinkAttempt {
        job: JobId::new(job).unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(number),
        generation: Generation(generation),
        chunks: None,
    }
}

pub(crate) fn attempt(number: u64) -> SinkAttempt {
    attempt_of("job", 1, number)
}

/// Recovers with nothing pending, and opens a writer.
pub(crate) async fn opened(sink: &HbaseSink, attempt: &SinkAttempt) -> HbaseWriter {
    sink.recover(attempt, &[]).await.unwrap();
    sink.open(attempt, WriterId(0)).await.unwrap()
}

pub(crate) async fn write(writer: &mut HbaseWriter, records: Vec<RowMutation>) -> Result<()> {
    let mut records = records;
    writer.write(&mut records).await?;
    assert!(records.is_empty());
    Ok(())
}

pub(crate) async fn prepared(
    writer: &mut HbaseWriter,
    attempt: &SinkAttempt,
    epoch: u64,
    records: Vec<RowMutation>,
) -> Vec<Listed> {
    write(writer, records).await.unwrap();
    let prepared = writer.prepare(Epoch(epoch)).await.unwrap().into_iter();
    let listed = |committable| Pending {
        epoch: Epoch(epoch),
        attempt: attempt.number,
        writer: WriterId(0),
        committable,
    };
    prepared.map(|one| listed(one.committable)).collect()
}

pub(crate) async fn commit(sink: &HbaseSink, epoch: u64, listed: &[Listed]) -> Result<()> {
    let uid = Uid::new("out").unwrap();
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, Epoch(epoch));
    sink.commit(&permit, listed.to_vec()).await.map(drop)
}

/// The harness of the suites.
#[async_trait]
impl SinkHarness for Place {
    type Sink = HbaseSink;

    async fn sink(&self) -> Result<HbaseSink> {
        HbaseSink::new(self.config.clone())
    }

    fn record(&self, row: &Row) -> RowMutation {
        put(&row.key, row.value)
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        let seen = self.seen().await.into_iter();
        Ok(seen.map(|(key, row)| Row::new(key, row["value"].parse().unwrap())).collect())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Table)
    }
}

impl IdempotentHarness for Place {
    fn delete(&self, row: &Row) -> Option<RowMutation> {
        Some(gone(&row.key))
    }
}

impl RejectingHarness for Place {
    /// Of a family that is not there.
    fn bad(&self, row: &Row) -> RowMutation {
        RowMutation::put(row.key.clone(), [(column("g:value"), row.value.to_string())])
    }

    fn row(&self, record: &RowMutation) -> Row {
        let RowChange::Put(values) = &record.change else { panic!("a put: {record:?}") };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Row::new(text(&record.row), text(&values[0].value).parse().unwrap())
    }

    fn reject_to(&self, writer: &mut HbaseWriter, rejects: Rejects<RowMutation>) {
        writer.reject_to(rejects);
    }
}
