//! What is refused, and told with the key.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{PutRequest, ScalarAttributeType, WriteRequest};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::{ErrorKind, Retry};
use tidelock_dynamodb::{Change, Item, ItemChange, ItemUpdate, Mode, Value};
use tidelock_processes::{count, seed};

use super::common::NewTable;
use super::place::{Place, attempt, key, opened, put, put_item, set, write};

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

/// The server knows an index that the sink does not: it was made after the sink had looked.
#[tokio::test]
async fn an_item_that_the_server_refuses_is_named_by_its_key() {
    for mode in [Mode::Versioned, Mode::Batched] {
        let place = Place::new(mode).await;
        let mut records: Vec<ItemChange> = (0..20).map(|at| put(&format!("k{at:02}"), at)).collect();
        records.push(put_item("bad", [("day", 7.into())]));
        records.extend((20..40).map(|at| put(&format!("k{at:02}"), at)));
        let mut writer = opened(&place.sink(), &attempt(1)).await;
        place.client.delete_table().table_name(place.table()).send().await.unwrap();
        let again = NewTable { name: place.table().to_owned(), ..NewTable::fresh() };
        again.indexed_by("day", ScalarAttributeType::S).make(&place.client).await;
        let error = write(&mut writer, records).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("key=bad") && said.contains(&format!("table={}", place.table())), "{said}");
        assert!(said.contains("the service refused"), "{said}");
        assert!(!place.seen().await.contains_key("bad"));
    }
}

fn update(of: &str, name: &str, value: impl Into<Value>) -> ItemChange {
    ItemChange::update(ItemUpdate::of(key(of)).set(name, value))
}

/// Records that a table with an index by the number `day` never takes, as the server says it; whether they are updates.
fn never_taken() -> Vec<(&'static str, ItemChange)> {
    let nested = |name: &str| {
        Value::M([("in".to_owned(), Value::L(vec![Value::M([(name.to_owned(), 1.into())].into())]))].into())
    };
    let many = |bytes: usize| {
        (0..300).fold(ItemUpdate::of(key("a")), |all, at| all.set(format!("a{at:03}"), "x".repeat(bytes)))
    };
    let number = |text: &str| put_item("a", [("value", Value::N(text.into()))]);
    vec![
        ("an empty name within a map", put_item("a", [("value", nested(""))])),
        ("the same in an update", update("a", "value", nested(""))),
        ("zero with too large a power", number("0e126")),
        ("zero with too small a power", number("0.0e-130")),
        ("the key of an index of another kind", put_item("a", [("day", "monday".into())])),
        ("the same in an update", update("a", "day", "monday")),
        ("the key of an index that is NULL", put_item("a", [("day", Value::Null)])),
        // 403,500 bytes of values and 1,200 of names, and 19 for each of them.
        ("an update that costs more than 400 KB", ItemChange::update(many(1_345))),
    ]
}

/// A sink that lets through what the server never takes cannot hand it back, and halts with every start.
#[tokio::test]
async fn what_the_server_never_takes_is_refused_before_it_is_sent_and_everything_else_is_taken() {
    for mode in [Mode::Versioned, Mode::Batched] {
        let table = NewTable::fresh().indexed_by("day", ScalarAttributeType::N);
        let place = Place::with(table, mode).await;
        let is_update = |record: &ItemChange| matches!(record.change, Change::Update(_));
        for (what, record) in never_taken() {
            if mode == Mode::Batched && is_update(&record) {
                continue;
            }
            let mut writer = opened(&place.sink(), &attempt(1)).await;
            let error = write(&mut writer, vec![record]).await.expect_err(what);
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Data, Retry::Halt), "{what}: {error:?}");
            assert!(!error.to_string().contains("the service refused"), "{what}: {error}");
        }
        assert!(place.seen().await.is_empty());
        let nested = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::L(vec![inner]));
        let good = [
            put_item("deep", [("value", nested(31))]),
            put_item("zero", [("value", Value::N("0e125".into())), ("small", Value::N("-0.0e-129".into()))]),
            put_item("sparse", [("value", 1.into())]),
            put_item("indexed", [("day", 7.into())]),
        ];
        write(&mut opened(&place.sink(), &attempt(1)).await, good.to_vec()).await.unwrap();
        assert_eq!(place.seen().await.len(), good.len());
    }
}

/// Each of them is as large as it may be, and both together are more than a request may have, and less than an item.
#[tokio::test]
async fn updates_that_one_request_has_no_room_for_stay_two() {
    let place = Place::versioned().await;
    let half = |from: usize| {
        let all = (from..from + 150)
            .fold(ItemUpdate::of(key("a")), |all, at| all.set(format!("a{at}"), "x".repeat(1_350)));
        ItemChange::update(all)
    };
    write(&mut opened(&place.sink(), &attempt(1)).await, vec![half(0), half(1_000)]).await.unwrap();
    assert_eq!(place.seen().await["a"].len(), 300);
}

fn random_digits(rng: &mut StdRng) -> String {
    let count = *[0, 1, 2, 19, 37, 38, 39].choose(rng).unwrap();
    let zeros = rng.random_bool(0.3);
    (0..count).map(|_| if zeros { '0' } else { rng.random_range('0'..='9') }).collect()
}

/// Texts that are numbers, nearly, or at the bounds.
fn random_number(rng: &mut StdRng) -> String {
    let sign = ["", "", "", "-", "+", "--"].choose(rng).unwrap();
    let (whole, fraction) = (random_digits(rng), random_digits(rng));
    let point = ["", ".", ".", ".."].choose(rng).unwrap();
    let powers = [
        "",
        "",
        "",
        "e5",
        "E-3",
        "e+0",
        "e125",
        "e126",
        "e-130",
        "e-131",
        "e88",
        "e-92",
        "e",
        "e1.5",
        "e99999",
        "e2147483648",
    ];
    format!("{sign}{whole}{point}{fraction}{}", powers.choose(rng).unwrap())
}

fn random_text(rng: &mut StdRng) -> String {
    (*["", "a", "ü", "\u{0}"].choose(rng).unwrap()).to_owned()
}

fn random_value(rng: &mut StdRng, levels: u32) -> Value {
    let count = rng.random_range(0..3);
    match rng.random_range(0..if levels == 0 { 8 } else { 11 }) {
        0 => Value::S(random_text(rng)),
        1..4 => Value::N(random_number(rng)),
        4 => Value::B(random_text(rng).into_bytes().into()),
        5 => Value::Ss((0..count).map(|_| random_text(rng)).collect()),
        6 => Value::Ns((0..count).map(|_| random_number(rng)).collect()),
        7 => Value::Bs((0..count).map(|_| random_text(rng).into_bytes().into()).collect()),
        8 => Value::L((0..count).map(|_| random_value(rng, levels - 1)).collect()),
        9 => Value::M((0..count).map(|_| (random_text(rng), random_value(rng, levels - 1))).collect()),
        // Levels that are one too many, or not.
        _ => (0..rng.random_range(28..32)).fold(random_value(rng, 0), |inner, _| Value::L(vec![inner])),
    }
}

/// What the server says to an item, past the sink.
async fn is_taken(place: &Place, item: &Item) -> (bool, bool) {
    let wire: HashMap<_, _> = item.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let put = place.client.put_item().table_name(place.table()).set_item(Some(wire.clone()));
    let of_batch = PutRequest::builder().set_item(Some(wire)).build().unwrap();
    let of_batch = vec![WriteRequest::builder().put_request(of_batch).build()];
    let batch = place.client.batch_write_item().request_items(place.table(), of_batch);
    (put.send().await.is_ok(), batch.send().await.is_ok())
}

/// Both kinds of request have rules of their own for numbers.
#[tokio::test]
async fn of_all_values_the_sink_takes_what_the_server_takes() {
    let mut rng = StdRng::seed_from_u64(seed("values that are taken"));
    let place = Place::batched().await;
    let mut writer = opened(&place.sink(), &attempt(1)).await;
    for _ in 0..count(400, 20_000) {
        let item: Item =
            key("a").into_iter().chain([("value".to_owned(), random_value(&mut rng, 2))]).collect();
        let by_server = is_taken(&place, &item).await;
        let written = write(&mut writer, vec![ItemChange::put(item.clone())]).await;
        match &written {
            Ok(()) => assert_eq!(by_server, (true, true), "{item:?}"),
            Err(error) => {
                assert_ne!(by_server, (true, true), "{item:?}: {error}");
                assert!(!error.to_string().contains("the service refused"), "{item:?}: {error}");
                writer = opened(&place.sink(), &attempt(1)).await;
            }
        }
    }
}
