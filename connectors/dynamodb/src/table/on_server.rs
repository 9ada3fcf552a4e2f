//! Looks at tables of a server.

use aws_sdk_dynamodb::types::{AttributeDefinition, KeySchemaElement, StreamSpecification, StreamViewType};
use tidelock_processes::DynamoServer;

use super::*;
use crate::client::clients;

#[tokio::test]
async fn a_table_is_seen_as_it_was_made_and_one_that_is_not_there_is_named() {
    let server = DynamoServer::start();
    let mut config = tidelock_aws::AwsConfig::new().with_credentials("test", "test");
    (config.region, config.endpoint) = (Some("eu-central-1".into()), Some(server.endpoint()));
    let (client, _) = clients(&config).await.expect("clients");
    let stream =
        StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::KeysOnly);
    let mut make = client.create_table().table_name("orders").billing_mode(BillingMode::PayPerRequest);
    make = make.stream_specification(stream.build().expect("whole"));
    for (name, role, kind) in
        [("pk", KeyType::Hash, ScalarAttributeType::B), ("größe", KeyType::Range, ScalarAttributeType::N)]
    {
        let element = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
        let defined = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        make = make.key_schema(element.expect("whole")).attribute_definitions(defined.expect("whole"));
    }
    make.send().await.expect("made");
    let table = Table::look(&client, "orders").await.expect("a table");
    let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
    assert_eq!(table.key.partition, attribute("pk", KeyKind::B));
    assert_eq!(table.key.sort, Some(attribute("größe", KeyKind::N)));
    assert!(table.is_on_demand && table.stream_arn.is_some(), "{table:?}");
    let error = Table::look(&client, "of_nobody").await.expect_err("no table");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt));
    assert!(error.to_string().contains("table=of_nobody"), "{error}");
}
