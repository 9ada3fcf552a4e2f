//! For tests: a table as DynamoDB has it, and random changes of it.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::change::{Change, ItemChange, ItemUpdate};
use crate::item::Item;
use crate::key::{Key, KeyAttribute, KeyKind, KeySchema};
use crate::value::Value;

/// Keys are a text and a number.
pub(super) fn schema() -> KeySchema {
    let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
    KeySchema { partition: attribute("pk", KeyKind::S), sort: Some(attribute("sk", KeyKind::N)) }
}

/// The items of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Model {
    pub(super) items: BTreeMap<Key, Item>,
    /// What is not known of DynamoDB: whether an update that only takes attributes away makes an item where there is none.
    pub(super) removing_makes_items: bool,
}

impl Model {
    pub(super) fn new(removing_makes_items: bool) -> Self {
        Self { items: BTreeMap::new(), removing_makes_items }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let schema = schema();
        match change {
            Change::Put(item) => {
                self.items.insert(schema.key_of(item).expect("a key"), item.clone());
            }
            Change::Delete(key) => {
                self.items.remove(&schema.key_of(key).expect("a key"));
            }
            Change::Update(update) => self.update(schema.key_of(&update.key).expect("a key"), update),
        }
    }

    fn update(&mut self, key: Key, ItemUpdate { key: attributes, set, remove, add }: &ItemUpdate) {
        let makes_item = self.removing_makes_items || !set.is_empty() || !add.is_empty();
        if !makes_item && !self.items.contains_key(&key) {
            return;
        }
        let item = self.items.entry(key).or_insert_with(|| attributes.clone());
        item.retain(|name, _| !remove.contains(name));
        item.extend(set.clone());
        for (name, more) in add {
            let sum = match (item.get(name), more) {
                (None, more) => more.clone(),
                (Some(Value::N(one)), Value::N(other)) => {
                    Value::from(one.parse::<i64>().expect("small") + other.parse::<i64>().expect("small"))
                }
                (Some(Value::Ss(one)), Value::Ss(other)) => Value::Ss(one | other),
                (one, other) => panic!("{one:?} and {other:?} are not added"),
            };
            item.insert(name.clone(), sum);
        }
    }
}

/// A change of one of so many items.
pub(super) fn random_change(rng: &mut StdRng, items: u32) -> ItemChange {
    let number = rng.random_range(0..items);
    // One key in several forms.
    let sort = if rng.random_bool(0.5) { format!("{number}") } else { format!("{number}.0") };
    let key: Item = [("pk".to_owned(), Value::from("ä")), ("sk".to_owned(), Value::N(sort))].into();
    match rng.random_range(0..10) {
        0 => ItemChange::delete(key),
        1 | 2 => {
            let mut attributes = Item::new();
            for name in ["n", "m", "s", "z"] {
                if rng.random_bool(0.6) {
                    attributes.insert(name.to_owned(), random_value(rng, name));
                }
            }
            ItemChange::put(key.into_iter().chain(attributes).collect())
        }
        _ => loop {
            let mut update = ItemUpdate::of(key.clone());
            for name in ["n", "m", "s", "z"] {
                update = match rng.random_range(0..7) {
                    0 => update.set(name, random_value(rng, name)),
                    1 => update.remove(name),
                    2 | 3 if name != "s" => update.add(name, random_value(rng, name)),
                    _ => update,
                };
            }
            if !update.set.is_empty() || !update.remove.is_empty() || !update.add.is_empty() {
                return ItemChange::update(update);
            }
        },
    }
}

fn random_value(rng: &mut StdRng, name: &str) -> Value {
    match name {
        "s" => Value::from(format!("text {}", rng.random_range(0..9))),
        "z" => Value::Ss(BTreeSet::from([format!("e{}", rng.random_range(0..5))])),
        _ => Value::from(rng.random_range(-99..99)),
    }
}
