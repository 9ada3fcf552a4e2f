//! Items and values as the SDK has them.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use tidelock::{Error, ErrorKind, Result};

use crate::item::Item;
use crate::value::Value;

/// An item for a request.
pub(crate) fn to_wire(item: Item) -> HashMap<String, AttributeValue> {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// An item of an answer, of whichever service.
///
/// # Errors
/// [`ErrorKind::Data`] where it has a value of a kind that this build does not know.
pub(crate) fn of_wire<V>(item: HashMap<String, V>) -> Result<Item>
where
    Value: TryFrom<V, Error = Error>,
{
    let read = |(name, value): (String, V)| match Value::try_from(value) {
        Ok(value) => Ok((name, value)),
        Err(error) => Err(error.with("attribute", name)),
    };
    item.into_iter().map(read).collect()
}

impl From<Value> for AttributeValue {
    fn from(value: Value) -> Self {
        match value {
            Value::S(text) => Self::S(text),
            Value::N(number) => Self::N(number),
            Value::B(bytes) => Self::B(blob(bytes)),
            Value::Bool(is) => Self::Bool(is),
            Value::Null => Self::Null(true),
            Value::Ss(texts) => Self::Ss(texts.into_iter().collect()),
            Value::Ns(numbers) => Self::Ns(numbers.into_iter().collect()),
            Value::Bs(all) => Self::Bs(all.into_iter().map(blob).collect()),
            Value::L(values) => Self::L(values.into_iter().map(Self::from).collect()),
            Value::M(values) => Self::M(to_wire(values)),
        }
    }
}

fn blob(bytes: Bytes) -> Blob {
    Blob::new(Vec::from(bytes))
}

/// Tables and their streams have types of their own that are the same.
macro_rules! of_wire {
    ($wire:ty) => {
        impl TryFrom<$wire> for Value {
            type Error = Error;

            fn try_from(wire: $wire) -> Result<Self> {
                type Wire = $wire;
                Ok(match wire {
                    Wire::S(text) => Self::S(text),
                    Wire::N(number) => Self::N(number),
                    Wire::B(blob) => Self::B(blob.into_inner().into()),
                    Wire::Bool(is) => Self::Bool(is),
                    Wire::Null(_) => Self::Null,
                    Wire::Ss(texts) => Self::Ss(texts.into_iter().collect()),
                    Wire::Ns(numbers) => Self::Ns(numbers.into_iter().collect()),
                    Wire::Bs(all) => Self::Bs(all.into_iter().map(|blob| blob.into_inner().into()).collect()),
                    Wire::L(values) => {
                        Self::L(values.into_iter().map(Self::try_from).collect::<Result<_>>()?)
                    }
                    Wire::M(values) => Self::M(of_wire(values)?),
                    _ => {
                        let why = "an item has a value of a kind that this build does not know";
                        return Err(Error::new(ErrorKind::Data, "read an item", why));
                    }
                })
            }
        }
    };
}

of_wire!(AttributeValue);
of_wire!(aws_sdk_dynamodbstreams::types::AttributeValue);
