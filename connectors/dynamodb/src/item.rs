//! An item, and a user's own type as one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::AttributeValue;
use tidelock::{Error, ErrorKind, Result};

use crate::value::Value;

/// An item: its attributes by name, those of its key among them.
pub type Item = BTreeMap<String, Value>;

/// A value of a user's type as an item: its fields are the attributes, and what is `None` is NULL.
///
/// ```
/// # use tidelock_dynamodb::{Value, item_of, record_of};
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Flight {
///     tail: String,
///     delay: Option<i32>,
/// }
///
/// # fn main() -> tidelock::Result<()> {
/// let flight = Flight { tail: "N123".into(), delay: Some(7) };
/// let item = item_of(&flight)?;
/// assert_eq!(item["delay"], Value::from(7));
/// assert_eq!(record_of::<Flight>(item)?, flight);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Data`] where the type has no names for its fields, or a value has no form here.
pub fn item_of<T: Serialize>(record: &T) -> Result<Item> {
    const WRITE: &str = "make an item of a record";
    match serde_dynamo::to_attribute_value(record) {
        Ok(Value::M(item)) => Ok(item),
        Ok(_) => Err(Error::new(
            ErrorKind::Data,
            WRITE,
            "an item has attributes with names, and this type has none",
        )),
        Err(error) => {
            Err(Error::new(ErrorKind::Data, WRITE, "the record has no form as an item").because(error))
        }
    }
}

/// An item as a value of a user's type. Attributes that the type does not have are left out, as it says itself to serde.
///
/// # Errors
/// [`ErrorKind::Data`] where the item is not of that type.
pub fn record_of<T: DeserializeOwned>(item: Item) -> Result<T> {
    serde_dynamo::from_attribute_value(Value::M(item)).map_err(|error| {
        let why = "the item is not of this type";
        Error::new(ErrorKind::Data, "make a record of an item", why)
            .with("type", std::any::type_name::<T>())
            .because(error)
    })
}

/// The bytes of an item, as DynamoDB counts them: of these an item has 400 KB at most.
pub fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.bytes()).sum()
}

impl From<AttributeValue> for Value {
    fn from(value: AttributeValue) -> Self {
        match value {
            AttributeValue::S(text) => Self::S(text),
            AttributeValue::N(number) => Self::N(number),
            AttributeValue::B(bytes) => Self::B(bytes.into()),
            AttributeValue::Bool(is) => Self::Bool(is),
            AttributeValue::Null(_) => Self::Null,
            AttributeValue::Ss(texts) => Self::Ss(texts.into_iter().collect()),
            AttributeValue::Ns(numbers) => Self::Ns(numbers.into_iter().collect()),
            AttributeValue::Bs(all) => Self::Bs(all.into_iter().map(Into::into).collect()),
            AttributeValue::L(values) => Self::L(values.into_iter().map(Self::from).collect()),
            AttributeValue::M(values) => {
                Self::M(values.into_iter().map(|(name, value)| (name, Self::from(value))).collect())
            }
        }
    }
}

impl From<Value> for AttributeValue {
    fn from(value: Value) -> Self {
        match value {
            Value::S(text) => Self::S(text),
            Value::N(number) => Self::N(number),
            Value::B(bytes) => Self::B(bytes.into()),
            Value::Bool(is) => Self::Bool(is),
            Value::Null => Self::Null(true),
            Value::Ss(texts) => Self::Ss(texts.into_iter().collect()),
            Value::Ns(numbers) => Self::Ns(numbers.into_iter().collect()),
            Value::Bs(all) => Self::Bs(all.into_iter().map(Into::into).collect()),
            Value::L(values) => Self::L(values.into_iter().map(Self::from).collect()),
            Value::M(values) => {
                Self::M(values.into_iter().map(|(name, value)| (name, Self::from(value))).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;
    use crate::wire::{of_wire, to_wire};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Plane {
        tail: String,
        seats: Option<u32>,
        weight: f64,
        home: Option<String>,
        #[serde(with = "serde_dynamo::string_set")]
        names: Vec<String>,
        legs: Vec<(String, i64)>,
    }

    #[test]
    fn a_record_becomes_an_item_and_comes_back_also_through_the_sdk() {
        let plane = Plane {
            tail: "Ñ123".into(),
            seats: Some(180),
            weight: 41_413.5,
            home: None,
            names: vec!["a".into(), "b".into()],
            legs: vec![("JFK".into(), i64::MIN)],
        };
        let item = item_of(&plane).expect("an item");
        assert_eq!(item["seats"], Value::from(180));
        assert_eq!(item["home"], Value::Null);
        assert_eq!(item["names"], Value::Ss(["a", "b"].map(String::from).into()));
        let wire: HashMap<_, _> = to_wire(item.clone());
        assert_eq!(of_wire(wire).expect("an item"), item);
        assert_eq!(record_of::<Plane>(item).expect("a plane"), plane);
    }

    #[test]
    fn what_is_no_item_and_an_item_of_another_type_are_errors_and_not_panics() {
        assert_eq!(item_of(&7).expect_err("no attributes").kind(), ErrorKind::Data);
        assert_eq!(item_of(&["a"]).expect_err("no attributes").kind(), ErrorKind::Data);
        let error = record_of::<Plane>(Item::new()).expect_err("not of this type");
        assert!(error.to_string().contains("Plane"), "{error}");
    }

    #[test]
    fn the_bytes_of_an_item_are_those_of_its_names_and_values() {
        let item: Item = [("key".to_owned(), Value::from("ab")), ("é".to_owned(), Value::from(true))].into();
        assert_eq!(item_bytes(&item), 3 + 2 + 2 + 1);
    }
}
