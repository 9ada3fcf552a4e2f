//! A value between serde and the drivers: what a column can hold, whatever database it is of.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// One value of a row.
#[derive(Clone, PartialEq)]
pub(crate) enum SqlValue {
    Null,
    Bool(bool),
    I64(i64),
    /// Only what is greater than every `i64`: each integer has one form.
    U64(u64),
    F64(f64),
    /// A number as its digits say it, of any length.
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    Date(Date),
    Time(Time),
    /// A date and a time of no zone.
    Timestamp(DateTime),
    /// A moment.
    Moment(Timestamp),
    Uuid([u8; 16]),
    /// A JSON text.
    Json(String),
    Array(Vec<SqlValue>),
}

impl SqlValue {
    /// The type for messages: never the value.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "a missing value",
            Self::Bool(_) => "a bool",
            Self::I64(_) | Self::U64(_) => "an integer",
            Self::F64(_) => "a float",
            Self::Decimal(_) => "a decimal",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::Timestamp(_) => "a timestamp without a zone",
            Self::Moment(_) => "a timestamp with a zone",
            Self::Uuid(_) => "a uuid",
            Self::Json(_) => "a nested value",
            Self::Array(_) => "a list",
        }
    }

    /// About how many bytes it takes on its way.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Decimal(text) | Self::Text(text) | Self::Json(text) => 8 + text.len(),
            Self::Bytes(bytes) => 8 + bytes.len(),
            Self::Array(values) => 8 + values.iter().map(Self::weight).sum::<usize>(),
            _ => 8,
        }
    }
}

impl From<u64> for SqlValue {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::U64(value), Self::I64)
    }
}

/// Values are the user's data: they are not for logs.
impl fmt::Debug for SqlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

/// A value for people: of a long one its beginning. For keys alone.
pub(crate) struct Shown<'v>(pub(crate) &'v SqlValue);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS: usize = 64;
        let text = match self.0 {
            SqlValue::Null => "null".to_owned(),
            SqlValue::Bool(value) => value.to_string(),
            SqlValue::I64(value) => value.to_string(),
            SqlValue::U64(value) => value.to_string(),
            SqlValue::F64(value) => value.to_string(),
            SqlValue::Decimal(text) => text.clone(),
            SqlValue::Text(text) | SqlValue::Json(text) => format!("{text:?}"),
            SqlValue::Bytes(bytes) => BASE64.encode(&bytes[..bytes.len().min(SHOWN_CHARS)]),
            other => plain_text(other),
        };
        match text.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// What is neither number nor text nor nested, as people and JSON write it.
pub(crate) fn plain_text(value: &SqlValue) -> String {
    match value {
        SqlValue::Date(date) => date.to_string(),
        SqlValue::Time(time) => time.to_string(),
        SqlValue::Timestamp(time) => time.to_string(),
        SqlValue::Moment(moment) => moment.to_string(),
        SqlValue::Uuid(bytes) => uuid_text(bytes),
        other => other.type_name().to_owned(),
    }
}

/// A uuid as it is usually written.
fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Reads a uuid, with its hyphens or without.
pub(crate) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    let in_place = [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    if !(hyphens == 0 || hyphens == 4 && in_place) {
        return None;
    }
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// The stored form: as JSON where JSON says the same, and else an object of one field that names the type.
impl Serialize for SqlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = |serializer: S, name: &str, text: &dyn fmt::Display| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(name, &format_args!("{text}"))?;
            map.end()
        };
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::I64(value) => serializer.serialize_i64(*value),
            Self::U64(value) => serializer.serialize_u64(*value),
            // JSON has no form for these.
            Self::F64(value) if !value.is_finite() => named(serializer, "float", value),
            Self::F64(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Decimal(text) => named(serializer, "decimal", text),
            Self::Bytes(bytes) => named(serializer, "bytes", &BASE64.encode(bytes)),
            Self::Date(date) => named(serializer, "date", date),
            Self::Time(time) => named(serializer, "time", time),
            Self::Timestamp(time) => named(serializer, "timestamp", time),
            Self::Moment(moment) => named(serializer, "moment", moment),
            Self::Uuid(bytes) => named(serializer, "uuid", &uuid_text(bytes)),
            Self::Json(text) => named(serializer, "json", text),
            Self::Array(values) => serializer.collect_seq(values),
        }
    }
}

impl<'de> Deserialize<'de> for SqlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Stored;

        impl<'de> Visitor<'de> for Stored {
            type Value = SqlValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of a row")
            }

            fn visit_unit<E>(self) -> Result<SqlValue, E> {
                Ok(SqlValue::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<SqlValue, E> {
                Ok(SqlValue::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<SqlValue, E> {
                Ok(SqlValue::I64(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<SqlValue, E> {
                Ok(value.into())
            }

            fn visit_f64<E>(self, value: f64) -> Result<SqlValue, E> {
                Ok(SqlValue::F64(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<SqlValue, E> {
                Ok(SqlValue::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SqlValue, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(SqlValue::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SqlValue, A::Error> {
                let Some((name, text)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::custom("a value without its type"));
                };
                if map.next_key::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom("a value of several types"));
                }
                typed(&name, text)
                    .ok_or_else(|| de::Error::custom(format_args!("this is no value of type {name}")))
            }
        }

        deserializer.deserialize_any(Stored)
    }
}

/// A value that is stored with the name of its type.
fn typed(name: &str, text: String) -> Option<SqlValue> {
    Some(match name {
        "float" => SqlValue::F64(text.parse().ok()?),
        "decimal" => SqlValue::Decimal(text),
        "bytes" => SqlValue::Bytes(BASE64.decode(text).ok()?),
        "date" => SqlValue::Date(text.parse().ok()?),
        "time" => SqlValue::Time(text.parse().ok()?),
        "timestamp" => SqlValue::Timestamp(text.parse().ok()?),
        "moment" => SqlValue::Moment(text.parse().ok()?),
        "uuid" => SqlValue::Uuid(parse_uuid(&text)?),
        "json" => SqlValue::Json(text),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_back_from_its_stored_form() {
        let moment = Timestamp::from_microsecond(-1).expect("a moment");
        let values = [
            SqlValue::Null,
            SqlValue::Bool(true),
            SqlValue::I64(i64::MIN),
            SqlValue::from(7),
            SqlValue::U64(u64::MAX),
            SqlValue::F64(1.0),
            SqlValue::F64(5e-324),
            SqlValue::F64(f64::NEG_INFINITY),
            SqlValue::Decimal("1.50".into()),
            SqlValue::Text("\0\"é".into()),
            SqlValue::Bytes(vec![0, 255]),
            SqlValue::Date(Date::MIN),
            SqlValue::Time(Time::MAX),
            SqlValue::Timestamp(DateTime::MAX),
            SqlValue::Moment(moment),
            SqlValue::Uuid([7; 16]),
            SqlValue::Json("[null]".into()),
            SqlValue::Array(vec![SqlValue::Null, SqlValue::I64(1)]),
        ];
        for value in values {
            let stored = serde_json::to_string(&value).expect("stored");
            let read: SqlValue = serde_json::from_str(&stored).expect("read");
            assert!(read == value, "{stored}");
        }
        let zero = serde_json::to_string(&SqlValue::F64(-0.0)).expect("stored");
        assert!(matches!(serde_json::from_str(&zero), Ok(SqlValue::F64(zero)) if zero.is_sign_negative()));
        let nan = serde_json::to_string(&SqlValue::F64(f64::NAN)).expect("stored");
        assert!(matches!(serde_json::from_str(&nan), Ok(SqlValue::F64(nan)) if nan.is_nan()));
    }

    #[test]
    fn what_is_no_stored_value_is_refused() {
        for wrong in [r#"{}"#, r#"{"bytes":"?"}"#, r#"{"later":"1"}"#, r#"{"json":"1","json":"2"}"#] {
            assert!(serde_json::from_str::<SqlValue>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_never_printed_by_chance() {
        assert_eq!(format!("{:?}", SqlValue::Text("s3cret".into())), "a text");
        let long = SqlValue::Text("ä".repeat(100));
        assert_eq!(Shown(&long).to_string().chars().count(), 65);
    }

    #[test]
    fn a_uuid_has_hyphens_in_their_places_or_none() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let bytes = parse_uuid(text).expect("a uuid");
        assert_eq!(uuid_text(&bytes), text);
        assert_eq!(parse_uuid(&text.replace('-', "")), Some(bytes));
        for wrong in [
            "",
            "0011-2233445566778899aabbccddeeff",
            "zz112233-4455-6677-8899-aabbccddeeff",
            "äääääääääääääääääää",
        ] {
            assert_eq!(parse_uuid(wrong), None, "{wrong}");
        }
    }
}
