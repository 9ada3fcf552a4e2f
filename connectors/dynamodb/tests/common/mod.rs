//! Tables on a server that all tests of a process share.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

pub mod partial;

use std::net::SocketAddr;
use std::sync::LazyLock;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType,
};
use tidelock_aws::AwsConfig;
use tidelock_dynamodb::{Item, Value};
use tidelock_processes::DynamoServer;

/// It ends with the process.
static SERVER: LazyLock<DynamoServer> = LazyLock::new(DynamoServer::start);

/// The server that tests share which bounce none.
pub fn shared() -> SocketAddr {
    SERVER.address()
}

/// How the server at this address, or a proxy before one, is reached.
pub fn config(address: SocketAddr) -> AwsConfig {
    let mut config = AwsConfig::new().with_credentials("test", "s3cret");
    config.region = Some("eu-central-1".into());
    config.endpoint = Some(format!("http://{address}"));
    config
}

/// A client beside that of the connector.
pub async fn client(address: SocketAddr) -> Client {
    Client::new(&tidelock_aws::load(&config(address)).await.expect("a client"))
}

/// A table to be.
#[derive(Debug, Clone)]
pub struct NewTable {
    pub name: String,
    pub partition: ScalarAttributeType,
    pub sort: Option<ScalarAttributeType>,
    pub has_stream: bool,
    pub indexed_by: Option<(&'static str, ScalarAttributeType)>,
}

impl NewTable {
    /// With a key `pk` that is a text, and a name that no other has.
    pub fn fresh() -> Self {
        let name = format!("test_{:016x}", rand::random::<u64>());
        Self { name, partition: ScalarAttributeType::S, sort: None, has_stream: false, indexed_by: None }
    }

    /// With a second attribute of the key, `sk`.
    pub fn sorted(mut self, kind: ScalarAttributeType) -> Self {
        self.sort = Some(kind);
        self
    }

    /// With a stream of old and new images.
    pub fn with_stream(mut self) -> Self {
        self.has_stream = true;
        self
    }

    /// With an index by another attribute, which an item need not have.
    pub fn indexed_by(mut self, attribute: &'static str, kind: ScalarAttributeType) -> Self {
        self.indexed_by = Some((attribute, kind));
        self
    }

    /// Makes it, and returns its name.
    pub async fn make(self, client: &Client) -> String {
        let mut make = client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        let sort = self.sort.map(|kind| ("sk", KeyType::Range, kind));
        for (name, role, kind) in std::iter::once(("pk", KeyType::Hash, self.partition)).chain(sort) {
            let element = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
            let defined = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
            make = make.key_schema(element.expect("whole")).attribute_definitions(defined.expect("whole"));
        }
        if self.has_stream {
            let stream = StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(StreamViewType::NewAndOldImages);
            make = make.stream_specification(stream.build().expect("whole"));
        }
        if let Some((attribute, kind)) = self.indexed_by {
            let element =
                KeySchemaElement::builder().attribute_name(attribute).key_type(KeyType::Hash).build();
            let defined =
                AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind).build();
            let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
            let index = GlobalSecondaryIndex::builder().index_name(format!("by_{attribute}"));
            let index = index.key_schema(element.expect("whole")).projection(projection).build();
            make = make.attribute_definitions(defined.expect("whole"));
            make = make.global_secondary_indexes(index.expect("whole"));
        }
        make.send().await.expect("made");
        self.name
    }
}

/// Puts an item past the connector.
pub async fn put(client: &Client, table: &str, item: Item) {
    let item = item.into_iter().map(|(name, value)| (name, value.into())).collect();
    client.put_item().table_name(table).set_item(Some(item)).send().await.expect("written");
}

/// The item with this key, past the connector.
pub async fn get(client: &Client, table: &str, key: Item) -> Option<Item> {
    let key = key.into_iter().map(|(name, value)| (name, value.into())).collect();
    let answer = client.get_item().table_name(table).set_key(Some(key)).consistent_read(true).send().await;
    Some(item_of(answer.expect("read").item?))
}

/// All items of a table, past the connector, in the order of what is in them.
pub async fn items(client: &Client, table: &str) -> Vec<Item> {
    let mut pages = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(item) = pages.next().await {
        items.push(item_of(item.expect("read")));
    }
    items.sort();
    items
}

fn item_of(wire: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>) -> Item {
    wire.into_iter().map(|(name, value)| (name, Value::try_from(value).expect("a known kind"))).collect()
}
