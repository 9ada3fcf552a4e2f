//! What a snapshot keeps of a prepared file.

use serde::{Deserialize, Serialize};
use tidelock::{Committable, Result, Versioned, unknown_version};

/// A file that is complete, durable and hidden. All names are below the sink's folder, so the folder may
/// be moved between preparing and committing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileCommittable {
    /// The name that it will be visible by.
    pub file: String,
    /// Where its content is until then.
    pub staged: Staged,
    /// How long it is.
    pub bytes: u64,
    /// The CRC-32C of its content.
    pub crc32c: u32,
    /// How many records it has: evidence where it is lost.
    pub records: u64,
}

/// Where the content of a prepared file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Staged {
    /// In a hidden file, to be renamed.
    File(String),
    /// In an upload, to be completed.
    Upload {
        /// The hidden object that remembers the upload, so that it can be aborted if it is abandoned.
        journal: String,
        /// The upload.
        id: String,
        /// What the store answered for each part, in order.
        parts: Vec<String>,
    },
}

impl Committable for FileCommittable {}

impl Versioned for FileCommittable {
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
        let staged = [
            (
                include_str!("../tests/golden/committable_v1_file.json"),
                Staged::File(".tidelock/orders.out.17.0/000000000003".into()),
            ),
            (
                include_str!("../tests/golden/committable_v1_upload.json"),
                Staged::Upload {
                    journal: ".tidelock/orders.out.17.0/000000000003".into(),
                    id: "VXBsb2Fk".into(),
                    parts: vec!["\"a1\"".into(), "\"b2\"".into()],
                },
            ),
        ];
        for (golden, staged) in staged {
            let golden: Stored = serde_json::from_str(golden).unwrap();
            let committable = FileCommittable {
                file: "EWR/part-000000000000017-000000000003.orders.out.0.jsonl".into(),
                staged,
                bytes: 4096,
                crc32c: 0xE306_9283,
                records: 32,
            };
            assert_eq!(golden.decode::<FileCommittable>().unwrap(), committable);
            assert_eq!(Stored::encode(&committable).unwrap(), golden);
        }
    }
}
