//! How the sink writes.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};
use tidelock_aws::AwsConfig;

use crate::deleted::default_deleted_attribute;
use crate::error::setting;
use crate::table::{check_name, name_in};
use crate::value::is_name;

/// When items become visible, and what their versions are good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Items are written at once, and readers see them at once: at least once, and each item ends as if it had been written once, because
    /// it has a version, and a request changes nothing where a newer one is there. A change is a request of its own. A reader sees parts
    /// of epochs, and after a restart values from before once more on their way.
    #[default]
    Versioned,
    /// Items are put and deleted at once, 25 in a request, **at least once and no more**: a request has no condition, so that one which
    /// arrives late, or an attempt which wakes up late, may put an old item over a newer one. Updates are refused.
    Batched,
    /// The changes of an epoch travel in the job's log, and are applied when the checkpoint is complete, each chunk of them in one
    /// transaction with the row of a ledger that says so: exactly once, counters too. Nothing is visible before.
    Ledger,
}

/// Where the version of an item comes from, in [`Mode::Versioned`].
///
/// **All changes of a key must come to one writer**, in their order: exchange by the key before the sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Versions {
    /// The generation and the attempt of the job, and the number of the change within its writer, as text. What an attempt replays wins
    /// over what was written before the crash or the rollback, and an older attempt that wakes up late wins over nothing: it halts when it
    /// meets what a newer one wrote.
    #[default]
    Attempt,
    /// The [`version`](crate::ItemChange::version) of the record, as a number: an offset of the source, or a sequence number. The
    /// greatest one wins, whoever writes it and whenever; an older one and an equal one change nothing, so that two changes of one key
    /// must not have one version. Changes may come in any order, where each says the whole item: an update that comes late
    /// changes nothing at all. A rollback cannot put anything into the place of what has the same version.
    Record,
}

/// How the sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DynamoSinkConfig {
    /// The service.
    #[serde(default)]
    pub dynamodb: AwsConfig,
    /// The table, by its name or ARN. Required.
    pub table: String,
    /// When items become visible: `versioned`, `batched` or `ledger`. It may be changed from one run to the next: what is pending is
    /// committed as it was written. Default `versioned`.
    #[serde(default, deserialize_with = "choice")]
    pub mode: Mode,
    /// Where the version of an item comes from, where the mode is `versioned`: `attempt` or `record`. Default `attempt`.
    #[serde(default, deserialize_with = "choice")]
    pub versions: Versions,
    /// The attribute with the version of an item, where the mode is `versioned`. No record has it. Default `tidelock_version`.
    #[serde(default = "default_version_attribute")]
    pub version_attribute: String,
    /// The attribute, `true`, of an item that was deleted, where the mode is `versioned`: readers leave such items out. No record has it.
    /// Default `tidelock_deleted`.
    #[serde(default = "default_deleted_attribute")]
    pub deleted_attribute: String,
    /// The attribute by which DynamoDB throws deleted items away, where the mode is `versioned`: the one that the table's time to live
    /// looks at. Default: none, and deleted items stay in the table.
    #[serde(default)]
    pub tombstone_ttl_attribute: Option<String>,
    /// How long an item that was deleted stays in the table at least, where `tombstone_ttl_attribute` says by what it goes. A write from
    /// before the delete that comes later than this brings the item back. Default 7 days.
    #[serde(default = "default_tombstones_kept_ms")]
    pub tombstones_kept_ms: u64,
    /// The table that says what was applied, where the mode is `ledger`; the sink makes it where it is not there. Default
    /// `tidelock_ledger`.
    #[serde(default = "default_ledger_table")]
    pub ledger_table: String,
    /// How many transactions of an epoch are under way at once at most, where the mode is `ledger`. Default 8.
    #[serde(default = "default_lanes_max")]
    pub lanes_max: u32,
    /// How many requests of this sink and process are under way at once at most. Fewer are while the table is throttled. Default 64.
    #[serde(default = "default_requests_in_flight_max")]
    pub requests_in_flight_max: u32,
    /// The most bytes, as JSON, that one writer takes in one epoch, where the mode is `ledger`: more are an error. Default: as many as
    /// come.
    #[serde(default)]
    pub epoch_bytes_max: Option<u64>,
}

fn default_version_attribute() -> String {
    "tidelock_version".into()
}

fn default_tombstones_kept_ms() -> u64 {
    7 * 24 * HOUR_MS
}

fn default_ledger_table() -> String {
    "tidelock_ledger".into()
}

fn default_lanes_max() -> u32 {
    8
}

fn default_requests_in_flight_max() -> u32 {
    64
}

const HOUR_MS: u64 = 3_600_000;

/// A request is sent again for minutes, and may arrive late after that: a tombstone must outlive it by far.
const TOMBSTONES_KEPT_MS_MIN: u64 = HOUR_MS;

/// A time to live of more than this is no time that DynamoDB looks at (five years and more in the past) nor one that anybody means.
const TOMBSTONES_KEPT_MS_MAX: u64 = 100 * 365 * 24 * HOUR_MS;

/// An epoch is looked at until it is known to have so many chunks, which are in memory meanwhile, and each lane is an item of the ledger that a new
/// attempt claims.
const LANES_MAX: u32 = 256;

/// More requests at once than this do not fit the connections and ports of a process.
const REQUESTS_IN_FLIGHT_MAX: u32 = 4_096;

impl DynamoSinkConfig {
    /// Items of `table`, with every other setting at its default.
    pub fn new(dynamodb: AwsConfig, table: impl Into<String>) -> Self {
        Self {
            dynamodb,
            table: table.into(),
            mode: Mode::default(),
            versions: Versions::default(),
            version_attribute: default_version_attribute(),
            deleted_attribute: default_deleted_attribute(),
            tombstone_ttl_attribute: None,
            tombstones_kept_ms: default_tombstones_kept_ms(),
            ledger_table: default_ledger_table(),
            lanes_max: default_lanes_max(),
            requests_in_flight_max: default_requests_in_flight_max(),
            epoch_bytes_max: None,
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.dynamodb.validate()?;
        check_name("table", &self.table)?;
        check_name("ledger_table", &self.ledger_table)?;
        if name_in(&self.table) == name_in(&self.ledger_table) {
            return Err(setting("ledger_table", "items and ledger are in tables of their own"));
        }
        self.validate_attributes()?;
        if !(TOMBSTONES_KEPT_MS_MIN..=TOMBSTONES_KEPT_MS_MAX).contains(&self.tombstones_kept_ms) {
            let why = "an item that was deleted must stay longer than any request may be late, an hour at least, and at most 100 years";
            return Err(setting("tombstones_kept_ms", why));
        }
        if !(1..=LANES_MAX).contains(&self.lanes_max) {
            return Err(setting("lanes_max", format!("must be from 1 to {LANES_MAX}")));
        }
        if !(1..=REQUESTS_IN_FLIGHT_MAX).contains(&self.requests_in_flight_max) {
            let why = format!("must be from 1 to {REQUESTS_IN_FLIGHT_MAX}");
            return Err(setting("requests_in_flight_max", why));
        }
        if self.epoch_bytes_max == Some(0) {
            return Err(setting("epoch_bytes_max", "an epoch must have room for a record"));
        }
        if self.mode != Mode::Versioned && self.versions == Versions::Record {
            let why = "versions of records are for the mode `versioned`: in the other ones items have none";
            return Err(setting("versions", why));
        }
        Ok(())
    }

    fn validate_attributes(&self) -> Result<()> {
        let ttl = self.tombstone_ttl_attribute.as_ref().map(|name| ("tombstone_ttl_attribute", name));
        let own =
            [("version_attribute", &self.version_attribute), ("deleted_attribute", &self.deleted_attribute)];
        let mut names = Vec::new();
        for (setting_name, name) in own.into_iter().chain(ttl) {
            if !is_name(name) {
                return Err(setting(setting_name, "the name of an attribute has 1 to 65,535 bytes"));
            }
            if names.contains(&name) {
                return Err(setting(setting_name, "each of the sink's own attributes has a name of its own"));
            }
            names.push(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::DynamoLookupConfig;
    use crate::source::{DynamoScanConfig, DynamoStreamConfig};

    /// The same table by another name.
    const ARN: &str = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders";

    fn config() -> DynamoSinkConfig {
        DynamoSinkConfig::new(AwsConfig::new(), "orders")
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        assert!(config().validate().is_ok());
        for (wrong, named) in [
            (DynamoSinkConfig { table: String::new(), ..config() }, "table"),
            (DynamoSinkConfig { ledger_table: String::new(), ..config() }, "ledger_table"),
            (DynamoSinkConfig { ledger_table: "orders".into(), ..config() }, "ledger_table"),
            (DynamoSinkConfig { version_attribute: String::new(), ..config() }, "version_attribute"),
            (DynamoSinkConfig { version_attribute: "v".repeat(65_536), ..config() }, "version_attribute"),
            (
                DynamoSinkConfig { deleted_attribute: "tidelock_version".into(), ..config() },
                "deleted_attribute",
            ),
            (
                DynamoSinkConfig { tombstone_ttl_attribute: Some("tidelock_deleted".into()), ..config() },
                "tombstone_ttl_attribute",
            ),
            (DynamoSinkConfig { tombstones_kept_ms: 60_000, ..config() }, "tombstones_kept_ms"),
            (DynamoSinkConfig { tombstones_kept_ms: u64::MAX, ..config() }, "tombstones_kept_ms"),
            (DynamoSinkConfig { ledger_table: ARN.into(), ..config() }, "ledger_table"),
            (DynamoSinkConfig { lanes_max: 0, ..config() }, "lanes_max"),
            (DynamoSinkConfig { lanes_max: 257, ..config() }, "lanes_max"),
            (DynamoSinkConfig { requests_in_flight_max: 0, ..config() }, "requests_in_flight_max"),
            (DynamoSinkConfig { requests_in_flight_max: 5_000, ..config() }, "requests_in_flight_max"),
            (DynamoSinkConfig { epoch_bytes_max: Some(0), ..config() }, "epoch_bytes_max"),
            (DynamoSinkConfig { mode: Mode::Ledger, versions: Versions::Record, ..config() }, "versions"),
            (DynamoSinkConfig { mode: Mode::Batched, versions: Versions::Record, ..config() }, "versions"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn only_the_table_is_required_and_what_is_unknown_is_refused() {
        let read = |settings: serde_json::Value| serde_json::from_value::<DynamoSinkConfig>(settings);
        let least = serde_json::json!({ "table": "orders" });
        assert_eq!(read(least).expect("settings"), config());
        let more = serde_json::json!({ "table": "orders", "tabel": "orders" });
        assert!(read(more).is_err());
        for (mode, read_as) in
            [("versioned", Some(Mode::Versioned)), ("ledger", Some(Mode::Ledger)), ("upsert", None)]
        {
            let settings = serde_json::json!({ "table": "orders", "mode": mode });
            assert_eq!(read(settings).ok().map(|config| config.mode), read_as, "{mode}");
        }
    }

    #[derive(Debug, Deserialize)]
    struct Page {
        items: DynamoSinkConfig,
        changes: DynamoStreamConfig,
        customers: DynamoScanConfig,
        stock: DynamoLookupConfig,
    }

    /// The examples of the page on configuring, and how they are read there.
    fn page(change: impl FnOnce(&str) -> String) -> std::result::Result<Page, ::config::ConfigError> {
        let page = include_str!("../../../docs/configuring.md");
        let begin =
            page.find("[items]                    # DynamoSinkConfig").expect("the example of the sink");
        let example = change(&page[begin..begin + page[begin..].find("```").expect("its end")]);
        let text = ::config::File::from_str(&example, ::config::FileFormat::Toml);
        ::config::Config::builder().add_source(text).build()?.try_deserialize()
    }

    #[test]
    fn the_examples_of_the_page_on_configuring_are_read_and_wrong_words_are_told_the_choices() {
        let Page { items, changes, customers, stock } = page(str::to_owned).expect("read");
        items.validate().expect("settings that fit together");
        assert_eq!((items.mode, items.versions), (Mode::Versioned, Versions::Attempt));
        changes.validate().expect("settings that fit together");
        assert_eq!(changes, DynamoStreamConfig::new(AwsConfig::new(), "orders"), "the defaults are told");
        customers.validate().expect("settings that fit together");
        assert_eq!((customers.segments, customers.dynamodb.profile.as_deref()), (32, Some("reader")));
        stock.validate().expect("settings that fit together");
        assert!(stock.consistent && stock.dynamodb.endpoint.is_some(), "{stock:?}");
        for (right, wrong, choices) in [
            ("\"versioned\"", "\"upsert\"", vec!["upsert", "versioned", "batched", "ledger"]),
            ("\"attempt\"", "\"clock\"", vec!["clock", "attempt", "record"]),
            ("\"horizon\"", "\"latest\"", vec!["latest", "horizon", "now"]),
            ("\"fail\"", "\"ignore\"", vec!["ignore", "fail", "warn"]),
        ] {
            let error = page(|text| text.replacen(right, wrong, 1)).expect_err("no choice").to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
    }
}
