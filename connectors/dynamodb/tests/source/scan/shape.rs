//! What of a table is read, and that all of it is.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ScalarAttributeType;
use tidelock::{ErrorKind, Known, Result, Retry, Source as _, SplitReader as _, Stored};
use tidelock_dynamodb::{AwsConfig, DynamoScan, DynamoScanConfig, DynamoSegment, Item, Value};

use crate::common::{NewTable, client, config, put, shared};
use crate::fake::{Fake, refuse, table as described};

async fn segments_of(scan: &DynamoScan) -> Vec<DynamoSegment> {
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let discovery = scan.discover(&first_run).await.unwrap();
    assert!(discovery.complete);
    discovery.new
}

/// Reads a segment to its end, as a job does that dies after each page: from the stored form of the position.
async fn read_segment(scan: &DynamoScan, mut segment: DynamoSegment) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    loop {
        let stored = Stored::encode(&segment).unwrap().decode().unwrap();
        let Some(batch) = scan.open(stored).await?.next().await? else { return Ok(items) };
        items.extend(batch.records);
        segment = batch.resume;
    }
}

async fn read_all(scan: &DynamoScan) -> Vec<Item> {
    let mut items = Vec::new();
    for segment in segments_of(scan).await {
        items.extend(read_segment(scan, segment).await.unwrap());
    }
    items.sort();
    items
}

fn settings(table: &str) -> DynamoScanConfig {
    DynamoScanConfig::new(config(shared()), table)
}

fn item(number: u64, text: &str) -> Item {
    let attributes =
        [("pk", Value::from(format!("ä{number}"))), ("last", text.into()), ("a.b", number.into())];
    attributes.map(|(name, value)| (name.to_owned(), value)).into()
}

async fn filled(client: &Client, items: u64, text: &str) -> (String, Vec<Item>) {
    let table = NewTable::fresh().make(client).await;
    let mut all: Vec<Item> = (0..items).map(|number| item(number, text)).collect();
    for item in &all {
        put(client, &table, item.clone()).await;
    }
    all.sort();
    (table, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_is_read_once_however_the_table_is_cut_and_the_pages_are() {
    let client = client(shared()).await;
    let (table, all) = filled(&client, 60, "x").await;
    for (segments, batch_items) in [(1, 1_000), (1, 1), (7, 3), (40, 2), (1_000, 1_000)] {
        let mut settings = settings(&table);
        (settings.segments, settings.batch_items) = (segments, batch_items);
        let read = read_all(&DynamoScan::connect(settings).await.unwrap()).await;
        assert_eq!(read, all, "{segments} segments, {batch_items} items");
    }
    let empty = NewTable::fresh().make(&client).await;
    let read = read_all(&DynamoScan::connect(settings(&empty)).await.unwrap()).await;
    assert!(read.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_are_more_than_a_page_are_read_and_keys_of_every_kind_are_positions() {
    let client = client(shared()).await;
    let (table, all) = filled(&client, 12, &"x".repeat(300_000)).await;
    let mut large = settings(&table);
    large.segments = 1;
    assert_eq!(read_all(&DynamoScan::connect(large).await.unwrap()).await, all);

    for (partition, sort) in [
        (ScalarAttributeType::N, ScalarAttributeType::B),
        (ScalarAttributeType::B, ScalarAttributeType::S),
        (ScalarAttributeType::S, ScalarAttributeType::N),
    ] {
        let value = |kind: &ScalarAttributeType, number: u8| match kind {
            ScalarAttributeType::N => Value::N(format!("-{number}.5")),
            ScalarAttributeType::B => Value::B(vec![0, number, 255].into()),
            _ => Value::from(format!("é\n{number}")),
        };
        let key = |number| {
            let values = [("pk", value(&partition, number % 3)), ("sk", value(&sort, number))];
            Item::from(values.map(|(name, value)| (name.to_owned(), value)))
        };
        let mut all: Vec<Item> = (0..30).map(key).collect();
        let mut new = NewTable::fresh().sorted(sort.clone());
        new.partition = partition.clone();
        let table = new.make(&client).await;
        for item in &all {
            put(&client, &table, item.clone()).await;
        }
        all.sort();
        let mut settings = settings(&table);
        (settings.segments, settings.batch_items) = (2, 4);
        assert_eq!(read_all(&DynamoScan::connect(settings).await.unwrap()).await, all, "{partition} {sort}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_attributes_are_read_whatever_they_are_called_and_the_key_with_them() {
    let client = client(shared()).await;
    let (table, _) = filled(&client, 3, "x").await;
    for (chosen, names) in
        [(&["last"][..], &["last", "pk"][..]), (&["a.b", "pk"], &["a.b", "pk"]), (&["none"], &["pk"])]
    {
        let mut settings = settings(&table);
        settings.attributes = chosen.iter().map(|&name| name.to_owned()).collect();
        let read = read_all(&DynamoScan::connect(settings).await.unwrap()).await;
        let expected: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(read.len(), 3);
        for item in read {
            assert_eq!(item.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{chosen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_on_behind_an_item_that_is_gone_and_misses_none_that_stay() {
    let client = client(shared()).await;
    let (table, all) = filled(&client, 40, "x").await;
    let mut settings = settings(&table);
    (settings.segments, settings.batch_items) = (1, 5);
    let scan = DynamoScan::connect(settings).await.unwrap();
    let mut segment = segments_of(&scan).await.remove(0);
    let mut read = Vec::new();
    while let Some(batch) = scan.open(segment).await.unwrap().next().await.unwrap() {
        // What was read last is deleted, and with it what the position names.
        if let Some(last) = batch.records.last() {
            let key = last["pk"].clone().into();
            client.delete_item().table_name(&table).key("pk", key).send().await.unwrap();
        }
        read.extend(batch.records);
        segment = batch.resume;
    }
    read.sort();
    assert_eq!(read, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_when_the_scan_connects_and_a_position_is_of_one_table() {
    let error = DynamoScan::connect(settings("nowhere")).await.expect_err("it is not there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    assert!(error.to_string().contains("table=nowhere"), "{error}");
    let client = client(shared()).await;
    let (one, _) = filled(&client, 1, "x").await;
    let (other, _) = filled(&client, 1, "x").await;
    let segment = segments_of(&DynamoScan::connect(settings(&one)).await.unwrap()).await.remove(0);
    let error =
        DynamoScan::connect(settings(&other)).await.unwrap().open(segment).await.expect_err("another one");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_anew_in_the_middle_of_a_scan_is_not_read_on() {
    let client = client(shared()).await;
    for is_reopened in [true, false] {
        let (table, _) = filled(&client, 40, "x").await;
        let mut settings = settings(&table);
        (settings.segments, settings.batch_items) = (1, 5);
        let scan = DynamoScan::connect(settings).await.unwrap();
        let mut reader = scan.open(segments_of(&scan).await.remove(0)).await.unwrap();
        let batch = reader.next().await.unwrap().unwrap();
        client.delete_table().table_name(&table).send().await.unwrap();
        let mut new = NewTable::fresh();
        new.name = table.clone();
        new.make(&client).await;
        for number in 0..40 {
            put(&client, &table, item(number, "another")).await;
        }
        let error = if is_reopened {
            scan.open(batch.resume).await.err()
        } else {
            loop {
                match reader.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            }
        };
        let error = error.expect("what comes after a key of the one is no part of the other");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error}");
        assert!(error.to_string().contains("made anew") && error.to_string().contains(&table), "{error}");
    }
}

/// Settings of a server that answers a scan so, one after the other, and then that there is nothing more.
async fn answering(answers: Vec<(u16, serde_json::Value)>) -> (Fake, AwsConfig) {
    let answers = std::sync::Mutex::new(answers.into_iter());
    let nothing = || (200, serde_json::json!({ "Items": [], "Count": 0 }));
    let fake = Fake::start(move |call, _| match call {
        "DescribeTable" => described(None),
        "Scan" => answers.lock().unwrap().next().unwrap_or_else(nothing),
        other => panic!("{other} is asked"),
    })
    .await;
    let config = fake.config();
    (fake, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_items_are_no_end_and_what_passes_is_waited_for() {
    let page = |key: &str, last: Option<&str>| {
        let items: Vec<_> =
            key.split_whitespace().map(|key| serde_json::json!({ "pk": { "S": key } })).collect();
        let mut page = serde_json::json!({ "Items": items });
        if let Some(last) = last {
            page["LastEvaluatedKey"] = serde_json::json!({ "pk": { "S": last } });
        }
        (200, page)
    };
    let (_fake, service) = answering(vec![
        page("", Some("a")),
        refuse("ProvisionedThroughputExceededException"),
        page("b c", Some("c")),
        refuse("InternalServerError"),
        page("", Some("d")),
        page("e", None),
    ])
    .await;
    let mut settings = DynamoScanConfig::new(service, "table");
    settings.segments = 1;
    let scan = DynamoScan::connect(settings.clone()).await.unwrap();
    let read = read_segment(&scan, segments_of(&scan).await.remove(0)).await.unwrap();
    let keys: Vec<Value> = read.into_iter().map(|mut item| item.remove("pk").unwrap()).collect();
    assert_eq!(keys, ["b", "c", "e"].map(Value::from));

    let (_fake, service) = answering(vec![refuse("AccessDeniedException")]).await;
    settings.dynamodb = service;
    let scan = DynamoScan::connect(settings).await.unwrap();
    let error =
        read_segment(&scan, segments_of(&scan).await.remove(0)).await.expect_err("a right is missing");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error}");
}
