//! Keys and key groups.
//!
//! A key belongs to one of a fixed number of key groups, a group to one worker. State is stored by group, so
//! the number of workers may change. The group comes from a hash of the key's stored bytes, the same on
//! every machine and in every release: it decides where state is found again.

use std::hash::{Hash, Hasher};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::Result;

use crate::proof;

/// How many key groups there are. Stored with the state: it bounds the number of workers for ever.
pub(crate) const KEY_GROUPS: u16 = 128;

/// What records may be keyed by: anything that can be compared, cloned and stored. Two keys are equal
/// exactly where their stored bytes are.
pub trait Key: Clone + Eq + Hash + Serialize + DeserializeOwned + 'static {}

impl<K: Clone + Eq + Hash + Serialize + DeserializeOwned + 'static> Key for K {}

/// Feeds a hasher with what postcard writes, without a buffer.
struct Hashing(fnv::FnvHasher);

impl postcard::ser_flavors::Flavor for Hashing {
    type Output = u64;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.write(&[byte]);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.write(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.0.finish())
    }
}

/// The group of a key.
pub(crate) fn group_of<K: Serialize>(key: &K) -> Result<u16> {
    let hash = postcard::serialize_with_flavor(key, Hashing(fnv::FnvHasher::default()))
        .map_err(|error| proof::cannot_write(proof::Use::Store, std::any::type_name::<K>(), error))?;
    // FNV mixes upwards: the high half decides with the low one.
    Ok(u16::try_from((hash ^ (hash >> 32)) % u64::from(KEY_GROUPS)).unwrap_or_default())
}

/// The worker that a group belongs to.
pub(crate) fn worker_of(group: u16, workers: u32) -> u32 {
    u32::from(group) * workers / u32::from(KEY_GROUPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// State that was stored once must be found for ever: these numbers never change.
    #[test]
    fn the_groups_of_known_keys_do_not_change() {
        assert_eq!(group_of(&"JFK").unwrap(), 122);
        assert_eq!(group_of(&7_u64).unwrap(), 10);
        assert_eq!(group_of(&("EWR".to_owned(), 2013_i32)).unwrap(), 60);
    }

    #[test]
    fn groups_are_evenly_used() {
        let mut counts = [0_u32; KEY_GROUPS as usize];
        for key in 0..128_000_u64 {
            counts[usize::from(group_of(&key).unwrap())] += 1;
        }
        assert!(counts.iter().all(|count| (700..1_300).contains(count)), "{counts:?}");
    }
}
