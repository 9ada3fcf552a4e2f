//! Of each key the last write, in batches that DynamoDB takes.

use std::collections::HashMap;

use crate::change::Change;
use crate::item::{Item, item_bytes};
use crate::key::Key;

/// DynamoDB takes so many writes in one request.
const WRITES_MAX: usize = 25;

/// So many bytes, as DynamoDB counts them where it stores them, fit into the 16 MB that it takes in one request: there they are JSON, and a value that
/// counts as one byte has nine or ten. More than a few items of the largest size in one request gain nothing.
const BYTES_MAX: usize = 1_500_000;

/// One write of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    /// The item that is put; `None`: the item with this key is deleted.
    pub(super) item: Option<Item>,
}

/// The writes of a call, of each key the last.
#[derive(Debug, Default)]
pub(super) struct Writes {
    places: HashMap<Key, usize>,
    writes: Vec<Write>,
}

impl Writes {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { places: HashMap::with_capacity(count), writes: Vec::with_capacity(count) }
    }

    /// Adds a write, which takes the place of an earlier one of its key.
    pub(super) fn add(&mut self, key: Key, change: Change) {
        let item = match change {
            Change::Put(item) => Some(item),
            // Updates were refused.
            Change::Delete(_) | Change::Update(_) => None,
        };
        match self.places.get(&key) {
            Some(place) => self.writes[*place].item = item,
            None => {
                self.places.insert(key.clone(), self.writes.len());
                self.writes.push(Write { key, item });
            }
        }
    }

    /// Batches of them. No key is in two.
    pub(super) fn into_batches(self) -> Vec<Vec<Write>> {
        let mut batches: Vec<Vec<Write>> = Vec::with_capacity(self.writes.len().div_ceil(WRITES_MAX));
        let mut bytes = 0;
        for write in self.writes {
            let more = write.item.as_ref().map_or(0, item_bytes);
            match batches.last_mut() {
                Some(batch) if batch.len() < WRITES_MAX && bytes + more <= BYTES_MAX => {
                    batch.push(write);
                    bytes += more;
                }
                _ => {
                    batches.push(vec![write]);
                    bytes = more;
                }
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::key::{KeyAttribute, KeyKind, KeySchema};
    use crate::value::Value;

    fn item(key: u64, value: Value) -> Item {
        [("pk".to_owned(), Value::from(key)), ("value".to_owned(), value)].into()
    }

    fn key(key: u64) -> Key {
        let partition = KeyAttribute { name: "pk".into(), kind: KeyKind::N };
        KeySchema { partition, sort: None }.key_of(&item(key, Value::Null)).expect("a key")
    }

    #[test]
    fn the_last_write_of_a_key_is_the_only_one() {
        let mut writes = Writes::default();
        for value in 0..3_u64 {
            for at in 0..40 {
                writes.add(key(at), Change::Put(item(at, value.into())));
            }
        }
        writes.add(key(7), Change::Delete(Item::new()));
        writes.add(key(8), Change::Delete(Item::new()));
        writes.add(key(8), Change::Put(item(8, "again".into())));
        let batches = writes.into_batches();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [25, 15]);
        let all: Vec<Write> = batches.concat();
        assert_eq!(all.iter().map(|write| &write.key).collect::<BTreeSet<_>>().len(), 40);
        for write in all {
            let expected = match write.key.to_string().as_str() {
                "7" => None,
                "8" => Some(Value::from("again")),
                _ => Some(Value::from(2)),
            };
            assert_eq!(write.item.map(|item| item["value"].clone()), expected, "{}", write.key);
        }
    }

    #[test]
    fn a_batch_has_a_bounded_number_of_bytes() {
        let mut writes = Writes::with_capacity(30);
        for at in 0..30 {
            writes.add(key(at), Change::Put(item(at, "x".repeat(390 * 1_024).into())));
        }
        let batches = writes.into_batches();
        assert_eq!(batches.concat().len(), 30);
        for batch in batches {
            let bytes: usize = batch.iter().filter_map(|write| write.item.as_ref()).map(item_bytes).sum();
            assert!((1..=WRITES_MAX).contains(&batch.len()) && bytes <= BYTES_MAX, "{bytes}");
        }
    }
}
