//! Where the gateways are, and how they are spoken to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::{Result, choice};

use crate::error::setting;
use crate::gateway::Address;

/// What stands between the messages of a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transport {
    /// Nothing, as `hbase thrift start` has it.
    #[default]
    Buffered,
    /// The length of each message, as gateways have it that were started with `-f` or `-nonblocking`.
    Framed,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffered => "buffered",
            Self::Framed => "framed",
        })
    }
}

/// How the messages of a gateway are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// As `hbase thrift start` has it.
    #[default]
    Binary,
    /// As gateways have it that were started with `-c`.
    Compact,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Compact => "compact",
        })
    }
}

/// Where the gateways are, and how they are spoken to.
///
/// The gateways must be of Thrift 1 (`hbase thrift start`), and of one cluster, which is looked at. They know neither passwords nor TLS that this client could
/// speak: keep them within a network that you trust.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HbaseConfig {
    /// The gateways, as `host:port`, or as `host` where the port is 9090. They are used in turn, and the loss of all but one is
    /// survived. Required.
    pub gateways: Vec<String>,
    /// What stands between messages: `buffered` or `framed`. Default `buffered`.
    #[serde(default, deserialize_with = "choice")]
    pub transport: Transport,
    /// How messages are written: `binary` or `compact`. Default `binary`.
    #[serde(default, deserialize_with = "choice")]
    pub protocol: Protocol,
    /// How many calls of one sink, source or lookup are under way at most, each on a connection of its own. A scan has one more for each of
    /// its splits. Default 4.
    #[serde(default = "default_connections_max")]
    pub connections_max: u32,
    /// How long a gateway has to take a connection, and then to say what it is. Default 5,000.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long a call may take, and how long it may wait for a connection before. A gateway waits for a region server that is away: 48 s
    /// were seen, and then it answered well. What is cut off here may still be done. Default 75,000.
    #[serde(default = "default_call_timeout_ms")]
    pub call_timeout_ms: u64,
    /// A connection that was not used for so long is closed, and not used again: gateways close them after 60 s
    /// (`hbase.thrift.server.socket.read.timeout`). Default 50,000.
    #[serde(default = "default_idle_max_ms")]
    pub idle_max_ms: u64,
    /// The most bytes of one request: a larger one is refused before anything of it is sent, and what is written in batches is sent in several. A
    /// framed gateway closes the connection at more than 2 MiB (`hbase.regionserver.thrift.framed.max_frame_size_in_mb`). Default: 2,000,000 where
    /// the transport is framed, and else 32,000,000.
    #[serde(default)]
    pub request_bytes_max: Option<u64>,
    /// The most bytes of one answer: a larger one is an error, and not a full memory. Default 256,000,000.
    #[serde(default = "default_answer_bytes_max")]
    pub answer_bytes_max: u64,
}

fn default_connections_max() -> u32 {
    4
}

fn default_connect_timeout_ms() -> u64 {
    5_000
}

fn default_call_timeout_ms() -> u64 {
    75_000
}

fn default_idle_max_ms() -> u64 {
    50_000
}

fn default_answer_bytes_max() -> u64 {
    256_000_000
}

/// Eleven days.
const MILLIS_MAX: u64 = 1_000_000_000;

/// A length is counted in 31 bits.
const BYTES_MAX: u64 = 2_000_000_000;

/// A row key has up to 32,767 bytes, and a request with one must be possible.
const BYTES_MIN: u64 = 100_000;

impl HbaseConfig {
    /// These gateways, with every other setting at its default.
    pub fn new<G: Into<String>>(gateways: impl IntoIterator<Item = G>) -> Self {
        Self {
            gateways: gateways.into_iter().map(Into::into).collect(),
            transport: Transport::default(),
            protocol: Protocol::default(),
            connections_max: default_connections_max(),
            connect_timeout_ms: default_connect_timeout_ms(),
            call_timeout_ms: default_call_timeout_ms(),
            idle_max_ms: default_idle_max_ms(),
            request_bytes_max: None,
            answer_bytes_max: default_answer_bytes_max(),
        }
    }

    /// Checks the settings before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming the setting. What stands there for a gateway is not repeated: it may be a URL
    /// with a password.
    pub fn validate(&self) -> Result<()> {
        let addresses = self.addresses()?;
        if (1..addresses.len()).any(|at| addresses[..at].contains(&addresses[at])) {
            return Err(setting("gateways", "a gateway is there twice"));
        }
        for (name, value, least, most) in [
            ("connections_max", u64::from(self.connections_max), 1, u64::from(u32::MAX)),
            ("connect_timeout_ms", self.connect_timeout_ms, 1, MILLIS_MAX),
            ("call_timeout_ms", self.call_timeout_ms, 1, MILLIS_MAX),
            ("idle_max_ms", self.idle_max_ms, 1, MILLIS_MAX),
            ("request_bytes_max", self.request_bytes_max.unwrap_or(BYTES_MIN), BYTES_MIN, BYTES_MAX),
            ("answer_bytes_max", self.answer_bytes_max, BYTES_MIN, BYTES_MAX),
        ] {
            if !(least..=most).contains(&value) {
                return Err(setting(name, format!("must be between {least} and {most}")));
            }
        }
        Ok(())
    }

    pub(crate) fn addresses(&self) -> Result<Vec<Address>> {
        if self.gateways.is_empty() {
            return Err(setting("gateways", "at least one gateway is required, as host:port"));
        }
        let read = |(at, text): (usize, &String)| {
            Address::parse(text).ok_or_else(|| {
                let why = "a gateway is host:port, without user, password or path";
                setting("gateways", why).with("at", at)
            })
        };
        self.gateways.iter().enumerate().map(read).collect()
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    pub(crate) fn idle_max(&self) -> Duration {
        Duration::from_millis(self.idle_max_ms)
    }

    pub(crate) fn request_bytes_max(&self) -> usize {
        let by_transport = match self.transport {
            Transport::Buffered => 32_000_000,
            Transport::Framed => 2_000_000,
        };
        usize::try_from(self.request_bytes_max.unwrap_or(by_transport)).unwrap_or(usize::MAX)
    }

    pub(crate) fn answer_bytes_max(&self) -> usize {
        usize::try_from(self.answer_bytes_max).unwrap_or(usize::MAX)
    }
}

/// Without what is no address: it may be a URL with a password.
impl fmt::Debug for HbaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &String| match Address::parse(text) {
            Some(address) => address.to_string(),
            None => "(no address)".to_owned(),
        };
        f.debug_struct("HbaseConfig")
            .field("gateways", &self.gateways.iter().map(shown).collect::<Vec<_>>())
            .field("transport", &self.transport)
            .field("protocol", &self.protocol)
            .field("connections_max", &self.connections_max)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("call_timeout_ms", &self.call_timeout_ms)
            .field("idle_max_ms", &self.idle_max_ms)
            .field("request_bytes_max", &self.request_bytes_max)
            .field("answer_bytes_max", &self.answer_bytes_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::HbaseLookupConfig;
    use crate::sink_config::HbaseSinkConfig;
    use crate::source::HbaseScanConfig;

    fn config() -> HbaseConfig {
        HbaseConfig::new(["one.example:9090", "two.example"])
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        assert!(config().validate().is_ok());
        let gateways = |texts: &[&str]| HbaseConfig {
            gateways: texts.iter().map(|&text| text.into()).collect(),
            ..config()
        };
        for (wrong, named) in [
            (gateways(&[]), "gateways"),
            (gateways(&[""]), "gateways"),
            (gateways(&["a:0"]), "gateways"),
            (gateways(&["a:b"]), "gateways"),
            (gateways(&["a", "a:9090"]), "gateways"),
            (gateways(&["http://a:9090"]), "gateways"),
            (gateways(&["me:s3cret@a:9090"]), "gateways"),
            (HbaseConfig { connections_max: 0, ..config() }, "connections_max"),
            (HbaseConfig { connect_timeout_ms: 0, ..config() }, "connect_timeout_ms"),
            (HbaseConfig { call_timeout_ms: u64::MAX, ..config() }, "call_timeout_ms"),
            (HbaseConfig { idle_max_ms: 0, ..config() }, "idle_max_ms"),
            (HbaseConfig { request_bytes_max: Some(99_999), ..config() }, "request_bytes_max"),
            (HbaseConfig { answer_bytes_max: u64::MAX, ..config() }, "answer_bytes_max"),
        ] {
            let error = wrong.validate().expect_err(named).to_string();
            assert!(error.contains(&format!("setting={named}")), "{error}");
            assert!(!error.contains("s3cret") && !format!("{wrong:?}").contains("s3cret"), "{error}");
        }
    }

    #[derive(Debug, Deserialize)]
    struct Page {
        latest: HbaseSinkConfig,
        history: HbaseScanConfig,
        seats: HbaseLookupConfig,
    }

    /// The example of the page on configuring, and how it is read there.
    fn page(change: impl FnOnce(&str) -> String) -> std::result::Result<Page, ::config::ConfigError> {
        let page = include_str!("../../../docs/configuring.md");
        let begin = page.find("[latest]").expect("the example of the sink");
        let example = change(&page[begin..begin + page[begin..].find("```").expect("its end")]);
        let text = ::config::File::from_str(&example, ::config::FileFormat::Toml);
        ::config::Config::builder().add_source(text).build()?.try_deserialize()
    }

    #[test]
    fn the_example_of_the_page_on_configuring_is_read_and_wrong_words_are_told_the_choices() {
        let Page { latest, history, seats } = page(str::to_owned).expect("read");
        assert_eq!((latest.hbase.transport, seats.hbase.transport), (Transport::Framed, Transport::Buffered));
        assert_eq!(seats.hbase.call_timeout_ms, 90_000);
        latest.validate().expect("settings that fit together");
        history.validate().expect("settings that fit together");
        seats.validate().expect("settings that fit together");
        for (right, wrong, choices) in [
            ("\"framed\"", "\"http\"", ["http", "buffered", "framed"]),
            ("\"compact\"", "\"json\"", ["json", "binary", "compact"]),
            ("\"reserved\"", "\"clock\"", ["clock", "reserved", "record"]),
        ] {
            let error = page(|text| text.replacen(right, wrong, 1)).expect_err("no choice").to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let read = |json: serde_json::Value| serde_json::from_value::<HbaseConfig>(json);
        let said = read(serde_json::json!({ "gateways": ["one.example:9090", "two.example"] }));
        assert_eq!(said.expect("legal"), config());
        let framed =
            read(serde_json::json!({ "gateways": ["a"], "transport": "framed", "protocol": "compact" }));
        let framed = framed.expect("legal");
        assert_eq!((framed.transport, framed.protocol), (Transport::Framed, Protocol::Compact));
        assert_eq!((framed.request_bytes_max(), config().request_bytes_max()), (2_000_000, 32_000_000));
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({ "gateways": ["a"], "transport": "http" }),
            serde_json::json!({ "gateways": ["a"], "password": "s3cret" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
