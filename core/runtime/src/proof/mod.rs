//! Proof that values come back as they were stored or sent.
//!
//! ```text
//!   value ── postcard ──> bytes ── postcard ──> again
//!     │                     └ none left over      │
//!     └────────── print == print ────────────────┘
//! ```
//!
//! Postcard writes neither names nor types. A type whose reader does not mirror its writer (one field
//! skipped on one side, a tag that must be asked for) is stored without a word, and read as something
//! else, or not at all, by the restart that needs it. So a value is read back while it can still be
//! refused: the first ones of each operator, the first of each length (another variant, or a field that is
//! skipped now and then, shows there), and one of many from then on. Comparing the bytes of both would not
//! do: where a field is skipped, another value may have the same bytes.
//!
//! What a value does not serialize at all is not missed: that is a choice of its type.

mod print;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidelock::{Error, ErrorKind, Result};

/// So many first values are proven.
const FIRST: u64 = 64;

/// One of so many is proven after that. To read a value back and compare it takes as long as writing it one to
/// twenty times, by its type: this adds less than a tenth.
const ONE_OF: u64 = 256;

/// Lengths are told apart up to this one.
const LENGTHS: usize = 1024;

/// Which values of a type are proven.
#[derive(Debug)]
pub(crate) struct Proof {
    seen: u64,
    /// A bit for each length that was proven.
    lengths: [u64; LENGTHS / 64],
}

/// What is done with a value, for the error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    Store,
    Send,
}

impl Proof {
    pub(crate) fn new() -> Self {
        Self { seen: 0, lengths: [0; LENGTHS / 64] }
    }

    /// Whether the turn has come of a value of which nothing is known.
    pub(crate) fn is_due(&mut self) -> bool {
        self.seen += 1;
        self.seen <= FIRST || self.seen.is_multiple_of(ONE_OF)
    }

    /// Whether the turn has come of a value that takes `length` bytes.
    fn is_due_with(&mut self, length: usize) -> bool {
        let (word, bit) = (length % LENGTHS / 64, 1 << (length % 64));
        let is_new = self.lengths[word] & bit == 0;
        self.lengths[word] |= bit;
        self.is_due() || is_new
    }

    /// Proves a value that is to be stored as `bytes`, if its turn has come. `named` is its type as the user knows it.
    pub(crate) fn of_value<T>(&mut self, value: &T, bytes: &[u8], named: &'static str) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        if self.is_due_with(bytes.len()) {
            read_back(value, bytes, Use::Store, named)?;
        }
        Ok(())
    }

    /// The same for a key, which must also be equal to itself: state is found again by it.
    pub(crate) fn of_key<K>(&mut self, key: &K, bytes: &[u8]) -> Result<()>
    where
        K: Serialize + DeserializeOwned + Eq,
    {
        if self.is_due_with(bytes.len()) && read_back(key, bytes, Use::Store, type_name::<K>())? != *key {
            let why = "a key is another one after it was stored and read, so its state would not be found";
            let hint = "a field with #[serde(skip)] that `Eq` compares";
            return Err(refuse(Use::Store, why, type_name::<K>()).with("likely", hint));
        }
        Ok(())
    }
}

/// Proves a value that is to be sent to another process.
pub(crate) fn of_record<R: Serialize + DeserializeOwned>(record: &R) -> Result<()> {
    let named = type_name::<R>();
    let bytes = postcard::to_allocvec(record).map_err(|error| cannot_write(Use::Send, named, error))?;
    read_back(record, &bytes, Use::Send, named).map(drop)
}

/// The error of a value that postcard cannot write.
pub(crate) fn cannot_write(to: Use, named: &'static str, error: postcard::Error) -> Error {
    let hint = match error {
        postcard::Error::SerializeSeqLengthUnknown => "#[serde(flatten)]",
        _ => "a `Serialize` of its own",
    };
    refuse(to, "a value cannot be written in postcard's form", named).with("likely", hint).because(error)
}

fn read_back<T>(value: &T, bytes: &[u8], to: Use, named: &'static str) -> Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let not_readable = |error: postcard::Error| {
        let why = "a value cannot be read again after it was written in postcard's form";
        let hint = match error {
            postcard::Error::WontImplement => {
                "#[serde(tag)], #[serde(untagged)], #[serde(flatten)] or a serde_json::Value: they ask what \
                 comes next, and postcard does not write it"
            }
            _ => "#[serde(skip_serializing_if)] or #[serde(skip_serializing)]",
        };
        refuse(to, why, named).with("likely", hint).because(error)
    };
    let (again, rest) = postcard::take_from_bytes::<T>(bytes).map_err(not_readable)?;
    if !rest.is_empty() {
        let why = "a value is not read to its end after it was written in postcard's form";
        let hint = "#[serde(skip_deserializing)]";
        return Err(refuse(to, why, named).with("bytes_left", rest.len()).with("likely", hint));
    }
    let print = |value: &T| {
        print::of(value).map_err(|error| {
            refuse(to, "a value is written once and refused the next time", named).because(error)
        })
    };
    if print(value)? != print(&again)? {
        let why = "a value is another one after it was written and read in postcard's form";
        let hint = "#[serde(skip_serializing_if)], #[serde(skip_deserializing)], or a `Serialize` and \
                    `Deserialize` of its own that do not agree";
        return Err(refuse(to, why, named).with("likely", hint));
    }
    Ok(again)
}

fn refuse(to: Use, why: &'static str, named: &'static str) -> Error {
    let operation = match to {
        Use::Store => "store",
        Use::Send => "send to another process",
    };
    Error::new(ErrorKind::Config, operation, why).with("type", named)
}

fn type_name<T>() -> &'static str {
    std::any::type_name::<T>()
}
