//! A number that stands for what a value serializes.
//!
//! Two values have the same print exactly where serde sees the same in both, but for the order in which
//! maps and sequences give their entries: a `HashMap` gives them anew each time. Of texts and bytes it is the
//! order of their bytes: such a map may be encoded in them. Names of fields count, so a field that was left out
//! does not look like its neighbour, as it does in a form without names. Numbers count by their bits: NaN is equal
//! to itself.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};

/// The print of a value.
pub(super) fn of<T: Serialize + ?Sized>(value: &T) -> Result<u64, Refused> {
    value.serialize(Print)
}

/// A value's own code refused to serialize it.
#[derive(Debug)]
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Puts two numbers together so that every bit of both matters, and their order.
fn mix(a: u64, b: u64) -> u64 {
    let mut mixed = a.rotate_left(25) ^ b.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn bytes(bytes: &[u8]) -> u64 {
    let chunks = bytes.chunks(8).map(|chunk| chunk.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)));
    chunks.fold(bytes.len() as u64, mix)
}

/// Of bytes in any order.
fn shuffled(bytes: &[u8]) -> u64 {
    let sum = bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_add(mix(UNORDERED, u64::from(*byte))));
    mix(sum, bytes.len() as u64)
}

/// What a print begins with: a number and a text of the same bits are not the same.
const NOTHING: u64 = 1;
const SOMETHING: u64 = 2;
const TEXT: u64 = 3;
const BYTES: u64 = 4;
const ORDERED: u64 = 5;
const UNORDERED: u64 = 6;

struct Print;

macro_rules! numbers {
    ($($method:ident: $number:ty,)*) => {$(
        fn $method(self, value: $number) -> Result<u64, Refused> {
            Ok(bytes(&value.to_le_bytes()))
        }
    )*};
}

impl Serializer for Print {
    type Ok = u64;
    type Error = Refused;
    type SerializeSeq = Unordered;
    type SerializeTuple = Ordered;
    type SerializeTupleStruct = Ordered;
    type SerializeTupleVariant = Ordered;
    type SerializeMap = Unordered;
    type SerializeStruct = Ordered;
    type SerializeStructVariant = Ordered;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_bool(self, value: bool) -> Result<u64, Refused> {
        Ok(u64::from(value))
    }

    fn serialize_char(self, value: char) -> Result<u64, Refused> {
        Ok(u64::from(u32::from(value)))
    }

    fn serialize_str(self, value: &str) -> Result<u64, Refused> {
        Ok(mix(TEXT, shuffled(value.as_bytes())))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<u64, Refused> {
        Ok(mix(BYTES, shuffled(value)))
    }

    fn serialize_none(self) -> Result<u64, Refused> {
        Ok(NOTHING)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<u64, Refused> {
        Ok(mix(SOMETHING, of(value)?))
    }

    fn serialize_unit(self) -> Result<u64, Refused> {
        Ok(NOTHING)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<u64, Refused> {
        Ok(NOTHING)
    }

    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Result<u64, Refused> {
        Ok(mix(NOTHING, u64::from(variant)))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<u64, Refused> {
        of(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Result<u64, Refused> {
        Ok(mix(u64::from(variant), of(value)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Unordered, Refused> {
        Ok(Unordered::default())
    }

    fn serialize_tuple(self, _: usize) -> Result<Ordered, Refused> {
        Ok(Ordered(ORDERED))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Ordered, Refused> {
        Ok(Ordered(ORDERED))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Ordered, Refused> {
        Ok(Ordered(mix(ORDERED, u64::from(variant))))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Unordered, Refused> {
        Ok(Unordered::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Ordered, Refused> {
        Ok(Ordered(ORDERED))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Ordered, Refused> {
        Ok(Ordered(mix(ORDERED, u64::from(variant))))
    }

    /// As in the stored form.
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Fields and elements whose places matter.
struct Ordered(u64);

impl Ordered {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.0 = mix(self.0, of(value)?);
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        self.0 = mix(self.0, mix(bytes(name.as_bytes()), of(value)?));
        Ok(())
    }
}

macro_rules! ordered {
    ($($kind:ident: $method:ident($($name:ident)?) by $by:ident,)*) => {$(
        impl ser::$kind for Ordered {
            type Ok = u64;
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), Refused> {
                self.$by($($name,)? value)
            }

            fn end(self) -> Result<u64, Refused> {
                Ok(self.0)
            }
        }
    )*};
}

ordered! {
    SerializeTuple: serialize_element() by element,
    SerializeTupleStruct: serialize_field() by element,
    SerializeTupleVariant: serialize_field() by element,
    SerializeStruct: serialize_field(name) by field,
    SerializeStructVariant: serialize_field(name) by field,
}

/// Entries whose order does not matter.
#[derive(Default)]
struct Unordered {
    sum: u64,
    count: u64,
    key: u64,
}

impl Unordered {
    fn add(&mut self, entry: u64) {
        self.sum = self.sum.wrapping_add(mix(UNORDERED, entry));
        self.count += 1;
    }

    fn print(&self) -> u64 {
        mix(self.sum, self.count)
    }
}

impl ser::SerializeSeq for Unordered {
    type Ok = u64;
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.add(of(value)?);
        Ok(())
    }

    fn end(self) -> Result<u64, Refused> {
        Ok(self.print())
    }
}

impl ser::SerializeMap for Unordered {
    type Ok = u64;
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.key = of(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.add(mix(self.key, of(value)?));
        Ok(())
    }

    fn end(self) -> Result<u64, Refused> {
        Ok(self.print())
    }
}
