//! Of the changes of a key what they make together: fewer requests, and the same item.
//!
//! Nobody is between two changes of an attempt: whatever is there is older than both, or newer than both. So they are one change with the version of
//! the later one. Where versions are those of records somebody else's may be between them, and an update that was made one with what
//! stands before it would write that over the one between: only what says the whole item takes the place of another.

use super::version::ItemVersion;
use crate::change::{Change, ItemUpdate};
use crate::check::{ITEM_BYTES_MAX, UPDATE_ATTRIBUTES_MAX, update_bytes};
use crate::item::{Item, item_bytes};

/// A change with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) version: ItemVersion,
    pub(super) change: Change,
}

/// Changes of one key that are not sent yet, each to be sent when the one before it has arrived.
pub(super) type Chain = Vec<Write>;

/// The room that a request must have for the version and a mark.
const OWN_BYTES: usize = 1_024;

/// Adds the next change. Gives whether it counts: one whose version is not newer than that of a change before it does not.
pub(super) fn follow(chain: &mut Chain, next: Write) -> bool {
    let Some(before) = chain.last_mut() else {
        chain.push(next);
        return true;
    };
    let (is_newer, may_be_one) = match (before.version, next.version) {
        // Stamps are given in their order.
        (ItemVersion::Attempt(_), _) | (_, ItemVersion::Attempt(_)) => (true, true),
        (ItemVersion::Record(before), ItemVersion::Record(next)) => (before < next, false),
    };
    if !is_newer {
        return false;
    }
    let Change::Update(update) = &next.change else {
        *before = next;
        return true;
    };
    match joined(&before.change, update).filter(|_| may_be_one) {
        Some(change) => *before = Write { version: next.version, change },
        None => chain.push(next),
    }
    true
}

/// A change that does what one does, and then an update. `None`: it would be larger than a request may be.
fn joined(before: &Change, update: &ItemUpdate) -> Option<Change> {
    match before {
        Change::Put(item) => {
            let mut item = item.clone();
            item.retain(|name, _| !update.remove.contains(name));
            item.extend(owned(&update.set));
            fits(&item).then_some(Change::Put(item))
        }
        // It meets a tombstone, and makes the item anew.
        Change::Delete(_) => Some(Change::Put(made_by(update))),
        Change::Update(earlier) => {
            let mut both = earlier.clone();
            both.set.retain(|name, _| !update.remove.contains(name));
            both.remove.retain(|name| !update.set.contains_key(name));
            both.set.extend(owned(&update.set));
            both.remove.extend(update.remove.iter().cloned());
            let is_short = both.set.len() + both.remove.len() <= UPDATE_ATTRIBUTES_MAX;
            let has_room = update_bytes(&both) + OWN_BYTES <= ITEM_BYTES_MAX;
            (is_short && has_room).then_some(Change::Update(both))
        }
    }
}

/// The item that an update makes where there is none.
pub(super) fn made_by(update: &ItemUpdate) -> Item {
    owned(&update.key).chain(owned(&update.set)).collect()
}

fn owned(item: &Item) -> impl Iterator<Item = (String, crate::value::Value)> {
    item.iter().map(|(name, value)| (name.clone(), value.clone()))
}

fn fits(item: &Item) -> bool {
    item_bytes(item) + OWN_BYTES <= ITEM_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::version::Stamp;
    use super::*;
    use crate::value::Value;

    fn stamp(sequence: u64) -> ItemVersion {
        ItemVersion::Attempt(Stamp { generation: 1, attempt: 2, sequence, writer: 0, sink: Some(7) })
    }

    fn key() -> Item {
        [("pk".to_owned(), Value::from("a"))].into()
    }

    fn item(values: &[(&str, Value)]) -> Item {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).chain(key()).collect()
    }

    /// What a table does with a change: the item after it, and its version.
    fn applied(
        there: Option<(u64, Option<Item>)>,
        version: u64,
        change: &Change,
    ) -> Option<(u64, Option<Item>)> {
        if there.as_ref().is_some_and(|(before, _)| *before >= version) {
            return there;
        }
        let item = match change {
            Change::Put(item) => Some(item.clone()),
            Change::Delete(_) => None,
            Change::Update(update) => {
                let mut item = there.and_then(|(_, item)| item).unwrap_or_else(key);
                item.retain(|name, _| !update.remove.contains(name));
                item.extend(owned(&update.set));
                Some(item)
            }
        };
        Some((version, item))
    }

    fn number(version: ItemVersion) -> u64 {
        match version {
            ItemVersion::Attempt(stamp) => stamp.sequence,
            ItemVersion::Record(version) => version,
        }
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let name = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
        let values = || prop::collection::btree_map(name(), (0..9_i32).prop_map(Value::from), 0..3);
        prop_oneof![
            values().prop_map(|values| Change::Put(values.into_iter().chain(key()).collect())),
            Just(Change::Delete(key())),
            (values(), prop::collection::btree_set(name(), 0..3)).prop_map(|(set, mut remove)| {
                remove.retain(|name| !set.contains_key(name));
                Change::Update(ItemUpdate { key: key(), set, remove, ..ItemUpdate::default() })
            }),
        ]
    }

    proptest! {
        /// Whatever is there, older or newer.
        #[test]
        fn changes_of_an_attempt_are_one_change_which_makes_the_same_item(
            changes in prop::collection::vec(any_change(), 1..8),
            there in prop::option::of((prop::sample::select(vec![5_u64, 100]), prop::option::of(Just(item(&[("a", 77.into())]))))),
        ) {
            let (mut chain, mut expected) = (Chain::new(), there.clone());
            for (sequence, change) in (10..).zip(changes) {
                expected = applied(expected, sequence, &change);
                let counts = follow(&mut chain, Write { version: stamp(sequence), change });
                prop_assert!(counts);
            }
            prop_assert_eq!(chain.len(), 1);
            prop_assert_eq!(applied(there, number(chain[0].version), &chain[0].change), expected);
        }

        /// Whichever of them is there, and whoever wrote in between.
        #[test]
        fn changes_with_versions_of_records_make_the_same_item_in_fewer_requests(
            changes in prop::collection::vec((0..20_u64, any_change()), 1..8),
            there in prop::option::of((0..20_u64, prop::option::of(Just(item(&[("a", 77.into())]))))),
        ) {
            let (mut chain, mut expected) = (Chain::new(), there.clone());
            for (version, change) in changes {
                expected = applied(expected, version, &change);
                follow(&mut chain, Write { version: ItemVersion::Record(version), change });
            }
            let made = chain.iter().fold(there, |there, write| applied(there, number(write.version), &write.change));
            prop_assert_eq!(made, expected);
        }
    }

    #[test]
    fn what_is_too_large_for_one_request_stays_several() {
        let large = |name: &str| item(&[(name, "x".repeat(ITEM_BYTES_MAX / 2).into())]);
        let update = |set: Item| {
            let mut update = ItemUpdate { set, key: key(), ..ItemUpdate::default() };
            update.set.remove("pk");
            Change::Update(update)
        };
        for first in [Change::Put(large("a")), update(large("a"))] {
            let mut chain = vec![Write { version: stamp(1), change: first }];
            follow(&mut chain, Write { version: stamp(2), change: update(large("b")) });
            assert_eq!(chain.len(), 2);
            follow(&mut chain, Write { version: stamp(3), change: Change::Delete(key()) });
            assert_eq!(chain.last().map(|write| write.version), Some(stamp(3)));
        }
        let many = |from: usize| {
            let names = from..from + UPDATE_ATTRIBUTES_MAX / 2 + 1;
            update(names.map(|at| (format!("a{at}"), Value::Null)).collect())
        };
        let mut chain = vec![Write { version: stamp(1), change: many(0) }];
        follow(&mut chain, Write { version: stamp(2), change: many(1_000) });
        assert_eq!(chain.len(), 2, "an update has a bounded number of attributes");
        // Each fits into a request, and both together into an item, and not into a request: there an attribute costs more.
        let half = |from: usize| {
            let values = (from..from + UPDATE_ATTRIBUTES_MAX / 2)
                .map(|at| (format!("a{at}"), "x".repeat(1_350).into()));
            update(values.collect())
        };
        let mut chain = vec![Write { version: stamp(1), change: half(0) }];
        follow(&mut chain, Write { version: stamp(2), change: half(1_000) });
        assert_eq!(chain.len(), 2, "an update has a bounded number of bytes");
    }
}
