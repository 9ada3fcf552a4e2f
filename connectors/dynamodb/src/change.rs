//! What becomes of an item, as the user says it and as the snapshot stores it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidelock::{Result, Versioned, unknown_version};

use crate::item::Item;
use crate::number::Number;
use crate::value::Value;

/// What is done with one item: the record of a sink.
///
/// ```
/// # use tidelock_dynamodb::{ItemChange, ItemUpdate, key};
/// let plane = || key([("tail", "N123".into())]);
/// let put = ItemChange::put(key([("tail", "N123".into()), ("seats", 180.into())]));
/// let delay = ItemChange::update(ItemUpdate::of(plane()).set("delay", 17).remove("gate")).with_version(7);
/// let count = ItemChange::update(ItemUpdate::of(plane()).add("flights", 1));
/// let gone = ItemChange::delete(plane());
/// assert_eq!(delay.version, Some(7));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemChange {
    /// Which of several changes of an item is newer, where the sink's versions are those of the records: see
    /// [`Versions::Record`](crate::Versions::Record).
    pub version: Option<u64>,
    /// What is done.
    pub change: Change,
}

/// What is done with an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// This is the item, whatever it was before. The attributes of its key are among it.
    Put(Item),
    /// Some of its attributes change, and the others stay.
    Update(ItemUpdate),
    /// The item with this key is gone.
    Delete(Item),
}

/// What changes of an item. Where there is none with this key, there is one afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemUpdate {
    /// The attributes of the item's key, and none besides.
    pub key: Item,
    /// These attributes have these values.
    pub set: Item,
    /// These attributes are gone.
    pub remove: BTreeSet<String>,
    /// To these numbers so much is added, and to these sets these elements. What is not there begins with nothing. Only for the sink's mode
    /// [`Ledger`](crate::Mode::Ledger): who sends an addition again after a lost answer counts twice.
    pub add: Item,
}

impl ItemUpdate {
    /// Changes nothing yet of the item with this key.
    pub fn of(key: Item) -> Self {
        Self { key, ..Self::default() }
    }

    /// Gives an attribute a value.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.insert(name.into(), value.into());
        self
    }

    /// Takes an attribute away.
    #[must_use]
    pub fn remove(mut self, name: impl Into<String>) -> Self {
        self.remove.insert(name.into());
        self
    }

    /// Adds to a number or to a set.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.add.insert(name.into(), value.into());
        self
    }
}

impl ItemChange {
    /// Puts a whole item, its key's attributes included.
    pub fn put(item: Item) -> Self {
        Self::new(Change::Put(item))
    }

    /// Changes some attributes of an item.
    pub fn update(update: ItemUpdate) -> Self {
        Self::new(Change::Update(update))
    }

    /// Takes the item with this key away.
    pub fn delete(key: Item) -> Self {
        Self::new(Change::Delete(key))
    }

    fn new(change: Change) -> Self {
        Self { version: None, change }
    }

    /// The values of these attributes, which are the key of the table: the same for all changes of one item, in whatever form their numbers were
    /// written. By it changes come to one writer, in front of the sink. One that is missing is NULL there, and refused by the sink.
    pub fn key(&self, attributes: &[&str]) -> Vec<Value> {
        let (Change::Put(item) | Change::Delete(item) | Change::Update(ItemUpdate { key: item, .. })) =
            &self.change;
        let value = |name: &&str| match item.get(*name) {
            Some(Value::N(number)) => {
                Value::N(Number::parse(number).map_or_else(|| number.clone(), |number| number.to_string()))
            }
            Some(value) => value.clone(),
            None => Value::Null,
        };
        attributes.iter().map(value).collect()
    }

    /// The same with a version.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }
}

impl Versioned for ItemChange {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden file never changes: what an older build stored is read for ever.
    #[test]
    fn the_stored_form_of_every_version_is_read() {
        let golden = include_str!("../tests/golden/change_v1.json");
        let changes: Vec<ItemChange> = serde_json::from_str(golden).expect("changes");
        let key = || Item::from([("pk".to_owned(), Value::from("ä"))]);
        let item = [("pk".to_owned(), Value::from("ä")), ("n".to_owned(), Value::from(1))].into();
        let update = ItemUpdate::of(key()).set("a", true).set("b", "").remove("c").add("d", -1);
        assert_eq!(
            changes,
            [
                ItemChange::put(item).with_version(u64::MAX),
                ItemChange::update(update),
                ItemChange::delete(key()).with_version(0),
            ]
        );
        assert_eq!(serde_json::to_string(&changes).expect("stored"), golden.trim_end());
        let bytes = postcard::to_allocvec(&changes).expect("bytes");
        assert_eq!(postcard::from_bytes::<Vec<ItemChange>>(&bytes).expect("changes"), changes);
    }
}
