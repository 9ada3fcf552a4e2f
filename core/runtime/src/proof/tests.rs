//! Types that do not come back are refused by name, and none else is.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::Retry;

use super::*;

fn prove<T: Serialize + DeserializeOwned>(value: &T) -> Result<()> {
    of_record(value)
}

/// The error says whose fault it is, and a restart does not repeat it.
fn refused<T: Serialize + DeserializeOwned>(value: &T, hint: &str) {
    let error = prove(value).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
    let said: BTreeMap<_, _> = error.context().collect();
    assert_eq!(said["type"], std::any::type_name::<T>());
    assert!(said["likely"].contains(hint), "{error}");
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq, Hash, Clone)]
struct ReadWithout {
    count: u64,
    #[serde(skip_deserializing)]
    seen: u64,
    sum: u64,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Clone)]
struct WrittenWithout {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    first: u8,
    rest: Vec<u8>,
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Opened { at: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    more: BTreeMap<String, u64>,
}

#[test]
fn a_field_that_is_written_and_not_read_is_refused() {
    refused(&ReadWithout { count: 3, seen: 7, sum: 28 }, "skip_deserializing");
    refused(&ReadWithout { count: 0, seen: 0, sum: 0 }, "skip_deserializing");
    refused(&vec![ReadWithout { count: 3, seen: 220, sum: 28 }; 5], "skip_deserializing");
}

#[test]
fn a_field_that_is_read_and_not_always_written_is_refused_where_it_is_left_out() {
    let whole = WrittenWithout { name: Some("a".into()), first: 1, rest: vec![7] };
    prove(&whole).unwrap();
    refused(&WrittenWithout { name: None, ..whole.clone() }, "skip_serializing_if");
    refused(&WrittenWithout { first: 0, ..whole }, "skip_serializing_if");
}

/// The bytes are equal when they are written again: only the names tell.
#[test]
fn another_value_with_the_same_bytes_is_refused() {
    let value = WrittenWithout { name: Some("a".into()), first: 0, rest: vec![3, 9, 9, 9] };
    let bytes = postcard::to_allocvec(&value).unwrap();
    let again: WrittenWithout = postcard::from_bytes(&bytes).unwrap();
    assert_ne!(value, again);
    assert_eq!(postcard::to_allocvec(&again).unwrap(), bytes);
    refused(&value, "skip_serializing_if");
}

#[test]
fn what_must_be_asked_for_is_refused() {
    refused(&Tagged::Opened { at: 1 }, "#[serde(tag)]");
    refused(&Untagged::Number(1), "#[serde(untagged)]");
    refused(&serde_json::json!({ "a": 1 }), "serde_json::Value");
    refused(&Flat { id: 1, more: BTreeMap::from([("a".into(), 2)]) }, "flatten");
    refused(&Some(vec![serde_json::json!(null)]), "serde_json::Value");
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Clone, Copy)]
enum Shape {
    Unit,
    New(i128),
    Tuple(u8, f32),
    Named { a: char, b: () },
}

#[derive(Debug, Serialize, Deserialize)]
struct Rich {
    counts: HashMap<String, HashSet<u32>>,
    numbers: (f64, f32, i128, u128),
    shapes: Vec<Shape>,
    text: Box<str>,
    queue: VecDeque<Option<Option<bool>>>,
    heap: BinaryHeap<u16>,
    time: Duration,
    address: IpAddr,
    #[serde(skip)]
    cache: Option<u64>,
    #[serde(rename = "x", default)]
    renamed: [u8; 4],
}

/// Maps and sets give their entries in an order of their own each time, and NaN is not equal to itself:
/// neither is a fault.
#[test]
fn whatever_comes_back_is_not_refused() {
    for round in 0..20_u32 {
        let rich = Rich {
            counts: (0..30).map(|key| (format!("key {key}"), (0..key + round).collect())).collect(),
            numbers: (f64::NAN, f32::NEG_INFINITY, i128::MIN, u128::MAX),
            shapes: vec![
                Shape::Unit,
                Shape::New(-1),
                Shape::Tuple(255, f32::from_bits(0x7fc0_1234)),
                Shape::Named { a: 'ß', b: () },
            ],
            text: "".into(),
            queue: VecDeque::from([None, Some(None), Some(Some(true))]),
            heap: (0..100).map(|number| number * 7 % 31).collect(),
            time: Duration::MAX,
            address: "::1".parse().unwrap(),
            cache: Some(7),
            renamed: [0, 1, 2, 255],
        };
        prove(&rich).unwrap();
        assert_eq!(rich.cache, Some(7));
    }
    prove(&-0.0_f64).unwrap();
    prove(&()).unwrap();
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Hidden {
    id: u32,
    #[serde(skip)]
    region: u32,
}

#[test]
fn a_key_that_is_not_found_again_is_refused() {
    let mut proof = Proof::new();
    let mut prove = |key: Hidden| proof.of_key(&key, &postcard::to_allocvec(&key).unwrap());
    prove(Hidden { id: 1, region: 0 }).unwrap();
    let error = prove(Hidden { id: 1, region: 2 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("Hidden"), "{error}");
}

/// The first values and one of many after them, and a new length at once.
#[test]
fn proofs_are_bounded_and_a_new_length_is_proven_at_once() {
    let mut proof = Proof::new();
    let proven = (0..25_600).filter(|_| proof.is_due_with(8)).count();
    assert_eq!(proven, 64 + 100);
    assert!(proof.is_due_with(9));
    assert!(!proof.is_due_with(9));
    let all_lengths = (0..LENGTHS * 3).filter(|length| proof.is_due_with(*length)).count();
    assert!(all_lengths < LENGTHS + 3 * LENGTHS / 256 + 1);
}

/// Two values of one type have one print only where they are one value.
#[test]
fn prints_tell_values_apart() {
    let of = |shape: Shape| print::of(&shape).unwrap();
    let shapes = [
        Shape::Unit,
        Shape::New(0),
        Shape::New(1),
        Shape::Tuple(0, 0.0),
        Shape::Tuple(0, -0.0),
        Shape::Named { a: 'a', b: () },
    ];
    for (place, shape) in shapes.iter().enumerate() {
        for other in &shapes[..place] {
            assert_ne!(of(*shape), of(*other), "{shape:?} {other:?}");
        }
    }
    let names = |a: &str, b: &str| print::of(&(a.to_owned(), b.to_owned())).unwrap();
    assert_ne!(names("ab", "c"), names("a", "bc"));
    assert_ne!(names("a", "b"), names("b", "a"));
    let map = |entries: [(u8, u8); 2]| print::of(&HashMap::from(entries)).unwrap();
    assert_eq!(map([(1, 2), (3, 4)]), map([(3, 4), (1, 2)]));
    assert_ne!(map([(1, 2), (3, 4)]), map([(1, 4), (3, 2)]));
    assert_ne!(print::of(&vec![1, 1, 2]).unwrap(), print::of(&vec![1, 2, 2]).unwrap());
}

/// What an encoded map gives in another order each time: its bytes are not the value.
#[derive(Debug, Serialize, Deserialize)]
struct Encoded {
    #[serde(with = "as_text")]
    text: HashMap<u32, String>,
    #[serde(with = "as_bytes")]
    bytes: HashMap<u32, String>,
}

mod as_text {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        map: &HashMap<u32, String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&serde_json::to_string(map).unwrap())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<HashMap<u32, String>, D::Error> {
        Ok(serde_json::from_str(&String::deserialize(from)?).unwrap())
    }
}

mod as_bytes {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        map: &HashMap<u32, String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&postcard::to_allocvec(map).unwrap())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<HashMap<u32, String>, D::Error> {
        Ok(postcard::from_bytes(&Vec::<u8>::deserialize(from)?).unwrap())
    }
}

#[test]
fn a_map_that_is_encoded_within_comes_back_whatever_its_order() {
    for entries in 0..20 {
        let map = || (0..entries).map(|key| (key, format!("value {key}"))).collect();
        prove(&Encoded { text: map(), bytes: map() }).unwrap();
    }
}
