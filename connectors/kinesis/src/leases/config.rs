//! Which table is taken, and how, and which one is written.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock::{Result, choice};
use tidelock_aws::AwsConfig;

use super::reconcile::InitialPosition;
use crate::error::setting;

/// An hour: a worker that renews its leases less often than that takes a day to notice that another one died.
const WATCH_MAX_MS: u64 = 3_600_000;

/// A day: who looks at what is older looks at nothing.
const EVERY_MAX_MS: u64 = 86_400_000;

/// KCL's table of leases, taken for the start of a first run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LeasesConfig {
    /// Where DynamoDB is.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table, by its name or ARN: it is called as the application of KCL is. Required.
    pub table: String,
    /// What the application was configured with as its initial position. It is needed where a lease says that it begins at a time, because the time stands in
    /// that configuration alone, and where a shard has no lease and nothing tells why.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "position")]
    pub initial_position: Option<InitialPosition>,
    /// How long the table is watched, in milliseconds: whoever writes to it meanwhile is a worker that is alive, and the import is refused. A worker
    /// renews each lease in a third of its `failoverTimeMillis`, which is 10,000 unless it was set. The first discovery of the job takes as long, and is to end
    /// within the job's `call_timeout`. Default 15,000.
    #[serde(default = "default_watch_ms")]
    pub watch_ms: u64,
    /// Take the table also while a worker is alive. What it processes from now on is processed twice. Default no.
    #[serde(default)]
    pub force: bool,
}

fn default_watch_ms() -> u64 {
    15_000
}

fn position<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<InitialPosition>, D::Error> {
    choice(deserializer).map(Some)
}

impl LeasesConfig {
    /// The table of an application, with every other setting at its default.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        Self {
            dynamodb,
            table: table.into(),
            initial_position: None,
            watch_ms: default_watch_ms(),
            force: false,
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.dynamodb.validate()?;
        check_table("table", &self.table)?;
        if let Some(InitialPosition::AtTimestamp(at_ms)) = self.initial_position
            && at_ms < 0
        {
            return Err(setting("initial_position", "a time before 1970 is no time of a record"));
        }
        if self.watch_ms > WATCH_MAX_MS {
            return Err(setting("watch_ms", format!("must be at most {WATCH_MAX_MS}")));
        }
        Ok(())
    }

    /// Whether this is the name or the ARN of the table.
    pub(crate) fn is_table(&self, table: &str) -> bool {
        self.table.rsplit('/').next() == table.rsplit('/').next()
    }

    pub(super) fn watch(&self) -> Duration {
        Duration::from_millis(self.watch_ms)
    }
}

/// A table to which positions are exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LeaseExport {
    /// Where DynamoDB is.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table, by its name or ARN; it is made where it is not there. It is the source's own, and not one that KCL works with. Required.
    pub table: String,
    /// How often positions are written at most, in milliseconds: each write of each shard costs something. Default 10,000.
    #[serde(default = "default_every_ms")]
    pub every_ms: u64,
}

fn default_every_ms() -> u64 {
    10_000
}

impl LeaseExport {
    /// A table, with every other setting at its default.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into(), every_ms: default_every_ms() }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.dynamodb.validate()?;
        check_table("table", &self.table)?;
        if self.every_ms > EVERY_MAX_MS {
            return Err(setting("every_ms", format!("must be at most {EVERY_MAX_MS}")));
        }
        Ok(())
    }
}

/// Whether this may be the name or the ARN of a table. What DynamoDB takes for one it says itself.
fn check_table(name: &str, table: &str) -> Result<()> {
    if table.is_empty() || table.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(setting(name, "a table is called by its name or its ARN"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::*;

    fn config() -> LeasesConfig {
        LeasesConfig::new(AwsConfig::new(), "flights-reader")
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        config().validate().expect("the defaults");
        for (wrong, named) in [
            (LeasesConfig { table: String::new(), ..config() }, "table"),
            (LeasesConfig { table: "flights reader".into(), ..config() }, "table"),
            (LeasesConfig { watch_ms: u64::MAX, ..config() }, "watch_ms"),
            (
                LeasesConfig { initial_position: Some(InitialPosition::AtTimestamp(-1)), ..config() },
                "initial_position",
            ),
        ] {
            let error = wrong.validate().expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<LeasesConfig>(json);
        assert_eq!(read(serde_json::json!({ "table": "flights-reader" })).expect("legal"), config());
        for (said, position) in [
            (serde_json::json!("trim_horizon"), InitialPosition::TrimHorizon),
            (serde_json::json!("latest"), InitialPosition::Latest),
            (serde_json::json!({ "at_timestamp": 7 }), InitialPosition::AtTimestamp(7)),
        ] {
            let said = serde_json::json!({ "table": "t", "initial_position": said });
            let said = read(said).expect("legal");
            assert_eq!(said.initial_position, Some(position));
            let stored = serde_json::to_value(&said).expect("JSON");
            assert_eq!(read(stored).expect("what was written is read"), said);
        }
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "table": "t", "initial_position": "horizon" }),
            serde_json::json!({ "table": "t", "application": "t" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_of_an_export_that_cannot_work_are_refused_by_name() {
        let config = || LeaseExport::new(AwsConfig::new(), "flights-reader");
        config().validate().expect("the defaults");
        for (wrong, named) in [
            (LeaseExport { table: " ".into(), ..config() }, "table"),
            (LeaseExport { every_ms: u64::MAX, ..config() }, "every_ms"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }
}
