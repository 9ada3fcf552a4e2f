//! What is fed, and what must be left of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidelock_dynamodb::{Change, Item, ItemChange, ItemUpdate, Mode, Value};

/// How many files there are, each with items of its own: a file has one reader, whose worker's writer has all changes of its items.
pub(crate) const FILES: u64 = 4;

/// How many items of a file are changed again and again.
const KEYS: u64 = 40;

/// What a reader sees: by key and attribute the value.
pub(crate) type Seen = BTreeMap<(String, String), Value>;

/// A line of the input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) file: u64,
    pub(crate) id: u64,
}

impl Given {
    /// Each other line has an item of its own, so that nothing is lost without being seen; the others change items that are there, and
    /// delete them. Where the mode knows no updates they are puts.
    pub(crate) fn change(self, mode: Mode) -> ItemChange {
        let Self { file, id } = self;
        let put = |key: Item, name: &str| {
            ItemChange::put(key.into_iter().chain([(name.to_owned(), id.into())]).collect())
        };
        let key = |text: String| Item::from([("pk".to_owned(), text.into())]);
        if id % 2 == 0 {
            return put(key(format!("{file}-own-{id:07}")), "value");
        }
        let key = key(format!("{file}-key-{}", id / 2 % KEYS));
        let update = |key| if mode == Mode::Batched { None } else { Some(ItemUpdate::of(key)) };
        match (id / 2 % 13, update(key.clone())) {
            (3, _) => ItemChange::delete(key),
            (7, Some(update)) => ItemChange::update(update.remove("value").set("third", id)),
            (8 | 9, Some(update)) => ItemChange::update(update.set("other", id).set("value", id)),
            (7..10, None) => put(key, "other"),
            _ => put(key, "value"),
        }
    }
}

/// What is left of so many lines of each file.
pub(crate) fn expected(mode: Mode, lines: u64) -> Seen {
    let mut items = BTreeMap::<Value, Item>::new();
    for file in 0..FILES {
        for id in 0..lines {
            let change = Given { file, id }.change(mode);
            match change.change {
                Change::Put(mut item) => {
                    let key = item.remove("pk").unwrap();
                    items.insert(key, item);
                }
                Change::Update(update) => {
                    let item = items.entry(update.key["pk"].clone()).or_default();
                    item.retain(|name, _| !update.remove.contains(name));
                    item.extend(update.set);
                }
                Change::Delete(key) => {
                    items.remove(&key["pk"]);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    seen_of(items)
}

/// The attributes of items.
pub(crate) fn seen_of(items: impl IntoIterator<Item = (Value, Item)>) -> Seen {
    let of_item = |(key, item): (Value, Item)| {
        let Value::S(key) = key else { panic!("a key of text: {key:?}") };
        item.into_iter().map(move |(name, value)| ((key.clone(), name), value))
    };
    items.into_iter().flat_map(of_item).collect()
}

/// What two differ in, of much its beginning.
pub(crate) fn difference(seen: &Seen, expected: &Seen) -> Vec<String> {
    let wrong = |(place, value): (&(String, String), &Value), there: Option<&Value>| {
        (there != Some(value)).then(|| format!("{place:?}: {value:?} and {there:?}"))
    };
    let missing = expected.iter().filter_map(|one| wrong(one, seen.get(one.0)));
    let surplus =
        seen.iter().filter(|one| !expected.contains_key(one.0)).map(|one| format!("too much: {one:?}"));
    missing.chain(surplus).take(10).collect()
}
