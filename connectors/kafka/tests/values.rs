//! Extremes of every part of a record that holds a value: what a `read_committed` reader sees is what was written, or it was
//! refused by name.

mod support;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidelock::{Known, Result, Source, SplitReader};
use tidelock_kafka::{
    Header, KafkaRecord, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, ProducerRecord, Stop,
    Subscription,
};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{Value, ValuesHarness};
use tokio::time::timeout;

/// The part of a record that holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
    HeaderName,
    HeaderValue,
}

/// A topic of its own.
struct Target {
    part: Part,
    brokers: String,
    topic: String,
    suffix: String,
}

impl Target {
    async fn boot(part: Part) -> Result<Option<Self>> {
        let brokers = support::brokers().await;
        let topic = support::fresh("values");
        support::create_topic_of_any_time(&brokers, &topic).await;
        Ok(Some(Self { part, brokers, topic, suffix: support::fresh("") }))
    }

    /// Where the kind of the value stands: in a part that does not hold the value.
    fn kind(&self, record: &KafkaRecord) -> String {
        let kind = if self.part == Part::Value { &record.key } else { &record.value };
        String::from_utf8(kind.as_ref().expect("a kind").to_vec()).expect("text")
    }

    fn value(&self, record: KafkaRecord) -> Value {
        let kind = self.kind(&record);
        let held = match self.part {
            Part::Key => record.key,
            Part::Value => record.value,
            Part::HeaderName => Some(Bytes::from(record.headers[0].name.to_string())),
            Part::HeaderValue => record.headers[0].value.clone(),
        };
        let text = |held: Bytes| String::from_utf8(held.to_vec()).expect("text");
        match &*kind {
            "text" => Value::Text(text(held.expect("a text"))),
            "bytes" => Value::Bytes(held.expect("bytes").to_vec()),
            "maybe text" => Value::MaybeText(held.map(text)),
            "maybe bytes" => Value::MaybeBytes(held.map(|held| held.to_vec())),
            "timestamp" => Value::Timestamp(record.timestamp.unwrap_or(-1)),
            other => unreachable!("nobody wrote {other}"),
        }
    }
}

#[async_trait]
impl ValuesHarness for Target {
    type Sink = KafkaSink;

    async fn sink(&self) -> Result<KafkaSink> {
        KafkaSink::connect(KafkaSinkConfig::new(support::properties(&self.brokers))).await
    }

    fn record(&self, value: &Value) -> Option<ProducerRecord> {
        let (kind, held) = match value {
            Value::Text(text) => ("text", Some(Bytes::from(text.clone()))),
            Value::Bytes(bytes) => ("bytes", Some(Bytes::from(bytes.clone()))),
            Value::MaybeText(text) => ("maybe text", text.clone().map(Bytes::from)),
            Value::MaybeBytes(bytes) => ("maybe bytes", bytes.clone().map(Bytes::from)),
            Value::Timestamp(_) => ("timestamp", Some(Bytes::from_static(b"at"))),
            _ => return None,
        };
        let mut record = ProducerRecord::new(self.topic.as_str(), kind);
        if let Value::Timestamp(at) = value {
            record.timestamp = Some(*at);
        }
        match self.part {
            Part::Key => record.key = held,
            Part::Value => (record.key, record.value) = (Some(kind.into()), held),
            Part::HeaderName => {
                let Value::Text(name) = value else { return None };
                record.headers = vec![Header { name: name.as_str().into(), value: None }];
            }
            Part::HeaderValue => record.headers = vec![Header { name: "h".into(), value: held }],
        }
        Some(record)
    }

    async fn visible(&self) -> Result<Vec<Value>> {
        let topics = Subscription::Topics(vec![self.topic.clone()]);
        let config =
            KafkaSourceConfig::new(support::properties(&self.brokers), topics).with_stop(Stop::Latest);
        let source = KafkaSource::connect(config).await?;
        let known = Known { active: vec![], finished: vec![], ended: vec![], first_run: true };
        let read = async {
            let mut values = Vec::new();
            for split in source.discover(&known).await?.new {
                let mut reader = source.open(split).await?;
                while let Some(batch) = reader.next().await? {
                    values.extend(batch.records.into_iter().map(|record| self.value(record)));
                }
            }
            Ok(values)
        };
        timeout(Duration::from_secs(60), read).await.expect("the reader ends")
    }

    fn uid_suffix(&self) -> &str {
        &self.suffix
    }
}

macro_rules! part {
    ($module:ident, $part:ident, without [$($facet:ident),*]) => {
        mod $module {
            use super::*;

            async fn boot() -> Result<Option<Target>> {
                Target::boot(Part::$part).await
            }

            conformance::values!(
                #[ignore = "needs a container"]
                boot,
                without [$($facet),*]
            );
        }
    };
}

part!(key, Key, without [floats, integers]);
part!(value, Value, without [floats, integers]);
part!(header_name, HeaderName, without [floats, integers, bytes, missing_values, timestamps]);
part!(header_value, HeaderValue, without [floats, integers]);
