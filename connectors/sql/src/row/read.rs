//! From a row to a record.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::de::IoRead;

use crate::value::{SqlValue, plain_text};

/// A row as a record: its columns are the fields.
///
/// # Errors
/// Which column is not what the record wants, and why: without the value itself.
pub(crate) fn from_row<T: DeserializeOwned>(columns: &[String], values: Vec<SqlValue>) -> Result<T, String> {
    let fields = columns.iter().zip(values).map(|(name, value)| (name.as_str(), Field { name, value }));
    T::deserialize(RowDeserializer(MapDeserializer::new(fields))).map_err(|Mismatch(why)| why)
}

/// The values of some columns as a key: of a struct its fields, of a tuple its elements, else the one value.
///
/// # Errors
/// Which column is not what the key wants, and why: without the value itself.
pub(crate) fn from_values<T: DeserializeOwned>(
    columns: &[String],
    values: Vec<SqlValue>,
) -> Result<T, String> {
    if fields_of::<T>().is_some() {
        return from_row(columns, values);
    }
    let mut fields = columns.iter().zip(values).map(|(name, value)| Field { name, value });
    let read = match fields.next() {
        Some(only) if columns.len() == 1 => T::deserialize(only),
        first => T::deserialize(SeqDeserializer::new(first.into_iter().chain(fields))),
    };
    read.map_err(|Mismatch(why)| why)
}

/// The fields that a record of this type has, and their other names. `None` where it is no struct, or takes whatever is there.
pub(crate) fn fields_of<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    let _refused = T::deserialize(FieldsOf(&mut fields));
    fields
}

/// Hears what a type asks for, and gives it nothing.
struct FieldsOf<'f>(&'f mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for FieldsOf<'_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch(String::new()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Why a row is not a record of this type.
#[derive(Debug)]
struct Mismatch(String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// The words of serde quote the value, which is the user's: these do not.
impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("it is {}, and the record wants {expected}", name_of(&found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("it is {} that does not fit: the record wants {expected}", name_of(&found)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("it is none of {expected:?}"))
    }
}

fn name_of(found: &de::Unexpected<'_>) -> &'static str {
    match found {
        de::Unexpected::Bool(_) => "a bool",
        de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) => "an integer",
        de::Unexpected::Float(_) => "a float",
        de::Unexpected::Char(_) | de::Unexpected::Str(_) => "a text",
        de::Unexpected::Bytes(_) => "bytes",
        de::Unexpected::Unit | de::Unexpected::Option => "a missing value",
        de::Unexpected::Seq => "a list",
        _ => "a nested value",
    }
}

/// A record of fields.
struct RowDeserializer<M>(M);

impl<'de, M> Deserializer<'de> for RowDeserializer<M>
where
    M: de::MapAccess<'de, Error = Mismatch>,
{
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_map(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A value of a column, of which errors name the column.
struct Field<'c> {
    name: &'c str,
    value: SqlValue,
}

impl<'de> IntoDeserializer<'de, Mismatch> for Field<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Calls that are passed on, with the column's name in their errors.
macro_rules! named {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Mismatch> {
            let Self { name, value } = self;
            Value(value).$method($($argument,)* visitor).map_err(|Mismatch(why)| Mismatch(format!("column {name}: {why}")))
        })*
    };
}

impl<'de> Deserializer<'de> for Field<'_> {
    type Error = Mismatch;

    named! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name_of_type: &'static str);
        deserialize_newtype_struct(name_of_type: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name_of_type: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name_of_type: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name_of_type: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

/// A value, as its column holds it and as the record asks for it.
struct Value(SqlValue);

impl<'de> IntoDeserializer<'de, Mismatch> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Reads a JSON text, whatever the record wants of it.
fn by_json<'de, V: Visitor<'de>>(
    text: &str,
    ask: impl FnOnce(&mut serde_json::Deserializer<IoRead<&[u8]>>, V) -> serde_json::Result<V::Value>,
    visitor: V,
) -> Result<V::Value, Mismatch> {
    // A reader: what it gives does not borrow from the text, which the record outlives.
    let mut json = serde_json::Deserializer::from_reader(text.as_bytes());
    // The words of `serde_json` may quote the value.
    let place = |error: serde_json::Error| {
        Mismatch(format!("the JSON is not what the record wants, at its byte {}", error.column()))
    };
    let value = ask(&mut json, visitor).map_err(place)?;
    json.end().map_err(place)?;
    Ok(value)
}

/// Integers of any width: from integers, and from decimals without a fraction.
macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match &self.0 {
                SqlValue::Decimal(text) => {
                    let whole = text.split_once('.').map_or(Some(&**text), |(whole, fraction)| {
                        fraction.bytes().all(|digit| digit == b'0').then_some(whole)
                    });
                    visit_integer(whole, visitor)
                }
                SqlValue::Json(text) => by_json(text, |json, visitor| json.$method(visitor), visitor),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

/// The digits as the narrowest integer that has a visit of its own.
fn visit_integer<'de, V: Visitor<'de>>(digits: Option<&str>, visitor: V) -> Result<V::Value, Mismatch> {
    let Some(value) = digits.and_then(|digits| digits.parse::<i128>().ok()) else {
        return Err(Mismatch("it is a decimal that is no integer".into()));
    };
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => visitor.visit_i64(value),
        (_, Ok(value)) => visitor.visit_u64(value),
        _ => visitor.visit_i128(value),
    }
}

/// What a nested value is asked for.
macro_rules! nested {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Mismatch> {
            match &self.0 {
                // A text column holds nested values as JSON.
                SqlValue::Json(text) | SqlValue::Text(text) => {
                    by_json(text, |json, visitor| json.$method($($argument,)* visitor), visitor)
                }
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

/// Floats: also from integers and decimals, which a float may stand for in a column.
fn visit_float<'de, V: Visitor<'de>>(value: Value, visitor: V) -> Result<V::Value, Mismatch> {
    match &value.0 {
        SqlValue::Decimal(text) => match text.parse() {
            Ok(float) => visitor.visit_f64(float),
            Err(_) => Err(Mismatch("it is a decimal that is no float".into())),
        },
        SqlValue::Json(text) => by_json(text, |json, visitor| json.deserialize_f64(visitor), visitor),
        _ => value.deserialize_any(visitor),
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            SqlValue::Null => visitor.visit_unit(),
            SqlValue::Bool(value) => visitor.visit_bool(value),
            SqlValue::I64(value) => visitor.visit_i64(value),
            SqlValue::U64(value) => visitor.visit_u64(value),
            SqlValue::F64(value) => visitor.visit_f64(value),
            SqlValue::Decimal(text) | SqlValue::Text(text) => visitor.visit_string(text),
            SqlValue::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            SqlValue::Json(text) => by_json(&text, |json, visitor| json.deserialize_any(visitor), visitor),
            SqlValue::Array(values) => {
                let mut list = SeqDeserializer::new(values.into_iter().map(Value));
                let value = visitor.visit_seq(&mut list)?;
                list.end()?;
                Ok(value)
            }
            value => visitor.visit_string(plain_text(&value)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            // Databases without bools have 0 and 1 for them.
            SqlValue::I64(value @ (0 | 1)) => visitor.visit_bool(value == 1),
            _ => self.deserialize_any(visitor),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visit_float(self, visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visit_float(self, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            SqlValue::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            SqlValue::Uuid(bytes) => visitor.visit_bytes(&bytes),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        if let SqlValue::Json(text) = &self.0 {
            return by_json(text, |json, visitor| json.deserialize_newtype_struct(name, visitor), visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            // What serde calls a list of `u8` is bytes in a table.
            SqlValue::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            SqlValue::Json(text) | SqlValue::Text(text) => {
                by_json(&text, |json, visitor| json.deserialize_seq(visitor), visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mismatch> {
        match &self.0 {
            SqlValue::Bytes(_) => self.deserialize_seq(visitor),
            SqlValue::Json(text) | SqlValue::Text(text) => {
                by_json(text, |json, visitor| json.deserialize_tuple(length, visitor), visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    nested! {
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            SqlValue::Json(text) => {
                by_json(&text, |json, visitor| json.deserialize_enum(name, variants, visitor), visitor)
            }
            // A variant with values is an object; one without is its name.
            SqlValue::Text(text) if text.starts_with('{') => {
                by_json(&text, |json, visitor| json.deserialize_enum(name, variants, visitor), visitor)
            }
            SqlValue::Text(text) => visitor.visit_enum(IntoDeserializer::<Mismatch>::into_deserializer(text)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { char str string unit unit_struct identifier }
}
