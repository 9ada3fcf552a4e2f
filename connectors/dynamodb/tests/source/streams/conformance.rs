//! The promises of the contract.

use std::ops::Range;

use async_trait::async_trait;
use tidelock::Result;
use tidelock_dynamodb::{DynamoEvent, DynamoStream, StreamStart};
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
    type Source = DynamoStream;

    async fn source(&self) -> Result<DynamoStream> {
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

    fn identify(&self, record: &DynamoEvent) -> Input {
        text_of(record).parse().unwrap()
    }

    fn facets(&self) -> SourceFacets<'_, DynamoStream> {
        SourceFacets::new(BATCH_RECORDS as usize).with_endings(self).with_latest(self).with_retention(self)
    }
}

#[async_trait]
impl Endings for Feed {
    async fn end(&self, split: &str) -> Result<()> {
        self.0.script().close(split, &[&format!("{split}-child")]);
        Ok(())
    }
}

#[async_trait]
impl Latest<DynamoStream> for Feed {
    async fn source_at_latest(&self) -> Result<DynamoStream> {
        let now = |config: &mut tidelock_dynamodb::DynamoStreamConfig| {
            (config.batch_records, config.start) = (BATCH_RECORDS, StreamStart::Now);
        };
        Ok(self.0.source(now).await)
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
