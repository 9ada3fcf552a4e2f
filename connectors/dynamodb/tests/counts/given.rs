//! What is fed, and what must be left of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidelock_dynamodb::{Item, ItemChange, ItemUpdate, Value};

/// How many files there are, each with items of its own: a file has one reader, whose worker's writer has all changes of its items.
pub(crate) const FILES: u64 = 4;

/// How many items of a file are changed again and again.
const KEYS: u64 = 20;

/// What a reader sees: by key the count, and the line that was put last.
pub(crate) type Seen = BTreeMap<String, (i64, Option<u64>)>;

/// A line of the input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) file: u64,
    pub(crate) id: u64,
}

/// What it does.
enum Does {
    Count,
    Put,
    Delete,
}

impl Given {
    /// Each other line has an item of its own, so that what is lost or counted twice is seen; the others count in items that are there, put them
    /// anew, and delete them.
    fn what(self) -> (String, Does) {
        let Self { file, id } = self;
        if id % 2 == 0 {
            return (format!("{file}-own-{id:07}"), Does::Count);
        }
        let does = match id / 2 % 17 {
            3 => Does::Delete,
            7 => Does::Put,
            _ => Does::Count,
        };
        (format!("{file}-key-{}", id / 2 % KEYS), does)
    }

    pub(crate) fn change(self) -> ItemChange {
        let (key, does) = self.what();
        let key: Item = [("pk".to_owned(), Value::from(key))].into();
        match does {
            Does::Count => ItemChange::update(ItemUpdate::of(key).add("count", 1)),
            Does::Delete => ItemChange::delete(key),
            Does::Put => {
                let values =
                    [("count".to_owned(), Value::from(0)), ("last".to_owned(), Value::from(self.id))];
                ItemChange::put(key.into_iter().chain(values).collect())
            }
        }
    }
}

/// What is left of so many lines of each file.
pub(crate) fn expected(lines: u64) -> Seen {
    let mut seen = Seen::new();
    for file in 0..FILES {
        for id in 0..lines {
            let (key, does) = Given { file, id }.what();
            match does {
                Does::Count => seen.entry(key).or_default().0 += 1,
                Does::Put => drop(seen.insert(key, (0, Some(id)))),
                Does::Delete => drop(seen.remove(&key)),
            }
        }
    }
    seen
}

/// What two differ in, of much its beginning.
pub(crate) fn difference(seen: &Seen, expected: &Seen) -> Vec<String> {
    let missing = expected.iter().filter(|(key, value)| seen.get(*key) != Some(value));
    let missing = missing.map(|(key, value)| format!("{key}: {:?} instead of {value:?}", seen.get(key)));
    let surplus = seen.iter().filter(|(key, _)| !expected.contains_key(*key));
    missing.chain(surplus.map(|one| format!("too much: {one:?}"))).take(10).collect()
}
