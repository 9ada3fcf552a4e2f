//! How the sink writes.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use crate::column::Column;
use crate::config::HbaseConfig;
use crate::error::setting;

/// When rows become visible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Rows are written at once, and readers see them at once: at least once, and each cell ends as if it had been written once, because
    /// its timestamp is a version, and the newest one wins whenever it comes. No latency but the gateway's; a reader sees parts of epochs,
    /// and after a restart values from before once more on their way.
    #[default]
    Upsert,
    /// The rows of an epoch travel in the job's log, and are written when the checkpoint is complete: nothing is visible before. HBase is
    /// atomic by row alone, so a reader may see a part of the epoch while it is applied.
    Ledger,
}

/// Where the version of a cell comes from, in [`Mode::Upsert`]. HBase has one timestamp for each cell, and the cell with the largest one
/// wins: it is the version.
///
/// **All changes of a row must come to one writer**, in their order: exchange by the row key before the sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Versions {
    /// Times in milliseconds near the clock, larger with each call. An attempt reserves them in `versions_table` before it gives them
    /// to cells, and the next one begins above: so what an attempt replays wins over what was written before the crash or the rollback,
    /// and an older attempt that wakes up late wins over nothing, whatever the clocks of their machines say. A time to live counts as
    /// usual, up to about a minute longer.
    #[default]
    Reserved,
    /// The [`version`](crate::RowMutation::version) of the record, below 2^61: an offset of the source, or a sequence number. The greatest one
    /// wins, whoever writes it and whenever. Two changes of one cell must not have one version and different values, and a rollback cannot
    /// put anything into the place of what has the same version. Refused where a family has a time to live, because such
    /// timestamps are no times. A gateway takes one timestamp for each call, so records of different versions are not written together:
    /// slower by far.
    Record,
}

/// What becomes of [`RowChange::DeleteRow`](crate::RowChange::DeleteRow) and
/// [`RowChange::DeleteColumns`](crate::RowChange::DeleteColumns).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Deletes {
    /// They are refused, as a record that cannot be taken.
    #[default]
    Refused,
    /// HBase's own markers. Each family of the table must keep deleted cells (`KEEP_DELETED_CELLS => 'TRUE'`): else a marker is gone
    /// after a major compaction, and a write that comes late brings the row back. This is tried when the job starts, on a row of the
    /// sink's own in your table, whose key begins with `\0tidelock/`.
    Markers,
    /// A row that is deleted has this column with the value `1`, and no other; when it is put again the value is `0`. Readers leave rows
    /// out where it is `1`. Nothing is asked of the families. Columns by themselves cannot be deleted.
    Tombstones {
        /// The column, which no record has.
        column: Column,
    },
}

/// How the sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HbaseSinkConfig {
    /// The gateways.
    pub hbase: HbaseConfig,
    /// The table, perhaps with its namespace: `orders` or `shop:orders`. Required.
    pub table: String,
    /// When rows become visible: `upsert` or `ledger`. It may be changed from one run to the next: what is pending is committed as it was
    /// written. Default `upsert`.
    #[serde(default, deserialize_with = "choice")]
    pub mode: Mode,
    /// Where the version of a cell comes from, where the mode is `upsert`: `reserved` or `record`. Default `reserved`.
    #[serde(default, deserialize_with = "choice")]
    pub versions: Versions,
    /// What becomes of deletes: `refused`, `markers`, or `{ tombstones = { column = "f:deleted" } }`. Default `refused`.
    #[serde(default, deserialize_with = "choice")]
    pub deletes: Deletes,
    /// The table that says which versions are given away, and which epoch was applied last; the sink makes it where it is not there.
    /// All jobs that write to one table must share it, and it must not be lost: see the README. Default `tidelock_versions`.
    #[serde(default = "default_versions_table")]
    pub versions_table: String,
    /// The most bytes of a value with its row key and column: HBase takes no more than `hbase.client.keyvalue.maxsize` and
    /// `hbase.server.keyvalue.maxsize`. Default 10 MiB, as theirs.
    #[serde(default = "default_cell_bytes_max")]
    pub cell_bytes_max: usize,
    /// How many rows go to a gateway in one call at most. Default 1,000.
    #[serde(default = "default_call_rows_max")]
    pub call_rows_max: usize,
    /// How long a writer gathers rows after it began a call before it begins the next one, in milliseconds, where the mode is `upsert`. Calls are
    /// fewer and larger, which saves the gateway and the job CPU where rows come one by one; a row is visible later by up to that time, and
    /// so is a checkpoint complete. Default 0: a call begins when the one before has its answer.
    #[serde(default)]
    pub linger_ms: u64,
    /// The most bytes, as JSON, that one writer takes in one epoch, where the mode is `ledger`: more are an error. Default: as many as
    /// come.
    #[serde(default)]
    pub epoch_bytes_max: Option<u64>,
}

/// A checkpoint waits for it, and an attempt that ends as well.
const LINGER_MS_MAX: u64 = 60_000;

fn default_versions_table() -> String {
    "tidelock_versions".into()
}

fn default_cell_bytes_max() -> usize {
    10 * 1024 * 1024
}

fn default_call_rows_max() -> usize {
    1_000
}

impl HbaseSinkConfig {
    /// Rows of `table`, with every other setting at its default.
    pub fn new(hbase: HbaseConfig, table: impl Into<String>) -> Self {
        Self {
            hbase,
            table: table.into(),
            mode: Mode::default(),
            versions: Versions::default(),
            deletes: Deletes::default(),
            versions_table: default_versions_table(),
            cell_bytes_max: default_cell_bytes_max(),
            call_rows_max: default_call_rows_max(),
            linger_ms: 0,
            epoch_bytes_max: None,
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.hbase.validate()?;
        for (name, value) in [("table", &self.table), ("versions_table", &self.versions_table)] {
            if value.is_empty() {
                return Err(setting(name, "the name of a table is required"));
            }
        }
        if self.table == self.versions_table {
            return Err(setting("versions_table", "rows and versions are in tables of their own"));
        }
        for (name, value) in [("cell_bytes_max", self.cell_bytes_max), ("call_rows_max", self.call_rows_max)]
        {
            if value == 0 {
                return Err(setting(name, "must be greater than zero"));
            }
        }
        if self.linger_ms > LINGER_MS_MAX {
            return Err(setting("linger_ms", "must be at most 60000, a minute"));
        }
        if self.epoch_bytes_max == Some(0) {
            return Err(setting("epoch_bytes_max", "an epoch must have room for a record"));
        }
        if self.mode == Mode::Ledger && self.versions == Versions::Record {
            let why = "in the mode `ledger` epochs have versions, and records have none: versions of records are for the mode `upsert`";
            return Err(setting("versions", why));
        }
        Ok(())
    }

    /// Whether cells have reserved times.
    pub(crate) fn reserves(&self) -> bool {
        self.mode == Mode::Ledger || self.versions == Versions::Reserved
    }

    /// How large a cell may be that a gateway takes, too.
    pub(crate) fn cell_bytes_max(&self) -> usize {
        self.cell_bytes_max.min(self.call_bytes_max())
    }

    /// How many bytes of cells go to a gateway in one call at most, where a cell is not larger by itself.
    pub(crate) fn call_bytes_max(&self) -> usize {
        // The names of table, row and column, and what stands around them, come to it.
        self.hbase.request_bytes_max() / 10 * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> HbaseSinkConfig {
        HbaseSinkConfig::new(HbaseConfig::new(["a:9090"]), "orders")
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        assert!(config().validate().is_ok());
        for (wrong, named) in [
            (HbaseSinkConfig { table: String::new(), ..config() }, "table"),
            (HbaseSinkConfig { versions_table: String::new(), ..config() }, "versions_table"),
            (HbaseSinkConfig { versions_table: "orders".into(), ..config() }, "versions_table"),
            (HbaseSinkConfig { cell_bytes_max: 0, ..config() }, "cell_bytes_max"),
            (HbaseSinkConfig { call_rows_max: 0, ..config() }, "call_rows_max"),
            (HbaseSinkConfig { linger_ms: LINGER_MS_MAX + 1, ..config() }, "linger_ms"),
            (HbaseSinkConfig { epoch_bytes_max: Some(0), ..config() }, "epoch_bytes_max"),
            (HbaseSinkConfig { mode: Mode::Ledger, versions: Versions::Record, ..config() }, "versions"),
            (HbaseSinkConfig { hbase: HbaseConfig::new([""; 0]), ..config() }, "gateways"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn a_choice_is_a_word_or_a_word_with_settings() {
        let read = |change: serde_json::Value| {
            let mut settings = serde_json::json!({ "hbase": { "gateways": ["a:9090"] }, "table": "orders" });
            settings.as_object_mut().expect("an object").extend(change.as_object().expect("one").clone());
            serde_json::from_value::<HbaseSinkConfig>(settings)
        };
        assert_eq!(read(serde_json::json!({})).expect("legal"), config());
        let ledger = read(serde_json::json!({ "mode": "ledger", "deletes": "markers" })).expect("legal");
        assert_eq!((ledger.mode, ledger.deletes), (Mode::Ledger, Deletes::Markers));
        let column = Column::parse("f:deleted").expect("a column");
        let tombstones = serde_json::json!({ "deletes": { "tombstones": { "column": "f:deleted" } } });
        assert_eq!(read(tombstones).expect("legal").deletes, Deletes::Tombstones { column });
        let told = read(serde_json::json!({ "mode": "epoch" })).expect_err("no mode").to_string();
        assert!(["epoch", "upsert", "ledger"].iter().all(|word| told.contains(word)), "{told}");
        assert!(read(serde_json::json!({ "deletes": "tombstones" })).is_err());
    }
}
