//! The header of a CSV file is a contract: checked once, when the file is opened, and a breach is a fault of the
//! file, whatever the policy for single records says. Record by record it would show late, or never: serde
//! takes a column that is missing for a missing value where the record has an `Option`.

use std::collections::HashSet;

use csv::ByteRecord;
use serde::de::value::Error as ProbeError;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use tidelock::{Error, ErrorKind, Result};

/// The names that a record type reads, aliases among them; `None` where it takes whatever there is, as a map
/// does.
pub(crate) type Fields = Option<&'static [&'static str]>;

/// Asks a record type for the names that it reads.
pub(crate) fn fields_of<T: DeserializeOwned>() -> Fields {
    let mut probe = Probe(None);
    // The probe has no value to give: it listens to what is asked for.
    let _ = T::deserialize(&mut probe);
    probe.0
}

/// Hears the names of a struct's fields.
struct Probe(Fields);

impl<'de> Deserializer<'de> for &mut Probe {
    type Error = ProbeError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ProbeError> {
        Err(ProbeError::custom("a probe has no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Checks the header of the file `name` against what the record type reads.
pub(crate) fn check(header: &ByteRecord, fields: Fields, optional: &[String], name: &str) -> Result<()> {
    let broken = |message: &'static str, column: &str| {
        let columns: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        Error::new(ErrorKind::Data, "read the header", message)
            .with("file", name)
            .with("column", column)
            .with("header", columns.join(","))
    };
    let mut names = HashSet::new();
    for column in header {
        let Ok(column) = std::str::from_utf8(column) else {
            return Err(broken("a column's name is not UTF-8", &String::from_utf8_lossy(column)));
        };
        // A column that the record type does not read may stand there as often as it likes.
        if !names.insert(column) && fields.is_none_or(|fields| fields.contains(&column)) {
            return Err(broken("two columns of the file have one name", column));
        }
    }
    let missing = fields
        .unwrap_or_default()
        .iter()
        .find(|field| !names.contains(**field) && !optional.iter().any(|optional| optional == *field));
    match missing {
        Some(column) => Err(broken(
            "the file lacks a column that the record type reads; optional_columns names those that may be missing",
            column,
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its names count")]
    struct Row {
        id: u64,
        #[serde(rename = "Name", alias = "name")]
        named: Option<String>,
        #[serde(skip)]
        never: u8,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its names count")]
    struct Wrapped(Row);

    #[test]
    fn a_record_type_tells_its_names() {
        assert_eq!(fields_of::<Row>().unwrap().len(), 3, "the alias is a name too");
        assert!(fields_of::<Wrapped>().unwrap().contains(&"Name"));
        assert_eq!(fields_of::<BTreeMap<String, String>>(), None);
        assert_eq!(fields_of::<(u64, String)>(), None);
        assert_eq!(fields_of::<String>(), None);
    }

    #[test]
    fn a_header_keeps_the_contract_or_the_file_is_refused() {
        let checked = |header: &[&str], fields: Fields, optional: &[&str]| {
            let optional: Vec<_> = optional.iter().map(ToString::to_string).collect();
            check(&ByteRecord::from(header.to_vec()), fields, &optional, "a.csv")
                .map_err(|error| error.to_string())
        };
        const FIELDS: Fields = Some(&["id", "value"]);
        checked(&["value", "more", "more", "id"], FIELDS, &[]).unwrap();
        checked(&["id"], FIELDS, &["value"]).unwrap();
        checked(&["a", "b"], None, &[]).unwrap();
        assert!(
            checked(&["id", "valeu"], FIELDS, &[]).unwrap_err().contains("column=value, header=id,valeu")
        );
        assert!(checked(&["id", "value", "id"], FIELDS, &[]).unwrap_err().contains("one name"));
        assert!(checked(&["a", "a"], None, &[]).unwrap_err().contains("one name"));
    }
}
