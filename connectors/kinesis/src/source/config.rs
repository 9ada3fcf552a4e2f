//! What of streams is read, and what becomes of what cannot be read any more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};
use tidelock_aws::AwsConfig;

use super::fan_out::FanOutConfig;
use super::given::Given;
use crate::error::setting;
use crate::leases::{LeaseExport, LeasesConfig};

/// The service gives so many records at once at most.
const BATCH_RECORDS_MAX: u32 = 10_000;

/// The service allows five for each shard; only a server of another kind takes more.
const CALLS_PER_SECOND_MAX: u32 = 1_000;

/// A minute: an iterator lives for five, and who waits longer hears of every record that late.
const IDLE_WAIT_MAX_MS: u64 = 60_000;

/// Where streams are read from in the first run of a job. Later it is the snapshot that says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamStart {
    /// At the oldest record that is there.
    #[default]
    Horizon,
    /// At what is put from now on: the moment when the job first started, in every shard.
    Latest,
    /// At the first record that arrived at this time or later, in milliseconds since 1970.
    Timestamp(i64),
    /// Where somebody else was. A shard that is not given follows those before it, and where none of them is given the job does not start.
    Given(Vec<Given>),
    /// Where the leases of an application of KCL say that it was.
    Leases(LeasesConfig),
}

/// Where a bounded source ends. Decided once, on the first run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamStop {
    /// Never.
    #[default]
    Never,
    /// Before the first record that arrived when the job first started, or later.
    Latest,
    /// Before the first record that arrived at this time or later, in milliseconds since 1970. What arrives before it is waited for.
    Timestamp(i64),
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
    /// It is counted, and reading goes on with the oldest record that is there.
    Ignore,
}

/// How streams are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KinesisStreamConfig {
    /// The service.
    #[serde(default)]
    pub kinesis: AwsConfig,
    /// The streams, each by its name or ARN. Required.
    pub streams: Vec<String>,
    /// Where the first run of the job begins: `horizon`, `latest`, a `timestamp`, positions that are `given`, or
    /// where `leases` of KCL say. Default `horizon`. A stream that is added later is
    /// read from its oldest record.
    #[serde(default, deserialize_with = "choice")]
    pub start: StreamStart,
    /// Where it ends: `never`, `latest` or at a `timestamp`. Default `never`.
    #[serde(default, deserialize_with = "choice")]
    pub stop: StreamStop,
    /// What becomes of records that were thrown away before they were read: `fail`, `warn` or `ignore`. Default `fail`.
    #[serde(default, deserialize_with = "choice")]
    pub on_data_loss: OnDataLoss,
    /// How many records one request asks for at most, and a batch has. Default 10,000.
    #[serde(default = "default_batch_records")]
    pub batch_records: u32,
    /// How often a shard is asked in a second. The service allows five for all that read it: others may need some of them. Default 5.
    #[serde(default = "default_calls_per_second")]
    pub calls_per_second: u32,
    /// How long to wait before a shard that had nothing new is asked again, in milliseconds: longer from time to time, up to `idle_wait_max_ms`. Default 200.
    #[serde(default = "default_idle_wait_ms")]
    pub idle_wait_ms: u64,
    /// The longest of these waits, in milliseconds. Default 1,000.
    #[serde(default = "default_idle_wait_max_ms")]
    pub idle_wait_max_ms: u64,
    /// Shards are read by enhanced fan-out, and by what consumer. Default: they are asked for their records.
    #[serde(default)]
    pub fan_out: Option<FanOutConfig>,
    /// For how long Kinesis is asked again where it is away or throttles, or does not tell the children of a shard that has ended, in milliseconds, before the
    /// job starts anew from its last checkpoint. Default 180,000.
    #[serde(default = "default_retry_for_ms")]
    pub retry_for_ms: u64,
    /// A table to which positions are written after checkpoints, as leases of KCL: for monitors, and as a way back. They are never read. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<LeaseExport>,
}

fn default_batch_records() -> u32 {
    BATCH_RECORDS_MAX
}

fn default_calls_per_second() -> u32 {
    5
}

fn default_idle_wait_ms() -> u64 {
    200
}

fn default_idle_wait_max_ms() -> u64 {
    1_000
}

fn default_retry_for_ms() -> u64 {
    180_000
}

impl KinesisStreamConfig {
    /// The records of these streams, with every other setting at its default.
    pub fn new(kinesis: AwsConfig, streams: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            kinesis,
            streams: streams.into_iter().map(Into::into).collect(),
            start: StreamStart::default(),
            stop: StreamStop::default(),
            on_data_loss: OnDataLoss::default(),
            batch_records: default_batch_records(),
            calls_per_second: default_calls_per_second(),
            idle_wait_ms: default_idle_wait_ms(),
            idle_wait_max_ms: default_idle_wait_max_ms(),
            fan_out: None,
            retry_for_ms: default_retry_for_ms(),
            export: None,
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting.
    pub fn validate(&self) -> Result<()> {
        self.kinesis.validate()?;
        self.check_streams()?;
        match &self.start {
            StreamStart::Given(given) => self.check_given(given)?,
            StreamStart::Leases(leases) => leases.validate()?,
            StreamStart::Horizon | StreamStart::Latest | StreamStart::Timestamp(_) => {}
        }
        if let Some(fan_out) = &self.fan_out {
            fan_out.validate()?;
        }
        self.check_export()?;
        let times = [("start", self.start.time()), ("stop", self.stop.time())];
        for (name, time) in times {
            if time.is_some_and(|time| time < 0) {
                return Err(setting(name, "a time before 1970 is no time of a record"));
            }
        }
        for (name, value, max) in [
            ("batch_records", self.batch_records.into(), BATCH_RECORDS_MAX.into()),
            ("calls_per_second", self.calls_per_second.into(), CALLS_PER_SECOND_MAX.into()),
            ("idle_wait_ms", self.idle_wait_ms, IDLE_WAIT_MAX_MS),
            ("idle_wait_max_ms", self.idle_wait_max_ms, IDLE_WAIT_MAX_MS),
        ] {
            if !(1..=max).contains(&value) {
                return Err(setting(name, format!("a number from 1 to {max} is required")));
            }
        }
        Ok(())
    }

    fn check_given(&self, given: &[Given]) -> Result<()> {
        let streams: BTreeSet<&str> = self.streams.iter().map(|stream| name_of(stream)).collect();
        let mut shards = BTreeSet::new();
        for one in given {
            one.validate()?;
            let refuse = |why: &str| {
                Err(setting("start.given", why).with("stream", &one.stream).with("shard", &one.shard))
            };
            if !streams.contains(one.stream.as_str()) {
                return refuse("a position is given in a stream that is not read");
            }
            if !shards.insert((&one.stream, &one.shard)) {
                return refuse("two positions are given in one shard");
            }
        }
        Ok(())
    }

    fn check_export(&self) -> Result<()> {
        let Some(export) = &self.export else { return Ok(()) };
        export.validate()?;
        if let StreamStart::Leases(leases) = &self.start
            && leases.is_table(&export.table)
        {
            let why = "positions are written to a table of their own, and not to the one that they came from";
            return Err(setting("export", why));
        }
        Ok(())
    }

    fn check_streams(&self) -> Result<()> {
        let refuse = |why: &str| Err(setting("streams", why));
        if self.streams.is_empty() {
            return refuse("name at least one stream");
        }
        let mut names = BTreeSet::new();
        for stream in &self.streams {
            let name = check_stream("streams", stream)?;
            if !names.insert(name) {
                return refuse(&format!("{name} is named twice"));
            }
        }
        Ok(())
    }
}

impl StreamStart {
    fn time(&self) -> Option<i64> {
        if let Self::Timestamp(at_ms) = self { Some(*at_ms) } else { None }
    }
}

impl StreamStop {
    fn time(self) -> Option<i64> {
        if let Self::Timestamp(at_ms) = self { Some(at_ms) } else { None }
    }
}

/// Checks what names a stream: its name or its ARN. Gives the name.
pub(crate) fn check_stream<'s>(of: &str, stream: &'s str) -> Result<&'s str> {
    let name = name_of(stream);
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !(1..=128).contains(&name.len()) || !name.bytes().all(is_legal) {
        return Err(setting(of, format!("{stream:?} is neither a stream's name nor its ARN")));
    }
    Ok(name)
}

/// The name of a stream that is named by its name or ARN.
pub(crate) fn name_of(stream: &str) -> &str {
    stream.strip_prefix("arn:").and_then(|arn| arn.split_once(":stream/")).map_or(stream, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use tidelock::ErrorKind;

    use super::super::given::GivenAt;
    use super::*;
    use crate::leases::InitialPosition;

    const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/flights";

    fn config() -> KinesisStreamConfig {
        KinesisStreamConfig::new(AwsConfig::new(), ["flights"])
    }

    fn streams(streams: &[&str]) -> KinesisStreamConfig {
        KinesisStreamConfig::new(AwsConfig::new(), streams.iter().copied())
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        config().validate().expect("the defaults");
        streams(&[ARN, "a.b-c_D"]).validate().expect("an ARN and a name");
        for (wrong, named) in [
            (streams(&[]), "streams"),
            (streams(&[""]), "streams"),
            (streams(&["a/b"]), "streams"),
            (streams(&["arn:aws:kinesis:eu-central-1:123456789012:stream/"]), "streams"),
            (streams(&["flights", ARN]), "streams"),
            (KinesisStreamConfig { batch_records: 0, ..config() }, "batch_records"),
            (KinesisStreamConfig { batch_records: 10_001, ..config() }, "batch_records"),
            (KinesisStreamConfig { calls_per_second: 0, ..config() }, "calls_per_second"),
            (KinesisStreamConfig { idle_wait_ms: 0, ..config() }, "idle_wait_ms"),
            (KinesisStreamConfig { idle_wait_max_ms: u64::MAX, ..config() }, "idle_wait_max_ms"),
            (KinesisStreamConfig { start: StreamStart::Timestamp(-1), ..config() }, "start"),
            (KinesisStreamConfig { stop: StreamStop::Timestamp(-1), ..config() }, "stop"),
        ] {
            let error = wrong.validate().expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("setting={named}")), "{error}");
        }
        let given = |stream: &str, shard: &str| Given {
            stream: stream.into(),
            shard: shard.into(),
            at: GivenAt::Oldest,
        };
        for (wrong, named) in [
            (vec![given("flights", "")], "names no shard"),
            (vec![given("flight", "A")], "not read"),
            (vec![given("flights", "A"), given("flights", "B"), given("flights", "A")], "two positions"),
        ] {
            let wrong = KinesisStreamConfig { start: StreamStart::Given(wrong), ..config() };
            let error = wrong.validate().expect_err(named);
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<KinesisStreamConfig>(json);
        assert_eq!(read(serde_json::json!({ "streams": ["flights"] })).expect("legal"), config());
        let said = serde_json::json!({
            "streams": ["flights"], "start": { "timestamp": 7 }, "stop": "latest", "on_data_loss": "ignore"
        });
        let said = read(said).expect("legal");
        assert_eq!((said.start, said.stop), (StreamStart::Timestamp(7), StreamStop::Latest));
        assert_eq!(said.on_data_loss, OnDataLoss::Ignore);
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "streams": ["flights"], "start": "earliest" }),
            serde_json::json!({ "streams": ["flights"], "on_data_loss": "skip" }),
            serde_json::json!({ "streams": ["flights"], "application": "a" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stream_has_one_name_however_it_is_named() {
        assert_eq!((name_of("flights"), name_of(ARN)), ("flights", "flights"));
    }

    #[derive(Debug, Deserialize)]
    struct Page {
        flights: KinesisStreamConfig,
    }

    /// The example of the page on configuring, and how it is read there.
    fn page(change: impl FnOnce(&str) -> String) -> std::result::Result<Page, ::config::ConfigError> {
        let page = include_str!("../../../../docs/configuring.md");
        let begin = page.find("[flights]                  # KinesisStreamConfig").expect("the example");
        let example = change(&page[begin..begin + page[begin..].find("```").expect("its end")]);
        let text = ::config::File::from_str(&example, ::config::FileFormat::Toml);
        ::config::Config::builder().add_source(text).build()?.try_deserialize()
    }

    #[test]
    fn the_example_of_the_page_on_configuring_is_read_and_wrong_words_are_told_the_choices() {
        let Page { flights } = page(str::to_owned).expect("read");
        flights.validate().expect("settings that fit together");
        assert_eq!((flights.streams.len(), flights.calls_per_second), (2, 4));
        assert_eq!((flights.start, flights.stop), (StreamStart::Horizon, StreamStop::Never));
        assert_eq!(flights.export.map(|export| export.every_ms), Some(30_000));
        for (word, position) in [
            ("\"latest\"", InitialPosition::Latest),
            ("{ at_timestamp = 7 }", InitialPosition::AtTimestamp(7)),
        ] {
            let leases = format!("{{ leases = {{ table = \"t\", initial_position = {word} }} }}");
            let Page { flights } = page(|text| text.replacen("\"horizon\"", &leases, 1)).expect("read");
            let mut expected = LeasesConfig::new(AwsConfig::new(), "t");
            expected.initial_position = Some(position);
            assert_eq!(flights.start, StreamStart::Leases(expected));
        }
        for (right, wrong, choices) in [
            (
                "\"horizon\"",
                "\"earliest\"",
                vec!["earliest", "horizon", "latest", "timestamp", "given", "leases"],
            ),
            ("\"never\"", "\"now\"", vec!["now", "never", "latest", "timestamp"]),
            ("\"fail\"", "\"skip\"", vec!["skip", "fail", "warn", "ignore"]),
        ] {
            let error = page(|text| text.replacen(right, wrong, 1)).expect_err("no choice").to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
    }
}
