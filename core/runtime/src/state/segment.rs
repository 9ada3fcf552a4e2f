//! The stored form of keyed state: entries of keys and values, later ones replace earlier ones.
//!
//! ```text
//!   segment = version u8 = 1, entry*
//!   entry   = kind u8 (0 removed, 1 value), group u16, [value's version u16],
//!             key's length u32, key, [value's length u32, value]
//! ```
//!
//! Numbers are little-endian; keys and values are postcard. Whoever merges segments need not know the
//! types of either. How large ones are stored: see [`packed`](super::packed).

use std::collections::HashMap;
use std::ops::Range;

use bytes::{Buf, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};

use crate::proof;

/// The version of the form above.
const VERSION: u8 = 1;

const REMOVED: u8 = 0;
const VALUE: u8 = 1;

/// A value as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredValue<'a> {
    /// The version of its type.
    pub(crate) version: u16,
    pub(crate) bytes: &'a [u8],
}

/// Reads a key or a value, which must be all that there is: bytes that are left over were meant for another
/// type, and what was read of it is not what was stored.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let other_form = || {
        let why = "stored state does not have the form that its version says: was its type changed without \
                   another version?";
        Error::new(ErrorKind::Corrupt, "restore", why).with("type", std::any::type_name::<T>())
    };
    match postcard::take_from_bytes(bytes) {
        Ok((read, [])) => Ok(read),
        Ok((_, rest)) => Err(other_form().with("bytes_left", rest.len())),
        Err(error) => Err(other_form().because(error)),
    }
}

/// One entry of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) group: u16,
    pub(crate) key: &'a [u8],
    /// `None`: the key was removed.
    pub(crate) value: Option<StoredValue<'a>>,
    /// The whole entry as it is stored.
    raw: &'a [u8],
}

/// What was pushed, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed<'a> {
    pub(crate) key: &'a [u8],
    /// Nothing where the key was removed.
    pub(crate) value: &'a [u8],
}

/// Writes a segment.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![VERSION] }
    }

    /// A key with its value; without one it was removed. Returns what is stored for both.
    pub(crate) fn push<K: Serialize, V: Serialize>(
        &mut self,
        group: u16,
        key: &K,
        value: Option<(u16, &V)>,
    ) -> Result<Pushed<'_>> {
        self.bytes.push(if value.is_some() { VALUE } else { REMOVED });
        self.bytes.extend_from_slice(&group.to_le_bytes());
        if let Some((version, _)) = value {
            self.bytes.extend_from_slice(&version.to_le_bytes());
        }
        let key = self.push_sized(key)?;
        let value = match value {
            Some((_, value)) => self.push_sized(value)?,
            None => 0..0,
        };
        Ok(Pushed { key: &self.bytes[key], value: &self.bytes[value] })
    }

    fn push_sized<T: Serialize>(&mut self, value: &T) -> Result<Range<usize>> {
        let start = self.bytes.len() + size_of::<u32>();
        self.bytes.extend_from_slice(&[0; size_of::<u32>()]);
        let sink = std::mem::take(&mut self.bytes);
        let named = std::any::type_name::<T>();
        self.bytes = postcard::to_extend(value, sink)
            .map_err(|error| proof::cannot_write(proof::Use::Store, named, error))?;
        let length = u32::try_from(self.bytes.len() - start).map_err(|_| {
            let why = "a key or a value of 4 GiB or more cannot be stored";
            Error::new(ErrorKind::Data, "store", why).with("type", named)
        })?;
        self.bytes[start - size_of::<u32>()..start].copy_from_slice(&length.to_le_bytes());
        Ok(start..self.bytes.len())
    }

    /// The segment; `None` where nothing was pushed.
    pub(crate) fn finish(self) -> Option<Bytes> {
        (self.bytes.len() > 1).then(|| self.bytes.into())
    }
}

/// Reads a segment, entry by entry: reading may pause behind each of them.
#[derive(Debug)]
pub(crate) struct Entries {
    rest: Bytes,
}

impl Entries {
    pub(crate) fn of(mut segment: Bytes) -> Result<Self> {
        check_version(&segment)?;
        segment.advance(1);
        Ok(Self { rest: segment })
    }

    /// Calls `take` with the next entry; `false` where there is none.
    pub(crate) fn next(&mut self, take: impl FnOnce(Entry<'_>) -> Result<()>) -> Result<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let mut left = &self.rest[..];
        let entry = take_entry(&mut left)?;
        let length = entry.raw.len();
        take(entry)?;
        self.rest.advance(length);
        Ok(true)
    }
}

fn check_version(segment: &[u8]) -> Result<()> {
    let version = segment.first().ok_or_else(damaged)?;
    if *version != VERSION {
        let why =
            "this build does not know this form of keyed state; use the build that wrote it, or a newer one";
        return Err(Error::new(ErrorKind::Corrupt, "restore", why).with("version", version));
    }
    Ok(())
}

/// The entries of a segment, in their order.
pub(crate) fn entries(segment: &[u8]) -> Result<impl Iterator<Item = Result<Entry<'_>>>> {
    check_version(segment)?;
    let mut rest = &segment[1..];
    Ok(std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let entry = take_entry(&mut rest);
            if entry.is_err() {
                rest = &[];
            }
            entry
        })
    }))
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Result<Entry<'a>> {
    let whole = *rest;
    let kind = take::<1>(rest)?[0];
    let group = u16::from_le_bytes(take(rest)?);
    let version = if kind == VALUE { Some(u16::from_le_bytes(take(rest)?)) } else { None };
    if kind > VALUE {
        return Err(damaged());
    }
    let key = take_sized(rest)?;
    let value = match version {
        Some(version) => Some(StoredValue { version, bytes: take_sized(rest)? }),
        None => None,
    };
    Ok(Entry { group, key, value, raw: &whole[..whole.len() - rest.len()] })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or_else(damaged)?;
    *rest = left;
    Ok(*taken)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (taken, left) = rest.split_at_checked(length).ok_or_else(damaged)?;
    *rest = left;
    Ok(taken)
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "restore", "a segment of keyed state is damaged")
}

/// Merges segments, the oldest first: what the last one says of a key counts. Keeps what belongs to
/// `groups`. Removals are needed only while something older may still have the key.
pub(crate) fn merge(segments: &[Bytes], groups: &Range<u16>, keep_removed: bool) -> Result<Option<Bytes>> {
    let mut last: HashMap<&[u8], usize, foldhash::fast::RandomState> = HashMap::default();
    let mut order: Vec<Entry<'_>> = Vec::new();
    for segment in segments {
        for entry in entries(segment)? {
            let entry = entry?;
            if !groups.contains(&entry.group) {
                continue;
            }
            match last.entry(entry.key) {
                std::collections::hash_map::Entry::Occupied(place) => order[*place.get()] = entry,
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(order.len());
                    order.push(entry);
                }
            }
        }
    }
    order.retain(|entry| keep_removed || entry.value.is_some());
    // Of the right size at once: a vector that grows leaves as much again behind.
    let mut merged = Vec::with_capacity(1 + order.iter().map(|entry| entry.raw.len()).sum::<usize>());
    merged.push(VERSION);
    order.iter().for_each(|entry| merged.extend_from_slice(entry.raw));
    Ok((merged.len() > 1).then(|| merged.into()))
}

/// What a restore reads of these segments.
#[cfg(test)]
pub(crate) fn merge_all(segments: &[Bytes]) -> Result<Option<Bytes>> {
    merge(segments, &(0..u16::MAX), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(entries: &[(u16, &str, Option<u64>)]) -> Bytes {
        let mut encoder = Encoder::new();
        for (group, key, value) in entries {
            encoder.push(*group, key, value.as_ref().map(|value| (3, value))).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn read(segment: &Bytes) -> Vec<(u16, String, Option<u64>)> {
        let read = entries(segment).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let value = entry.value.map(|value| decode(value.bytes).unwrap());
            (entry.group, decode(entry.key).unwrap(), value)
        });
        read.collect()
    }

    #[test]
    fn the_last_word_on_a_key_counts() {
        let old = segment(&[(1, "a", Some(1)), (2, "b", Some(2)), (9, "c", Some(3))]);
        let new = segment(&[(2, "b", None), (1, "a", Some(10)), (1, "d", Some(4))]);
        let whole = merge(&[old.clone(), new.clone()], &(0..128), false).unwrap().unwrap();
        assert_eq!(
            read(&whole),
            [(1, "a".into(), Some(10)), (9, "c".into(), Some(3)), (1, "d".into(), Some(4))]
        );
        let partly = merge(&[old, new], &(0..5), true).unwrap().unwrap();
        assert_eq!(
            read(&partly),
            [(1, "a".into(), Some(10)), (2, "b".into(), None), (1, "d".into(), Some(4))]
        );
    }

    #[test]
    fn a_cut_segment_is_an_error_at_every_byte() {
        let whole = segment(&[(1, "abc", Some(1)), (300, "b", None)]);
        let boundary = segment(&[(1, "abc", Some(1))]).len();
        for length in 0..whole.len() {
            let cut = whole.slice(..length);
            let read = entries(&cut).and_then(|entries| entries.collect::<Result<Vec<_>>>());
            assert_eq!(read.is_ok(), length == 1 || length == boundary, "cut at {length}");
        }
    }

    #[test]
    fn bytes_that_are_left_over_are_refused() {
        let stored = postcard::to_allocvec(&(3_u64, 220_u64, 28_u64)).unwrap();
        assert_eq!(decode::<(u64, u64, u64)>(&stored).unwrap(), (3, 220, 28));
        let error = decode::<(u64, u64)>(&stored).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("bytes_left=1"), "{error}");
    }

    #[test]
    fn an_unknown_form_is_refused() {
        assert_eq!(entries(&[2, 0]).err().unwrap().kind(), ErrorKind::Corrupt);
    }
}
