//! Values and names come back as they were written.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelock_dynamodb::{Item, ItemChange, ItemUpdate, Value};

use super::place::{DELETED, KEY, Place, VERSION, attempt, opened, write};

/// One of everything that DynamoDB has.
fn values() -> Vec<(&'static str, Value)> {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
    let nested = BTreeMap::from([
        ("ключ".to_owned(), Value::L(vec![Value::Null, Value::M(BTreeMap::new()), Value::L(Vec::new())])),
        ("a.b[0]".to_owned(), Value::Ss(texts(&["x", "ÿ"]))),
    ]);
    vec![
        ("text", "Ünïcødé 🛫 \u{0} \"\\ \n".into()),
        ("empty text", "".into()),
        ("38 digits", Value::N("12345678901234567890123456789012345678".into())),
        ("fraction", Value::N("-0.00012345678901234567890123456789012345678".into())),
        ("largest", Value::N("9".repeat(38) + &"0".repeat(88))),
        ("bytes", Bytes::from((0..=255).collect::<Vec<u8>>()).into()),
        ("empty bytes", Bytes::new().into()),
        ("yes", true.into()),
        ("null", Value::Null),
        ("texts", Value::Ss(texts(&["a", "ä"]))),
        ("numbers", Value::Ns(texts(&["1", "-2.5"]))),
        ("all bytes", Value::Bs([Bytes::from_static(b"\0"), Bytes::from_static(b"\xff\xfe")].into())),
        ("nested", Value::M(nested)),
        ("#v", "a name of ours".into()),
        (":v", "another one".into()),
        ("SELECT", "a word of the language".into()),
        ("имя", "letters".into()),
        (" ", "a blank".into()),
    ]
}

fn item(key: &str) -> Item {
    let values = values().into_iter().map(|(name, value)| (name.to_owned(), value));
    values.chain([(KEY.to_owned(), key.into())]).collect()
}

#[tokio::test]
async fn whatever_dynamodb_has_comes_back_as_it_was_written() {
    let keys = ["plain", "🛫 ключ", " ", "a/b#c", "\u{7f}", &"k".repeat(2_048)];
    for place in [Place::versioned().await, Place::versioned().await.by_record(), Place::batched().await] {
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let records = keys.iter().map(|key| ItemChange::put(item(key)).with_version(1));
        write(&mut writer, records.collect()).await.unwrap();
        let mut items = place.items().await;
        assert_eq!(items.len(), keys.len());
        for key in keys {
            let read = items.get_mut(key).unwrap();
            read.remove(VERSION);
            assert_eq!(*read, item(key), "{key}");
        }
    }
}

#[tokio::test]
async fn whatever_dynamodb_has_is_set_by_an_update_too() {
    let place = Place::versioned().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    for key in ["🛫", "there"] {
        let of_key: Item = [(KEY.to_owned(), key.into())].into();
        let there =
            ItemChange::put(of_key.clone().into_iter().chain([("old".to_owned(), 1.into())]).collect());
        write(&mut writer, if key == "there" { vec![there] } else { Vec::new() }).await.unwrap();
        let all = values()
            .into_iter()
            .fold(ItemUpdate::of(of_key), |update, (name, value)| update.set(name, value));
        write(&mut writer, vec![ItemChange::update(all.remove("old"))]).await.unwrap();
    }
    for (key, mut read) in place.items().await {
        read.remove(VERSION);
        assert!(!read.contains_key(DELETED));
        assert_eq!(read, item(&key), "{key}");
    }
}
