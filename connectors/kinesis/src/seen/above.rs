//! The places above a floor that were read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidelock::Epoch;

use crate::place::Place;

/// More than a shard takes in the time that a floor lags behind, in records of some tens of bytes. A writer whose floor lags further is none of ours; then the
/// lowest are forgotten, and may come twice.
const PLACES_MAX: usize = 65_536;

/// Places, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub(super) struct Above {
    places: BTreeSet<Place>,
}

/// The stored form: of each epoch its number, its first index, and of each next one how much greater it is than the one before. They are two or three bytes each.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Form(Vec<(u64, Vec<u64>)>);

impl Above {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a place. Returns whether it was not there.
    pub(super) fn insert(&mut self, place: Place) -> bool {
        let is_new = self.places.insert(place);
        self.bound();
        is_new
    }

    pub(super) fn forget_before(&mut self, floor: Place) {
        // Most often few go, and those are found without a look at the others.
        while self.places.first().is_some_and(|first| *first < floor) {
            self.places.pop_first();
        }
    }

    pub(super) fn union(&mut self, other: Self) {
        self.places.extend(other.places);
        self.bound();
    }

    fn bound(&mut self) {
        while self.places.len() > PLACES_MAX {
            self.places.pop_first();
        }
    }
}

impl From<Above> for Form {
    fn from(above: Above) -> Self {
        let mut epochs: Vec<(u64, Vec<u64>)> = Vec::new();
        let mut last = 0;
        for Place { epoch, index } in above.places {
            match epochs.last_mut() {
                Some((same, steps)) if *same == epoch.0 => steps.push(index - last),
                _ => epochs.push((epoch.0, vec![index])),
            }
            last = index;
        }
        Self(epochs)
    }
}

impl From<Form> for Above {
    fn from(Form(epochs): Form) -> Self {
        let mut places = BTreeSet::new();
        for (epoch, steps) in epochs {
            let mut index = 0_u64;
            for step in steps {
                index = index.saturating_add(step);
                places.insert(Place { epoch: Epoch(epoch), index });
            }
        }
        Self { places }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_stored_is_read(places in proptest::collection::btree_set((0_u64..4, 0_u64..50), 0..60)) {
            let mut above = Above::default();
            for place in places {
                prop_assert!(above.insert(place.into()));
                prop_assert!(!above.insert(place.into()));
            }
            let stored = serde_json::to_string(&above).expect("stored");
            prop_assert_eq!(serde_json::from_str::<Above>(&stored).expect("read"), above);
        }
    }

    #[test]
    fn it_is_short_and_bounded() {
        let mut above = Above::default();
        for index in 0..1_000 {
            above.insert((12_345, 1_000_000 + 7 * index).into());
        }
        let stored = serde_json::to_string(&above).expect("stored");
        assert!(stored.len() < 2_100 && stored.starts_with("[[12345,[1000000,7,7,"), "{}", stored.len());
        for index in 0..2 * PLACES_MAX as u64 {
            above.insert((12_346, index).into());
        }
        assert_eq!(above.places.len(), PLACES_MAX);
        let last = Place::from((12_346, 2 * PLACES_MAX as u64 - 1));
        assert_eq!(above.places.last(), Some(&last), "the newest stay");
    }
}
