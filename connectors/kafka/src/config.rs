//! How source and sink are configured.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidelock::{Error, ErrorKind, Result, choice};

use crate::defaults;
use crate::properties::Properties;

/// Refuses a setting that is given under both of its names.
fn refuse_twice(properties: &Properties) -> Result<()> {
    match defaults::given_twice(properties) {
        Some(name) => Err(refuse(name, "this setting has two names, and both are given")),
        None => Ok(()),
    }
}

pub(crate) fn refuse(setting: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, "configure Kafka", why).with("setting", setting)
}

/// Refuses settings of librdkafka that this connector sets itself.
pub(crate) fn refuse_owned(properties: &Properties, owned: &[(&str, &str)]) -> Result<()> {
    match owned.iter().find(|(name, _)| properties.get(name).is_some()) {
        Some((name, instead)) => Err(refuse(name, *instead)),
        None => Ok(()),
    }
}

/// What happens to a record that cannot be read or written as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordPolicy {
    /// The job halts and names the record.
    #[default]
    Fail,
    /// The record is left out, with a warning and a count.
    Skip,
    /// The record goes to this topic, with headers that say where it came from and why.
    DeadLetter(String),
}

/// What readers of the target may rely on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Readers with `read_committed` see each record exactly once.
    #[default]
    ExactlyOnce,
    /// Records are visible at once, and again after a failure.
    AtLeastOnce,
}

/// How the sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KafkaSinkConfig {
    /// Settings of librdkafka: brokers, security, `linger.ms`, `compression.type`,
    /// `transaction.timeout.ms` and so on.
    pub properties: Properties,
    /// Exactly once or at least once. Default exactly once.
    #[serde(default, deserialize_with = "choice")]
    pub guarantee: Guarantee,
    /// Transactional ids of a writer, and so the transactions that it may have open or waiting for their end.
    /// Default 4: one that is written, one that is committed, one that is made ready again, and one to spare.
    ///
    /// A writer without a free slot gives records back, and the coordinator settles what is committed at
    /// once, so fewer slots cost latency and never stop a job. But a checkpoint that failed keeps its slot
    /// until a later one succeeds: with fewer slots than the job's tolerable failures + 1 (4 by default), failures
    /// in a row leave no slot, and the attempt ends although more of them would be tolerated.
    #[serde(default = "default_slots_max")]
    pub slots_max: u32,
    /// Slots that are made ready when a writer opens, so that none is waited for later. Default 4.
    #[serde(default = "default_slots_ready")]
    pub slots_ready: u32,
    /// What happens to a record that cannot be written as it is: it is larger than `message.max.bytes`, or has the
    /// timestamp 0, which librdkafka would replace by now. Where the host has a place for such records, they go there instead: see
    /// [`Rejecting`](tidelock::Rejecting).
    #[serde(default, deserialize_with = "choice", alias = "on_too_large")]
    pub on_unwritable: RecordPolicy,
}

fn default_slots_max() -> u32 {
    4
}

fn default_slots_ready() -> u32 {
    4
}

/// What the sink decides itself.
const SINK_OWNS: [(&str, &str); 7] = [
    ("transactional.id", "the sink names its transactions itself"),
    ("enable.idempotence", "the sink always writes idempotently"),
    ("acks", "the sink always waits for all replicas in sync"),
    ("request.required.acks", "the sink always waits for all replicas in sync"),
    ("delivery.report.only.error", "the sink counts every delivery"),
    ("retry.backoff.ms", "the sink proves by it that librdkafka sent a request once"),
    ("retry.backoff.max.ms", "the sink proves by it that librdkafka sent a request once"),
];

impl KafkaSinkConfig {
    /// Every default, with these settings of librdkafka.
    pub fn new(properties: Properties) -> Self {
        Self {
            properties,
            guarantee: Guarantee::default(),
            slots_max: default_slots_max(),
            slots_ready: default_slots_ready(),
            on_unwritable: RecordPolicy::default(),
        }
    }

    /// The same for another guarantee.
    #[must_use]
    pub fn with_guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Checks the configuration before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        refuse_owned(&self.properties, &SINK_OWNS)?;
        refuse_twice(&self.properties)?;
        if self.slots_max < 2 {
            return Err(refuse("slots_max", "one epoch is written while another is committed: at least 2"));
        }
        if self.slots_ready == 0 || self.slots_ready > self.slots_max {
            return Err(refuse("slots_ready", "between 1 and slots_max"));
        }
        self.transaction_timeout_ms().map(drop)
    }

    /// `transaction.timeout.ms`, where the user gives one.
    pub(crate) fn transaction_timeout_ms(&self) -> Result<Option<i32>> {
        let Some(text) = self.properties.get("transaction.timeout.ms") else { return Ok(None) };
        let timeout: i32 = text
            .parse()
            .map_err(|_| refuse("transaction.timeout.ms", "this is no number of milliseconds"))?;
        if timeout < 1_000 {
            return Err(refuse(
                "transaction.timeout.ms",
                "at least 1000, and longer than the job may be down",
            ));
        }
        Ok(Some(timeout))
    }
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscription {
    /// All partitions of these topics, also those that are added later.
    Topics(Vec<String>),
    /// All topics whose whole name matches this regular expression, also those that are made later.
    Pattern(String),
    /// These partitions, by topic, and no others.
    Partitions(BTreeMap<String, Vec<i32>>),
}

/// Where the first run of a job begins. Later the snapshot decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the first record that still exists.
    #[default]
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record that is as late as this, in milliseconds since 1970; after the last record
    /// where none is.
    Timestamp(i64),
    /// Where a consumer group stands; at the first record where it never committed.
    Group(String),
    /// At given offsets, by topic and partition; at the first record elsewhere.
    Offsets(BTreeMap<String, BTreeMap<i32, i64>>),
}

/// Where a bounded source ends. Decided once, on the first run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Never.
    #[default]
    Never,
    /// At the end that each partition had when the job first started.
    Latest,
    /// Before the first record that is as late as this, in milliseconds since 1970; at the end that the
    /// partition had where none is.
    Timestamp(i64),
    /// Before given offsets, by topic and partition; elsewhere nothing is read.
    Offsets(BTreeMap<String, BTreeMap<i32, i64>>),
}

/// What happens when records that were to be read no longer exist: retention took them, or their topic was deleted.
///
/// A partition that is gone ends under `Warn` and `Ignore`, and is forgotten; a topic under the same name that is made
/// later is read from its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDataLoss {
    /// The job halts and says how many are lost.
    #[default]
    Fail,
    /// It goes on with the first record that exists, and warns.
    Warn,
    /// It goes on with the first record that exists.
    Ignore,
}

/// How the source reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KafkaSourceConfig {
    /// Settings of librdkafka: brokers, security, `fetch.wait.max.ms` and so on.
    pub properties: Properties,
    /// What is read.
    #[serde(deserialize_with = "choice")]
    pub subscription: Subscription,
    /// Where the first run begins. Default earliest.
    #[serde(default, deserialize_with = "choice")]
    pub start: Start,
    /// Where it ends. Default never.
    #[serde(default, deserialize_with = "choice")]
    pub stop: Stop,
    /// What happens when records are gone. Default fail.
    #[serde(default, deserialize_with = "choice")]
    pub on_data_loss: OnDataLoss,
    /// What happens to a record that cannot be passed on as it is: the name of a header is no text. Default fail.
    #[serde(default, deserialize_with = "choice")]
    pub on_unreadable: RecordPolicy,
    /// Topics, or partitions as `topic/partition`, that are read no more: their splits leave the snapshot, and their
    /// positions with them. A topic that is no longer subscribed to must be named here. One that is found again
    /// after its name was taken off this list is read from its beginning.
    #[serde(default)]
    pub drop_splits: BTreeSet<String>,
    /// Whether records of open and aborted transactions are read as well. Default no.
    #[serde(default)]
    pub read_uncommitted: bool,
    /// A consumer group to which positions are committed after each checkpoint, for lag monitors. They
    /// are never read back. Default none.
    #[serde(default)]
    pub export_to_group: Option<String>,
    /// Records in a batch, at most. Default 1024.
    #[serde(default = "default_batch_records")]
    pub batch_records: usize,
    /// Bytes of keys, values and headers after which a batch is handed over. Default 1 MiB.
    #[serde(default = "default_batch_bytes")]
    pub batch_bytes: usize,
}

fn default_batch_records() -> usize {
    1024
}

fn default_batch_bytes() -> usize {
    1 << 20
}

/// What the source decides itself.
const SOURCE_OWNS: [(&str, &str); 11] = [
    ("group.id", "positions are in the snapshot; export_to_group and start name groups"),
    ("group.instance.id", "partitions are assigned by the job, never by a group"),
    ("auto.offset.reset", "on_data_loss says what happens"),
    ("enable.auto.commit", "export_to_group says whether positions are exported"),
    ("auto.commit.enable", "export_to_group says whether positions are exported"),
    ("enable.auto.offset.store", "export_to_group says whether positions are exported"),
    ("enable.partition.eof", "the source needs it"),
    ("isolation.level", "read_uncommitted says it"),
    ("check.crcs", "a damaged batch is an error and never a record"),
    ("allow.auto.create.topics", "a topic that was deleted must not come back by being read"),
    ("client.rack", "only leaders are read: a follower may not know the end that a bounded reader looks for"),
];

impl KafkaSourceConfig {
    /// Every default, with these settings of librdkafka.
    pub fn new(properties: Properties, subscription: Subscription) -> Self {
        Self {
            properties,
            subscription,
            start: Start::default(),
            stop: Stop::default(),
            on_data_loss: OnDataLoss::default(),
            on_unreadable: RecordPolicy::default(),
            drop_splits: BTreeSet::new(),
            read_uncommitted: false,
            export_to_group: None,
            batch_records: default_batch_records(),
            batch_bytes: default_batch_bytes(),
        }
    }

    /// The same from another place on.
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The same up to a place.
    #[must_use]
    pub fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Checks the configuration before any I/O.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        refuse_owned(&self.properties, &SOURCE_OWNS)?;
        refuse_twice(&self.properties)?;
        if self.batch_records == 0 || self.batch_bytes == 0 {
            return Err(refuse("batch_records", "a batch has at least one record and one byte"));
        }
        let empty = match &self.subscription {
            Subscription::Topics(topics) => topics.is_empty(),
            Subscription::Pattern(pattern) => pattern.is_empty(),
            Subscription::Partitions(partitions) => partitions.values().all(Vec::is_empty),
        };
        if empty {
            return Err(refuse("subscription", "there is nothing to read"));
        }
        self.check_dropped()
    }

    /// What is dropped by name cannot be subscribed to by name.
    fn check_dropped(&self) -> Result<()> {
        let both = self.drop_splits.iter().find(|dropped| match &self.subscription {
            // A pattern does not match what is dropped.
            Subscription::Pattern(_) => false,
            Subscription::Topics(topics) => topics.contains(dropped),
            Subscription::Partitions(partitions) => {
                let named = |(topic, of_topic): (&String, &Vec<i32>)| {
                    topic == *dropped || of_topic.iter().any(|one| format!("{topic}/{one}") == **dropped)
                };
                partitions.iter().any(named)
            }
        });
        match both {
            Some(name) => Err(refuse("drop_splits", "this is subscribed to as well").with("name", name)),
            None => Ok(()),
        }
    }

    /// Whether a partition's split is to leave the snapshot.
    pub(crate) fn drops(&self, topic: &str, partition: i32) -> bool {
        self.drop_splits.contains(topic) || self.drop_splits.contains(&format!("{topic}/{partition}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Page {
        orders: KafkaSourceConfig,
        bills: KafkaSinkConfig,
    }

    /// The example of the page on configuring, and how it is read there.
    fn page(change: impl FnOnce(&str) -> String) -> std::result::Result<Page, config::ConfigError> {
        let page = include_str!("../../../docs/configuring.md");
        let begin = page.find("[orders]").expect("the example of the source");
        let example = change(&page[begin..begin + page[begin..].find("```").expect("its end")]);
        let text = config::File::from_str(&example, config::FileFormat::Toml);
        config::Config::builder().add_source(text).build()?.try_deserialize()
    }

    #[test]
    fn the_example_of_the_page_on_configuring_is_read() {
        let Page { orders, bills } = page(str::to_owned).expect("read");
        assert_eq!(orders.properties.get("bootstrap.servers"), Some("broker:9092"));
        assert_eq!(orders.subscription, Subscription::Topics(vec!["orders".into()]));
        assert_eq!((orders.start.clone(), orders.stop.clone()), (Start::Earliest, Stop::Never));
        assert_eq!(bills.on_unwritable, RecordPolicy::DeadLetter("bad-bills".into()));
        assert_eq!(bills.guarantee, Guarantee::ExactlyOnce);
        orders.validate().expect("settings that fit together");
        bills.validate().expect("settings that fit together");
    }

    #[test]
    fn a_word_that_is_no_choice_is_told_the_choices() {
        for (right, wrong, choices) in [
            ("\"earliest\"", "\"oldest\"", ["oldest", "earliest", "latest", "group"]),
            ("\"fail\"", "\"halt\"", ["halt", "fail", "warn", "ignore"]),
            ("\"exactly_once\"", "\"twice\"", ["twice", "exactly", "exactly_once", "at_least_once"]),
        ] {
            let error = page(|text| text.replacen(right, wrong, 1)).expect_err("no choice").to_string();
            assert!(choices.iter().all(|choice| error.contains(choice)), "{error}");
        }
    }

    #[test]
    fn settings_that_the_sink_decides_itself_are_refused() {
        for (name, _) in SINK_OWNS {
            let config = KafkaSinkConfig::new(Properties::new("b:1").with(name, "1"));
            let error = config.validate().expect_err("refused").to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn nobody_else_decides_when_librdkafka_sends_a_request_again() {
        for name in ["retry.backoff.ms", "retry.backoff.max.ms"] {
            let config = KafkaSinkConfig::new(Properties::new("b:1").with(name, "1"));
            let error = config.validate().expect_err("a copy could arrive late").to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn settings_that_the_source_decides_itself_are_refused() {
        for (name, _) in SOURCE_OWNS {
            let topics = Subscription::Topics(vec!["t".into()]);
            let config = KafkaSourceConfig::new(Properties::new("b:1").with(name, "1"), topics);
            assert!(config.validate().expect_err("refused").to_string().contains(name));
        }
    }

    #[test]
    fn slots_and_timeouts_that_cannot_work_are_refused() {
        let config = || KafkaSinkConfig::new(Properties::new("b:1"));
        assert!(config().validate().is_ok());
        assert!(KafkaSinkConfig { slots_max: 1, ..config() }.validate().is_err());
        assert!(KafkaSinkConfig { slots_ready: 10, ..config() }.validate().is_err());
        let timeout = |text: &str| {
            KafkaSinkConfig::new(Properties::new("b:1").with("transaction.timeout.ms", text)).validate()
        };
        assert!(timeout("900000").is_ok() && timeout("soon").is_err() && timeout("10").is_err());
    }

    #[test]
    fn a_setting_under_both_of_its_names_is_refused() {
        let properties = Properties::new("b:1").with("linger.ms", "1").with("queue.buffering.max.ms", "2");
        let topics = Subscription::Topics(vec!["t".into()]);
        for refused in [
            KafkaSinkConfig::new(properties.clone()).validate(),
            KafkaSourceConfig::new(properties, topics).validate(),
        ] {
            assert!(refused.expect_err("refused").to_string().contains("linger.ms"));
        }
    }

    #[test]
    fn what_is_dropped_by_name_is_not_subscribed_to_by_name() {
        let config = |subscription, dropped: &str| {
            let mut config = KafkaSourceConfig::new(Properties::new("b:1"), subscription);
            config.drop_splits.insert(dropped.to_owned());
            config.validate()
        };
        let topics = || Subscription::Topics(vec!["t".into()]);
        assert!(
            config(topics(), "t").is_err()
                && config(topics(), "u").is_ok()
                && config(topics(), "t/3").is_ok()
        );
        let partitions = || Subscription::Partitions(BTreeMap::from([("t".to_owned(), vec![1])]));
        assert!(config(partitions(), "t").is_err() && config(partitions(), "t/1").is_err());
        assert!(
            config(partitions(), "t/2").is_ok() && config(Subscription::Pattern("t".into()), "t").is_ok()
        );
    }

    #[test]
    fn a_subscription_to_nothing_is_refused() {
        let none = Subscription::Topics(vec![]);
        assert!(KafkaSourceConfig::new(Properties::new("b:1"), none).validate().is_err());
    }
}
