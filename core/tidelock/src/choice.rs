//! How a setting that is a choice stands in a configuration: a word, or a word with settings of its own.
//!
//! A choice whose settings all have defaults may stand as its word alone: `format = "csv"` is `format = { csv = {} }`. And
//! it is read here, and not by the library that the configuration comes from: not every one names the choices where a
//! word is none of them, and some panic at a word that stands for a value.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{EnumAccessDeserializer, MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, EnumAccess, Error, MapAccess, Visitor};

/// Reads a choice, for a field of settings: `#[serde(deserialize_with = "tidelock::choice")]`. A wrong word is told
/// the choices, whatever the settings are read by.
///
/// # Errors
/// Those of the deserializer.
pub fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Choice(PhantomData))
}

struct Choice<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Choice<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word, or a word with settings")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
        T::deserialize(StrDeserializer::<E>::new(word)).or_else(|error| {
            let no_settings = MapDeserializer::<_, E>::new(std::iter::empty::<(&str, &str)>());
            let one = MapDeserializer::new(std::iter::once((word, no_settings)));
            // The first error names the choices.
            T::deserialize(MapAccessDeserializer::new(one)).map_err(|_: E| error)
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<T, A::Error> {
        T::deserialize(EnumAccessDeserializer::new(data))
    }
}
