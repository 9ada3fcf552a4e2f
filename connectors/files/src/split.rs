//! A file with the position in it, and the evidence that it is still the file that was found.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidelock::{Result, Split, SplitId, Versioned, unknown_version};

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
}

/// What tells a file's content from another that has the same name and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

#[cfg(test)]
mod tests {
    use tidelock::Stored;

    use super::*;

    #[test]
    fn the_stored_form_is_the_one_that_was_released() {
        for (golden, version) in [
            (
                include_str!("../tests/golden/split_v1_local.json"),
                FileVersion::Modified("2013-01-01T10:00:00.000000001Z".parse().unwrap()),
            ),
            (include_str!("../tests/golden/split_v1_object.json"), FileVersion::Etag("\"9b2cf5\"".into())),
        ] {
            let golden: Stored = serde_json::from_str(golden).unwrap();
            let split =
                FileSplit { file: "2013/flights-01.csv".into(), offset: 4096, size: 2_500_000, version };
            assert_eq!(golden.decode::<FileSplit>().unwrap(), split);
            assert_eq!(Stored::encode(&split).unwrap(), golden);
        }
    }
}
