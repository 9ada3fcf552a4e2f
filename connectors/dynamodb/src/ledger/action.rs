//! A change as an action of a transaction.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use tidelock::{Error, ErrorKind, Result};

use super::place::APPLY;
use crate::change::{Change, ItemUpdate};
use crate::value::Value;
use crate::wire::to_wire;

/// The action that does it. Nothing of the table decides whether: the ledger's action of the same transaction does.
pub(super) fn action(table: &str, change: &Change) -> Result<TransactWriteItem> {
    let action = TransactWriteItem::builder();
    Ok(match change {
        Change::Put(item) => {
            let put = Put::builder().table_name(table).set_item(Some(to_wire(item.clone())));
            action.put(built(APPLY, put.build())?)
        }
        Change::Delete(key) => {
            let delete = Delete::builder().table_name(table).set_key(Some(to_wire(key.clone())));
            action.delete(built(APPLY, delete.build())?)
        }
        Change::Update(update) => {
            let Expression { text, names, values } = Expression::of(update);
            let values = Some(values).filter(|values| !values.is_empty());
            let update = Update::builder()
                .table_name(table)
                .set_key(Some(to_wire(update.key.clone())))
                .update_expression(text)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values);
            action.update(built(APPLY, update.build())?)
        }
    }
    .build())
}

/// A part of a request that has all that it needs.
pub(super) fn built<T>(operation: &'static str, part: Result<T, BuildError>) -> Result<T> {
    part.map_err(|error| Error::new(ErrorKind::Bug, operation, "a request is not complete").because(error))
}

/// What an update does, with other names for its attributes: any may be a word of DynamoDB's own, or have any letters.
#[derive(Debug, Default)]
struct Expression {
    text: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn of(update: &ItemUpdate) -> Self {
        let mut all = Self::default();
        let (set, add) = (update.set.iter(), update.add.iter());
        all.clause("SET", set.map(|(name, value)| (name, Some(value))), "=");
        all.clause("REMOVE", update.remove.iter().map(|name| (name, None)), "");
        all.clause("ADD", add.map(|(name, value)| (name, Some(value))), " ");
        all
    }

    fn clause<'u>(
        &mut self,
        word: &str,
        what: impl Iterator<Item = (&'u String, Option<&'u Value>)>,
        between: &str,
    ) {
        for (at, (name, value)) in what.enumerate() {
            let number = self.names.len();
            self.names.insert(format!("#a{number}"), name.clone());
            // Writing to a text does not fail.
            let _ = match (at, number) {
                (0, 0) => write!(self.text, "{word} #a{number}"),
                (0, _) => write!(self.text, " {word} #a{number}"),
                _ => write!(self.text, ",#a{number}"),
            };
            if let Some(value) = value {
                self.values.insert(format!(":a{number}"), value.clone().into());
                let _ = write!(self.text, "{between}:a{number}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::UPDATE_ATTRIBUTES_MAX;

    #[test]
    fn an_update_is_one_expression_with_other_names() {
        let update = ItemUpdate::of([("pk".to_owned(), Value::from("a"))].into());
        let all = update
            .clone()
            .set("last", 1)
            .set("ä b", true)
            .remove("version")
            .remove("x")
            .add("count", 2)
            .add("n", 3);
        let Expression { text, names, values } = Expression::of(&all);
        assert_eq!(text, "SET #a0=:a0,#a1=:a1 REMOVE #a2,#a3 ADD #a4 :a4,#a5 :a5");
        assert_eq!(
            (names["#a0"].as_str(), names["#a2"].as_str(), names["#a4"].as_str()),
            ("last", "version", "count")
        );
        assert_eq!((names.len(), values.len()), (6, 4));
        let Expression { text, values, .. } = Expression::of(&update.clone().remove("x"));
        assert_eq!((text.as_str(), values.len()), ("REMOVE #a0", 0));
        let many =
            (0..UPDATE_ATTRIBUTES_MAX).fold(update, |update, at| update.set(format!("attribute {at}"), 1));
        assert!(Expression::of(&many).text.len() < 4_096);
    }
}
