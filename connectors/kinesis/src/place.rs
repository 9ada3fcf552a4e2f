//! Which record of a numbering one is.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidelock::Epoch;

/// The epoch of a record, and how many of its numbering and epoch are before it. Later ones are greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) index: u64,
}

impl Place {
    /// The first of an epoch.
    pub(crate) fn first_of(epoch: Epoch) -> Self {
        Self { epoch, index: 0 }
    }
}

impl From<(u64, u64)> for Place {
    fn from((epoch, index): (u64, u64)) -> Self {
        Self { epoch: Epoch(epoch), index }
    }
}

impl From<Place> for (u64, u64) {
    fn from(place: Place) -> Self {
        (place.epoch.0, place.index)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.index)
    }
}
