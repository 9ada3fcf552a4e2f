//! The promises of the contract, tried on a local folder.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::fs;
use std::ops::Range;

use async_trait::async_trait;
use tempfile::TempDir;
use tidelock::{Rejecting, Rejects, Result, TargetName};
use tidelock_files::{
    FileWriter, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{
    Endings, Expiry, Leftovers, RejectingHarness, Retention, Row, Shape, SinkFacets, SinkHarness,
    SourceFacets, SourceHarness,
};
use tidelock_testkit::oracle::Input;

const BATCH_RECORDS_MAX: usize = 4;

struct LocalFolder(TempDir);

async fn boot() -> Result<Option<LocalFolder>> {
    Ok(Some(LocalFolder(TempDir::new().unwrap())))
}

impl LocalFolder {
    fn location(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

#[async_trait]
impl SinkHarness for LocalFolder {
    type Sink = FilesSink<Row>;

    async fn sink(&self) -> Result<FilesSink<Row>> {
        let sink = FilesSink::new(FilesSinkConfig::new(self.location(), SinkFormat::JsonLines))?;
        // The suite names its bad rows so: they belong into a bucket that cannot be.
        Ok(sink.with_bucket(|row: &Row, bucket| {
            bucket.push_str(if row.key.starts_with("bad-") { "_hidden" } else { "" })
        }))
    }

    fn record(&self, row: &Row) -> Row {
        row.clone()
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        Ok(common::json_lines(&common::visible(self.0.path())))
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Log).with_expiry(self).with_leftovers(self)
    }
}

impl RejectingHarness for LocalFolder {
    fn bad(&self, row: &Row) -> Row {
        row.clone()
    }

    fn row(&self, record: &Row) -> Row {
        record.clone()
    }

    fn reject_to(&self, writer: &mut FileWriter<Row>, rejects: Rejects<Row>) {
        writer.reject_to(rejects);
    }
}

#[async_trait]
impl Expiry for LocalFolder {
    async fn expire(&self) -> Result<()> {
        common::in_progress(self.0.path()).into_iter().for_each(|file| fs::remove_file(file).unwrap());
        Ok(())
    }
}

#[async_trait]
impl Leftovers for LocalFolder {
    async fn leftovers(&self) -> Result<Vec<TargetName>> {
        let writer =
            |file: &std::path::PathBuf| file.parent()?.file_name()?.to_str().and_then(TargetName::parse);
        Ok(common::in_progress(self.0.path()).iter().map(|file| writer(file).unwrap()).collect())
    }
}

#[async_trait]
impl SourceHarness for LocalFolder {
    type Source = FilesSource<String>;

    async fn source(&self) -> Result<FilesSource<String>> {
        let mut config = FilesSourceConfig::new(self.location(), SourceFormat::Lines);
        config.bounded = false;
        config.batch_records_max = BATCH_RECORDS_MAX;
        FilesSource::new(config)
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        // Complete when it appears: written under a hidden name, and renamed.
        let hidden = self.0.path().join(format!(".{split}"));
        let lines: String = places.map(|place| format!("{}\n", Input::new(split, place))).collect();
        fs::write(&hidden, lines).unwrap();
        fs::rename(hidden, self.0.path().join(split)).unwrap();
        Ok(())
    }

    fn identify(&self, record: &String) -> Input {
        record.parse().unwrap()
    }

    fn facets(&self) -> SourceFacets<'_, FilesSource<String>> {
        SourceFacets::new(BATCH_RECORDS_MAX).without_growth().with_endings(self).with_retention(self)
    }
}

#[async_trait]
impl Endings for LocalFolder {
    async fn end(&self, _split: &str) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Retention for LocalFolder {
    async fn drop_before(&self, split: &str, _place: u64) -> Result<()> {
        fs::remove_file(self.0.path().join(split)).unwrap();
        Ok(())
    }
}

conformance::sink!(boot);
conformance::rejecting!(boot);
conformance::source!(boot, without [growth, latest]);
