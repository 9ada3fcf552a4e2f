//! What is refused, and told with the key.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use tidelock::{ErrorKind, Retry};
use tidelock_dynamodb::{Item, ItemChange, ItemUpdate, Mode, Value};

use super::common;
use super::place::{KEY, Place, attempt, key, opened, put, put_item, set, write};

#[tokio::test]
async fn records_that_cannot_be_are_refused_one_by_one_before_anything_is_sent() {
    let large = || put_item("a", [("value", "x".repeat(400 * 1_024).into())]);
    let add = || ItemChange::update(ItemUpdate::of(key("a")).add("value", 1));
    let of_both =
        || [large(), ItemChange::put(Item::new()), put_item("a", [("none", Value::Ns([].into()))]), add()];
    let versioned = of_both().into_iter().chain([put_item("a", [("tidelock_version", 1.into())])]);
    let batched = of_both().into_iter().chain([set("a", "value", 1)]);
    for (mode, records) in
        [(Mode::Versioned, versioned.collect::<Vec<_>>()), (Mode::Batched, batched.collect())]
    {
        let place = Place::new(mode).await;
        for record in records {
            let mut writer = opened(&place.sink(), &attempt(1)).await;
            let error = write(&mut writer, vec![put("b", 1), record]).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
            assert!(error.to_string().contains("table="), "{error}");
            assert!(place.seen().await.is_empty());
        }
    }
}

#[tokio::test]
async fn items_of_the_largest_size_are_written() {
    for place in [Place::versioned().await, Place::batched().await] {
        let records =
            (0..30).map(|at| put_item(&format!("k{at}"), [("value", "x".repeat(400 * 1_024 - 200).into())]));
        write(&mut opened(&place.sink(), &attempt(1)).await, records.collect()).await.unwrap();
        assert_eq!(place.seen().await.len(), 30);
    }
}

/// A table with an index, whose key of another kind an item must not have. A sink does not know of it.
async fn indexed(mode: Mode) -> Place {
    let mut place = Place::new(mode).await;
    let define = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let hash = |name: &str| {
        KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap()
    };
    let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    let index =
        GlobalSecondaryIndex::builder().index_name("by_day").key_schema(hash("day")).projection(projection);
    let name = common::NewTable::fresh().name;
    let table = place.client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    let table =
        table.attribute_definitions(define(KEY)).attribute_definitions(define("day")).key_schema(hash(KEY));
    table.global_secondary_indexes(index.build().unwrap()).send().await.unwrap();
    place.config.table = name;
    place
}

#[tokio::test]
async fn an_item_that_the_server_refuses_is_named_by_its_key() {
    for mode in [Mode::Versioned, Mode::Batched] {
        let place = indexed(mode).await;
        let mut records: Vec<ItemChange> = (0..20).map(|at| put(&format!("k{at:02}"), at)).collect();
        records.push(put_item("bad", [("day", 7.into())]));
        records.extend((20..40).map(|at| put(&format!("k{at:02}"), at)));
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let error = write(&mut writer, records).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("key=bad") && said.contains(&format!("table={}", place.table())), "{said}");
        assert!(!place.seen().await.contains_key("bad"));
    }
}
