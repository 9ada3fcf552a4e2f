//! The conformance suites on a real broker.

mod support;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::{Rejecting, Rejects, Result, TargetName};
use tidelock_kafka::{
    KafkaRecord, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, KafkaWriter, ProducerRecord,
    Start, Subscription, TransactionState, Transactions,
};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{
    Expiry, Latest, Leftovers, RejectingHarness, Retention, Row, Shape, SinkFacets, SinkHarness,
    SourceFacets, SourceHarness,
};
use tidelock_testkit::oracle::Input;

/// A topic of its own. Transactional ids are the cluster's, so the suite gives the uids of each harness a
/// suffix of their own.
struct Target {
    brokers: String,
    topic: String,
    suffix: String,
}

const PARTITIONS: i32 = 2;

impl Target {
    async fn boot() -> Result<Option<Self>> {
        let brokers = support::brokers().await;
        let topic = support::fresh_topic(&brokers, PARTITIONS).await;
        Ok(Some(Self { brokers, topic, suffix: support::fresh("") }))
    }

    async fn open_here(&self) -> Result<Vec<String>> {
        let transactions = Transactions::connect(&support::properties(&self.brokers)).await?;
        let mut ids = Vec::new();
        for one in transactions.list().await? {
            if one.state != TransactionState::Ongoing {
                continue;
            }
            let described = transactions.describe(&one.transactional_id).await?;
            if described.is_some_and(|one| one.partitions.iter().any(|(topic, _)| *topic == self.topic)) {
                ids.push(one.transactional_id);
            }
        }
        Ok(ids)
    }
}

#[async_trait]
impl SinkHarness for Target {
    type Sink = KafkaSink;

    async fn sink(&self) -> Result<KafkaSink> {
        KafkaSink::connect(KafkaSinkConfig::new(support::properties(&self.brokers))).await
    }

    fn record(&self, row: &Row) -> ProducerRecord {
        ProducerRecord::new(self.topic.as_str(), row.value.to_string()).with_key(row.key.clone())
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        // Markers are written a moment after the commit was answered: wait until all are.
        let transactions = Transactions::connect(&support::properties(&self.brokers)).await?;
        while transactions
            .list()
            .await?
            .iter()
            .any(|one| matches!(one.state, TransactionState::PrepareCommit | TransactionState::PrepareAbort))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (brokers, topic) = (self.brokers.clone(), self.topic.clone());
        let seen = tokio::task::spawn_blocking(move || support::read(&brokers, &topic, PARTITIONS)).await;
        let row = |seen: support::Seen| {
            let key = String::from_utf8(seen.key.clone().expect("a key")).expect("text");
            Row::new(key, seen.text().parse().expect("a number"))
        };
        Ok(seen.expect("read").into_iter().map(row).collect())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Log).with_expiry(self).with_leftovers(self).with_uid_suffix(&self.suffix)
    }
}

#[async_trait]
impl Expiry for Target {
    async fn expire(&self) -> Result<()> {
        let transactions = Transactions::connect(&support::properties(&self.brokers)).await?;
        for id in self.open_here().await? {
            transactions.fence(&id).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Leftovers for Target {
    async fn leftovers(&self) -> Result<Vec<TargetName>> {
        let open = self.open_here().await?;
        Ok(open.iter().filter_map(|id| TargetName::parse(id.rsplit_once('.')?.0)).collect())
    }
}

impl RejectingHarness for Target {
    /// It is larger than what the topic takes.
    fn bad(&self, row: &Row) -> ProducerRecord {
        self.record(row).with_header("padding", vec![b'x'; 2_000_000])
    }

    fn row(&self, record: &ProducerRecord) -> Row {
        let text = |bytes: &Option<bytes::Bytes>| {
            String::from_utf8(bytes.as_deref().expect("bytes").to_vec()).expect("text")
        };
        Row::new(text(&record.key), text(&record.value).parse().expect("a number"))
    }

    fn reject_to(&self, writer: &mut KafkaWriter, rejects: Rejects<ProducerRecord>) {
        writer.reject_to(rejects);
    }
}

conformance::rejecting!(
    #[ignore = "needs a container"]
    Target::boot
);

conformance::sink!(
    #[ignore = "needs a container"]
    Target::boot
);

/// Topics of its own, one for each split.
struct Feed {
    brokers: String,
    prefix: String,
}

const BATCH_RECORDS: usize = 100;

impl Feed {
    async fn boot() -> Result<Option<Self>> {
        let brokers = support::brokers().await;
        Ok(Some(Self { brokers, prefix: support::fresh("feed") }))
    }

    fn topic(&self, split: &str) -> String {
        format!("{}-{split}", self.prefix)
    }

    async fn connect(&self, start: Start) -> Result<KafkaSource> {
        let pattern = Subscription::Pattern(format!("{}-.*", self.prefix));
        let mut config =
            KafkaSourceConfig::new(support::properties(&self.brokers), pattern).with_start(start);
        config.batch_records = BATCH_RECORDS;
        KafkaSource::connect(config).await
    }
}

#[async_trait]
impl SourceHarness for Feed {
    type Source = KafkaSource;

    async fn source(&self) -> Result<KafkaSource> {
        self.connect(Start::Earliest).await
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let (brokers, topic) = (self.brokers.clone(), self.topic(split));
        if places.start == 0 {
            support::create_topic(&brokers, &topic, 1).await;
        }
        let split = split.to_owned();
        let appended = tokio::task::spawn_blocking(move || {
            let inputs = places.map(|place| Input::new(&split, place).to_string());
            support::produce(&brokers, &topic, 0, inputs);
        });
        appended.await.expect("appended");
        Ok(())
    }

    fn identify(&self, record: &KafkaRecord) -> Input {
        let value = record.value.as_deref().expect("a value");
        std::str::from_utf8(value).expect("text").parse().expect("an input")
    }

    fn facets(&self) -> SourceFacets<'_, KafkaSource> {
        SourceFacets::new(BATCH_RECORDS).with_latest(self).with_retention(self)
    }
}

#[async_trait]
impl Latest<KafkaSource> for Feed {
    async fn source_at_latest(&self) -> Result<KafkaSource> {
        self.connect(Start::Latest).await
    }
}

#[async_trait]
impl Retention for Feed {
    async fn drop_before(&self, split: &str, place: u64) -> Result<()> {
        let offset = i64::try_from(place).expect("a small place");
        support::delete_records(&self.brokers, &self.topic(split), 0, offset).await;
        Ok(())
    }
}

conformance::source!(
    #[ignore = "needs a container"]
    Feed::boot,
    without[endings]
);
