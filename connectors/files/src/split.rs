//! A file with the position in it, and the evidence that it is still the file that was found.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidelock::{Result, Split, SplitId, Versioned, from_json, unknown_version};

/// A place in the decompressed content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many bytes stand before it.
    pub(crate) offset: u64,
    /// The number of the line that begins there, from 1; `None` where that is not known.
    pub(crate) line: Option<u64>,
}

impl Place {
    /// The beginning of a file.
    pub(crate) const BEGIN: Self = Self { offset: 0, line: Some(1) };

    /// The place so many bytes and lines further.
    pub(crate) fn after(self, bytes: u64, lines: u64) -> Self {
        Self { offset: self.offset + bytes, line: self.line.map(|line| line + lines) }
    }
}

/// A file, and how far it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileSplit {
    /// The path below the source's folder, joined by `/`. It is the name of the split, so the folder
    /// may be moved.
    pub file: Arc<str>,
    /// Where the next unread record begins: a byte offset in the decompressed content. 0 is before the
    /// header of a CSV file.
    pub offset: u64,
    /// The size of the file when it was found, in bytes as stored.
    pub size: u64,
    /// What tells this content from another of the same size.
    pub version: FileVersion,
    /// The number of the line at `offset`, from 1, for messages. `None` where the position comes from a
    /// snapshot that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The number by which the file system knows a local file, whatever its name: with size and times it tells
    /// that a file was moved. Which file system is not kept: its number is another one after the next start of the
    /// machine, and a moved file would then be read again. `None` where there is none, and in older snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// When a local file was made, where the file system keeps that: the number of one that was deleted is given to
    /// the next, and size and time of the last change may be the same by intent, as out of an archive. `None` where
    /// nobody knows, and in older snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<jiff::Timestamp>,
    /// A checksum (CRC-32C) of the first and the last 4 KiB of a local file, as stored: it tells a copy, which has another
    /// inode, from another file of the same size and time. `None` where nobody looked yet, and in older snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<u32>,
}

impl FileSplit {
    /// Where reading goes on.
    pub(crate) fn place(&self) -> Place {
        Place { offset: self.offset, line: self.line }
    }

    /// Whether another listing shows the same content, as far as size and version tell.
    pub(crate) fn is_same_content(&self, other: &Self) -> bool {
        (self.size, &self.version) == (other.size, &other.version)
    }

    /// Whether this is the same local file with the same content, under whatever name.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.inode.is_some()
            && self.inode == other.inode
            && self.made.is_none_or(|made| other.made.is_none_or(|other| made == other))
            && self.is_same_content(other)
    }
}

/// What tells a file's content from another that has the same name and size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileVersion {
    /// When a local file was last modified.
    Modified(jiff::Timestamp),
    /// The entity tag of an object.
    Etag(Arc<str>),
}

impl Split for FileSplit {
    fn id(&self) -> SplitId {
        SplitId::new(&self.file)
    }
}

impl Versioned for FileSplit {
    const VERSION: u16 = 3;

    fn upgrade(version: u16, json: &str) -> Result<Self> {
        match version {
            // The first version knew neither line nor inode nor when a file was made, the second no edges.
            1 | 2 => from_json(json),
            _ => Err(unknown_version::<Self>(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Stored;

    use super::*;

    fn split(version: FileVersion, line: Option<u64>, inode: Option<u64>) -> FileSplit {
        let made = inode.map(|_| "2013-01-01T09:00:00.5Z".parse().unwrap());
        let file = "2013/flights-01.csv".into();
        FileSplit { file, offset: 4096, size: 2_500_000, version, line, inode, made, edges: None }
    }

    fn modified() -> FileVersion {
        FileVersion::Modified("2013-01-01T10:00:00.000000001Z".parse().unwrap())
    }

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        let local = split(modified(), Some(57), Some(1_234_567));
        for (golden, split) in [
            (
                include_str!("../tests/golden/split_v3_local.json"),
                FileSplit { edges: Some(3_735_928_559), ..local },
            ),
            (
                include_str!("../tests/golden/split_v3_object.json"),
                split(FileVersion::Etag("\"9b2cf5\"".into()), Some(57), None),
            ),
        ] {
            let golden: Stored = serde_json::from_str(golden).unwrap();
            assert_eq!(golden.decode::<FileSplit>().unwrap(), split);
            assert_eq!(Stored::encode(&split).unwrap(), golden);
        }
    }

    #[test]
    fn a_position_of_the_second_version_goes_on_with_the_evidence_that_it_has() {
        for (golden, version, inode) in [
            (include_str!("../tests/golden/split_v2_local.json"), modified(), Some(1_234_567)),
            (
                include_str!("../tests/golden/split_v2_object.json"),
                FileVersion::Etag("\"9b2cf5\"".into()),
                None,
            ),
        ] {
            let golden: Stored = serde_json::from_str(golden).unwrap();
            assert_eq!(golden.decode::<FileSplit>().unwrap(), split(version, Some(57), inode));
        }
    }

    #[test]
    fn a_position_of_the_first_version_goes_on_without_its_line() {
        for (golden, version) in [
            (include_str!("../tests/golden/split_v1_local.json"), modified()),
            (include_str!("../tests/golden/split_v1_object.json"), FileVersion::Etag("\"9b2cf5\"".into())),
        ] {
            let golden: Stored = serde_json::from_str(golden).unwrap();
            assert_eq!(golden.decode::<FileSplit>().unwrap(), split(version, None, None));
        }
    }
}
