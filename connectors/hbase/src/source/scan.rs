//! The bounded source: which ranges there are, and their readers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hbase_thrift::hbase::THbaseSyncClient as _;
use tidelock::{Discovery, Known, Patience, Result, Source};

use super::config::{HbaseKeyRange, HbaseScanConfig, HbaseScanRows};
use super::cut;
use super::reader::HbaseScanReader;
use super::split::HbaseSplit;
use crate::gateway::{CALLS_AGAIN, Client, Gateways};
use crate::row::HbaseRow;
use crate::table::Table;

/// Reads the rows of a table, each once: see the [crate's page](crate) for what it guarantees.
///
/// ```no_run
/// # use tidelock_hbase::{HbaseConfig, HbaseScan, HbaseScanConfig};
/// # async fn connect() -> tidelock::Result<()> {
/// let hbase = HbaseConfig::new(["gateway-1:9090", "gateway-2:9090"]);
/// let mut config = HbaseScanConfig::new(hbase, "flights");
/// config.columns = vec!["by:hour".into()];
/// let flights = HbaseScan::connect(config).await?;
/// # Ok(()) }
/// ```
pub struct HbaseScan {
    config: Arc<HbaseScanConfig>,
    gateways: Gateways,
}

impl fmt::Debug for HbaseScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HbaseScan").field("config", &self.config).finish_non_exhaustive()
    }
}

impl HbaseScan {
    /// Looks at the table: what is missing is told now, and not when the job has begun.
    ///
    /// # Errors
    /// Where a setting cannot work, no gateway can be reached, or the table or a family is not there.
    pub async fn connect(config: HbaseScanConfig) -> Result<Self> {
        config.validate()?;
        let gateways = Gateways::new(&config.hbase)?;
        let table = Table::look(&gateways, &config.table).await?;
        for wanted in config.wanted() {
            table.family(wanted.family())?;
        }
        Ok(Self { config: Arc::new(config), gateways })
    }

    /// The keys at which regions begin now.
    async fn starts(&self) -> Result<Vec<Vec<u8>>> {
        let mut patience = Patience::new(CALLS_AGAIN, Duration::from_millis(self.config.retry_for_ms));
        loop {
            let table = self.config.table.as_bytes().to_vec();
            let regions = move |client: &mut Client| client.get_table_regions(table);
            match self.gateways.call("list the regions", regions).await {
                Ok(regions) => {
                    return Ok(regions.into_iter().filter_map(|region| region.start_key).collect());
                }
                Err(error) => {
                    patience.after(error.with("table", &self.config.table), &self.config.table).await?
                }
            }
        }
    }

    async fn ranges(&self) -> Result<Vec<HbaseKeyRange>> {
        let whole = match &self.config.rows {
            HbaseScanRows::Ranges(ranges) => return Ok(ranges.clone()),
            HbaseScanRows::Prefix(prefix) => HbaseKeyRange::with_prefix(prefix.clone()),
            HbaseScanRows::All => HbaseKeyRange::default(),
        };
        Ok(cut::at_regions(&whole, self.starts().await?, self.config.splits_max as usize))
    }
}

#[async_trait]
impl Source for HbaseScan {
    type Record = HbaseRow;
    type Split = HbaseSplit;
    type Reader = HbaseScanReader;

    /// Ranges end, and each that is read holds a connection: a few keep a worker busy.
    const OPEN_SPLITS_MAX: usize = 4;

    async fn discover(&self, known: &Known<HbaseSplit>) -> Result<Discovery<HbaseSplit>> {
        // The cut is decided once (I9), and regions that are split or moved later change nothing: a range of keys stays one.
        let ranges = if known.first_run { self.ranges().await? } else { Vec::new() };
        let split = |(number, keys)| HbaseSplit {
            name: format!("{number:06}"),
            table: self.config.table.clone(),
            keys,
            after: None,
        };
        let new = ranges.into_iter().enumerate().map(split).collect();
        Ok(Discovery { new, forget: Vec::new(), complete: true })
    }

    async fn open(&self, split: HbaseSplit) -> Result<HbaseScanReader> {
        split.check(&self.config.table)?;
        Ok(HbaseScanReader::new(split, Arc::clone(&self.config), self.gateways.clone()))
    }
}
