//! Changes that are not sent yet, and keys that are under way: decided here, and kept to in [`Lanes`](super::lanes::Lanes).
//!
//! ```text
//!   add: the key is free ──> ready ──next──> under way ──next──> free
//!        the key is taken ──> held, behind what is under way ──next──> under way
//! ```

use std::collections::{HashMap, VecDeque};

use super::merge::{Chain, follow};
use crate::key::Key;

/// What a writer was given and has not sent. No clock, no I/O.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In the order in which their keys came: nobody waits for who came later.
    ready: VecDeque<(Key, Chain)>,
    /// Keys that are ready or under way, and what is held behind each.
    taken: HashMap<Key, Chain>,
    /// How many keys have something held.
    held: usize,
}

impl Queue {
    /// Adds changes of a key. Gives how many of them do not count, because what they are held behind is newer.
    pub(super) fn add(&mut self, key: Key, chain: Chain) -> usize {
        let Some(behind) = self.taken.get_mut(&key) else {
            self.taken.insert(key.clone(), Chain::new());
            self.ready.push_back((key, chain));
            return 0;
        };
        self.held += usize::from(behind.is_empty());
        chain.into_iter().map(|write| usize::from(!follow(behind, write))).sum()
    }

    /// What is sent next, by somebody who sent all of `sent` or has just come. `None`: there is nothing for him.
    pub(super) fn next(&mut self, sent: Option<Key>) -> Option<(Key, Chain)> {
        if let Some(key) = sent
            && let Some(behind) = self.taken.remove(&key)
            && !behind.is_empty()
        {
            self.held -= 1;
            self.taken.insert(key.clone(), Chain::new());
            return Some((key, behind));
        }
        self.ready.pop_front()
    }

    /// How many keys could be sent at once, if somebody came.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether everything is under way, or has arrived.
    pub(super) fn is_handed_over(&self) -> bool {
        self.ready.is_empty() && self.held == 0
    }

    /// Nothing more is sent.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::merge::Write;
    use super::super::version::ItemVersion;
    use super::*;
    use crate::change::{Change, ItemUpdate};
    use crate::key::{KeyAttribute, KeyKind, KeySchema, key as item};

    fn key(number: u64) -> Key {
        let partition = KeyAttribute { name: "pk".into(), kind: KeyKind::N };
        KeySchema { partition, sort: None }.key_of(&item([("pk", number.into())])).expect("a key")
    }

    /// An update, which takes no other's place where versions are those of records.
    fn chain(version: u64) -> Chain {
        let change = Change::Update(ItemUpdate::of(item([("pk", 0.into())])).set("n", version));
        vec![Write { version: ItemVersion::Record(version), change }]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u64),
        Come,
        Done(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![(0..4_u64).prop_map(Step::Add), Just(Step::Come), (0..4_usize).prop_map(Step::Done)]
    }

    proptest! {
        /// Whoever comes and ends when: of a key one chain is out at most, all are given once, and in their order.
        #[test]
        fn of_a_key_one_is_under_way_and_all_are_sent_in_their_order(steps in prop::collection::vec(any_step(), 0..80)) {
            let mut queue = Queue::default();
            let (mut given, mut sent) = (BTreeMap::<Key, Vec<u64>>::new(), BTreeMap::<Key, Vec<u64>>::new());
            let mut under_way: Vec<Key> = Vec::new();
            let mut take = |next: Option<(Key, Chain)>, under_way: &mut Vec<Key>| {
                let Some((key, chain)) = next else { return false };
                assert!(!under_way.contains(&key), "{key} is under way");
                let versions = chain.into_iter().map(|write| match write.version {
                    ItemVersion::Record(version) => version,
                    other => panic!("{other:?}"),
                });
                sent.entry(key.clone()).or_default().extend(versions);
                under_way.push(key);
                true
            };
            for (version, step) in (1_u64..).zip(steps) {
                match step {
                    Step::Add(number) => {
                        prop_assert_eq!(queue.add(key(number), chain(version)), 0);
                        given.entry(key(number)).or_default().push(version);
                    }
                    Step::Come => { take(queue.next(None), &mut under_way); }
                    Step::Done(at) if at < under_way.len() => {
                        let done = under_way.remove(at);
                        take(queue.next(Some(done)), &mut under_way);
                    }
                    Step::Done(_) => {}
                }
            }
            while take(queue.next(None), &mut under_way) {}
            prop_assert_eq!(queue.ready(), 0);
            while let Some(done) = under_way.pop() {
                while take(queue.next(Some(done.clone())), &mut under_way) {
                    prop_assert_eq!(under_way.pop(), Some(done.clone()));
                }
            }
            prop_assert!(queue.is_handed_over() && queue.taken.is_empty());
            prop_assert_eq!(sent, given);
        }
    }

    #[test]
    fn what_is_held_is_not_handed_over_and_what_is_older_than_it_does_not_count() {
        let mut queue = Queue::default();
        assert_eq!(queue.add(key(1), chain(1)), 0);
        assert!(!queue.is_handed_over());
        let (of, _) = queue.next(None).expect("one");
        assert!(queue.is_handed_over(), "it is under way");
        assert_eq!((queue.add(key(1), chain(3)), queue.add(key(1), chain(2))), (0, 1));
        assert!(!queue.is_handed_over() && queue.next(None).is_none());
        assert_eq!(queue.next(Some(of.clone())), Some((of.clone(), chain(3))));
        assert!(queue.is_handed_over() && queue.next(Some(of)).is_none());
    }
}
