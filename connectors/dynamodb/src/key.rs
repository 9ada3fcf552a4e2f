//! What tells the items of a table apart.

use std::fmt;

use tidelock::{Error, ErrorKind, Result};

use crate::change::{Change, ItemChange, ItemUpdate};
use crate::item::Item;
use crate::number::Number;
use crate::value::Value;

/// The most bytes of a partition key, and of a sort key.
const PARTITION_BYTES_MAX: usize = 2_048;
const SORT_BYTES_MAX: usize = 1_024;

/// Which attributes are the key of a table's items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySchema {
    pub(crate) partition: KeyAttribute,
    pub(crate) sort: Option<KeyAttribute>,
}

/// An attribute of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyAttribute {
    pub(crate) name: String,
    pub(crate) kind: KeyKind,
}

/// Of what kind the values of a key's attribute are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A text.
    S,
    /// A number.
    N,
    /// Bytes.
    B,
}

/// An item of these attributes: the key of one, for [`ItemUpdate::of`](crate::ItemUpdate::of), [`ItemChange::delete`](crate::ItemChange::delete) and the
/// function of a lookup, or a whole one.
///
/// ```
/// # use tidelock_dynamodb::{ItemChange, ItemUpdate, key};
/// let leg = || key([("tail", "N123".into()), ("leg", 7.into())]);
/// let delay = ItemChange::update(ItemUpdate::of(leg()).set("delay", 17));
/// let gone = ItemChange::delete(leg());
/// // Changes of one item have one key, also in front of the sink: `stream.route(|change| change.key(&["tail", "leg"]))`.
/// assert_eq!(delay.key(&["tail", "leg"]), gone.key(&["tail", "leg"]));
/// ```
pub fn key<'a>(attributes: impl IntoIterator<Item = (&'a str, Value)>) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl KeyKind {
    /// How a value of this kind is made.
    fn such_as(self) -> &'static str {
        match self {
            Self::S => "a text, such as Value::from(\"7\")",
            Self::N => "a number, such as Value::from(7)",
            Self::B => "bytes, such as Value::B(bytes)",
        }
    }
}

/// The key of an item. Equal keys are of one item, in whatever form their numbers were written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    partition: Value,
    sort: Option<Value>,
}

/// As a person is told to make it.
impl fmt::Display for KeySchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyAttribute { name, kind } = &self.partition;
        write!(f, "the partition key `{name}` of the kind {kind:?}")?;
        match &self.sort {
            Some(KeyAttribute { name, kind }) => write!(f, " and the sort key `{name}` of the kind {kind:?}"),
            None => write!(f, " and no sort key"),
        }
    }
}

impl KeySchema {
    /// The attributes of the key.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }

    /// Whether an attribute of this name belongs to the key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    /// The key of an item that may have other attributes beside it.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] where an attribute is missing, or its value cannot be that of a key.
    pub(crate) fn key_of(&self, item: &Item) -> Result<Key> {
        let value_of = |attribute: &KeyAttribute, bytes_max| {
            attribute.value_of(item, bytes_max).map_err(|error| error.with("table_key", self))
        };
        let partition = value_of(&self.partition, PARTITION_BYTES_MAX)?;
        let sort = self.sort.as_ref().map(|sort| value_of(sort, SORT_BYTES_MAX)).transpose()?;
        Ok(Key { partition, sort })
    }

    /// The key of the item that is changed.
    ///
    /// # Errors
    /// As above, and where an update or a delete has other attributes beside the key, or an update changes those of the key.
    pub(crate) fn key_of_change(&self, change: &ItemChange) -> Result<Key> {
        let (attributes, is_whole) = match &change.change {
            Change::Put(item) => (item, true),
            Change::Update(ItemUpdate { key, .. }) | Change::Delete(key) => (key, false),
        };
        let key = self.key_of(attributes)?;
        let refuse =
            |name: &String, why: &str| Err(refused(name, why).with("table_key", self).with("key", &key));
        if !is_whole && let Some(other) = attributes.keys().find(|name| !self.has(name)) {
            let why = "this attribute does not belong to the key of the table: an update and a delete name their item by its key alone, and an update \
                       gives other attributes by `set`";
            return refuse(other, why);
        }
        if let Change::Update(ItemUpdate { set, remove, add, .. }) = &change.change {
            let changed = set.keys().chain(remove).chain(add.keys());
            if let Some(own) = changed.clone().find(|name| self.has(name)) {
                return refuse(
                    own,
                    "an update cannot change the key of an item: delete the one and put the other",
                );
            }
            let mut names: Vec<&String> = changed.collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return refuse(twice[0], "an update can do only one thing with an attribute");
            }
        }
        Ok(key)
    }
}

impl KeyAttribute {
    fn value_of(&self, item: &Item, bytes_max: usize) -> Result<Value> {
        let refuse = |why: &str| Err(refused(&self.name, why));
        let Some(value) = item.get(&self.name) else {
            return refuse(
                "an attribute of the table's key is missing: each put, update and delete has all of them",
            );
        };
        if let Some(why) = self.unfit(value, bytes_max) {
            return refuse(&why);
        }
        Ok(match value {
            Value::N(number) => match Number::parse(number) {
                Some(number) => Value::N(number.to_string()),
                None => return refuse("the number of a key is none that DynamoDB has"),
            },
            other => other.clone(),
        })
    }

    /// Why a value cannot be that of a key, of the table or of an index.
    fn unfit(&self, value: &Value, bytes_max: usize) -> Option<String> {
        let is_of_kind = matches!(
            (self.kind, value),
            (KeyKind::S, Value::S(_)) | (KeyKind::N, Value::N(_)) | (KeyKind::B, Value::B(_))
        );
        if !is_of_kind {
            let (kind, other, such_as) = (self.kind, value.kind(), self.kind.such_as());
            return Some(format!(
                "an attribute of the key is of the kind {other} and must be of the kind {kind:?}, as the table has it: {such_as}"
            ));
        }
        match value.bytes() {
            0 => Some("an attribute of the key must not be empty".to_owned()),
            bytes if bytes > bytes_max => {
                Some(format!("an attribute of the key has {bytes} bytes, and may have {bytes_max}"))
            }
            _ => None,
        }
    }
}

/// An attribute that belongs to the key of an index. An item need not have it, but where it does it must be as the index wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexKey {
    pub(crate) index: String,
    pub(crate) attribute: KeyAttribute,
    pub(crate) is_sort: bool,
}

impl IndexKey {
    /// Why DynamoDB would not take an item with these attributes.
    pub(crate) fn refused(&self, item: &Item) -> Option<String> {
        let bytes_max = if self.is_sort { SORT_BYTES_MAX } else { PARTITION_BYTES_MAX };
        let why = self.attribute.unfit(item.get(&self.attribute.name)?, bytes_max)?;
        Some(format!("{why}: it belongs to the index {}", self.index))
    }
}

impl Key {
    /// Its attributes.
    pub(crate) fn to_item(&self, schema: &KeySchema) -> Item {
        let values = std::iter::once(&self.partition).chain(&self.sort);
        schema
            .attributes()
            .zip(values)
            .map(|(attribute, value)| (attribute.name.clone(), value.clone()))
            .collect()
    }
}

fn refused(attribute: &str, why: &str) -> Error {
    Error::new(ErrorKind::Data, "find the key of an item", why).with("attribute", attribute)
}

/// How much of a value an error shows.
const SHOWN_MAX: usize = 64;

/// For people, of long values the beginning.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.partition, f)?;
        let Some(sort) = &self.sort else { return Ok(()) };
        f.write_str(" / ")?;
        show(sort, f)
    }
}

fn show(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_cut = match value {
        Value::S(text) => {
            write!(f, "{}", text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect::<String>())?;
            text.chars().nth(SHOWN_MAX).is_some()
        }
        Value::B(bytes) => {
            write!(f, "{}", bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii())?;
            bytes.len() > SHOWN_MAX
        }
        Value::N(number) => return f.write_str(number),
        other => return write!(f, "{other:?}"),
    };
    if is_cut { f.write_str("…") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;

    use super::*;

    fn schema(sort: Option<KeyKind>) -> KeySchema {
        let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
        KeySchema { partition: attribute("pk", KeyKind::S), sort: sort.map(|kind| attribute("sk", kind)) }
    }

    fn item(values: &[(&str, Value)]) -> Item {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_key_is_found_in_an_item_and_is_one_in_whatever_form_its_number_was_written() {
        let schema = schema(Some(KeyKind::N));
        let keys: HashSet<Key> = ["1", "1.0", "1e0", "+1"]
            .map(|form| {
                let all = [("pk", Value::from("a")), ("sk", Value::N(form.into())), ("other", Value::Null)];
                schema.key_of(&item(&all)).expect("a key")
            })
            .into();
        assert_eq!(keys.len(), 1);
        let key = keys.into_iter().next().expect("one");
        assert_eq!(key.to_item(&schema), item(&[("pk", "a".into()), ("sk", 1.into())]));
        assert_eq!(key.to_string(), "a / 1");
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_with_its_attribute() {
        let schema = schema(Some(KeyKind::B));
        let binary = |length| Value::B(Bytes::from(vec![0; length]));
        schema
            .key_of(&item(&[("pk", "a".repeat(2_048).into()), ("sk", binary(1_024))]))
            .expect("the longest");
        for (all, name, why) in [
            (item(&[("sk", binary(1))]), "pk", "missing"),
            (item(&[("pk", "a".into())]), "sk", "missing"),
            (item(&[("pk", "".into()), ("sk", binary(1))]), "pk", "empty"),
            (item(&[("pk", 1.into()), ("sk", binary(1))]), "pk", "kind S"),
            (item(&[("pk", "a".into()), ("sk", "b".into())]), "sk", "kind B"),
            (item(&[("pk", "a".repeat(2_049).into()), ("sk", binary(1))]), "pk", "2048"),
            (item(&[("pk", "a".into()), ("sk", binary(1_025))]), "sk", "1024"),
        ] {
            let error = schema.key_of(&all).expect_err(why);
            assert_eq!(error.kind(), ErrorKind::Data);
            let said = error.to_string();
            assert!(said.contains(why) && said.contains(&format!("attribute={name}")), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told_with_the_key_of_the_table_and_what_to_do() {
        let schema = schema(Some(KeyKind::N));
        let table_key = "table_key=the partition key `pk` of the kind S and the sort key `sk` of the kind N";
        for (wrong, told) in [
            (ItemChange::put(key([("pk", "a".into())])), vec!["attribute=sk", "each put, update and delete"]),
            (
                ItemChange::delete(key([("pk", 7.into()), ("sk", 1.into())])),
                vec!["attribute=pk", "is of the kind N and must be of the kind S", "Value::from(\"7\")"],
            ),
            (
                ItemChange::put(key([("pk", "a".into()), ("sk", "1".into())])),
                vec!["attribute=sk", "is of the kind S and must be of the kind N", "Value::from(7)"],
            ),
            (
                ItemChange::delete(key([("pk", "a".into()), ("sk", 1.into()), ("b", 1.into())])),
                vec!["attribute=b", "by its key alone", "`set`"],
            ),
        ] {
            let error = schema.key_of_change(&wrong).expect_err("refused").to_string();
            assert!(error.contains(table_key) && told.iter().all(|told| error.contains(told)), "{error}");
        }
    }

    #[test]
    fn changes_of_one_item_have_one_key_in_front_of_the_sink_as_in_it() {
        let schema = schema(Some(KeyKind::N));
        let of = |form: &str| key([("pk", "a".into()), ("sk", Value::N(form.into()))]);
        let changes = [
            ItemChange::put(of("1.0").into_iter().chain(key([("b", 1.into())])).collect()),
            ItemChange::update(ItemUpdate::of(of("1e0")).set("b", 2)),
            ItemChange::delete(of("+1")),
        ];
        for change in &changes {
            let key = schema.key_of_change(change).expect("a key").to_item(&schema);
            assert_eq!(change.key(&["pk", "sk"]), key.into_values().collect::<Vec<_>>());
        }
        // Whoever lacks an attribute, or has no number there, is refused in the sink, and not lost before it.
        let none = ItemChange::delete(key([("sk", Value::N("one".into()))]));
        assert_eq!(none.key(&["pk", "sk"]), [Value::Null, Value::N("one".into())]);
    }

    #[test]
    fn a_change_that_is_at_odds_with_its_own_key_is_refused() {
        let schema = schema(None);
        let key = || item(&[("pk", "a".into())]);
        let update = || ItemUpdate::of(key());
        let all = item(&[("pk", "a".into()), ("b", Value::Null)]);
        for good in [
            ItemChange::put(all.clone()),
            ItemChange::delete(key()),
            ItemChange::update(update().set("b", 1).remove("c").add("d", 1)),
        ] {
            assert_eq!(schema.key_of_change(&good).expect("a key").to_string(), "a");
        }
        for (wrong, why) in [
            (ItemChange::delete(all.clone()), "attribute=b"),
            (ItemChange::update(ItemUpdate::of(all)), "attribute=b"),
            (ItemChange::update(update().set("pk", "b")), "attribute=pk"),
            (ItemChange::update(update().remove("pk")), "attribute=pk"),
            (ItemChange::update(update().set("b", 1).remove("b")), "attribute=b"),
            (ItemChange::update(update().add("b", 1).set("b", 1)), "attribute=b"),
        ] {
            let error = schema.key_of_change(&wrong).expect_err(why).to_string();
            assert!(error.contains(why) && error.contains("key=a"), "{error}");
        }
    }

    #[test]
    fn a_key_is_shown_in_one_line_of_a_bounded_length() {
        let schema = schema(Some(KeyKind::B));
        let long = [
            ("pk", format!("\n{}", "ä".repeat(500)).into()),
            ("sk", Value::B(Bytes::from_static(&[0, 255]))),
        ];
        let shown = schema.key_of(&item(&long)).expect("a key").to_string();
        assert!(shown.starts_with("\\nä") && shown.ends_with("… / \\x00\\xff"), "{shown}");
        assert!(shown.chars().count() < 100, "{shown}");
    }
}
