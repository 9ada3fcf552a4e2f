//! The promises of the contract.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::Result;
use tidelock_kinesis::{KinesisRecord, KinesisStream, StreamStart};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{Endings, Latest, Retention, SourceFacets, SourceHarness};
use tidelock_testkit::oracle::Input;

use crate::scripted::{Scripted, text_of};

/// Few, as some checks append ten times as many.
const BATCH_RECORDS: u32 = 40;

/// A shard for each split.
struct Feed(Scripted);

async fn boot() -> Result<Option<Feed>> {
    Ok(Some(Feed(Scripted::start().await)))
}

#[async_trait]
impl SourceHarness for Feed {
    type Source = KinesisStream;

    async fn source(&self) -> Result<KinesisStream> {
        Ok(self.0.source(|config| config.batch_records = BATCH_RECORDS).await)
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let mut script = self.0.script();
        if !script.shards.contains_key(split) {
            script.open(split);
        }
        script.fill(split, places);
        Ok(())
    }

    fn identify(&self, record: &KinesisRecord) -> Input {
        text_of(record).parse().unwrap()
    }

    fn facets(&self) -> SourceFacets<'_, KinesisStream> {
        SourceFacets::new(BATCH_RECORDS as usize).with_endings(self).with_latest(self).with_retention(self)
    }
}

#[async_trait]
impl Endings for Feed {
    async fn end(&self, split: &str) -> Result<()> {
        self.0.script().split(split, &[&format!("{split}-low"), &format!("{split}-high")]);
        Ok(())
    }
}

#[async_trait]
impl Latest<KinesisStream> for Feed {
    async fn source_at_latest(&self) -> Result<KinesisStream> {
        // What came before it must have come before, by a clock that counts milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let latest = |config: &mut tidelock_kinesis::KinesisStreamConfig| {
            (config.batch_records, config.start) = (BATCH_RECORDS, StreamStart::Latest);
        };
        Ok(self.0.source(latest).await)
    }
}

#[async_trait]
impl Retention for Feed {
    async fn drop_before(&self, split: &str, place: u64) -> Result<()> {
        self.0.script().trim(split, usize::try_from(place).unwrap());
        Ok(())
    }
}

conformance::source!(boot);
