//! Row keys: as text for people, and what comes after one.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

use crate::escape;

/// The longest key that a row may have.
pub(super) const KEY_BYTES_MAX: usize = 32_767;

/// A region is looked for by a key of its own, which has the name of the table, two commas and fourteen digits more.
const LOOKED_FOR_WITH: usize = 16;

/// A key as text.
pub(super) fn text(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    escape::write(&mut text, key).expect("invariant: a text takes everything");
    text
}

/// Where a scan begins that goes on after this key: right behind it, or, where no region could be looked for by so long a key,
/// before it. Then the scan gives rows once more.
pub(super) fn after(key: &[u8], table: &str) -> Vec<u8> {
    let bytes_max = KEY_BYTES_MAX.saturating_sub(LOOKED_FOR_WITH + table.len());
    if key.len() >= bytes_max {
        return key[..bytes_max].to_vec();
    }
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// The first key after all those that begin with this one; `None` where they are the last.
pub(super) fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

pub(super) fn serialize<S: Serializer>(key: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(key))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    escape::read(&text).ok_or_else(|| {
        let why = "in a key a backslash begins `\\x` with two hexadecimal digits, or another backslash";
        D::Error::custom(format_args!("{why}: `{text}`"))
    })
}

/// The same for a key that may be missing.
pub(super) mod optional {
    use super::{Deserializer, Serializer, text};

    pub(in crate::source) fn serialize<S: Serializer>(
        key: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => serializer.serialize_some(&text(key)),
            None => serializer.serialize_none(),
        }
    }

    /// A key that is stored is never null: it is left out where it is missing.
    pub(in crate::source) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_goes_on_right_behind_a_key_or_before_one_that_is_too_long() {
        assert_eq!(after(b"a", "t"), b"a\0");
        let key = vec![b'a'; KEY_BYTES_MAX];
        let longest = KEY_BYTES_MAX - LOOKED_FOR_WITH - 1;
        assert_eq!(after(&key[..longest - 1], "t"), [&key[..longest - 1], b"\0"].concat());
        for length in [longest, longest + 1, KEY_BYTES_MAX] {
            assert_eq!(after(&key[..length], "t"), key[..longest]);
        }
    }

    #[test]
    fn what_begins_with_a_prefix_ends_before_the_next_one() {
        assert_eq!(beyond(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(beyond(b"a\xff\xff").as_deref(), Some(&b"b"[..]));
        assert_eq!((beyond(b"\xff"), beyond(b"")), (None, None));
    }
}
