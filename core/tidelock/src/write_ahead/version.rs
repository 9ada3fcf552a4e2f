//! The version that makes a repeated commit harmless.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Generation};

/// The version with which an epoch is applied. Ordered by generation, then by epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The history that the epoch belongs to. A newer one wins over all of an older one.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.generation, self.epoch)
    }
}
