//! What stays where an item was deleted.

use tidelock_dynamodb::{Item, ItemChange, ItemUpdate, Value};

use super::place::{
    DELETED, Expected, KEY, Place, VERSION, attempt, gone, key, number, opened, put, put_item, set, write,
};

#[tokio::test]
async fn a_deleted_item_leaves_its_key_its_version_and_a_mark_and_nothing_else() {
    let place = Place::versioned().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![put_item("a", [("value", 1.into()), ("more", "text".into())])]).await.unwrap();
    write(&mut writer, vec![gone("a"), gone("never there")]).await.unwrap();
    assert!(place.seen().await.is_empty());
    for (key, item) in place.items().await {
        let names: Vec<&str> = item.keys().map(String::as_str).collect();
        assert_eq!(names, [KEY, DELETED, VERSION], "{key}");
        assert_eq!(item[DELETED], Value::Bool(true));
    }
    assert_eq!(place.items().await.len(), 2);
}

#[tokio::test]
async fn a_tombstone_says_until_when_it_stays_and_an_item_that_is_made_anew_does_not() {
    let mut place = Place::versioned().await;
    place.looks_at("expires").await;
    place.config.tombstone_ttl_attribute = Some("expires".into());
    place.config.tombstones_kept_ms = 3_600_000;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let now = || u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    let before = now();
    write(&mut writer, vec![gone("put"), gone("updated"), gone("gone")]).await.unwrap();
    for item in place.items().await.values() {
        assert!((before + 3_600..=now() + 3_600).contains(&number(&item["expires"])), "{item:?}");
    }
    write(&mut writer, vec![put("put", 2), set("updated", "value", 2)]).await.unwrap();
    let items = place.items().await;
    for key in ["put", "updated"] {
        assert!(!items[key].contains_key("expires") && !items[key].contains_key(DELETED), "{:?}", items[key]);
    }
    assert!(items["gone"].contains_key("expires"));
    // Items of the records may go by the same attribute, and keep it.
    let lives = put_item("lives", [("value", 1.into()), ("expires", 1_900_000_000.into())]);
    write(&mut writer, vec![lives, ItemChange::update(ItemUpdate::of(key("put")).set("expires", 7))])
        .await
        .unwrap();
    write(&mut writer, vec![set("lives", "value", 2), set("put", "value", 3)]).await.unwrap();
    let items = place.items().await;
    assert_eq!((number(&items["lives"]["expires"]), number(&items["put"]["expires"])), (1_900_000_000, 7));
}

#[tokio::test]
async fn an_update_makes_an_item_where_there_is_none_and_where_one_was_deleted() {
    let place = Place::versioned().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let update =
        |of: &str, name: &str| ItemChange::update(ItemUpdate::of(key(of)).set(name, 7).remove("gone"));
    let mut expected = Expected::default();
    for records in [
        vec![put_item("was", [("old", 1.into())]), put_item("is", [("old", 1.into()), ("gone", 1.into())])],
        vec![gone("was")],
        vec![update("was", "a"), update("is", "a"), update("never", "a")],
        vec![update("was", "b"), update("is", "b"), update("never", "b")],
        vec![ItemChange::update(ItemUpdate::of(key("empty")))],
    ] {
        expected.take(&records);
        write(&mut writer, records).await.unwrap();
        expected.check(&place, "after a batch").await;
    }
    assert_eq!(place.seen().await["was"].len(), 2, "nothing of what was deleted comes back");
    assert_eq!(place.seen().await["empty"], Item::new());
}
