//! How the sink writes.

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};
use tidelock_aws::AwsConfig;

use crate::error::setting;
use crate::source::check_stream;

/// When records become visible, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Records are put at once, **at least once**: a stream has no request that can be undone or sent twice without effect. A reader sees records of an
    /// epoch before its checkpoint, and after a restart those since the last checkpoint once more.
    #[default]
    Direct,
    /// The records of an epoch travel in the job's log, and are put when the checkpoint is complete, each with a header that numbers it. **Once for readers that are
    /// Tidelock's own**: [`KinesisStream`](crate::KinesisStream) takes the header off and drops what it had already. Other readers see the header before the data, and
    /// some records twice.
    Numbered,
}

/// What keeps its order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// Records of one partition key: of each key one is under way at a time, because the service may refuse one record of a request and take the next one.
    #[default]
    Key,
    /// Nothing: as many are under way as go.
    None,
}

/// How the sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KinesisSinkConfig {
    /// The service.
    #[serde(default)]
    pub kinesis: AwsConfig,
    /// The stream, by its name or ARN. Required.
    pub stream: String,
    /// When records become visible, and how often: `direct` or `numbered`. It may be changed from one run to the next: what is pending is put as it was
    /// prepared. Default `direct`.
    #[serde(default, deserialize_with = "choice")]
    pub mode: Mode,
    /// What keeps its order: the records of a `key`, or `none`. Default `key`.
    #[serde(default, deserialize_with = "choice")]
    pub order: Order,
    /// Whether records of one key that wait together go as one record of the stream, in the form of the KPL. Readers must open it, as
    /// [`KinesisStream`](crate::KinesisStream) and the KCL do. Default `false`.
    #[serde(default)]
    pub aggregates: bool,
    /// The most bytes of a record, with its key. Default: what the stream says, and 1 MiB where it says nothing.
    #[serde(default)]
    pub record_bytes_max: Option<usize>,
    /// How many records a request has at most. Default 500, which is what the service takes.
    #[serde(default = "default_request_records_max")]
    pub request_records_max: usize,
    /// How many bytes a request has at most, keys included. Default 10 MiB, which is what the service takes.
    #[serde(default = "default_request_bytes_max")]
    pub request_bytes_max: usize,
    /// How many requests of this sink and process are under way at once at most. Fewer are while the stream is throttled as a whole. Default 32.
    #[serde(default = "default_requests_in_flight_max")]
    pub requests_in_flight_max: u32,
    /// The most bytes, as JSON, that one writer takes in one epoch, where the mode is `numbered`: more are an error. Default: as many as come.
    #[serde(default)]
    pub epoch_bytes_max: Option<u64>,
}

/// The service takes so many records in a request.
const REQUEST_RECORDS_MAX: usize = 500;

/// The service takes so many bytes in a request, and in a record where the stream's owner allows it.
const REQUEST_BYTES_MAX: usize = 10 * 1_024 * 1_024;

/// A name of 128 characters, keys of 256 and a header fit into it, and some data.
const RECORD_BYTES_MIN: usize = 1_024;

/// More requests at once than this do not fit the connections and ports of a process.
const REQUESTS_IN_FLIGHT_MAX: u32 = 4_096;

fn default_request_records_max() -> usize {
    REQUEST_RECORDS_MAX
}

fn default_request_bytes_max() -> usize {
    REQUEST_BYTES_MAX
}

fn default_requests_in_flight_max() -> u32 {
    32
}

impl KinesisSinkConfig {
    /// Records of `stream`, with every other setting at its default.
    pub fn new(kinesis: AwsConfig, stream: impl Into<String>) -> Self {
        Self {
            kinesis,
            stream: stream.into(),
            mode: Mode::default(),
            order: Order::default(),
            aggregates: false,
            record_bytes_max: None,
            request_records_max: default_request_records_max(),
            request_bytes_max: default_request_bytes_max(),
            requests_in_flight_max: default_requests_in_flight_max(),
            epoch_bytes_max: None,
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.kinesis.validate()?;
        check_stream("stream", &self.stream)?;
        let between = |name, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(setting(name, format!("must be from {least} to {most}")))
        };
        between("request_records_max", self.request_records_max, 1, REQUEST_RECORDS_MAX)?;
        between("request_bytes_max", self.request_bytes_max, RECORD_BYTES_MIN, REQUEST_BYTES_MAX)?;
        if let Some(bytes) = self.record_bytes_max {
            between("record_bytes_max", bytes, RECORD_BYTES_MIN, REQUEST_BYTES_MAX)?;
        }
        if !(1..=REQUESTS_IN_FLIGHT_MAX).contains(&self.requests_in_flight_max) {
            let why = format!("must be from 1 to {REQUESTS_IN_FLIGHT_MAX}");
            return Err(setting("requests_in_flight_max", why));
        }
        if self.aggregates && self.order == Order::None {
            let why =
                "records that go together are those of a key, in their order: with `order` = `none` none do";
            return Err(setting("aggregates", why));
        }
        if self.epoch_bytes_max == Some(0) {
            return Err(setting("epoch_bytes_max", "an epoch must have room for a record"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/flights";

    fn config() -> KinesisSinkConfig {
        KinesisSinkConfig::new(AwsConfig::new(), "flights")
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        config().validate().expect("the defaults");
        KinesisSinkConfig { stream: ARN.into(), ..config() }.validate().expect("an ARN");
        for (wrong, named) in [
            (KinesisSinkConfig { stream: String::new(), ..config() }, "stream"),
            (KinesisSinkConfig { stream: "a/b".into(), ..config() }, "stream"),
            (KinesisSinkConfig { request_records_max: 0, ..config() }, "request_records_max"),
            (KinesisSinkConfig { request_records_max: 501, ..config() }, "request_records_max"),
            (KinesisSinkConfig { request_bytes_max: 1_023, ..config() }, "request_bytes_max"),
            (KinesisSinkConfig { request_bytes_max: REQUEST_BYTES_MAX + 1, ..config() }, "request_bytes_max"),
            (KinesisSinkConfig { record_bytes_max: Some(0), ..config() }, "record_bytes_max"),
            (KinesisSinkConfig { requests_in_flight_max: 0, ..config() }, "requests_in_flight_max"),
            (KinesisSinkConfig { requests_in_flight_max: 5_000, ..config() }, "requests_in_flight_max"),
            (KinesisSinkConfig { epoch_bytes_max: Some(0), ..config() }, "epoch_bytes_max"),
            (KinesisSinkConfig { aggregates: true, order: Order::None, ..config() }, "aggregates"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<KinesisSinkConfig>(json);
        assert_eq!(read(serde_json::json!({ "stream": "flights" })).expect("legal"), config());
        let said = read(serde_json::json!({ "stream": "flights", "mode": "numbered", "order": "none" }));
        let said = said.expect("legal");
        assert_eq!((said.mode, said.order), (Mode::Numbered, Order::None));
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "stream": "flights", "mode": "exactly_once" }),
            serde_json::json!({ "stream": "flights", "order": "shard" }),
            serde_json::json!({ "stream": "flights", "batch": 1 }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[derive(Debug, Deserialize)]
    struct Page {
        records: KinesisSinkConfig,
    }

    /// The example of the page on configuring, and how it is read there.
    fn page(change: impl FnOnce(&str) -> String) -> std::result::Result<Page, ::config::ConfigError> {
        let page = include_str!("../../../docs/configuring.md");
        let begin = page.find("[records]                  # KinesisSinkConfig").expect("the example");
        let example = change(&page[begin..begin + page[begin..].find("```").expect("its end")]);
        let text = ::config::File::from_str(&example, ::config::FileFormat::Toml);
        ::config::Config::builder().add_source(text).build()?.try_deserialize()
    }

    #[test]
    fn the_example_of_the_page_on_configuring_is_read_and_wrong_words_are_told_the_choices() {
        let Page { records } = page(str::to_owned).expect("read");
        records.validate().expect("settings that fit together");
        assert_eq!((records.mode, records.order, records.aggregates), (Mode::Numbered, Order::Key, true));
        for (right, wrong, choices) in [
            ("\"numbered\"", "\"ledger\"", ["ledger", "direct", "numbered"]),
            ("\"key\"", "\"shard\"", ["shard", "key", "none"]),
        ] {
            let error = page(|text| text.replacen(right, wrong, 1)).expect_err("no choice").to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
    }
}
