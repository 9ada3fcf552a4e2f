//! One attribute's value, as the user says it and as the snapshot stores it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::number::Number;

/// Values within values: DynamoDB has so many levels at most.
const LEVELS_MAX: usize = 32;

/// What a list or a map takes beside what is in it, and what each of its elements takes beside itself.
const NESTED_BYTES: usize = 3;
const ELEMENT_BYTES: usize = 1;

/// The value of an attribute.
///
/// In JSON it is written as DynamoDB itself does: `{"N": "7"}`, and bytes are base64.
///
/// ```
/// # use tidelock_dynamodb::Value;
/// let seats = Value::from(180);
/// assert_eq!(seats, Value::N("180".into()));
/// assert_eq!(serde_json::to_string(&seats).unwrap(), r#"{"N":"180"}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// A text. Outside of keys it may be empty.
    S(String),
    /// A number of up to 38 digits, as text. DynamoDB gives it back in its own form: `1.50` as `1.5`, and `1e3` as `1000`.
    N(String),
    /// Bytes. Outside of keys there may be none.
    #[serde(with = "crate::bytes_text")]
    B(Bytes),
    /// Yes or no.
    #[serde(rename = "BOOL")]
    Bool(bool),
    /// Nothing: the attribute is there, and has no value.
    #[serde(rename = "NULL", with = "null")]
    Null,
    /// A set of texts. DynamoDB has no empty set.
    #[serde(rename = "SS")]
    Ss(BTreeSet<String>),
    /// A set of numbers.
    #[serde(rename = "NS")]
    Ns(BTreeSet<String>),
    /// A set of bytes.
    #[serde(rename = "BS", with = "crate::bytes_text::set")]
    Bs(BTreeSet<Bytes>),
    /// Values in an order.
    L(Vec<Value>),
    /// Values by name.
    M(BTreeMap<String, Value>),
}

impl Value {
    /// The bytes that it takes of the 400 KB that an item may have, without the attribute's name.
    pub fn bytes(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => Number::bytes_of(number),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::Ss(texts) => texts.iter().map(String::len).sum(),
            Self::Ns(numbers) => numbers.iter().map(|number| Number::bytes_of(number)).sum(),
            Self::Bs(all) => all.iter().map(Bytes::len).sum(),
            Self::L(values) => {
                NESTED_BYTES + values.iter().map(|value| ELEMENT_BYTES + value.bytes()).sum::<usize>()
            }
            Self::M(values) => {
                let element = |(name, value): (&String, &Self)| ELEMENT_BYTES + name.len() + value.bytes();
                NESTED_BYTES + values.iter().map(element).sum::<usize>()
            }
        }
    }

    /// What DynamoDB calls its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
            Self::L(_) => "L",
            Self::M(_) => "M",
        }
    }

    /// Why DynamoDB would not take it, where it would not.
    pub(crate) fn refused(&self) -> Option<&'static str> {
        self.refused_at(1)
    }

    fn refused_at(&self, level: usize) -> Option<&'static str> {
        const NO_NUMBER: &str =
            "a number is none that DynamoDB has: up to 38 digits, between 1E-130 and 9.9E+125 or zero";
        const EMPTY: &str = "DynamoDB has no empty set: remove the attribute instead";
        const NO_NAME: &str = "a name within a map has 1 to 65,535 bytes";
        if level > LEVELS_MAX {
            return Some("values within values have more than 32 levels");
        }
        match self {
            Self::N(number) if Number::parse(number).is_none() => Some(NO_NUMBER),
            Self::Ss(set) if set.is_empty() => Some(EMPTY),
            Self::Bs(set) if set.is_empty() => Some(EMPTY),
            Self::Ns(set) if set.is_empty() => Some(EMPTY),
            Self::Ns(set) => {
                let numbers: Option<BTreeSet<Number>> =
                    set.iter().map(|number| Number::parse(number)).collect();
                match numbers {
                    None => Some(NO_NUMBER),
                    Some(numbers) if numbers.len() < set.len() => {
                        Some("a set has the same number twice, in two forms")
                    }
                    Some(_) => None,
                }
            }
            Self::L(values) => values.iter().find_map(|value| value.refused_at(level + 1)),
            Self::M(values) if !values.keys().all(|name| is_name(name)) => Some(NO_NAME),
            Self::M(values) => values.values().find_map(|value| value.refused_at(level + 1)),
            Self::S(_) | Self::N(_) | Self::B(_) | Self::Bool(_) | Self::Null | Self::Ss(_) | Self::Bs(_) => {
                None
            }
        }
    }
}

/// The longest name of an attribute, in bytes.
const NAME_BYTES_MAX: usize = 65_535;

/// Whether an attribute may have this name, in an item or in a map within it.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::S(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::S(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::B(bytes)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

macro_rules! of_number {
    ($($number:ty)*) => {
        $(impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::N(number.to_string())
            }
        })*
    };
}

of_number!(i8 i16 i32 i64 u8 u16 u32 u64);

/// DynamoDB writes `{"NULL": true}`.
mod null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        true.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        if bool::deserialize(deserializer)? { Ok(()) } else { Err(de::Error::custom("NULL is always true")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeMap<String, Value> {
        let number = "-1234567890123456789012345678901234567.8";
        [
            ("s", Value::from("Zürich")),
            ("empty", Value::from("")),
            ("n", Value::N(number.into())),
            ("b", Value::B(Bytes::from_static(&[0, 255]))),
            ("bool", Value::from(true)),
            ("null", Value::Null),
            ("ss", Value::Ss(["b", "a"].map(String::from).into())),
            ("ns", Value::Ns(["1", "2.5"].map(String::from).into())),
            ("bs", Value::Bs([Bytes::from_static(b"x"), Bytes::new()].into())),
            ("l", Value::L(vec![Value::Null, Value::L(Vec::new())])),
            ("m", Value::M([("k".to_owned(), Value::from(1))].into())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    #[test]
    fn in_json_it_is_what_dynamodb_writes_and_machines_read_it_as_it_was() {
        let json = serde_json::to_value(all()).expect("JSON");
        let written = serde_json::json!({
            "s": { "S": "Zürich" },
            "empty": { "S": "" },
            "n": { "N": "-1234567890123456789012345678901234567.8" },
            "b": { "B": "AP8=" },
            "bool": { "BOOL": true },
            "null": { "NULL": true },
            "ss": { "SS": ["a", "b"] },
            "ns": { "NS": ["1", "2.5"] },
            "bs": { "BS": ["", "eA=="] },
            "l": { "L": [{ "NULL": true }, { "L": [] }] },
            "m": { "M": { "k": { "N": "1" } } },
        });
        assert_eq!(json, written);
        assert_eq!(serde_json::from_value::<BTreeMap<String, Value>>(json).expect("values"), all());
        let bytes = postcard::to_allocvec(&all()).expect("bytes");
        assert_eq!(postcard::from_bytes::<BTreeMap<String, Value>>(&bytes).expect("values"), all());
        assert!(serde_json::from_str::<Value>(r#"{"NULL":false}"#).is_err());
    }

    #[test]
    fn what_dynamodb_would_not_take_is_refused_and_everything_else_is_not() {
        for (name, value) in all() {
            assert_eq!(value.refused(), None, "{name}");
        }
        let nested = |levels: usize| (1..levels).fold(Value::Null, |inner, _| Value::L(vec![inner]));
        assert_eq!(nested(LEVELS_MAX).refused(), None);
        let set = |numbers: &[&str]| Value::Ns(numbers.iter().map(|&number| number.into()).collect());
        for (value, why) in [
            (Value::N("NaN".into()), "number"),
            (Value::N(String::new()), "number"),
            (Value::N("1".repeat(39)), "38 digits"),
            (Value::M([("k".to_owned(), Value::N("1e126".into()))].into()), "number"),
            (Value::L(vec![Value::M([(String::new(), Value::Null)].into())]), "name within a map"),
            (Value::M([("k".repeat(65_536), Value::Null)].into()), "name within a map"),
            (Value::Ss(BTreeSet::new()), "empty set"),
            (Value::Bs(BTreeSet::new()), "empty set"),
            (set(&[]), "empty set"),
            (set(&["one"]), "number"),
            (set(&["1", "1.0"]), "twice"),
            (nested(LEVELS_MAX + 1), "32 levels"),
        ] {
            assert!(value.refused().is_some_and(|said| said.contains(why)), "{value:?}");
        }
    }

    #[test]
    fn its_size_is_counted_as_dynamodb_does() {
        for (value, bytes) in [
            (Value::from("Zürich"), 7),
            (Value::from(0), 1),
            (Value::from(42), 2),
            (Value::from(-42), 3),
            (Value::N("1000".into()), 2),
            (Value::N("1.25".into()), 3),
            (Value::Null, 1),
            (Value::L(vec![Value::Null, Value::from("ab")]), 3 + 2 + 3),
            (Value::M([("key".to_owned(), Value::from(true))].into()), 3 + 1 + 3 + 1),
            (Value::Ns(["1", "22"].map(String::from).into()), 4),
        ] {
            assert_eq!(value.bytes(), bytes, "{value:?}");
        }
    }
}
