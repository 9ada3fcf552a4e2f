//! Refuses what a format would change without a word, while a record is written.
//!
//! Serializers of formats write something for everything: NaN becomes `null` in JSON, an empty text under an
//! `Option` becomes a missing value in CSV. Whoever reads it back gets another value. [`Watch::record`] wraps a
//! record, so that its format's serializer gets each value only after it was looked at; and adds up what a record
//! weighs, for formats that gather records.

use std::cell::{Cell, RefCell};

use serde::ser::{self, Serialize, Serializer};
use tidelock::{Error, ErrorKind};

/// The error of a record that a format has no form for.
pub(crate) fn unwritable(
    format: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let error = error.into();
    Error::new(ErrorKind::Data, "write a record", format!("the record cannot be written: {error}"))
        .with("format", format)
        .because(error)
}

/// What a format cannot tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Numbers are finite, and `null` is missing.
    Json,
    /// A field is text and no more; an empty one is missing.
    Csv {
        /// An empty text under an `Option` may be read back as missing.
        empty_is_missing: bool,
    },
    /// A null is missing.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Looks at the records of one file.
pub(crate) struct Watch {
    form: Form,
    /// The names in the header of a CSV file: those of the fields of its first record.
    columns: RefCell<Vec<&'static str>>,
    /// The header is written: the columns are all there are.
    has_header: Cell<bool>,
    /// The field at hand, for messages.
    field: Cell<&'static str>,
    /// About how many bytes the values took that were written since this was last asked.
    weight: Cell<usize>,
}

impl Watch {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            columns: RefCell::default(),
            has_header: Cell::new(false),
            field: Cell::new(""),
            weight: Cell::new(0),
        }
    }

    /// A record that is looked at as it is written.
    pub(crate) fn record<'w, T: Serialize + ?Sized>(&'w self, value: &'w T) -> Watched<'w, T> {
        Watched { value, eye: Eye { watch: self, depth: 0, in_some: false } }
    }

    /// The record was written.
    pub(crate) fn written(&self) {
        self.field.set("");
        self.has_header.set(true);
    }

    /// The record was refused, and nothing of it was written.
    pub(crate) fn refused(&self) {
        self.field.set("");
        if !self.has_header.get() {
            self.columns.borrow_mut().clear();
        }
    }

    /// About how many bytes the values take that were written since the last call.
    #[cfg(feature = "parquet")]
    pub(crate) fn take_weight(&self) -> usize {
        self.weight.take()
    }

    fn refuse<E: ser::Error>(&self, reason: &str) -> E {
        match self.field.get() {
            "" => E::custom(reason),
            field => E::custom(format_args!("field {field}: {reason}")),
        }
    }
}

/// Where in a record the watch stands.
#[derive(Clone, Copy)]
struct Eye<'w> {
    watch: &'w Watch,
    /// How many structs, lists and maps stand around the value.
    depth: u32,
    /// The value stands directly in a `Some`.
    in_some: bool,
}

impl<'w> Eye<'w> {
    fn weigh(self, bytes: usize) {
        self.watch.weight.set(self.watch.weight.get() + bytes);
    }

    fn float<E: ser::Error>(self, finite: bool) -> Result<(), E> {
        if !finite && self.watch.form == Form::Json {
            return Err(self
                .watch
                .refuse("JSON has no form for NaN and infinities, and null would be read back"));
        }
        Ok(())
    }

    /// A value that the format writes as it writes a missing one.
    fn null<E: ser::Error>(self) -> Result<(), E> {
        if self.in_some {
            return Err(self.watch.refuse("an empty value in a Some would be read back as None"));
        }
        Ok(())
    }

    fn text<E: ser::Error>(self, bytes: usize) -> Result<(), E> {
        self.weigh(bytes + size_of::<usize>());
        if bytes == 0 && self.in_some && self.watch.form == (Form::Csv { empty_is_missing: false }) {
            return Err(self.watch.refuse(
                "CSV has no form for an empty text in a Some, and None would be read back; empty_is_missing allows it",
            ));
        }
        Ok(())
    }

    /// A struct, list or map begins.
    fn enter<E: ser::Error>(self) -> Result<Eye<'w>, E> {
        if matches!(self.watch.form, Form::Csv { .. })
            && self.depth > 0
            && !self.watch.columns.borrow().is_empty()
        {
            return Err(self.watch.refuse("CSV has no form for a list, a map or a struct in a field"));
        }
        Ok(Eye { depth: self.depth + 1, in_some: false, ..self })
    }

    /// A variant with a value begins.
    fn variant<E: ser::Error>(self) -> Result<(), E> {
        if matches!(self.watch.form, Form::Csv { .. }) {
            return Err(self
                .watch
                .refuse("CSV has no form for a variant with a value: its name would be lost"));
        }
        Ok(())
    }

    /// The field number `index` of the record begins.
    fn field<E: ser::Error>(self, index: usize, name: &'static str) -> Result<(), E> {
        if self.depth != 1 {
            return Ok(());
        }
        self.watch.field.set(name);
        if !matches!(self.watch.form, Form::Csv { .. }) {
            return Ok(());
        }
        let mut columns = self.watch.columns.borrow_mut();
        match columns.get(index) {
            Some(column) if *column == name => Ok(()),
            None if !self.watch.has_header.get() => {
                columns.push(name);
                Ok(())
            }
            _ => Err(self.watch.refuse("the record's fields are not those of the file's header")),
        }
    }

    /// The record ends after `fields` fields.
    fn leave<E: ser::Error>(self, fields: usize) -> Result<(), E> {
        if self.depth == 1 && matches!(self.watch.form, Form::Csv { .. }) {
            self.watch.field.set("");
            if fields != self.watch.columns.borrow().len() {
                return Err(self.watch.refuse("the record lacks fields of the file's header"));
            }
        }
        Ok(())
    }
}

/// A value that is looked at as it is written.
pub(crate) struct Watched<'w, T: ?Sized> {
    value: &'w T,
    eye: Eye<'w>,
}

impl<T: Serialize + ?Sized> Serialize for Watched<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Watching { inner: serializer, eye: self.eye })
    }
}

/// A format's serializer, or what it makes of a struct, list or map, behind the watch.
struct Watching<'w, S> {
    inner: S,
    eye: Eye<'w>,
}

/// The same for a struct: it counts the fields.
struct WatchingFields<'w, S> {
    inner: S,
    eye: Eye<'w>,
    fields: usize,
}

impl<'w, S> Watching<'w, S> {
    fn value<'v, T: ?Sized>(&self, value: &'v T) -> Watched<'v, T>
    where
        'w: 'v,
    {
        Watched { value, eye: self.eye }
    }
}

/// Scalars go through, each with its weight.
macro_rules! scalars {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.eye.weigh(size_of::<$type>());
            self.inner.$method(value)
        })*
    };
}

impl<'w, S: Serializer> Serializer for Watching<'w, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Watching<'w, S::SerializeSeq>;
    type SerializeTuple = Watching<'w, S::SerializeTuple>;
    type SerializeTupleStruct = Watching<'w, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Watching<'w, S::SerializeTupleVariant>;
    type SerializeMap = Watching<'w, S::SerializeMap>;
    type SerializeStruct = WatchingFields<'w, S::SerializeStruct>;
    type SerializeStructVariant = WatchingFields<'w, S::SerializeStructVariant>;

    scalars! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.eye.weigh(size_of::<f32>());
        self.eye.float(value.is_finite())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.eye.weigh(size_of::<f64>());
        self.eye.float(value.is_finite())?;
        self.inner.serialize_f64(value)
    }

    fn serialize_str(self, value: &str) -> Result<S::Ok, S::Error> {
        self.eye.text(value.len())?;
        self.inner.serialize_str(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.eye.text(value.len())?;
        self.inner.serialize_bytes(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.eye.null()?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let eye = Eye { in_some: true, ..self.eye };
        self.inner.serialize_some(&Watched { value, eye })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.eye.null()?;
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.eye.null()?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.eye.weigh(variant.len());
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Watched { value, eye: self.eye })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.eye.variant()?;
        let eye = self.eye.enter()?;
        self.inner.serialize_newtype_variant(name, index, variant, &Watched { value, eye })
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let eye = self.eye.enter()?;
        Ok(Watching { inner: self.inner.serialize_seq(len)?, eye })
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let eye = self.eye.enter()?;
        Ok(Watching { inner: self.inner.serialize_tuple(len)?, eye })
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let eye = self.eye.enter()?;
        Ok(Watching { inner: self.inner.serialize_tuple_struct(name, len)?, eye })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.eye.variant()?;
        let eye = self.eye.enter()?;
        Ok(Watching { inner: self.inner.serialize_tuple_variant(name, index, variant, len)?, eye })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let eye = self.eye.enter()?;
        Ok(Watching { inner: self.inner.serialize_map(len)?, eye })
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let eye = self.eye.enter()?;
        Ok(WatchingFields { inner: self.inner.serialize_struct(name, len)?, eye, fields: 0 })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.eye.variant()?;
        let eye = self.eye.enter()?;
        Ok(WatchingFields {
            inner: self.inner.serialize_struct_variant(name, index, variant, len)?,
            eye,
            fields: 0,
        })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Elements of lists.
macro_rules! elements {
    ($($trait:ident::$method:ident;)*) => {
        $(impl<S: ser::$trait> ser::$trait for Watching<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let watched = self.value(value);
                self.inner.$method(&watched)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

/// Fields of structs.
macro_rules! fields {
    ($($trait:ident)*) => {
        $(impl<S: ser::$trait> ser::$trait for WatchingFields<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), S::Error> {
                self.eye.field(self.fields, key)?;
                self.fields += 1;
                self.inner.serialize_field(key, &Watched { value, eye: self.eye })
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.eye.leave(self.fields)?;
                self.inner.end()
            }
        })*
    };
}

fields!(SerializeStruct SerializeStructVariant);

impl<S: ser::SerializeMap> ser::SerializeMap for Watching<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let watched = self.value(key);
        self.inner.serialize_key(&watched)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let watched = self.value(value);
        self.inner.serialize_value(&watched)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
