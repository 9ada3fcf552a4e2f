//! A table with a ledger of its own, as a stranger sees them, and a sink that writes to it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tidelock::{
    CommitPermit, Epoch, Generation, JobId, Pending, Position, Rejecting as _, Rejects, Result, Sink,
    SinkAttempt, SinkWriter as _, Uid, WriterId,
};
use tidelock_dynamodb::{
    Change, DynamoSink, DynamoSinkConfig, DynamoWriter, Item, ItemChange, ItemUpdate, Mode, Value,
};
use tidelock_testkit::harness::{RejectingHarness, Row, Shape, SinkFacets, SinkHarness};
use tidelock_testkit::{Fault, HttpFaults};

use super::common::{self, NewTable};

pub(crate) type Listed = Pending<<DynamoSink as Sink>::Committable>;

/// The key of every table here.
pub(crate) const KEY: &str = "pk";

/// The calls that write.
pub(crate) const WRITES: &[&str] = &["TransactWriteItems", "UpdateItem"];

/// A table and a ledger of its own.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) config: DynamoSinkConfig,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let client = common::client(common::shared()).await;
        let table = NewTable::fresh().make(&client).await;
        let mut config = DynamoSinkConfig::new(common::config(common::shared()), table.clone());
        config.mode = Mode::Ledger;
        config.ledger_table = format!("ledger_{table}");
        Self { client, config }
    }

    /// Sinks of the place go by a proxy from now on, whose faults are for these calls.
    pub(crate) async fn behind_faults(&mut self, calls: &'static [&'static str]) -> HttpFaults {
        let faults = HttpFaults::start(common::shared()).await.unwrap();
        self.config.dynamodb = common::config(faults.address());
        faults.only(move |request| {
            let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
            target.is_some_and(|target| calls.iter().any(|call| target.ends_with(call)))
        });
        faults
    }

    pub(crate) fn sink(&self) -> DynamoSink {
        DynamoSink::new(self.config.clone()).unwrap()
    }

    /// All that is in the table, by the key, without it.
    pub(crate) async fn seen(&self) -> BTreeMap<String, Item> {
        self.seen_in(&self.config.table).await
    }

    pub(crate) async fn seen_in(&self, table: &str) -> BTreeMap<String, Item> {
        let items = common::items(&self.client, table).await.into_iter();
        let by_key = items.map(|mut item| {
            let key = text(&item.remove(KEY).unwrap());
            (key, item)
        });
        by_key.collect()
    }

    /// What a reader sees in the attribute `value` of an item.
    pub(crate) async fn value(&self, of: &str) -> Option<i64> {
        self.seen().await.get(of).map(|item| number(&item["value"]))
    }

    /// The items of the ledger, by their ids.
    pub(crate) async fn ledger(&self) -> BTreeMap<String, String> {
        let items = common::items(&self.client, &self.config.ledger_table).await.into_iter();
        items.map(|item| (text(&item["id"]), text(&item["state"]))).collect()
    }

    pub(crate) async fn drop_table(&self, table: &str) {
        self.client.delete_table().table_name(table).send().await.unwrap();
    }

    /// Makes the ledger's table by hand, as a restored backup is made, with these items.
    pub(crate) async fn restore_ledger(&self, items: &BTreeMap<String, String>) {
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let make = self.client.create_table().table_name(&self.config.ledger_table).key_schema(key);
        let make = make.attribute_definitions(id.build().unwrap()).billing_mode(BillingMode::PayPerRequest);
        make.send().await.unwrap();
        self.put_ledger(items).await;
    }

    /// Puts items of the ledger into the place of what is there.
    pub(crate) async fn put_ledger(&self, items: &BTreeMap<String, String>) {
        for (id, state) in items {
            let item = [("id".to_owned(), Value::from(&**id)), ("state".to_owned(), Value::from(&**state))];
            common::put(&self.client, &self.config.ledger_table, item.into()).await;
        }
    }
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::S(text) => text.clone(),
        other => panic!("a text: {other:?}"),
    }
}

pub(crate) fn number(value: &Value) -> i64 {
    match value {
        Value::N(number) => number.parse().unwrap(),
        other => panic!("a number: {other:?}"),
    }
}

pub(crate) fn key(key: &str) -> Item {
    [(KEY.to_owned(), key.into())].into()
}

pub(crate) fn put(of: &str, value: i64) -> ItemChange {
    let value = [("value".to_owned(), value.into())];
    ItemChange::put(key(of).into_iter().chain(value).collect())
}

/// Counts.
pub(crate) fn add(of: &str, more: i64) -> ItemChange {
    ItemChange::update(ItemUpdate::of(key(of)).add("value", more))
}

pub(crate) fn gone(of: &str) -> ItemChange {
    ItemChange::delete(key(of))
}

/// So many counters.
pub(crate) fn counts(counters: usize, more: i64) -> Vec<ItemChange> {
    (0..counters).map(|at| add(&format!("c{at:04}"), more)).collect()
}

/// What so many counters are then.
pub(crate) fn counted(counters: usize, value: i64) -> BTreeMap<String, Item> {
    (0..counters).map(|at| (format!("c{at:04}"), [("value".to_owned(), value.into())].into())).collect()
}

/// An answer of the service that refuses.
pub(crate) fn refused(status: u16, code: &str) -> Fault {
    let body =
        format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"it was told to"}}"#);
    Fault::Refused { status, body: body.into() }
}

/// A transaction that is cancelled for these reasons.
pub(crate) fn cancelled(codes: &[&str]) -> Fault {
    let reasons: Vec<_> =
        codes.iter().map(|code| format!(r#"{{"Code":"{code}","Message":"told to"}}"#)).collect();
    let body = format!(
        r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"cancelled","CancellationReasons":[{}]}}"#,
        reasons.join(",")
    );
    Fault::Refused { status: 400, body: body.into() }
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

pub(crate) async fn prepared(
    writer: &mut DynamoWriter,
    attempt: &SinkAttempt,
    epoch: u64,
    mut records: Vec<ItemChange>,
) -> Vec<Listed> {
    writer.write(&mut records).await.unwrap();
    assert!(records.is_empty());
    let prepared = writer.prepare(Epoch(epoch)).await.unwrap().into_iter();
    let listed = |committable| Pending {
        epoch: Epoch(epoch),
        attempt: attempt.number,
        writer: WriterId(0),
        committable,
    };
    prepared.map(|one| listed(one.committable)).collect()
}

pub(crate) async fn commit(sink: &DynamoSink, epoch: u64, listed: &[Listed]) -> Result<()> {
    let uid = Uid::new("out").unwrap();
    let permit = CommitPermit::i_swear_that_the_snapshot_is_durable_and_ours(uid, Epoch(epoch));
    sink.commit(&permit, listed.to_vec()).await.map(drop)
}

/// What the table must be.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Expected(pub(crate) BTreeMap<String, Item>);

impl Expected {
    /// The records change it in their order.
    pub(crate) fn take(&mut self, records: &[ItemChange]) {
        for record in records {
            match &record.change {
                Change::Put(item) => {
                    let mut item = item.clone();
                    let key = text(&item.remove(KEY).unwrap());
                    self.0.insert(key, item);
                }
                Change::Delete(key) => {
                    self.0.remove(&text(&key[KEY]));
                }
                Change::Update(update) => self.update(update),
                other => panic!("{other:?}"),
            }
        }
    }

    fn update(&mut self, ItemUpdate { key, set, remove, add, .. }: &ItemUpdate) {
        let item = self.0.entry(text(&key[KEY])).or_default();
        item.retain(|name, _| !remove.contains(name));
        item.extend(set.clone());
        for (name, more) in add {
            let sum = match (item.get(name), more) {
                (None, more) => more.clone(),
                (Some(Value::Ss(one)), Value::Ss(more)) => {
                    Value::Ss(one.union(more).cloned().collect::<BTreeSet<_>>())
                }
                (Some(one), more) => Value::from(number(one) + number(more)),
            };
            item.insert(name.clone(), sum);
        }
    }

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
        put(&row.key, i64::try_from(row.value).unwrap())
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        let seen = self.seen().await.into_iter();
        Ok(seen.map(|(key, item)| Row::new(key, u64::try_from(number(&item["value"])).unwrap())).collect())
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Table)
    }
}

impl RejectingHarness for Place {
    /// With a set that DynamoDB does not have.
    fn bad(&self, row: &Row) -> ItemChange {
        let ItemChange { change: Change::Put(mut item), .. } = self.record(row) else { panic!("a put") };
        item.insert("none".into(), Value::Ss(BTreeSet::new()));
        ItemChange::put(item)
    }

    fn row(&self, record: &ItemChange) -> Row {
        let Change::Put(item) = &record.change else { panic!("a put: {record:?}") };
        Row::new(text(&item[KEY]), u64::try_from(number(&item["value"])).unwrap())
    }

    fn reject_to(&self, writer: &mut DynamoWriter, rejects: Rejects<ItemChange>) {
        writer.reject_to(rejects);
    }
}
