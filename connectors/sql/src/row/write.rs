//! From a record to a row.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{
    self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{Row, json};
use crate::value::SqlValue;

/// How deeply values may be nested: as deep as `serde_json` reads.
const DEPTH_MAX: u8 = 120;

/// The name under which `serde_json` serializes a text that is JSON already.
const RAW_JSON: &str = "$serde_json::private::RawValue";

/// A record as a row.
///
/// # Errors
/// Why it is none: without the value itself.
pub(crate) fn to_row<T: Serialize + ?Sized>(record: &T) -> Result<Row, String> {
    record.serialize(RecordSerializer).map_err(|Refusal(why)| why)
}

/// Why a value has no form in a row.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self(why)
    }
}

fn refuse<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal(why.to_owned()))
}

/// Why a value that is neither a struct nor a map is no row.
pub(crate) const NO_RECORD: &str = "a record must be a struct or a map: its fields are the columns";

/// Serializes a record: a struct, or a map with texts as keys.
struct RecordSerializer;

/// What no record is.
macro_rules! no_record {
    ($($method:ident($($argument:ty),*);)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<Row, Refusal> {
            refuse(NO_RECORD)
        })*
    };
}

impl Serializer for RecordSerializer {
    type Ok = Row;
    type Error = Refusal;
    type SerializeSeq = Impossible<Row, Refusal>;
    type SerializeTuple = Impossible<Row, Refusal>;
    type SerializeTupleStruct = Impossible<Row, Refusal>;
    type SerializeTupleVariant = Impossible<Row, Refusal>;
    type SerializeMap = RowMap;
    type SerializeStruct = RowMap;
    type SerializeStructVariant = Impossible<Row, Refusal>;

    no_record! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Row, Refusal> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Row, Refusal> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Row, Refusal> {
        refuse(NO_RECORD)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Refusal> {
        refuse(NO_RECORD)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Refusal> {
        refuse(NO_RECORD)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Refusal> {
        refuse(NO_RECORD)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Refusal> {
        refuse(NO_RECORD)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<RowMap, Refusal> {
        Ok(RowMap { row: Row { fields: Vec::with_capacity(length.unwrap_or(0).min(1024)) }, key: None })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<RowMap, Refusal> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Refusal> {
        refuse(NO_RECORD)
    }
}

/// The fields of a record.
struct RowMap {
    row: Row,
    key: Option<String>,
}

impl RowMap {
    fn push<T: Serialize + ?Sized>(&mut self, name: Cow<'static, str>, value: &T) -> Result<(), Refusal> {
        if self.row.fields.iter().any(|(other, _)| *other == name) {
            return Err(Refusal(format!("field {name}: the record has it twice")));
        }
        let value = value
            .serialize(ValueSerializer { depth: 0 })
            .map_err(|Refusal(why)| Refusal(format!("field {name}: {why}")))?;
        self.row.fields.push((name, value));
        Ok(())
    }
}

impl SerializeStruct for RowMap {
    type Ok = Row;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        self.push(Cow::Borrowed(name), value)
    }

    fn end(self) -> Result<Row, Refusal> {
        Ok(self.row)
    }
}

impl SerializeMap for RowMap {
    type Ok = Row;
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.key = Some(key_text(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let key = self.key.take().unwrap_or_default();
        self.push(Cow::Owned(key), value)
    }

    fn end(self) -> Result<Row, Refusal> {
        Ok(self.row)
    }
}

/// A key of a map as a text.
fn key_text<T: Serialize + ?Sized>(key: &T) -> Result<String, Refusal> {
    match key.serialize(ValueSerializer { depth: 0 })? {
        SqlValue::Text(text) => Ok(text),
        SqlValue::I64(number) => Ok(number.to_string()),
        SqlValue::U64(number) => Ok(number.to_string()),
        _ => refuse("the keys of a map must be texts or integers"),
    }
}

/// Serializes a value of a field.
#[derive(Clone, Copy)]
struct ValueSerializer {
    depth: u8,
}

impl ValueSerializer {
    fn deeper(self) -> Result<Self, Refusal> {
        if self.depth == DEPTH_MAX {
            return refuse("it is nested too deeply");
        }
        Ok(Self { depth: self.depth + 1 })
    }

    fn list(self, length: Option<usize>) -> Result<List, Refusal> {
        Ok(List {
            values: Vec::with_capacity(length.unwrap_or(0).min(1024)),
            variant: None,
            inner: self.deeper()?,
        })
    }

    fn object(self, variant: Option<&'static str>) -> Result<Object, Refusal> {
        let inner = self.deeper()?;
        Ok(Object { json: "{".into(), variant, key: None, inner, is_raw: false })
    }
}

/// Values that are one of ours as they are.
macro_rules! plain {
    ($($method:ident($type:ty) => $value:expr;)*) => {
        $(fn $method(self, value: $type) -> Result<SqlValue, Refusal> {
            let make: fn($type) -> SqlValue = $value;
            Ok(make(value))
        })*
    };
}

impl Serializer for ValueSerializer {
    type Ok = SqlValue;
    type Error = Refusal;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Object;
    type SerializeStruct = Object;
    type SerializeStructVariant = Object;

    plain! {
        serialize_bool(bool) => SqlValue::Bool;
        serialize_i8(i8) => |value| SqlValue::I64(value.into());
        serialize_i16(i16) => |value| SqlValue::I64(value.into());
        serialize_i32(i32) => |value| SqlValue::I64(value.into());
        serialize_i64(i64) => SqlValue::I64;
        serialize_u8(u8) => |value| SqlValue::I64(value.into());
        serialize_u16(u16) => |value| SqlValue::I64(value.into());
        serialize_u32(u32) => |value| SqlValue::I64(value.into());
        serialize_u64(u64) => SqlValue::from;
        serialize_i128(i128) => |value| match i64::try_from(value) {
            Ok(value) => SqlValue::I64(value),
            Err(_) => u64::try_from(value).map_or_else(|_| SqlValue::Decimal(value.to_string()), SqlValue::U64),
        };
        serialize_u128(u128) => |value| u64::try_from(value).map_or_else(|_| SqlValue::Decimal(value.to_string()), SqlValue::from);
        serialize_f32(f32) => |value| SqlValue::F64(value.into());
        serialize_f64(f64) => SqlValue::F64;
        serialize_char(char) => |value| SqlValue::Text(value.into());
    }

    fn serialize_str(self, text: &str) -> Result<SqlValue, Refusal> {
        Ok(SqlValue::Text(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<SqlValue, Refusal> {
        Ok(SqlValue::Bytes(bytes.to_owned()))
    }

    fn serialize_none(self) -> Result<SqlValue, Refusal> {
        Ok(SqlValue::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<SqlValue, Refusal> {
        match value.serialize(self)? {
            SqlValue::Null => refuse("nothing within a Some would be read back as nothing at all"),
            value => Ok(value),
        }
    }

    fn serialize_unit(self) -> Result<SqlValue, Refusal> {
        Ok(SqlValue::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<SqlValue, Refusal> {
        Ok(SqlValue::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<SqlValue, Refusal> {
        Ok(SqlValue::Text(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<SqlValue, Refusal> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<SqlValue, Refusal> {
        let mut object = self.object(None)?;
        object.push(variant, value)?;
        object.finish()
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, Refusal> {
        self.list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<List, Refusal> {
        self.list(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<List, Refusal> {
        self.list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<List, Refusal> {
        Ok(List { variant: Some(variant), ..self.list(Some(length))? })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object, Refusal> {
        self.object(None)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object, Refusal> {
        Ok(Object { is_raw: name == RAW_JSON, ..self.object(None)? })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object, Refusal> {
        self.object(Some(variant))
    }
}

/// `{"variant": json}`.
fn wrapped(variant: Option<&str>, json: String) -> Result<SqlValue, Refusal> {
    let Some(variant) = variant else { return Ok(SqlValue::Json(json)) };
    let mut outer = "{".to_owned();
    json::push_text(&mut outer, variant)?;
    outer.push(':');
    outer.push_str(&json);
    outer.push('}');
    Ok(SqlValue::Json(outer))
}

/// A list of values, perhaps of a variant.
struct List {
    values: Vec<SqlValue>,
    variant: Option<&'static str>,
    inner: ValueSerializer,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        self.values.push(value.serialize(self.inner)?);
        Ok(())
    }

    fn finish(self) -> Result<SqlValue, Refusal> {
        let list = SqlValue::Array(self.values);
        match self.variant {
            None => Ok(list),
            variant => wrapped(variant, json::text_of(&list)?),
        }
    }
}

/// A map or a struct, perhaps of a variant: JSON.
struct Object {
    json: String,
    variant: Option<&'static str>,
    key: Option<String>,
    inner: ValueSerializer,
    /// It is a text that is JSON already.
    is_raw: bool,
}

impl Object {
    fn push<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal> {
        let value = value.serialize(self.inner)?;
        if self.is_raw {
            if let SqlValue::Text(text) = value {
                self.json = text;
            }
            return Ok(());
        }
        if self.json.len() > 1 {
            self.json.push(',');
        }
        json::push_text(&mut self.json, name)?;
        self.json.push(':');
        json::push(&mut self.json, &value)?;
        Ok(())
    }

    fn finish(mut self) -> Result<SqlValue, Refusal> {
        if !self.is_raw {
            self.json.push('}');
        }
        wrapped(self.variant, self.json)
    }
}

/// The parts of something that holds other values.
macro_rules! parts {
    ($($holder:ident: $compound:ident::$method:ident($($name:ident: $type:ty)?);)*) => {
        $(impl $compound for $holder {
            type Ok = SqlValue;
            type Error = Refusal;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $type,)? value: &T) -> Result<(), Refusal> {
                self.push($($name,)? value)
            }

            fn end(self) -> Result<SqlValue, Refusal> {
                self.finish()
            }
        })*
    };
}

parts! {
    List: SerializeSeq::serialize_element();
    List: SerializeTuple::serialize_element();
    List: SerializeTupleStruct::serialize_field();
    List: SerializeTupleVariant::serialize_field();
    Object: SerializeStruct::serialize_field(name: &'static str);
    Object: SerializeStructVariant::serialize_field(name: &'static str);
}

impl SerializeMap for Object {
    type Ok = SqlValue;
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.key = Some(key_text(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let key = self.key.take().unwrap_or_default();
        self.push(&key, value)
    }

    fn end(self) -> Result<SqlValue, Refusal> {
        self.finish()
    }
}
