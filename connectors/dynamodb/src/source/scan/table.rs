//! The bounded source: which segments there are, and their readers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock::{Discovery, Known, Result, Source};

use super::config::DynamoScanConfig;
use super::reader::DynamoScanReader;
use super::reading::Reading;
use super::segment::DynamoSegment;
use crate::client::client;
use crate::deleted::Deleted;
use crate::item::Item;
use crate::projection::Projection;
use crate::read_units::ReadUnits;
use crate::table::Table;

/// Reads the items of a table, each once: see the [crate's page](crate) for what it guarantees.
///
/// ```no_run
/// # use tidelock_dynamodb::{AwsConfig, DynamoScan, DynamoScanConfig};
/// # async fn connect() -> tidelock::Result<()> {
/// let mut config = DynamoScanConfig::new(AwsConfig::new(), "flights");
/// config.attributes = vec!["delay".into()];
/// let flights = DynamoScan::connect(config).await?;
/// # Ok(()) }
/// ```
pub struct DynamoScan {
    reading: Arc<Reading>,
}

impl fmt::Debug for DynamoScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoScan").field("config", &self.reading.config).finish_non_exhaustive()
    }
}

impl DynamoScan {
    /// Looks at the table: what is missing is told now, and not when the job has begun.
    ///
    /// # Errors
    /// Where a setting cannot work, DynamoDB cannot be reached or refuses, or the table is not there.
    pub async fn connect(config: DynamoScanConfig) -> Result<Self> {
        config.validate()?;
        let client = client(&config.dynamodb).await?;
        let table = Table::look(&client, &config.table).await?;
        let deleted = Deleted::by(&config.deleted_attribute);
        let projection = Projection::of(&config.attributes, &table.key, &deleted);
        let read_units = ReadUnits::default();
        Ok(Self { reading: Arc::new(Reading { config, client, projection, deleted, read_units }) })
    }
}

#[async_trait]
impl Source for DynamoScan {
    type Record = Item;
    type Split = DynamoSegment;
    type Reader = DynamoScanReader;

    /// Segments end, and each that is read holds a page: a few keep a worker busy.
    const OPEN_SPLITS_MAX: usize = 4;

    async fn discover(&self, known: &Known<DynamoSegment>) -> Result<Discovery<DynamoSegment>> {
        let segments = self.reading.config.segments;
        let mut new = Vec::new();
        // The cut is decided once (I9): in another number of segments items are in other ones.
        if known.first_run {
            let table = self.reading.look().await?;
            new.extend((0..segments).map(|segment| DynamoSegment::whole(&table, segment, segments)));
        }
        Ok(Discovery { new, forget: Vec::new(), complete: true })
    }

    async fn open(&self, split: DynamoSegment) -> Result<DynamoScanReader> {
        split.check(&self.reading.look().await?)?;
        Ok(DynamoScanReader::new(split, Arc::clone(&self.reading)))
    }
}
