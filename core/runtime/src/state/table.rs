//! The keyed state of one worker in memory, and which keys changed since the last barrier.

use std::collections::HashMap;
use std::task::Poll;

use bytes::Bytes;
use foldhash::fast::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::Result;

use super::segment::Encoder;
use crate::key::Key;
use crate::proof::Proof;
use crate::slice::Slice;

/// Values by key. `N` tells the key group of a key.
#[derive(Debug)]
pub(crate) struct Table<K, V, N> {
    slots: HashMap<K, Slot<V>, RandomState>,
    /// The keys that changed since the last freeze. A key may be listed twice where it was removed in
    /// between.
    changed: Vec<K>,
    /// A freeze that is under way, and the keys that it still has to write.
    freezing: Option<(Encoder, std::vec::IntoIter<K>)>,
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
        let (slots, changed, freezing) = (HashMap::default(), Vec::new(), None);
        let (key_proof, value_proof) = (Proof::new(), Proof::new());
        Self { slots, changed, freezing, group_of, form, key_proof, value_proof }
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

    /// The changes since the last freeze, as a segment. Refuses what could not be restored. Nothing may change
    /// until it is ready.
    pub(crate) fn freeze(&mut self, slice: &mut Slice) -> Result<Poll<Option<Bytes>>> {
        let begin = || (Encoder::new(), std::mem::take(&mut self.changed).into_iter());
        let (mut encoder, mut keys) = self.freezing.take().unwrap_or_else(begin);
        for key in keys.by_ref() {
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
            if slice.step() {
                self.freezing = Some((encoder, keys));
                return Ok(Poll::Pending);
            }
        }
        Ok(Poll::Ready(encoder.finish()))
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
    use crate::slice::Slicing;

    type Values = Table<u32, u64, fn(&u32) -> Result<u16>>;

    /// What a freeze in slices of so many steps gives, and how many slices it took.
    fn frozen_in(table: &mut Values, steps: u32) -> (Option<Bytes>, usize) {
        for slices in 1.. {
            if let Poll::Ready(segment) = table.freeze(&mut Slicing::steps(steps).begin()).unwrap() {
                return (segment, slices);
            }
        }
        unreachable!("it ends")
    }

    #[test]
    fn a_freeze_in_slices_gives_what_one_at_once_gives() {
        let mut table = Values::new(Form::of::<u64>(1), group_of);
        let change = |table: &mut Values| {
            for key in 0..100 {
                table.with(&key, |value| (*value = u64::from(key) * 10, Touch::Changed));
            }
        };
        change(&mut table);
        let (at_once, slices) = frozen_in(&mut table, u32::MAX);
        assert!(at_once.is_some());
        assert_eq!(slices, 1);
        change(&mut table);
        assert_eq!(frozen_in(&mut table, 10), (at_once, 11));
        assert_eq!(frozen_in(&mut table, 10), (None, 1));
    }

    fn frozen(table: &mut Values) -> Vec<(u32, Option<u64>)> {
        let Some(segment) = frozen_in(table, u32::MAX).0 else { return Vec::new() };
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
