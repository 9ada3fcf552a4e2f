//! Which rights each use needs: what is asked of a server is what the policy on the crate's page allows, no more and no less.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use serde_json::Value as Json;
use tidelock::{Known, Lookup as _, Source, SplitReader as _};
use tidelock_dynamodb::{
    AwsConfig, DynamoLookup, DynamoLookupConfig, DynamoScan, DynamoScanConfig, DynamoSinkConfig,
    DynamoStream, DynamoStreamConfig, Item, ItemChange, ItemUpdate, KeyKind, Mode, make_table,
};
use tidelock_testkit::HttpFaults;

use crate::common::{self, NewTable};
use crate::scene::Scene;

const PAGE: &str = include_str!("../../README.md");

/// What stands before the names of resources there.
const ARN: &str = "arn:aws:dynamodb:eu-central-1:123456789012:";

/// An action and a resource, as the page names both.
type Rights = BTreeSet<(String, String)>;

/// What these statements of the policy allow.
fn allowed(statements: &[&str]) -> Rights {
    let begin = PAGE.find("```json").expect("a policy") + "```json".len();
    let policy: Json = serde_json::from_str(PAGE[begin..].split("```").next().unwrap()).expect("JSON");
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let all = policy["Statement"].as_array().unwrap().iter();
    let mut by_name: BTreeMap<String, &Json> = all.map(|one| (text(&one["Sid"]), one)).collect();
    let mut rights = Rights::new();
    for name in statements {
        let statement = by_name.remove(*name).unwrap_or_else(|| panic!("no statement {name}"));
        let resource = text(&statement["Resource"]);
        let resource = resource.strip_prefix(ARN).expect("a resource of the example");
        let actions = statement["Action"].as_array().unwrap().iter();
        rights.extend(actions.map(|action| (text(action), resource.to_owned())));
    }
    rights
}

/// A table behind a proxy that writes down what is asked.
struct Asking {
    table: String,
    dynamodb: AwsConfig,
    asked: Arc<Mutex<Rights>>,
    _proxy: HttpFaults,
}

impl Asking {
    async fn of(table: NewTable) -> Self {
        let proxy = HttpFaults::start(common::shared()).await.unwrap();
        let asked = Arc::<Mutex<Rights>>::default();
        let noted = Arc::clone(&asked);
        proxy.hook(move |request| {
            let call = request.headers().get("x-amz-target")?.to_str().ok()?.rsplit('.').next()?;
            let body: Json = serde_json::from_slice(request.body()).expect("JSON");
            let needed = needed(call, &body).into_iter();
            noted.lock().unwrap().extend(needed.map(|(action, of)| (format!("dynamodb:{action}"), of)));
            None
        });
        let table = table.make(&common::client(common::shared()).await).await;
        Self { table, dynamodb: common::config(proxy.address()), asked, _proxy: proxy }
    }

    fn sink(&self, mode: Mode) -> DynamoSinkConfig {
        let mut config = DynamoSinkConfig::new(self.dynamodb.clone(), self.table.clone());
        config.mode = mode;
        config.ledger_table = format!("ledger_{}", self.table);
        config
    }

    /// Compares what was asked with the page.
    #[track_caller]
    fn assert_is_what_is_allowed(&self, statements: &[&str]) {
        assert_eq!(*self.asked.lock().unwrap(), allowed(statements), "{statements:?}");
    }
}

/// What a call needs, by AWS's documents: those of a transaction are those of its actions, and there is none for itself.
fn needed(call: &str, body: &Json) -> Vec<(String, String)> {
    let of_table = |name: &Json| {
        let is_ledger = name.as_str().expect("a name").starts_with("ledger_");
        if is_ledger { "table/tidelock_ledger".to_owned() } else { "table/orders".to_owned() }
    };
    let call = call.to_owned();
    match &*call {
        "TransactWriteItems" => {
            let actions = body["TransactItems"].as_array().unwrap().iter();
            let all = actions.flat_map(|action| action.as_object().unwrap());
            all.map(|(kind, what)| (format!("{kind}Item"), of_table(&what["TableName"]))).collect()
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = body["RequestItems"].as_object().unwrap().keys();
            tables.map(|table| (call.clone(), of_table(&table.as_str().into()))).collect()
        }
        "DescribeStream" | "GetShardIterator" | "GetRecords" => {
            vec![(call, "table/orders/stream/*".to_owned())]
        }
        _ => vec![(call, of_table(&body["TableName"]))],
    }
}

fn key(of: &str) -> Item {
    [("pk".to_owned(), of.into())].into()
}

fn put(of: &str) -> ItemChange {
    ItemChange::put(key(of))
}

fn set(of: &str) -> ItemChange {
    ItemChange::update(ItemUpdate::of(key(of)).set("value", 1))
}

fn gone(of: &str) -> ItemChange {
    ItemChange::delete(key(of))
}

fn count(of: &str) -> ItemChange {
    ItemChange::update(ItemUpdate::of(key(of)).add("value", 1))
}

#[tokio::test]
async fn the_mode_versioned_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh()).await;
    let ttl = TimeToLiveSpecification::builder().attribute_name("expires").enabled(true).build().unwrap();
    let client = common::client(common::shared()).await;
    let update = client.update_time_to_live().table_name(&asking.table).time_to_live_specification(ttl);
    update.send().await.unwrap();
    let mut config = asking.sink(Mode::Versioned);
    config.tombstone_ttl_attribute = Some("expires".into());
    let mut job = Scene::new(config).await;
    for changes in [vec![put("a"), set("b")], vec![gone("a")], vec![set("a")]] {
        job.epoch(changes).await;
    }
    asking.assert_is_what_is_allowed(&["Versioned"]);
}

#[tokio::test]
async fn the_mode_batched_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh()).await;
    let mut job = Scene::new(asking.sink(Mode::Batched)).await;
    job.epoch(vec![put("a"), gone("b")]).await;
    asking.assert_is_what_is_allowed(&["Batched"]);
}

#[tokio::test]
async fn the_mode_ledger_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh()).await;
    let mut job = Scene::new(asking.sink(Mode::Ledger)).await;
    job.epoch(vec![put("a"), set("b"), gone("c"), count("d")]).await;
    // With lanes, and then by a job that finds them.
    job.epoch((0..300).map(|at| count(&format!("k{at}"))).collect()).await;
    job.begin_again().await;
    job.epoch(vec![put("a")]).await;
    asking.assert_is_what_is_allowed(&["Ledger", "LedgerTable"]);
}

#[tokio::test]
async fn a_lookup_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh()).await;
    let config = DynamoLookupConfig::new(asking.dynamodb.clone(), asking.table.clone());
    let lookup = DynamoLookup::<String>::open_by_value(config).await.unwrap();
    assert_eq!(lookup.lookup(&["a".to_owned()]).await.unwrap(), [None]);
    asking.assert_is_what_is_allowed(&["Lookup"]);
}

/// Reads the first batch of each split.
async fn read<S: Source>(source: S) {
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    for split in source.discover(&first_run).await.unwrap().new {
        source.open(split).await.unwrap().next().await.unwrap();
    }
}

#[tokio::test]
async fn a_scan_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh()).await;
    let config = DynamoScanConfig::new(asking.dynamodb.clone(), asking.table.clone());
    read(DynamoScan::connect(config).await.unwrap()).await;
    asking.assert_is_what_is_allowed(&["Scan"]);
}

#[tokio::test]
async fn a_stream_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh().with_stream()).await;
    common::put(&common::client(common::shared()).await, &asking.table, key("a")).await;
    let config = DynamoStreamConfig::new(asking.dynamodb.clone(), asking.table.clone());
    read(DynamoStream::connect(config).await.unwrap()).await;
    asking.assert_is_what_is_allowed(&["Stream", "TableOfStream"]);
}

#[tokio::test]
async fn who_makes_a_table_needs_what_the_page_says() {
    let asking = Asking::of(NewTable::fresh()).await;
    let name = format!("another_{}", asking.table);
    make_table(&asking.dynamodb, &name, ("pk", KeyKind::S), None).await.unwrap();
    asking.assert_is_what_is_allowed(&["MakeTable"]);
}
