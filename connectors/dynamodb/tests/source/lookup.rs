//! Lookups: what is found on a real server and what is missed; and keys that a server leaves out, by one that does as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::ScalarAttributeType;
use futures::{StreamExt as _, stream};
use serde_json::json;
use tidelock::{ErrorKind, Lookup as _, Retry};
use tidelock_dynamodb::{DynamoLookup, DynamoLookupConfig, Item, Value};

use crate::common::{NewTable, client, config, put, shared};
use crate::fake::{Fake, refuse, table as described};

fn item(attributes: &[(&str, Value)]) -> Item {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn texts(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

fn settings(table: &str) -> DynamoLookupConfig {
    DynamoLookupConfig::new(config(shared()), table)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_has_its_item_in_its_place_and_what_is_not_there_is_a_miss() {
    let client = client(shared()).await;
    let table = NewTable::fresh().make(&client).await;
    let first = item(&[("pk", "N1".into()), ("last", 180.into()), ("a.b", Value::Null)]);
    let second = item(&[("pk", "Ñ\u{1f6e9}".into()), ("model", "B757".into())]);
    for item in [&first, &second] {
        put(&client, &table, item.clone()).await;
    }
    let long = "x".repeat(2_049);
    // No item can have the last two, and nobody is asked.
    let keys = texts(&["Ñ\u{1f6e9}", "nobody", "N1", "n1", "N1 ", "", &long]);
    for consistent in [false, true] {
        let mut settings = settings(&table);
        settings.consistent = consistent;
        let whole = DynamoLookup::open_by_value(settings).await.unwrap();
        let found = whole.lookup(&keys).await.unwrap();
        let expected = [Some(second.clone()), None, Some(first.clone()), None, None, None, None];
        assert_eq!(found, expected);
        assert_eq!(whole.lookup(&[]).await.unwrap(), []);
        assert_eq!(whole.lookup(&texts(&["", &long])).await.unwrap(), [None, None]);
    }
    for (chosen, found_first, found_second) in [
        (
            &["last"][..],
            item(&[("pk", "N1".into()), ("last", 180.into())]),
            item(&[("pk", "Ñ\u{1f6e9}".into())]),
        ),
        (&["a.b", "model"], item(&[("pk", "N1".into()), ("a.b", Value::Null)]), second.clone()),
    ] {
        let mut settings = settings(&table);
        settings.attributes = texts(chosen);
        let some = DynamoLookup::open_by_value(settings).await.unwrap();
        let found = some.lookup(&keys).await.unwrap();
        assert_eq!((&found[2], &found[0]), (&Some(found_first), &Some(found_second)), "{chosen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_type_and_numbers_in_another_form_are_one_item_and_it_is_asked_for_once() {
    let client = client(shared()).await;
    let mut table = NewTable::fresh().sorted(ScalarAttributeType::S);
    table.partition = ScalarAttributeType::N;
    let table = table.make(&client).await;
    for number in 0..3 {
        let item = item(&[("pk", number.into()), ("sk", "a".into()), ("text", format!("t{number}").into())]);
        put(&client, &table, item).await;
    }
    let key = |form: &&'static str| item(&[("pk", Value::N((*form).into())), ("sk", "a".into())]);
    let lookup = DynamoLookup::open(settings(&table), key).await.unwrap();
    let found = lookup.lookup(&["1", "2.0", "1e0", "7", "+1.00", "NaN"]).await.unwrap();
    let texts: Vec<Option<Value>> = found.into_iter().map(|item| Some(item?["text"].clone())).collect();
    let expected = [Some("t1"), Some("t2"), Some("t1"), None, Some("t1"), None];
    assert_eq!(texts, expected.map(|text| text.map(Value::from)));

    // A part of a key is none.
    let error = DynamoLookup::<u64>::open_by_value(settings(&table)).await.expect_err("there is a sort key");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error}");
    let half = DynamoLookup::open(settings(&table), |number: &u64| item(&[("pk", (*number).into())])).await;
    let error = half.unwrap().lookup(&[1]).await.expect_err("no key");
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("attribute=sk"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_than_a_request_has_and_items_that_are_too_much_for_an_answer_are_found() {
    let client = client(shared()).await;
    let table = NewTable::fresh().make(&client).await;
    let of = |number: usize, bytes: usize| {
        item(&[
            ("pk", format!("{number:05}").into()),
            ("number", (number as u64).into()),
            ("x", "x".repeat(bytes).into()),
        ])
    };
    let written = (0..700).map(|number| put(&client, &table, of(number, 1)));
    stream::iter(written.collect::<Vec<_>>()).buffer_unordered(16).collect::<Vec<()>>().await;
    let lookup = DynamoLookup::open_by_value(settings(&table)).await.unwrap();
    // Every other one is not there; the order is not that of the table.
    let keys: Vec<String> =
        (0..800).rev().map(|at| if at % 2 == 0 { format!("{at:05}") } else { format!("x{at}") }).collect();
    let found = lookup.lookup(&keys).await.unwrap();
    let expected = (0..800).rev().map(|at| (at < 700 && at % 2 == 0).then(|| of(at, 1)));
    assert!(found.into_iter().eq(expected));

    // Of these an answer has 16 MB at most, and leaves the others out.
    let written = (0..60).map(|number| put(&client, &table, of(number, 390_000)));
    stream::iter(written.collect::<Vec<_>>()).buffer_unordered(4).collect::<Vec<()>>().await;
    let keys: Vec<String> = (0..60).map(|at| format!("{at:05}")).collect();
    let found = lookup.lookup(&keys).await.unwrap();
    assert!(found.into_iter().eq((0..60).map(|at| Some(of(at, 390_000)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_when_the_lookup_is_opened() {
    let error =
        DynamoLookup::<String>::open_by_value(settings("nowhere")).await.expect_err("it is not there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    assert!(error.to_string().contains("table=nowhere"), "{error}");
    // A table that is dropped under lookups.
    let client = client(shared()).await;
    let table = NewTable::fresh().make(&client).await;
    let lookup = DynamoLookup::open_by_value(settings(&table)).await.unwrap();
    client.delete_table().table_name(&table).send().await.unwrap();
    let error = lookup.lookup(&texts(&["a"])).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains(&table), "{error}");
}

/// What a server that leaves keys out is asked, request by request: the keys of each.
type Asked = Arc<Mutex<Vec<Vec<String>>>>;

/// A server that has every key, and answers the first so many of each request.
async fn leaving_out(answered: impl Fn(usize) -> usize + Send + Sync + 'static) -> (Fake, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let fake = Fake::start(move |call, request| match call {
        "DescribeTable" => described(None),
        "BatchGetItem" => {
            let wanted = request["RequestItems"]["table"].clone();
            assert_eq!(
                (&wanted["ConsistentRead"], &wanted["ProjectionExpression"]),
                (&json!(true), &json!("#0, #1, #2"))
            );
            let keys: Vec<String> = wanted["Keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["pk"]["S"].as_str().unwrap().into())
                .collect();
            let mut seen = seen.lock().unwrap();
            let count = answered(seen.len()).min(keys.len());
            let items: Vec<_> =
                keys[..count].iter().map(|key| json!({ "pk": { "S": key }, "n": { "S": key } })).collect();
            let mut said = json!({ "Responses": { "table": items }, "UnprocessedKeys": {} });
            if count < keys.len() {
                let left: Vec<_> = keys[count..].iter().map(|key| json!({ "pk": { "S": key } })).collect();
                // As the service does: with everything that was asked for.
                let mut unprocessed = wanted;
                unprocessed["Keys"] = left.into();
                said["UnprocessedKeys"] = json!({ "table": unprocessed });
            }
            seen.push(keys);
            (200, said)
        }
        other => panic!("{other} is asked"),
    })
    .await;
    (fake, asked)
}

async fn of_fake(fake: &Fake) -> DynamoLookup<String> {
    let mut settings = DynamoLookupConfig::new(fake.config(), "table");
    (settings.consistent, settings.attributes) = (true, texts(&["n"]));
    DynamoLookup::open_by_value(settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_processed_are_asked_for_again_and_those_that_are_not_a_second_time() {
    // One key comes, then none, then as many as are asked for.
    let (fake, asked) = leaving_out(|request| [1, 0, 2, 0, 100][request.min(4)]).await;
    let lookup = of_fake(&fake).await;
    let keys = texts(&["a", "b", "c", "d", "e"]);
    let found = lookup.lookup(&keys).await.unwrap();
    let names: Vec<Value> = found.into_iter().map(|item| item.unwrap()["n"].clone()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"].map(Value::from));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [5, 4, 4, 2, 2]);
    let mut processed = BTreeMap::new();
    for (request, count) in asked.iter().zip([1, 0, 2, 0, 2]) {
        request[..count].iter().for_each(|key| *processed.entry(key.clone()).or_insert(0) += 1);
    }
    assert_eq!(processed, keys.into_iter().map(|key| (key, 1)).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_nobody_has_are_processed_too_and_the_others_are_asked_for_again() {
    // One key of each request is processed, and no item has it. It is more requests than there is patience for where nothing comes.
    let fake = Fake::start(|call, request| match call {
        "DescribeTable" => described(None),
        "BatchGetItem" => {
            let mut left = request["RequestItems"]["table"].clone();
            let keys = left["Keys"].as_array_mut().unwrap();
            keys.remove(0);
            let unprocessed = if keys.is_empty() { json!({}) } else { json!({ "table": left }) };
            (200, json!({ "Responses": { "table": [] }, "UnprocessedKeys": unprocessed }))
        }
        other => panic!("{other} is asked"),
    })
    .await;
    let keys: Vec<String> = (0..20).map(|key| format!("k{key}")).collect();
    assert_eq!(of_fake(&fake).await.lookup(&keys).await.unwrap(), vec![None; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_hundred_keys_at_most() {
    let (fake, asked) = leaving_out(|_| 100).await;
    let keys: Vec<String> = (0..250).map(|key| format!("k{key}")).collect();
    let found = of_fake(&fake).await.lookup(&keys).await.unwrap();
    assert!(found.into_iter().zip(&keys).all(|(item, key)| item.unwrap()["n"] == key.as_str().into()));
    let mut sizes: Vec<usize> = asked.lock().unwrap().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_for_the_host_to_ask_again_and_an_answer_that_nobody_asked_for_is_an_error() {
    let answers = Mutex::new(
        vec![
            refuse("ThrottlingException"),
            refuse("InternalServerError"),
            refuse("ValidationException"),
            (200, json!({ "Responses": { "table": [{ "pk": { "S": "b" } }] } })),
            (200, json!({ "Responses": { "table": [{ "pk": { "S": "a" } }, { "pk": { "S": "a" } }] } })),
        ]
        .into_iter(),
    );
    let fake = Fake::start(move |call, _| match call {
        "DescribeTable" => described(None),
        "BatchGetItem" => answers.lock().unwrap().next().unwrap(),
        other => panic!("{other} is asked"),
    })
    .await;
    let lookup =
        DynamoLookup::<String>::open_by_value(DynamoLookupConfig::new(fake.config(), "table")).await.unwrap();
    for (kind, retry) in [
        (ErrorKind::RateLimited, Retry::Retry),
        (ErrorKind::Unavailable, Retry::Retry),
        (ErrorKind::Data, Retry::Halt),
        (ErrorKind::Other, Retry::Restart),
        (ErrorKind::Other, Retry::Restart),
    ] {
        let error = lookup.lookup(&texts(&["a"])).await.expect_err("no answer");
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
        assert!(error.to_string().contains("table=table"), "{error}");
    }
}
