//! What a real server makes of items: they come back as they were written, and are as large as we say.

mod common;

use aws_sdk_dynamodb::types::ScalarAttributeType;
use bytes::Bytes;
use common::{NewTable, client, get, items, put, shared};
use tidelock_dynamodb::{Item, Value, item_bytes};

fn item(values: &[(&str, Value)]) -> Item {
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_was_written() {
    let client = client(shared()).await;
    let table = NewTable::fresh().make(&client).await;
    let nested = (0..15).fold(Value::L(vec!["deep".into()]), |inner, _| {
        Value::M([("ü.#:".to_owned(), Value::L(vec![inner]))].into())
    });
    let all = item(&[
        ("pk", "ключ/🔑/\u{0}\n".into()),
        ("größe.in #m:\"", "attribute with signs".into()),
        ("last", "a reserved word".into()),
        ("empty", "".into()),
        ("nothing", Value::B(Bytes::new())),
        ("bytes", Value::B((0..=255).collect::<Vec<u8>>().into())),
        ("longest", Value::N("12345678901234567890123456789012345678".into())),
        ("smallest", Value::N(format!("0.{}1", "0".repeat(129)))),
        ("largest", Value::N(format!("-99999999999999999999999999999999999999{}", "0".repeat(88)))),
        ("truth", true.into()),
        ("null", Value::Null),
        ("texts", Value::Ss(["", "a", "ä"].map(String::from).into())),
        ("numbers", Value::Ns(["-1.5", "0", "7"].map(String::from).into())),
        ("all_bytes", Value::Bs([Bytes::new(), Bytes::from_static(&[0])].into())),
        (
            "list",
            Value::L(vec![Value::Null, 1.into(), "a".into(), Value::L(Vec::new()), Value::M(Item::new())]),
        ),
        ("nested", nested),
    ]);
    put(&client, &table, all.clone()).await;
    assert_eq!(items(&client, &table).await, [all]);
}

#[tokio::test]
async fn a_number_in_a_key_is_one_key_in_every_form() {
    let client = client(shared()).await;
    let table = NewTable::fresh().sorted(ScalarAttributeType::N).make(&client).await;
    for form in ["1", "1.0", "1e0", "10e-1"] {
        put(
            &client,
            &table,
            item(&[("pk", "a".into()), ("sk", Value::N(form.into())), ("form", form.into())]),
        )
        .await;
    }
    let last = item(&[("pk", "a".into()), ("sk", 1.into()), ("form", "10e-1".into())]);
    assert_eq!(
        get(&client, &table, item(&[("pk", "a".into()), ("sk", Value::N("1.000".into()))])).await,
        Some(last.clone())
    );
    assert_eq!(items(&client, &table).await, [last]);
}

/// The server that is asked counts as AWS was measured to.
#[tokio::test]
async fn an_item_is_as_large_as_we_say_to_the_byte() {
    const BYTES_MAX: usize = 400 * 1_024;
    let client = client(shared()).await;
    let table = NewTable::fresh().make(&client).await;
    for (at, value) in [
        Value::Null,
        true.into(),
        "Zürich".into(),
        Value::N("-1234567890.12345".into()),
        Value::N("1000000".into()),
        Value::N("0.00012".into()),
        Value::B(Bytes::from_static(&[1, 2, 3])),
        Value::Ss(["a", "bc"].map(String::from).into()),
        Value::Ns(["1", "-22.5", "1e20"].map(String::from).into()),
        Value::Bs([Bytes::from_static(b"x"), Bytes::new()].into()),
        Value::L(vec![Value::Null, 1.into(), Value::L(Vec::new())]),
        Value::M(item(&[("a", 1.into()), ("ö", Value::M(Item::new()))])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut large = item(&[("pk", at.to_string().into()), ("v", value.clone()), ("fill", "".into())]);
        let fill = BYTES_MAX - item_bytes(&large);
        large.insert("fill".into(), "x".repeat(fill).into());
        put(&client, &table, large.clone()).await;
        large.insert("fill".into(), "x".repeat(fill + 1).into());
        let wire = large.into_iter().map(|(name, value)| (name, value.into())).collect();
        let refused = client.put_item().table_name(&table).set_item(Some(wire)).send().await;
        assert!(refused.is_err(), "{value:?} is smaller than we say");
    }
}
