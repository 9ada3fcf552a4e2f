//! What of a stream is read, and what becomes of what cannot be read any more.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};
use tidelock_aws::AwsConfig;

use crate::deleted::{self, default_deleted_attribute};
use crate::error::setting;
use crate::source::scan::default_retry_for_ms;
use crate::table::check_name;

/// DynamoDB gives so many records at once at most.
const BATCH_RECORDS_MAX: u32 = 1_000;

/// A minute: who waits longer hears of every change that late.
const IDLE_WAIT_MAX_MS: u64 = 60_000;

/// Where a stream is read from in the first run of a job. Later it is the snapshot that says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamStart {
    /// At the oldest record that is there: up to a day ago.
    #[default]
    Horizon,
    /// At what is written from now on.
    Now,
}

/// What becomes of records that were thrown away before they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnDataLoss {
    /// The job halts, and says what is missing.
    #[default]
    Fail,
    /// It is told and counted, and reading goes on with the oldest record that is there.
    Warn,
}

/// How a stream is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoStreamConfig {
    /// The service.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table, by its name or ARN: its stream must be switched on. Required.
    pub table: String,
    /// Where the first run of the job begins: `horizon` or `now`. Default `horizon`.
    #[serde(default, deserialize_with = "choice")]
    pub start: StreamStart,
    /// What becomes of records that were thrown away before they were read: `fail` or `warn`. Default `fail`.
    #[serde(default, deserialize_with = "choice")]
    pub on_data_loss: OnDataLoss,
    /// The attribute, `true`, of items that a sink in the mode `versioned` deleted: they are told as removed, where the stream has images of them. Empty: they are
    /// given like any other. Default `tidelock_deleted`, as the sink's.
    #[serde(default = "default_deleted_attribute")]
    pub deleted_attribute: String,
    /// How many records one request asks for at most. Default 1,000.
    #[serde(default = "default_batch_records")]
    pub batch_records: u32,
    /// How long to wait before a shard that had nothing new is asked again, in milliseconds: every request costs something. Default 250.
    #[serde(default = "default_idle_wait_ms")]
    pub idle_wait_ms: u64,
    /// For how long DynamoDB is asked again where it is away or throttles, or does not tell the children of a shard that has ended, in milliseconds, before the
    /// job starts anew from its last checkpoint. Default 180,000.
    #[serde(default = "default_retry_for_ms")]
    pub retry_for_ms: u64,
}

fn default_batch_records() -> u32 {
    BATCH_RECORDS_MAX
}

fn default_idle_wait_ms() -> u64 {
    250
}

impl DynamoStreamConfig {
    /// The changes of a table, with every other setting at its default.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        Self {
            dynamodb,
            table: table.into(),
            start: StreamStart::default(),
            on_data_loss: OnDataLoss::default(),
            deleted_attribute: default_deleted_attribute(),
            batch_records: default_batch_records(),
            idle_wait_ms: default_idle_wait_ms(),
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
        deleted::check(&self.deleted_attribute)?;
        if !(1..=BATCH_RECORDS_MAX).contains(&self.batch_records) {
            let why = format!("a number from 1 to {BATCH_RECORDS_MAX} is required");
            return Err(setting("batch_records", why));
        }
        if !(1..=IDLE_WAIT_MAX_MS).contains(&self.idle_wait_ms) {
            return Err(setting("idle_wait_ms", format!("must be between 1 and {IDLE_WAIT_MAX_MS}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    fn config() -> DynamoStreamConfig {
        DynamoStreamConfig::new(AwsConfig::new(), "flights")
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        config().validate().expect("the defaults");
        for (wrong, named) in [
            (DynamoStreamConfig { table: String::new(), ..config() }, "table"),
            (DynamoStreamConfig { deleted_attribute: "x".repeat(65_536), ..config() }, "deleted_attribute"),
            (DynamoStreamConfig { batch_records: 0, ..config() }, "batch_records"),
            (DynamoStreamConfig { batch_records: 1_001, ..config() }, "batch_records"),
            (DynamoStreamConfig { idle_wait_ms: 0, ..config() }, "idle_wait_ms"),
            (DynamoStreamConfig { idle_wait_ms: u64::MAX, ..config() }, "idle_wait_ms"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<DynamoStreamConfig>(json);
        assert_eq!(read(serde_json::json!({ "table": "flights" })).expect("legal"), config());
        let said = serde_json::json!({ "table": "flights", "start": "now", "on_data_loss": "warn" });
        let said = read(said).expect("legal");
        assert_eq!((said.start, said.on_data_loss), (StreamStart::Now, OnDataLoss::Warn));
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "table": "flights", "start": "latest" }),
            serde_json::json!({ "table": "flights", "on_data_loss": "ignore" }),
            serde_json::json!({ "table": "flights", "group": "g" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
