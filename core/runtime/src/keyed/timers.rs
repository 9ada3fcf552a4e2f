//! The timers of keys: those of one key beside its state, and in memory which keys have one when.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use foldhash::fast::FixedState;

use crate::batch::Millis;
use crate::key::Key;

/// The timers of one key, in order, while a function may change them.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: Vec<Millis>,
    /// Those that were not set before.
    added: Vec<Millis>,
    /// Those that were, and are to be forgotten before what was added is noted.
    cleared: Vec<Millis>,
    changed: bool,
}

impl Timers {
    pub(super) fn new(set: Vec<Millis>) -> Self {
        Self { set, ..Self::default() }
    }

    pub(super) fn set(&mut self, at: Millis) {
        if let Err(place) = self.set.binary_search(&at) {
            self.set.insert(place, at);
            self.added.push(at);
            self.changed = true;
        }
    }

    pub(super) fn clear(&mut self, at: Millis) {
        if let Ok(place) = self.set.binary_search(&at) {
            self.set.remove(place);
            self.added.retain(|added| *added != at);
            self.cleared.push(at);
            self.changed = true;
        }
    }

    /// Notes what changed. Returns the timers, and whether they did.
    pub(super) fn note<K: Key>(self, key: &K, due: &mut Due<K>) -> (Vec<Millis>, bool) {
        self.cleared.iter().for_each(|at| due.clear(*at, key));
        self.added.iter().for_each(|at| due.set(*at, key.clone()));
        (self.set, self.changed)
    }
}

/// Which keys have a timer when: exactly those that are set, so that a timer that moves with each record takes no
/// more than one that stays.
#[derive(Debug)]
pub(super) struct Due<K> {
    // With a fixed state, so that the same input fires in the same order.
    times: BTreeMap<Millis, HashSet<K, FixedState>>,
}

impl<K: Key> Due<K> {
    pub(super) fn new() -> Self {
        Self { times: BTreeMap::new() }
    }

    pub(super) fn set(&mut self, at: Millis, key: K) {
        self.times.entry(at).or_default().insert(key);
    }

    fn clear(&mut self, at: Millis, key: &K) {
        if let Some(keys) = self.times.get_mut(&at) {
            keys.remove(key);
            if keys.is_empty() {
                self.times.remove(&at);
            }
        }
    }

    /// Takes the keys of the first time after `after` and not after `until`.
    fn take_next(
        &mut self,
        after: Option<Millis>,
        until: Millis,
    ) -> Option<(Millis, HashSet<K, FixedState>)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (at, _) = self.times.range((after, Bound::Included(until))).next()?;
        let at = *at;
        self.times.remove(&at).map(|keys| (at, keys))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.times.values().map(HashSet::len).sum()
    }
}

/// Timers that fire, while the worker may do something else in between.
#[derive(Debug)]
pub(super) struct Firing<K> {
    until: Millis,
    /// The time that is due. Only onwards in time: a timer that sets itself again waits for the next movement.
    at: Option<Millis>,
    /// Its keys.
    keys: std::vec::IntoIter<K>,
    /// At the end of input: all timers that were set when it came. One that always sets the next would never come to
    /// an end.
    last: Option<Due<K>>,
}

impl<K: Key> Firing<K> {
    /// Everything that is due until the watermark.
    pub(super) fn begin(due: &mut Due<K>, watermark: Millis) -> Self {
        let last = (watermark == Millis::MAX).then(|| std::mem::replace(due, Due::new()));
        Self { until: watermark, at: None, keys: Vec::new().into_iter(), last }
    }

    /// The next timer.
    pub(super) fn next(&mut self, due: &mut Due<K>) -> Option<(Millis, K)> {
        loop {
            if let (Some(at), Some(key)) = (self.at, self.keys.next()) {
                return Some((at, key));
            }
            let due = self.last.as_mut().unwrap_or(due);
            let (at, keys) = due.take_next(self.at, self.until)?;
            (self.at, self.keys) = (Some(at), keys.into_iter().collect::<Vec<_>>().into_iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a key's function does, and what is then noted.
    fn call(due: &mut Due<u32>, set: &mut Vec<Millis>, key: u32, work: impl FnOnce(&mut Timers)) {
        let mut timers = Timers::new(std::mem::take(set));
        work(&mut timers);
        (*set, _) = timers.note(&key, due);
    }

    #[test]
    fn a_timer_that_moves_with_every_record_takes_one_place() {
        let (mut due, mut set) = (Due::new(), Vec::new());
        for record in 0..1_000 {
            call(&mut due, &mut set, 1, |timers| {
                timers.clear(record + 99);
                timers.set(record + 100);
            });
        }
        assert_eq!((set, due.len(), due.times.len()), (vec![1_099], 1, 1));
    }

    #[test]
    fn what_is_noted_is_what_is_set_in_whatever_order_it_was_done() {
        let (mut due, mut set) = (Due::new(), Vec::new());
        call(&mut due, &mut set, 1, |timers| {
            timers.set(10);
            timers.clear(10);
            timers.set(20);
        });
        assert_eq!((&set, due.len()), (&vec![20], 1));
        call(&mut due, &mut set, 1, |timers| {
            timers.clear(20);
            timers.set(20);
        });
        assert_eq!((&set, due.len()), (&vec![20], 1));
        let mut firing = Firing::begin(&mut due, 20);
        assert_eq!(firing.next(&mut due), Some((20, 1)));
        assert_eq!(firing.next(&mut due), None);
    }

    #[test]
    fn firing_goes_onwards_and_the_end_of_input_ends() {
        let mut due = Due::new();
        due.set(10, 1);
        let mut firing = Firing::begin(&mut due, 30);
        assert_eq!(firing.next(&mut due), Some((10, 1)));
        // Later ones are still due; one at the same time waits for the next movement.
        due.set(20, 2);
        due.set(10, 3);
        assert_eq!(firing.next(&mut due), Some((20, 2)));
        assert_eq!(firing.next(&mut due), None);
        let mut firing = Firing::begin(&mut due, Millis::MAX);
        assert_eq!(firing.next(&mut due), Some((10, 3)));
        due.set(40, 3);
        assert_eq!(firing.next(&mut due), None);
        assert_eq!(due.len(), 1);
    }
}
