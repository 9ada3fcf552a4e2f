//! The stored form of an entry: one line that checks the rest, then JSON that a person can read.
//!
//! ```text
//!   tidelock-log-entry version=3 crc32c=0badcafe bytes=417
//!   {"job":"orders","position":7, ... }
//! ```
//!
//! Every byte is covered: the checksum and the length cover the body, and the line itself is computed
//! again from the body and compared whole, so that it has exactly one spelling. The version is judged
//! before all else, because a newer build may have changed everything after it.

use crate::{Error, ErrorKind, Result};

use super::Entry;

/// The version that this build writes, and the newest that it reads. It reads all before.
///
/// 1. The first one.
/// 2. The state of a source may say how far its forgotten splits had come; version 1 never does, and is read as it is.
///    The checksum covers the version's digits and the body.
/// 3. A committable may name chunks that it needs; version 2 never does, and is read as it is.
const VERSION: u32 = 3;

/// An entry's manifest is small: anything larger is not one, and is not read into memory. State that
/// large belongs into chunks.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// The header line is shorter than this.
const HEADER_BYTES_MAX: usize = 128;

/// What a manifest is. The two never stand in for each other: a savepoint that was copied into a log
/// is not an entry of that log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    LogEntry,
    Savepoint,
}

impl Form {
    fn magic(self) -> &'static str {
        match self {
            Self::LogEntry => "tidelock-log-entry",
            Self::Savepoint => "tidelock-savepoint",
        }
    }
}

fn header(form: Form, version: u32, body: &[u8]) -> String {
    let before = match version {
        1 => 0,
        // Otherwise a damaged digit could turn one version into another.
        _ => crc32c::crc32c(version.to_string().as_bytes()),
    };
    let crc = crc32c::crc32c_append(before, body);
    format!("{} version={version} crc32c={crc:08x} bytes={}", form.magic(), body.len())
}

/// The bytes to store.
pub(super) fn encode(form: Form, entry: &Entry) -> Result<Vec<u8>> {
    let mut body = serde_json::to_vec(entry).map_err(|error| {
        Error::new(ErrorKind::Bug, "store", "an entry cannot be stored as JSON").because(error)
    })?;
    // A text file ends with a line feed; it is part of the body, so it is covered too.
    body.push(b'\n');
    let mut bytes = header(form, VERSION, &body).into_bytes();
    bytes.push(b'\n');
    bytes.append(&mut body);
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::Data,
            "store",
            "an entry is too large: large state and large committables belong into chunks",
        )
        .with("bytes", bytes.len())
        .with("bytes_max", MANIFEST_BYTES_MAX));
    }
    Ok(bytes)
}

/// Reads and verifies what was stored. `file` is named in errors.
pub(super) fn decode(form: Form, file: &str, bytes: &[u8]) -> Result<Entry> {
    let line_end = bytes.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n');
    let (found, body) = match line_end {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (&bytes[..bytes.len().min(HEADER_BYTES_MAX)], &[][..]),
    };
    let version = check_version(form, file, found)?;
    let expected = header(form, version, body);
    if found != expected.as_bytes() {
        return Err(damaged(file, "its bytes are not what its first line says")
            .with("first_line_expected", expected)
            .with("first_line_found", printable(found)));
    }
    serde_json::from_slice(body)
        .map_err(|error| damaged(file, "its body is not an entry of this format version").because(error))
}

/// Refuses what is no manifest of ours, and what a newer build wrote, before judging the rest.
fn check_version(form: Form, file: &str, header: &[u8]) -> Result<u32> {
    let rest = header.strip_prefix(form.magic().as_bytes()).and_then(|rest| rest.strip_prefix(b" version="));
    let digits = rest.and_then(|rest| rest.split(|byte| *byte == b' ').next());
    let version = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    match version {
        Some(version @ 1..=VERSION) => Ok(version),
        // Version 0 was never written; the comparison of the whole line refuses it.
        Some(0) => Ok(VERSION),
        Some(version) => Err(Error::new(
            ErrorKind::Corrupt,
            "read",
            "a newer version of Tidelock wrote this file, or it is damaged: use that version; \
             if there is none, restore the file from a backup",
        )
        .with("file", file)
        .with("format_version", version)
        .with("newest_known_version", VERSION)),
        None => Err(damaged(file, "its first line is not that of such a file")
            .with("first_line_expected", format!("{} version={VERSION} ...", form.magic()))
            .with("first_line_found", printable(header))),
    }
}

/// What a person can do about a file that is damaged or gone. An older entry is chosen only by a person, never by us.
const REMEDY: &str = "Restore the file from a backup; or go back: where it is a snapshot, choose another one, and where it \
     is the job's newest entry, start a new job, with an id and a log of its own, from an older entry, LOG#POSITION";

/// The error for a damaged file: what is wrong and what a person can do.
pub(super) fn damaged(file: &str, what: &str) -> Error {
    let why = format!("a stored file is damaged: {what}. {REMEDY}");
    Error::new(ErrorKind::Corrupt, "read", why).with("file", file)
}

/// The same for one that must be there and is not.
pub(super) fn gone(file: &str) -> Error {
    let why = format!("a stored file that must be there is gone. {REMEDY}");
    Error::new(ErrorKind::NotFound, "read", why).with("file", file)
}

/// Bytes as text for a message, whatever they are.
fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
