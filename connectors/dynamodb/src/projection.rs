//! Which attributes of items are asked for.

use std::collections::HashMap;

use tidelock::Result;

use crate::deleted::Deleted;
use crate::error::setting;
use crate::item::Item;
use crate::key::KeySchema;

/// An expression has 4,096 bytes at most, and each attribute takes six of them.
const ATTRIBUTES_MAX: usize = 600;

/// What is asked for of an item. Names stand in it under others: a name may be a reserved word, or have a point in it, which would mean a path.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    pub(crate) expression: String,
    pub(crate) names: HashMap<String, String>,
    /// An attribute that was asked for by nobody but us.
    own: Option<String>,
}

impl Projection {
    /// These attributes, those of the key, by which an item is known, and the one that marks deleted items. `None`: all that there are.
    pub(crate) fn of(attributes: &[String], key: &KeySchema, deleted: &Deleted) -> Option<Self> {
        if attributes.is_empty() {
            return None;
        }
        let mut wanted: Vec<&str> = attributes.iter().map(String::as_str).collect();
        for key in key.attributes() {
            if !attributes.contains(&key.name) {
                wanted.push(&key.name);
            }
        }
        let own = deleted.mark().filter(|mark| !wanted.contains(mark)).map(str::to_owned);
        wanted.extend(own.as_deref());
        let alias = |at: usize| format!("#{at}");
        let expression = (0..wanted.len()).map(alias).collect::<Vec<_>>().join(", ");
        let names = wanted.into_iter().enumerate().map(|(at, name)| (alias(at), name.to_owned())).collect();
        Some(Self { expression, names, own })
    }

    /// Leaves what was asked for of an item that came.
    pub(crate) fn strip(&self, item: &mut Item) {
        if let Some(own) = &self.own {
            item.remove(own);
        }
    }
}

/// Checks the setting `attributes` of whoever asks.
///
/// # Errors
/// [`ErrorKind::Config`](tidelock::ErrorKind::Config) naming it.
pub(crate) fn check(attributes: &[String]) -> Result<()> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(setting("attributes", format!("up to {ATTRIBUTES_MAX} can be chosen; none means all")));
    }
    for (at, name) in attributes.iter().enumerate() {
        if name.is_empty() {
            return Err(setting("attributes", "an attribute has a name"));
        }
        if attributes[..at].contains(name) {
            return Err(setting("attributes", "an attribute is there twice").with("attribute", name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyAttribute, KeyKind};

    fn key() -> KeySchema {
        let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyKind::S };
        KeySchema { partition: attribute("id"), sort: Some(attribute("at")) }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_name_is_an_alias_and_the_key_comes_along_once() {
        let none = Deleted::by("");
        assert!(Projection::of(&[], &key(), &none).is_none());
        let attributes = owned(&["last", "a.b", "id"]);
        let projection = Projection::of(&attributes, &key(), &none).expect("some are chosen");
        assert_eq!(projection.expression, "#0, #1, #2, #3");
        let names = [("#0", "last"), ("#1", "a.b"), ("#2", "id"), ("#3", "at")];
        let names = names.map(|(alias, name)| (alias.to_owned(), name.to_owned()));
        assert_eq!(projection.names, HashMap::from(names));
    }

    #[test]
    fn what_marks_deleted_items_is_asked_for_and_given_only_where_it_was_wanted() {
        let item = || Item::from([("id".to_owned(), "a".into()), ("gone".to_owned(), false.into())]);
        for (attributes, given) in [(&["last"][..], 1), (&["last", "gone"], 2)] {
            let projection =
                Projection::of(&owned(attributes), &key(), &Deleted::by("gone")).expect("some are chosen");
            assert_eq!(projection.names.values().filter(|name| *name == "gone").count(), 1);
            let mut item = item();
            projection.strip(&mut item);
            assert_eq!(item.len(), given, "{attributes:?}");
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused_and_what_can_fits_into_an_expression() {
        for wrong in [owned(&["a", ""]), owned(&["a", "b", "a"]), vec!["a".to_owned(); ATTRIBUTES_MAX + 1]] {
            assert!(check(&wrong).expect_err("refused").to_string().contains("setting=attributes"));
        }
        let most: Vec<String> = (0..ATTRIBUTES_MAX).map(|at| format!("a{at}")).collect();
        check(&most).expect("as many as there may be");
        let projection = Projection::of(&most, &key(), &Deleted::by("gone")).expect("some are chosen");
        assert!(projection.expression.len() <= 4_096, "{}", projection.expression.len());
    }
}
