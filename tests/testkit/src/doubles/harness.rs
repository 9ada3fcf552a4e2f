//! The doubles plugged into the suites: at the same time the shortest example of a harness.

use std::ops::Range;

use async_trait::async_trait;
use tidelock::{Result, TargetName};

use super::{BATCH_RECORDS_MAX, Feed, MemorySink, MemorySource, SinkDefect, SourceDefect, Target};
use crate::harness::{
    Endings, Expiry, Latest, Leftovers, Retention, Row, Shape, SinkFacets, SinkHarness, SourceFacets,
    SourceHarness,
};
use crate::oracle::Input;

/// Plugs [`MemorySink`] into the suite.
#[derive(Debug, Default)]
pub struct MemorySinkHarness {
    target: Target,
    defect: Option<SinkDefect>,
}

impl MemorySinkHarness {
    /// A harness with a fresh target, for a sink that is correct or broken in one way.
    pub fn new(defect: Option<SinkDefect>) -> Self {
        Self { target: Target::new(), defect }
    }
}

#[async_trait]
impl SinkHarness for MemorySinkHarness {
    type Sink = MemorySink;

    async fn sink(&self) -> Result<MemorySink> {
        Ok(match self.defect {
            None => MemorySink::new(self.target.clone()),
            Some(defect) => MemorySink::broken(self.target.clone(), defect),
        })
    }

    fn record(&self, row: &Row) -> Row {
        row.clone()
    }

    async fn visible(&self) -> Result<Vec<Row>> {
        Ok(self.target.visible_with(self.defect))
    }

    fn facets(&self) -> SinkFacets<'_> {
        SinkFacets::new(Shape::Log).with_expiry(self).with_leftovers(self)
    }
}

#[async_trait]
impl Expiry for MemorySinkHarness {
    async fn expire(&self) -> Result<()> {
        self.target.expire();
        Ok(())
    }
}

#[async_trait]
impl Leftovers for MemorySinkHarness {
    async fn leftovers(&self) -> Result<Vec<TargetName>> {
        Ok(self.target.leftovers())
    }
}

/// Plugs [`MemorySource`] into the suite.
#[derive(Debug, Default)]
pub struct MemorySourceHarness {
    feed: Feed,
    defect: Option<SourceDefect>,
}

impl MemorySourceHarness {
    /// A harness with an empty feed, for a source that is correct or broken in one way.
    pub fn new(defect: Option<SourceDefect>) -> Self {
        Self { feed: Feed::new(), defect }
    }
}

#[async_trait]
impl SourceHarness for MemorySourceHarness {
    type Source = MemorySource;

    async fn source(&self) -> Result<MemorySource> {
        let source = MemorySource::new(self.feed.clone());
        Ok(match self.defect {
            None => source,
            Some(defect) => source.broken(defect),
        })
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        self.feed.append(split, places);
        Ok(())
    }

    fn identify(&self, record: &Input) -> Input {
        record.clone()
    }

    fn facets(&self) -> SourceFacets<'_, MemorySource> {
        SourceFacets::new(BATCH_RECORDS_MAX).with_endings(self).with_latest(self).with_retention(self)
    }
}

#[async_trait]
impl Endings for MemorySourceHarness {
    async fn end(&self, split: &str) -> Result<()> {
        self.feed.end(split);
        Ok(())
    }
}

#[async_trait]
impl Latest<MemorySource> for MemorySourceHarness {
    async fn source_at_latest(&self) -> Result<MemorySource> {
        Ok(self.source().await?.at_latest())
    }
}

#[async_trait]
impl Retention for MemorySourceHarness {
    async fn drop_before(&self, split: &str, place: u64) -> Result<()> {
        self.feed.drop_before(split, place);
        Ok(())
    }
}
