//! Versions as they stand in items, and what others wrote.

use tidelock::{ErrorKind, Retry};
use tidelock_dynamodb::{Item, Value};

use super::common;
use super::place::{
    Expected, KEY, Place, VERSION, attempt, attempt_of, gone, opened, put, put_item, set, write,
};

/// Golden: what an older build wrote is compared with what a newer one writes. The last part is a sum of `job.out`.
#[tokio::test]
async fn a_version_is_generation_attempt_number_writer_and_sink_as_text_of_one_length() {
    let place = Place::versioned().await;
    let mut writer = opened(&place.sink(), &attempt_of("job", 1_764_470_000_000, 12)).await;
    write(&mut writer, vec![put("a", 1)]).await.unwrap();
    write(&mut writer, vec![put("b", 1), put("a", 2)]).await.unwrap();
    let version =
        |sequence| Value::from(format!("001764470000000.000000000012.{sequence:015}.00000.884a495c"));
    assert_eq!((place.version("a").await, place.version("b").await), (Some(version(3)), Some(version(2))));
    let by_record = Place::versioned().await.by_record();
    let mut writer = opened(&by_record.sink(), &attempt(1)).await;
    write(&mut writer, vec![put("a", 1).with_version(u64::MAX), put("b", 1).with_version(0)]).await.unwrap();
    assert_eq!(
        (by_record.version("a").await, by_record.version("b").await),
        (Some(u64::MAX.into()), Some(0.into()))
    );
}

#[tokio::test]
async fn with_versions_of_records_the_greatest_wins_in_whichever_order_they_come() {
    let place = Place::versioned().await.by_record();
    let versioned = |version: u64| match version % 5 {
        0 => gone("k").with_version(version),
        _ => put("k", version).with_version(version),
    };
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 10, 7, 10], [12, 11, 15, 14]] {
        // Each by itself and all at once, whichever attempt it is.
        for attempt_number in [1, 2] {
            let mut writer = opened(&place.sink(), &attempt(attempt_number)).await;
            write(&mut writer, order.iter().map(|version| versioned(*version)).collect()).await.unwrap();
            for version in order {
                write(&mut writer, vec![versioned(version)]).await.unwrap();
            }
        }
        let greatest = order.into_iter().max().filter(|version| version % 5 != 0);
        assert_eq!(place.value("k").await, greatest, "{order:?}");
    }
    // Of one version the first one stays.
    let mut writer = opened(&place.sink(), &attempt(3)).await;
    write(&mut writer, vec![put("k", 1).with_version(20)]).await.unwrap();
    write(&mut writer, vec![put("k", 2).with_version(20)]).await.unwrap();
    assert_eq!(place.value("k").await, Some(1));
}

#[tokio::test]
async fn an_item_that_somebody_wrote_without_a_version_is_taken_over() {
    for place in [Place::versioned().await, Place::versioned().await.by_record()] {
        let stranger =
            |key: &str| -> Item { [(KEY.to_owned(), key.into()), ("old".to_owned(), 1.into())].into() };
        let mut expected = Expected::default();
        for key in ["put", "set", "gone", "left"] {
            common::put(&place.client, place.table(), stranger(key)).await;
            expected.take(&[put_item(key, [("old", 1.into())])]);
        }
        let records =
            [put("put", 2), set("set", "value", 2), gone("gone")].map(|record| record.with_version(7));
        expected.take(&records);
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        write(&mut writer, records.to_vec()).await.unwrap();
        expected.check(&place, "taken over").await;
    }
}

#[tokio::test]
async fn an_item_whose_version_cannot_be_compared_halts_with_what_to_do() {
    let by_attempt = || put("a", 2);
    let by_record = || put("a", 2).with_version(u64::MAX);
    for (place, theirs, record) in [
        (Place::versioned().await, Value::from(7), by_attempt()),
        (Place::versioned().await, Value::from("v7"), by_attempt()),
        (Place::versioned().await, Value::Null, by_attempt()),
        (
            Place::versioned().await.by_record(),
            Value::from("001764470000000.000000000012.000000000000001.00000"),
            by_record(),
        ),
        (Place::versioned().await.by_record(), Value::from(true), by_record()),
    ] {
        let item = [(KEY, "a".into()), ("value", 1.into()), (VERSION, theirs.clone())];
        let item = item.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into();
        common::put(&place.client, place.table(), item).await;
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        let error = write(&mut writer, vec![record]).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Conflict, Retry::Halt),
            "{theirs:?}: {error:?}"
        );
        let said = error.to_string();
        assert!(said.contains("version_attribute=tidelock_version") && said.contains("remedy="), "{said}");
        assert_eq!(place.value("a").await, Some(1));
    }
}

/// The setting may be another one, and then the items of before have none by its name.
#[tokio::test]
async fn the_sinks_own_attributes_may_have_other_names_even_words_of_the_language() {
    let mut place = Place::versioned().await;
    (place.config.version_attribute, place.config.deleted_attribute) = ("last".into(), "set".into());
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    write(&mut writer, vec![put("a", 1), put("b", 1), gone("c")]).await.unwrap();
    write(&mut writer, vec![set("a", "value", 2), gone("b"), set("c", "value", 2)]).await.unwrap();
    let items = place.items().await;
    assert!(items.values().all(|item| item.contains_key("last")));
    let deleted: Vec<&str> =
        items.iter().filter(|(_, item)| item.contains_key("set")).map(|(key, _)| key.as_str()).collect();
    assert_eq!(deleted, ["b"]);
}
