//! A table of leases on a server, and streams that are there as far as they are listed.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use bytes::Bytes;
use serde_json::{Value, json};
use tidelock_kinesis::{AwsConfig, LeasesConfig};
use tidelock_processes::DynamoServer;
use tidelock_testkit::HttpFaults;

/// It ends with the process.
static SERVER: LazyLock<DynamoServer> = LazyLock::new(DynamoServer::start);

/// A table of each name is another test's.
static TABLES: AtomicUsize = AtomicUsize::new(0);

/// When all streams were made, in seconds since 1970.
pub(crate) const MADE_S: i64 = 1_764_470_000;

/// What a real KCL left after a split, in the middle of an aggregate, and the shards that there were.
pub(crate) const DUMP: &str = include_str!("../kcl/dumps/v3_ended.json");

/// An attribute of a row.
pub(crate) type Row = HashMap<String, AttributeValue>;

pub(crate) struct Scene {
    pub(crate) table: String,
    pub(crate) client: Client,
    pub(crate) proxy: HttpFaults,
}

impl Scene {
    /// There are these streams, each with its shards as `ListShards` gives them. There is no table yet.
    pub(crate) async fn new(streams: &[(&str, Value)]) -> Self {
        let proxy = HttpFaults::start(SERVER.address()).await.unwrap();
        let streams: BTreeMap<String, Value> =
            streams.iter().map(|(name, shards)| ((*name).to_owned(), shards.clone())).collect();
        proxy.hook(move |request| {
            let target = request.headers().get("x-amz-target")?.to_str().ok()?.to_owned();
            let call = target.strip_prefix("Kinesis_20131202.")?;
            let asked: Value = serde_json::from_slice(request.body()).expect("JSON");
            let answer = answer(&streams, call, &asked);
            Some(Box::new(move |response| {
                *response.status_mut() = answer.0.try_into().expect("a status");
                let said = Bytes::from(answer.1.to_string());
                response.headers_mut().insert("content-length", said.len().into());
                *response.body_mut() = said;
            }))
        });
        let config = config(&proxy);
        let client = Client::new(&tidelock_aws::load(&config).await.unwrap());
        let table = format!("leases_{}", TABLES.fetch_add(1, Ordering::Relaxed));
        Self { table, client, proxy }
    }

    /// One stream, and the table of a real KCL.
    pub(crate) async fn of_dump() -> Self {
        let dump: Value = serde_json::from_str(DUMP).unwrap();
        let scene = Self::new(&[("flights", dump["shards"].clone())]).await;
        scene.make("leaseKey").await;
        for row in
            dump["tables"].as_object().unwrap().values().flat_map(|table| table["items"].as_array().unwrap())
        {
            scene.put(row_of(row)).await;
        }
        scene
    }

    /// Where both services are.
    pub(crate) fn service(&self) -> AwsConfig {
        config(&self.proxy)
    }

    /// The import of the table, which is looked at once.
    pub(crate) fn leases(&self) -> LeasesConfig {
        let mut config = LeasesConfig::new(self.service(), &self.table);
        config.watch_ms = 0;
        config
    }

    /// Makes the table, with this key.
    pub(crate) async fn make(&self, key: &str) {
        let element = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build();
        let attribute =
            AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
        let make =
            self.client.create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        let make = make.key_schema(element.unwrap()).attribute_definitions(attribute.build().unwrap());
        make.send().await.unwrap();
    }

    pub(crate) async fn put(&self, row: Row) {
        self.client.put_item().table_name(&self.table).set_item(Some(row)).send().await.unwrap();
    }

    /// The rows, by their keys, as `checkpoint/sub` and then the rest of what matters.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Row> {
        let scan = self.client.scan().table_name(&self.table).consistent_read(true).send().await.unwrap();
        let rows = scan.items.unwrap().into_iter();
        rows.map(|row| (row["leaseKey"].as_s().unwrap().clone(), row)).collect()
    }
}

/// What a row says of its shard.
pub(crate) fn checkpoint(row: &Row) -> String {
    let text = row["checkpoint"].as_s().unwrap();
    format!("{text}/{}", row["checkpointSubSequenceNumber"].as_n().unwrap())
}

fn config(proxy: &HttpFaults) -> AwsConfig {
    let mut config = AwsConfig::new().with_credentials("test", "s3cret");
    config.region = Some("eu-central-1".into());
    config.endpoint = Some(proxy.endpoint());
    config
}

/// A row from what a dump has.
pub(crate) fn row_of(row: &Value) -> Row {
    row.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value_of(value))).collect()
}

fn value_of(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "B" => AttributeValue::B(text(value).into_bytes().into()),
        "SS" => AttributeValue::Ss(value.as_array().unwrap().iter().map(text).collect()),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(value_of).collect()),
        "M" => AttributeValue::M(row_of(value)),
        other => panic!("{other}"),
    }
}

/// A lease as KCL has it.
pub(crate) fn lease(key: &str, checkpoint: &str, owner: Option<&str>) -> Row {
    let mut row = json!({
        "leaseKey": { "S": key }, "leaseCounter": { "N": "7" }, "checkpoint": { "S": checkpoint },
        "checkpointSubSequenceNumber": { "N": "0" }, "ownerSwitchesSinceCheckpoint": { "N": "0" },
    });
    if let Some(owner) = owner {
        row["leaseOwner"] = json!({ "S": owner });
    }
    row_of(&row)
}

/// A shard as `ListShards` gives it.
pub(crate) fn shard(id: &str, parent: Option<&str>) -> Value {
    let mut shard = json!({
        "ShardId": id,
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455" },
        "SequenceNumberRange": { "StartingSequenceNumber": "100" },
    });
    if let Some(parent) = parent {
        shard["ParentShardId"] = parent.into();
    }
    shard
}

fn answer(streams: &BTreeMap<String, Value>, call: &str, asked: &Value) -> (u16, Value) {
    let named = ["StreamName", "StreamARN"].iter().find_map(|name| asked[*name].as_str());
    let name = named.and_then(|name| name.rsplit('/').next()).unwrap_or_default();
    let Some(shards) = streams.get(name) else {
        return (400, json!({ "__type": "ResourceNotFoundException", "message": "as it was told to" }));
    };
    match call {
        "DescribeStreamSummary" => {
            let summary = json!({
                "StreamName": name,
                "StreamARN": format!("arn:aws:kinesis:eu-central-1:123456789012:stream/{name}"),
                "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": MADE_S,
                "EnhancedMonitoring": [],
                "OpenShardCount": 1,
            });
            (200, json!({ "StreamDescriptionSummary": summary }))
        }
        "ListShards" => (200, json!({ "Shards": shards })),
        _ => (
            400,
            json!({ "__type": "InvalidArgumentException", "message": format!("{call} is not scripted") }),
        ),
    }
}
