//! A table as a stranger sees it, and a sink that writes to it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use tidelock::{
    Epoch, Generation, JobId, Position, Rejecting as _, Rejects, Result, Sink, SinkAttempt, SinkWriter as _,
    Uid, WriterId,
};
use tidelock_dynamodb::{
    Change, DynamoSink, DynamoSinkConfig, DynamoWriter, Item, ItemChange, ItemUpdate, Mode, Value, Versions,
};
use tidelock_testkit::harness::{IdempotentHarness, RejectingHarness, Row, Shape, SinkFacets, SinkHarness};
use tidelock_testkit::{Fault, HttpFaults};

use super::common::{self, NewTable};

/// The key of every table here.
pub(crate) const KEY: &str = "pk";

/// The attributes that are the sink's own.
pub(crate) const VERSION: &str = "tidelock_version";
pub(crate) const DELETED: &str = "tidelock_deleted";

/// A table of its own.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) config: DynamoSinkConfig,
}

impl Place {
    pub(crate) async fn new(mode: Mode) -> Self {
        Self::with(NewTable::fresh(), mode).await
    }

    pub(crate) async fn with(table: NewTable, mode: Mode) -> Self {
        let client = common::client(common::shared()).await;
        let mut config = DynamoSinkConfig::new(common::config(common::shared()), table.make(&client).await);
        config.mode = mode;
        Self { client, config }
    }

    pub(crate) async fn versioned() -> Self {
        Self::new(Mode::Versioned).await
    }

    pub(crate) async fn batched() -> Self {
        Self::new(Mode::Batched).await
    }

    /// The same table, with versions of records.
    pub(crate) fn by_record(mut self) -> Self {
        self.config.versions = Versions::Record;
        self
    }

    /// Sinks of the place go by a proxy from now on, whose faults are for their writes alone.
    pub(crate) async fn behind_faults(&mut self) -> HttpFaults {
        let faults = HttpFaults::start(common::shared()).await.unwrap();
        self.config.dynamodb = common::config(faults.address());
        faults.only(|request| {
            let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
            target.is_some_and(|target| {
                ["PutItem", "UpdateItem", "BatchWriteItem"].iter().any(|call| target.ends_with(call))
            })
        });
        faults
    }

    pub(crate) fn table(&self) -> &str {
        &self.config.table
    }

    pub(crate) fn sink(&self) -> DynamoSink {
        DynamoSink::new(self.config.clone()).unwrap()
    }

    /// All that is in the table, by the key.
    pub(crate) async fn items(&self) -> BTreeMap<String, Item> {
        let items = common::items(&self.client, self.table()).await.into_iter();
        items.map(|item| (text(&item[KEY]), item)).collect()
    }

    /// What a reader sees, who leaves out what was deleted: of each item the attributes that are neither the key nor the sink's own.
    pub(crate) async fn seen(&self) -> BTreeMap<String, Item> {
        let mut items = self.items().await;
        items.retain(|_, item| !item.contains_key(DELETED));
        for item in items.values_mut() {
            item.retain(|name, _| name != KEY && name != VERSION);
        }
        items
    }

    /// What a reader sees in the attribute `value` of an item.
    pub(crate) async fn value(&self, key: &str) -> Option<u64> {
        self.seen().await.get(key).map(|item| number(&item["value"]))
    }

    /// The version of an item, whether it was deleted or not.
    pub(crate) async fn version(&self, key: &str) -> Option<Value> {
        self.items().await.get(key)?.get(VERSION).cloned()
    }
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::S(text) => text.clone(),
        other => panic!("a text: {other:?}"),
    }
}

pub(crate) fn number(value: &Value) -> u64 {
    match value {
        Value::N(number) => number.parse().unwrap(),
        other => panic!("a number: {other:?}"),
    }
}

pub(crate) fn key(key: &str) -> Item {
    [(KEY.to_owned(), key.into())].into()
}

pub(crate) fn put_item(of: &str, values: impl IntoIterator<Item = (&'static str, Value)>) -> ItemChange {
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
    ItemChange::put(values.chain(key(of)).collect())
}

pub(crate) fn put(of: &str, value: u64) -> ItemChange {
    put_item(of, [("value", value.into())])
}

pub(crate) fn set(of: &str, name: &str, value: u64) -> ItemChange {
    ItemChange::update(ItemUpdate::of(key(of)).set(name, value))
}

pub(crate) fn gone(of: &str) -> ItemChange {
    ItemChange::delete(key(of))
}

/// What the service says where it throttles.
pub(crate) fn throttled() -> Fault {
    refused(400, "ProvisionedThroughputExceededException")
}

/// An answer of the service that refuses.
pub(crate) fn refused(status: u16, code: &str) -> Fault {
    let body =
        format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"it was told to"}}"#);
    Fault::Refused { status, body: body.into() }
}

/// An attempt of a job's sink.
pub(crate) fn attempt_of(job: &str, generation: u64, number: u64) -> SinkAttempt {
    SinkAttempt {
        job: JobId::new(job).unwrap(),
        uid: Uid::new("out").unwrap(),
        number: Position(number),
        generation: Generation(generation),
        chunks: None,
    }
}

pub(crate) fn attempt(number: u64) -> SinkAttempt {
    attempt_of("job", 1, number)
}

/// Recovers with nothing pending, and opens a writer.
pub(crate) async fn opened(sink: &DynamoSink, attempt: &SinkAttempt) -> DynamoWriter {
    sink.recover(attempt, &[]).await.unwrap();
    sink.open(attempt, WriterId(0)).await.unwrap()
}

pub(crate) async fn write(writer: &mut DynamoWriter, records: Vec<ItemChange>) -> Result<()> {
    let mut records = records;
    writer.write(&mut records).await?;
    assert!(records.is_empty());
    assert!(writer.prepare(Epoch(1)).await?.is_empty(), "nothing waits for a commit");
    Ok(())
}

/// Writes until the first request met a fault, and then no more: its process is gone.
pub(crate) async fn die_writing(faults: &HttpFaults, writer: &mut DynamoWriter, records: Vec<ItemChange>) {
    let before = faults.count();
    let met = async {
        while faults.count() == before {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = write(writer, records) => {}
        () = met => {}
    }
}

/// What the table must be, as a reader sees it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Expected(pub(crate) BTreeMap<String, Item>);

impl Expected {
    /// The records change it in their order.
    pub(crate) fn take(&mut self, records: &[ItemChange]) {
        for record in records {
            let (of, item) = match &record.change {
                Change::Put(item) | Change::Delete(item) => (item, item.clone()),
                Change::Update(update) => (&update.key, update.set.clone()),
                other => panic!("{other:?}"),
            };
            let of = text(&of[KEY]);
            match &record.change {
                Change::Put(_) => {
                    let values = item.into_iter().filter(|(name, _)| name != KEY);
                    self.0.insert(of, values.collect());
                }
                Change::Update(update) => {
                    let there = self.0.entry(of).or_default();
                    there.retain(|name, _| !update.remove.contains(name));
                    there.extend(item);
                }
                _ => {
                    self.0.remove(&of);
                }
            }
        }
    }

    /// Whether it is that now.
    pub(crate) async fn check(&self, place: &Place, when: &str) {
        assert_eq!(place.seen().await, self.0, "{when}");
    }
}

/// The harness of the suites.
#[async_trait]
impl SinkHarness for Place {
    type Sink = DynamoSink;

    async fn sink(&self) -> Result<DynamoSink> {
        DynamoSink::new(self.config.clone())
    }

    fn record(&self, row: &Row) -> ItemChange {
        put(&row.key, row.value)
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        let seen = self.seen().await.into_iter();
        Ok(seen.map(|(key, item)| Row::new(key, number(&item["value"]))).collect())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Table)
    }
}

impl IdempotentHarness for Place {
    fn delete(&self, row: &Row) -> Option<ItemChange> {
        Some(gone(&row.key))
    }
}

impl RejectingHarness for Place {
    /// With a set that DynamoDB does not have.
    fn bad(&self, row: &Row) -> ItemChange {
        put_item(&row.key, [("value", row.value.into()), ("none", Value::Ss([].into()))])
    }

    fn row(&self, record: &ItemChange) -> Row {
        let Change::Put(item) = &record.change else { panic!("a put: {record:?}") };
        Row::new(text(&item[KEY]), number(&item["value"]))
    }

    fn reject_to(&self, writer: &mut DynamoWriter, rejects: Rejects<ItemChange>) {
        writer.reject_to(rejects);
    }
}
