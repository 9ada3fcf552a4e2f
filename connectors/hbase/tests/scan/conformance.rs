//! The promises of the contract.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use tidelock::Result;
use tidelock_hbase::{HbaseKeyRange, HbaseRow, HbaseScan, HbaseScanRows};
use tidelock_testkit::conformance;
use tidelock_testkit::harness::{Endings, SourceFacets, SourceHarness};
use tidelock_testkit::oracle::Input;

use super::Place;

/// Few, as some checks append ten times as many.
const BATCH_ROWS: usize = 40;

/// A table whose keys begin with the split, and a range for each.
struct Scanned {
    place: Place,
    splits: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl SourceHarness for Scanned {
    type Source = HbaseScan;

    async fn source(&self) -> Result<HbaseScan> {
        let mut config = self.place.config();
        config.batch_rows = BATCH_ROWS;
        let range = |split: &String| HbaseKeyRange::with_prefix(format!("{split}/"));
        config.rows = HbaseScanRows::Ranges(self.splits.lock().unwrap().iter().map(range).collect());
        HbaseScan::connect(config).await
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let row = |place: u64| {
            let input = Input::new(split, place).to_string();
            (format!("{split}/{place:09}").into_bytes(), vec![("f:input".to_owned(), input.into_bytes())])
        };
        self.place.bare().put(&self.place.table, places.map(row), 1);
        self.splits.lock().unwrap().insert(split.to_owned());
        Ok(())
    }

    fn identify(&self, record: &HbaseRow) -> Input {
        record.text("f:input").unwrap().parse().unwrap()
    }

    fn facets(&self) -> SourceFacets<'_, HbaseScan> {
        SourceFacets::new(BATCH_ROWS).without_growth().without_newcomers().with_endings(self)
    }
}

#[async_trait]
impl Endings for Scanned {
    async fn end(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

async fn boot() -> Result<Option<Scanned>> {
    Ok(Some(Scanned { place: Place::shared(&[b"1/000000050"]).await, splits: Mutex::default() }))
}

conformance::source!(#[ignore = "needs a container"] boot, without [growth, newcomers, latest, retention]);
