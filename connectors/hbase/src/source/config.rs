//! What a scan reads, and how much at once.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use super::key;
use crate::config::HbaseConfig;
use crate::error::setting;
use crate::table::check_name;
use crate::wanted::{self, Wanted};

const MIB: usize = 1024 * 1024;

/// More splits than that are a snapshot of splits alone.
const SPLITS_MAX: u32 = 100_000;

/// The gateway takes the number of rows as a signed integer of 32 bits, and gathers all of them.
const BATCH_ROWS_MAX: usize = 1_000_000;

/// A range of row keys: from the first one on, and before the second one. An empty `start` is the first row's, an empty `stop` the end.
///
/// In settings a key is text, where a byte that is none is `\x` with two hexadecimal digits, and a backslash two of them.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HbaseKeyRange {
    /// The first key. Default: the first row's.
    #[serde(default, with = "key")]
    pub start: Vec<u8>,
    /// The first key that is not in the range any more. Default: there is none.
    #[serde(default, with = "key")]
    pub stop: Vec<u8>,
}

impl HbaseKeyRange {
    /// The range of these keys.
    pub fn new(start: impl Into<Vec<u8>>, stop: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), stop: stop.into() }
    }

    /// The keys that begin with these bytes.
    pub fn with_prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let start = prefix.into();
        let stop = key::beyond(&start).unwrap_or_default();
        Self { start, stop }
    }

    pub(super) fn is_before_stop(&self, key: &[u8]) -> bool {
        self.stop.is_empty() || key < &self.stop[..]
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.is_before_stop(key)
    }
}

/// As people write it.
impl fmt::Debug for HbaseKeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", key::text(&self.start), key::text(&self.stop))
    }
}

/// Which rows a scan reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HbaseScanRows {
    /// All of them, in a split for each region.
    #[default]
    All,
    /// Those whose keys begin with this text, in a split for each region. Bytes that are no text are written as in a range.
    Prefix(#[serde(with = "key")] Vec<u8>),
    /// Those in these ranges, of which no two have a key in common, in a split for each range.
    Ranges(Vec<HbaseKeyRange>),
}

/// How a scan reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HbaseScanConfig {
    /// The gateways.
    pub hbase: HbaseConfig,
    /// The table, with its namespace where it has one: `flights` or `air:flights`. Required.
    pub table: String,
    /// The families and columns that are read: `cf`, or `cf:qualifier` as a [`Column`](crate::Column) is written. A row that has none of them is not
    /// read. Default: all.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Which rows are read. Default: all.
    #[serde(default, deserialize_with = "choice")]
    pub rows: HbaseScanRows,
    /// Cells are read as if those of this timestamp and later were not there: a time in milliseconds, where timestamps are times.
    /// What was overwritten by them is still there where the family keeps several VERSIONS, and what was deleted where it keeps
    /// deleted cells. Default: all count.
    #[serde(default)]
    pub before_timestamp: Option<i64>,
    /// Into how many splits regions are put at most: neighbours are one split where there are more. Default 1,000.
    #[serde(default = "default_splits_max")]
    pub splits_max: u32,
    /// How many rows one call asks for at most. Default 1,000.
    #[serde(default = "default_batch_rows")]
    pub batch_rows: usize,
    /// How many bytes of rows one answer has, about: fewer rows are asked for where they are large, and one at least. Default 8 MiB.
    #[serde(default = "default_batch_bytes")]
    pub batch_bytes: usize,
    /// For how long rows are asked for again where the gateways or HBase are away, in milliseconds, before the job starts anew
    /// from its last checkpoint. Default 180,000: longer than one call may take.
    #[serde(default = "default_retry_for_ms")]
    pub retry_for_ms: u64,
}

fn default_splits_max() -> u32 {
    1_000
}

fn default_batch_rows() -> usize {
    1_000
}

fn default_batch_bytes() -> usize {
    8 * MIB
}

fn default_retry_for_ms() -> u64 {
    180_000
}

impl HbaseScanConfig {
    /// The rows of a table, with every other setting at its default.
    pub fn new(hbase: HbaseConfig, table: impl Into<String>) -> Self {
        Self {
            hbase,
            table: table.into(),
            columns: Vec::new(),
            rows: HbaseScanRows::default(),
            before_timestamp: None,
            splits_max: default_splits_max(),
            batch_rows: default_batch_rows(),
            batch_bytes: default_batch_bytes(),
            retry_for_ms: default_retry_for_ms(),
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.hbase.validate()?;
        check_name(&self.table)?;
        wanted::check(&self.columns)?;
        if let HbaseScanRows::Ranges(ranges) = &self.rows {
            check_ranges(ranges)?;
        }
        if self.rows == HbaseScanRows::Prefix(Vec::new()) {
            return Err(setting("rows", "an empty prefix: every key begins with it"));
        }
        if self.before_timestamp.is_some_and(|before| before <= 0) {
            return Err(setting("before_timestamp", "must be greater than zero"));
        }
        if !(1..=SPLITS_MAX).contains(&self.splits_max) {
            return Err(setting("splits_max", format!("a number from 1 to {SPLITS_MAX} is required")));
        }
        if !(1..=BATCH_ROWS_MAX).contains(&self.batch_rows) {
            return Err(setting("batch_rows", format!("a number from 1 to {BATCH_ROWS_MAX} is required")));
        }
        if self.batch_bytes == 0 {
            return Err(setting("batch_bytes", "must be greater than zero"));
        }
        Ok(())
    }

    /// What is read of a row; nothing is everything.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        self.columns.iter().filter_map(|text| Wanted::parse(text))
    }
}

fn check_ranges(ranges: &[HbaseKeyRange]) -> Result<()> {
    if ranges.is_empty() {
        return Err(setting("rows", "no ranges: nothing would be read"));
    }
    let long = |range: &HbaseKeyRange| range.start.len().max(range.stop.len()) > key::KEY_BYTES_MAX;
    if let Some(wrong) = ranges.iter().find(|range| !range.is_before_stop(&range.start) || long(range)) {
        let why = format!("{wrong:?} has no keys, or one that is longer than a key can be");
        return Err(setting("rows", why));
    }
    let mut sorted: Vec<&HbaseKeyRange> = ranges.iter().collect();
    sorted.sort_unstable_by(|one, other| one.start.cmp(&other.start));
    match sorted.windows(2).find(|pair| pair[0].is_before_stop(&pair[1].start)) {
        Some(pair) => {
            let why =
                format!("{:?} and {:?} have keys in common: they would be read twice", pair[0], pair[1]);
            Err(setting("rows", why))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    fn config() -> HbaseScanConfig {
        HbaseScanConfig::new(HbaseConfig::new(["localhost:9090"]), "t")
    }

    fn ranges(ranges: &[(&str, &str)]) -> HbaseScanRows {
        HbaseScanRows::Ranges(ranges.iter().map(|&(start, stop)| HbaseKeyRange::new(start, stop)).collect())
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let columns = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>();
        let mut right = config();
        right.columns = columns(&["a", "b:x", "b:y:z"]);
        right.rows = ranges(&[("m", ""), ("", "c"), ("c", "d")]);
        right.validate().expect("ranges that meet, in any order");
        for (wrong, named) in [
            (HbaseScanConfig { table: String::new(), ..config() }, "table"),
            (HbaseScanConfig { columns: columns(&[":x"]), ..config() }, "columns"),
            (HbaseScanConfig { columns: columns(&["a:"]), ..config() }, "columns"),
            (HbaseScanConfig { columns: columns(&["a", "a"]), ..config() }, "columns"),
            (HbaseScanConfig { rows: ranges(&[]), ..config() }, "rows"),
            (HbaseScanConfig { rows: ranges(&[("b", "b")]), ..config() }, "rows"),
            (HbaseScanConfig { rows: ranges(&[("a", "c"), ("b", "d")]), ..config() }, "rows"),
            (HbaseScanConfig { rows: ranges(&[("b", ""), ("c", "d")]), ..config() }, "rows"),
            (HbaseScanConfig { rows: ranges(&[("", ""), ("", "")]), ..config() }, "rows"),
            (HbaseScanConfig { rows: HbaseScanRows::Prefix(Vec::new()), ..config() }, "rows"),
            (HbaseScanConfig { before_timestamp: Some(0), ..config() }, "before_timestamp"),
            (HbaseScanConfig { splits_max: 0, ..config() }, "splits_max"),
            (HbaseScanConfig { batch_rows: 0, ..config() }, "batch_rows"),
            (HbaseScanConfig { batch_rows: usize::MAX, ..config() }, "batch_rows"),
            (HbaseScanConfig { batch_bytes: 0, ..config() }, "batch_bytes"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn settings_come_back_as_they_were_written() {
        let mut some = config();
        for rows in [
            HbaseScanRows::All,
            HbaseScanRows::Prefix(vec![0, b'a', 0xff]),
            HbaseScanRows::Ranges(vec![HbaseKeyRange::with_prefix(b"a\xff"), HbaseKeyRange::new("x", "")]),
        ] {
            some.rows = rows;
            let text = serde_json::to_string(&some).expect("text");
            assert_eq!(serde_json::from_str::<HbaseScanConfig>(&text).expect("settings"), some, "{text}");
        }
        let range: HbaseKeyRange = serde_json::from_str(r#"{"start":"a\\x00"}"#).expect("a range");
        assert_eq!((range.start, range.stop), (b"a\0".to_vec(), Vec::new()));
    }
}
