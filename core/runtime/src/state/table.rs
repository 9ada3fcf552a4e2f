//! The keyed state of one worker in memory, and which keys changed since the last barrier.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::Result;

use super::segment::Encoder;
use crate::key::Key;
use crate::proof::Proof;

/// Values by key. `N` tells the key group of a key.
#[derive(Debug)]
pub(crate) struct Table<K, V, N> {
    slots: HashMap<K, Slot<V>, RandomState>,
    /// The keys that changed since the last freeze. A key may be listed twice where it was removed in
    /// between.
    changed: Vec<K>,
    group_of: N,
    form: Form,
    /// That keys and values can be restored.
    key_proof: Proof,
    value_proof: Proof,
}

/// How values are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// The version of their type.
    pub(crate) version: u16,
    /// The user's type, without what this crate puts around it.
    pub(crate) named: &'static str,
}

impl Form {
    /// The form of a user's type.
    pub(crate) fn of<S>(version: u16) -> Self {
        Self { version, named: std::any::type_name::<S>() }
    }
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    changed: bool,
}

/// What a function did to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Nothing.
    Read,
    /// It is another one now.
    Changed,
    /// It is not needed any more.
    Removed,
}

impl<K: Key, V: Serialize + DeserializeOwned, N: Fn(&K) -> Result<u16>> Table<K, V, N> {
    pub(crate) fn new(form: Form, group_of: N) -> Self {
        let (slots, changed) = (HashMap::default(), Vec::new());
        Self { slots, changed, group_of, form, key_proof: Proof::new(), value_proof: Proof::new() }
    }

    /// Puts a restored value: it is no change.
    pub(crate) fn restore(&mut self, key: K, value: V) {
        self.slots.insert(key, Slot { value, changed: false });
    }

    /// Works on the value of a key, which begins as `V::default()`.
    pub(crate) fn with<T>(&mut self, key: &K, work: impl FnOnce(&mut V) -> (T, Touch)) -> T
    where
        V: Default,
    {
        if let Some(slot) = self.slots.get_mut(key) {
            let (result, touch) = work(&mut slot.value);
            if touch != Touch::Read && !slot.changed {
                slot.changed = true;
                self.changed.push(key.clone());
            }
            if touch == Touch::Removed {
                self.slots.remove(key);
            }
            return result;
        }
        let mut value = V::default();
        let (result, touch) = work(&mut value);
        if touch == Touch::Changed {
            self.changed.push(key.clone());
            self.slots.insert(key.clone(), Slot { value, changed: true });
        }
        result
    }

    /// Works on the value of a key, if it has one.
    pub(crate) fn with_existing<T>(&mut self, key: &K, work: impl FnOnce(&mut V) -> (T, Touch)) -> Option<T>
    where
        V: Default,
    {
        self.slots.contains_key(key).then(|| self.with(key, work))
    }

    /// The changes since the last freeze, as a segment. Refuses what could not be restored.
    pub(crate) fn freeze(&mut self) -> Result<Option<Bytes>> {
        let mut encoder = Encoder::new();
        for key in std::mem::take(&mut self.changed) {
            let group = (self.group_of)(&key)?;
            match self.slots.get_mut(&key) {
                Some(slot) if slot.changed => {
                    slot.changed = false;
                    let pushed = encoder.push(group, &key, Some((self.form.version, &slot.value)))?;
                    self.key_proof.of_key(&key, pushed.key)?;
                    self.value_proof.of_value(&slot.value, pushed.value, self.form.named)?;
                }
                // Listed twice, and written already.
                Some(_) => {}
                None => {
                    encoder.push::<K, V>(group, &key, None)?;
                }
            }
        }
        Ok(encoder.finish())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::{decode, entries};
    use super::*;
    use crate::key::group_of;

    type Values = Table<u32, u64, fn(&u32) -> Result<u16>>;

    fn frozen(table: &mut Values) -> Vec<(u32, Option<u64>)> {
        let Some(segment) = table.freeze().unwrap() else { return Vec::new() };
        let read = entries(&segment).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (decode(entry.key).unwrap(), entry.value.map(|value| decode(value.bytes).unwrap()))
        });
        read.collect()
    }

    #[test]
    fn a_freeze_has_what_changed_and_nothing_else() {
        let mut table = Values::new(Form::of::<u64>(1), group_of);
        table.restore(7, 70);
        let add = |value: &mut u64| {
            *value += 1;
            ((), Touch::Changed)
        };
        table.with(&1, add);
        table.with(&2, add);
        table.with(&2, add);
        table.with(&3, |_| ((), Touch::Read));
        table.with(&7, |value| (assert_eq!(*value, 70), Touch::Read));
        assert_eq!(frozen(&mut table), [(1, Some(1)), (2, Some(2))]);
        assert_eq!(frozen(&mut table), []);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_removed_key_is_written_as_removed_and_may_come_back() {
        let mut table = Values::new(Form::of::<u64>(1), group_of);
        let set = |to| {
            move |value: &mut u64| {
                *value = to;
                ((), Touch::Changed)
            }
        };
        table.with(&1, set(1));
        table.with(&2, set(2));
        frozen(&mut table);
        table.with(&1, |_| ((), Touch::Removed));
        table.with(&2, |_| ((), Touch::Removed));
        table.with(&2, set(3));
        assert_eq!(frozen(&mut table), [(1, None), (2, Some(3))]);
        assert_eq!(table.with_existing(&1, |_| ((), Touch::Read)), None);
        assert_eq!(table.len(), 1);
    }
}
