//! What stays where an item was deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidelock_dynamodb::{Item, ItemChange, ItemUpdate, Value};
use tidelock_testkit::HttpFaults;

use super::common;

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

/// The name of the mark may be one that a table had for the same, before the sink wrote to it.
#[tokio::test]
async fn an_item_whose_mark_is_not_true_was_not_deleted_and_keeps_what_an_update_does_not_change() {
    let mut place = Place::versioned().await;
    place.config.deleted_attribute = "gone".into();
    let marks = [Value::from(false), Value::Null, 0.into(), "no".into(), true.into()];
    for (at, mark) in marks.iter().enumerate() {
        let item = [(KEY, format!("k{at}").into()), ("old", 1.into()), ("gone", mark.clone())];
        let item = item.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into();
        common::put(&place.client, place.table(), item).await;
    }
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    let updates = (0..marks.len()).map(|at| set(&format!("k{at}"), "value", 2));
    write(&mut writer, updates.collect()).await.unwrap();
    for ((of, item), mark) in place.items().await.iter().zip(&marks) {
        let was_deleted = *mark == Value::Bool(true);
        assert_eq!(item.get("old").is_none(), was_deleted, "{of}: {item:?}");
        assert_eq!(number(&item["value"]), 2, "{of}");
        assert_eq!(item.get("gone"), Some(mark).filter(|_| !was_deleted), "{of}");
    }
}

/// Does something when a put is about to be done, once.
fn before_a_put(
    faults: &HttpFaults,
    act: impl Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static,
) {
    let is_done = Arc::new(AtomicBool::new(false));
    faults.hook(move |request| {
        let target = request.headers().get("x-amz-target")?.to_str().ok()?;
        if target.ends_with("PutItem") && !is_done.swap(true, Ordering::SeqCst) {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(act()));
        }
        None
    });
}

/// Versions are those of records, so that others may write to the same items.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_puts_into_the_place_of_a_tombstone_is_not_lost_by_an_update_on_its_way_there() {
    let mut place = Place::versioned().await.by_record();
    let faults = place.behind_faults().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![gone("a").with_version(5)]).await.unwrap();
    let (client, table) = (place.client.clone(), place.table().to_owned());
    before_a_put(&faults, move || {
        let (client, table) = (client.clone(), table.clone());
        Box::pin(async move {
            let item = [(KEY, "a".into()), ("theirs", 7.into()), (VERSION, 7.into())];
            let item = item.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into();
            common::put(&client, &table, item).await;
        })
    });
    write(&mut writer, vec![set("a", "ours", 10).with_version(10)]).await.unwrap();
    let item = place.seen().await.remove("a").unwrap();
    let names: Vec<&str> = item.keys().map(String::as_str).collect();
    assert_eq!(names, ["ours", "theirs"], "{item:?}");
    assert_eq!(place.version("a").await, Some(10.into()));
}

/// The tombstone goes while an update of it is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_tombstone_whose_time_to_live_ends_meanwhile_makes_the_item() {
    let mut place = Place::versioned().await;
    let faults = place.behind_faults().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![gone("a")]).await.unwrap();
    let (client, table) = (place.client.clone(), place.table().to_owned());
    before_a_put(&faults, move || {
        let delete = client.delete_item().table_name(&table).key(KEY, Value::from("a").into());
        Box::pin(async move { drop(delete.send().await.unwrap()) })
    });
    write(&mut writer, vec![set("a", "value", 2)]).await.unwrap();
    assert_eq!(place.value("a").await, Some(2));
}
