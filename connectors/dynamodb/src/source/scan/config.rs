//! What a scan reads, and how much at once.

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock_aws::AwsConfig;

use crate::deleted::{self, default_deleted_attribute};
use crate::error::setting;
use crate::projection;
use crate::table::check_name;

/// DynamoDB cuts a table into so many segments at most. More splits than this are a snapshot of splits alone.
const SEGMENTS_MAX: u32 = 100_000;

/// A page has a megabyte at most, so that more items than this are never in one.
const BATCH_ITEMS_MAX: u32 = 1_000_000;

/// How a scan reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoScanConfig {
    /// The service.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table, by its name or ARN. Required.
    pub table: String,
    /// The attributes that are read, by their names; those of the key come along. It does not make reading cheaper. Default: all.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// Whether every write that was answered before a page is read is in it. It costs twice as much to read. Default: no, and what was written within
    /// the last moment may be missing.
    #[serde(default)]
    pub consistent: bool,
    /// The attribute, `true`, of items that a sink in the mode `versioned` deleted: they are left out. Empty: they are
    /// given like any other. Default `tidelock_deleted`, as the sink's.
    #[serde(default = "default_deleted_attribute")]
    pub deleted_attribute: String,
    /// Into how many segments the table is cut: each is a split, and so many are read side by side at most. It is decided with the first run, and what is
    /// set later changes nothing. Default 16.
    #[serde(default = "default_segments")]
    pub segments: u32,
    /// How many items one request reads at most. Default 1,000.
    #[serde(default = "default_batch_items")]
    pub batch_items: u32,
    /// For how long a page is asked for again where DynamoDB is away or throttles, in milliseconds, before the job starts anew from its last
    /// checkpoint. Default 180,000.
    #[serde(default = "default_retry_for_ms")]
    pub retry_for_ms: u64,
}

fn default_segments() -> u32 {
    16
}

fn default_batch_items() -> u32 {
    1_000
}

pub(in crate::source) fn default_retry_for_ms() -> u64 {
    180_000
}

impl DynamoScanConfig {
    /// The items of a table, with every other setting at its default.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        Self {
            dynamodb,
            table: table.into(),
            attributes: Vec::new(),
            consistent: false,
            deleted_attribute: default_deleted_attribute(),
            segments: default_segments(),
            batch_items: default_batch_items(),
            retry_for_ms: default_retry_for_ms(),
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.dynamodb.validate()?;
        check_name("table", &self.table)?;
        projection::check(&self.attributes)?;
        deleted::check(&self.deleted_attribute)?;
        for (name, value, most) in
            [("segments", self.segments, SEGMENTS_MAX), ("batch_items", self.batch_items, BATCH_ITEMS_MAX)]
        {
            if !(1..=most).contains(&value) {
                return Err(setting(name, format!("a number from 1 to {most} is required")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    fn config() -> DynamoScanConfig {
        DynamoScanConfig::new(AwsConfig::new(), "flights")
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        config().validate().expect("the defaults");
        for (wrong, named) in [
            (DynamoScanConfig { table: "a b".into(), ..config() }, "table"),
            (DynamoScanConfig { attributes: vec![String::new()], ..config() }, "attributes"),
            (DynamoScanConfig { deleted_attribute: "x".repeat(65_536), ..config() }, "deleted_attribute"),
            (DynamoScanConfig { segments: 0, ..config() }, "segments"),
            (DynamoScanConfig { segments: SEGMENTS_MAX + 1, ..config() }, "segments"),
            (DynamoScanConfig { batch_items: 0, ..config() }, "batch_items"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<DynamoScanConfig>(json);
        assert_eq!(read(serde_json::json!({ "table": "flights" })).expect("legal"), config());
        assert!(read(serde_json::json!({})).is_err());
        assert!(read(serde_json::json!({ "table": "flights", "filter": "a = b" })).is_err());
    }
}
