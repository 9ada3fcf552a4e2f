//! Dead letters of sources that share a place for them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;

use common::{Row, read_all, visible};
use serde::Deserialize;
use tempfile::TempDir;
use tidelock_files::{FilesSource, FilesSourceConfig, OnBadRecord, SourceFormat};

#[derive(Debug, Deserialize)]
struct Count {
    #[allow(dead_code, reason = "only whether it can be read counts")]
    name: u64,
}

#[tokio::test]
async fn sources_that_find_different_things_wrong_with_a_record_have_a_letter_each() {
    let folder = TempDir::new().unwrap();
    let (input, letters) = (folder.path().join("in"), folder.path().join("letters"));
    fs::create_dir(&input).unwrap();
    fs::write(input.join("a.jsonl"), "{\"name\": \"x\"}\n").unwrap();
    let mut config = FilesSourceConfig::new(input.to_str().unwrap(), SourceFormat::JsonLines);
    config.on_bad_record = OnBadRecord::DeadLetter(letters.to_str().unwrap().into());
    for _replay in 0..2 {
        read_all(&FilesSource::<Row>::new(config.clone()).unwrap()).await.unwrap();
        read_all(&FilesSource::<Count>::new(config.clone()).unwrap()).await.unwrap();
    }
    let written: Vec<_> =
        visible(&letters).into_values().map(|text| String::from_utf8(text).unwrap()).collect();
    assert_eq!(written.len(), 2, "{written:?}");
    for reason in ["missing field", "invalid type"] {
        assert_eq!(written.iter().filter(|letter| letter.contains(reason)).count(), 1, "{written:?}");
    }
}
