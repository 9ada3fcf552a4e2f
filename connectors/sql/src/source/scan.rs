//! The bounded source: what is there when the job begins, in ranges of a key.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tidelock::{Batch, Discovery, ErrorKind, Known, Result, Source, SplitReader};

use super::config::{OnLostSnapshot, SqlCut, SqlRelation, SqlScanConfig};
use super::discovery;
use super::page::{Pages, Ripe};
use super::reader::{PageBounds, Pager};
use super::reading::Reading;
use super::relation::{Chosen, Relation};
use super::split::SqlSplit;
use crate::row::fields_of;

/// Reads the rows of a table, a view or a query that are there when the job begins, each once, as records of type `T`: see the
/// [crate's page](crate) for what it guarantees.
///
/// `T` is a struct; its fields are columns, and no others are asked for.
///
/// ```no_run
/// # use tidelock_sql::{SqlConfig, SqlScan, SqlScanConfig};
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
///     cents: i64,
/// }
///
/// # async fn connect() -> tidelock::Result<()> {
/// let database = SqlConfig::from_url("postgres://reader:s3cret@db.example/shop")?;
/// let orders = SqlScan::<Order>::connect(SqlScanConfig::table(database, "orders")).await?;
/// # Ok(()) }
/// ```
pub struct SqlScan<T> {
    config: Arc<SqlScanConfig>,
    reading: Arc<Reading>,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for SqlScan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlScan").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> SqlScan<T> {
    /// Looks at the rows: what is missing is told now, and not when the job has begun.
    ///
    /// # Errors
    /// Where a setting cannot work, the database cannot be reached, table or columns are not there, or the key is none.
    pub async fn connect(config: SqlScanConfig) -> Result<Self> {
        config.validate()?;
        let shown = match &config.rows {
            SqlRelation::Table(table) => table.clone(),
            SqlRelation::Query(_) => "a query".to_owned(),
        };
        let reading = Arc::new(Reading::new(config.database.clone(), shown, config.retry_for_ms));
        let scan = Self { config: Arc::new(config), reading, record: PhantomData };
        scan.look().await?;
        Ok(scan)
    }

    /// The rows as the database describes them now.
    async fn look(&self) -> Result<(Relation, Chosen, Pages)> {
        let mut client = self.reading.pool.get().await?;
        let relation = Relation::look(&mut client, self.config.database.kind, &self.config.rows).await?;
        client.give_back();
        let chosen = relation.choose(&self.config.key)?;
        if relation.table.is_some() {
            relation.key(&chosen.names)?;
        }
        let record = relation.record(fields_of::<T>())?;
        let (from, key) = (relation.from.clone(), chosen.names.clone());
        let pages = Pages::new(relation.dialect, from, record, key, Ripe::Always);
        Ok((relation, chosen, pages))
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static> Source for SqlScan<T> {
    type Record = T;
    type Split = SqlSplit;
    type Reader = ScanReader<T>;

    /// Ranges end, and as many at once as there are connections keep a worker busy.
    const OPEN_SPLITS_MAX: usize = 4;

    async fn discover(&self, known: &Known<SqlSplit>) -> Result<Discovery<SqlSplit>> {
        // The cut is decided once (I9): rows that come later belong to no split, or to one that is known.
        if !known.first_run {
            return Ok(Discovery { complete: true, ..Discovery::default() });
        }
        let (relation, chosen, pages) = self.look().await?;
        let exported = match self.config.cut {
            SqlCut::Snapshot { .. } => Some(self.reading.export(&relation).await?),
            SqlCut::EachPage => None,
        };
        let (reading, snapshot) = (&self.reading, exported.as_ref().map(|(_, snapshot)| snapshot));
        discovery::check(reading, &relation, &pages, &chosen, snapshot, self.config.trust_key).await?;
        let splits = self.config.splits;
        let new = discovery::cut(reading, &relation, &pages, &chosen, snapshot, splits).await?;
        if let Some((session, _)) = exported {
            reading.keep(session);
        }
        Ok(Discovery { new, forget: Vec::new(), complete: true })
    }

    async fn open(&self, split: SqlSplit) -> Result<ScanReader<T>> {
        let (relation, chosen, pages) = self.reading.patiently(|| self.look()).await?;
        let key = match relation.table {
            Some(_) => relation.key(&chosen.names)?,
            // A query has no description: of its key only the names can be compared.
            None if split.key.iter().map(|column| &column.name).eq(&chosen.names) => split.key.clone(),
            None => Vec::new(),
        };
        split.check(relation.table.as_deref(), &key)?;
        let bounds = PageBounds { rows_max: self.config.page_rows, bytes_max: self.config.page_bytes };
        let pager = Pager::new(split, Arc::clone(&self.reading), pages, bounds);
        Ok(ScanReader { pager, config: Arc::clone(&self.config), is_done: false, record: PhantomData })
    }
}

/// Reads the rows of one range.
pub struct ScanReader<T> {
    pager: Pager,
    config: Arc<SqlScanConfig>,
    is_done: bool,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for ScanReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanReader").field("split", &self.pager.split).finish_non_exhaustive()
    }
}

impl<T> ScanReader<T> {
    fn goes_on_without_snapshot(&self) -> bool {
        self.pager.split.snapshot.is_some()
            && self.config.cut == SqlCut::Snapshot { on_lost: OnLostSnapshot::EachPage }
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static> SplitReader for ScanReader<T> {
    type Record = T;
    type Split = SqlSplit;

    async fn next(&mut self) -> Result<Option<Batch<T, SqlSplit>>> {
        if self.is_done {
            return Ok(None);
        }
        let page = match self.pager.page().await {
            Err(error) if error.kind() == ErrorKind::Expired && self.goes_on_without_snapshot() => {
                tracing::warn!(%error, split = self.pager.split.name, "the rest is read as it is now");
                self.pager.split.snapshot = None;
                self.pager.page().await?
            }
            page => page?,
        };
        if page.is_last {
            // Before the end is told, as it cannot be taken back.
            self.pager.verify(self.config.database.kind, &self.config.rows).await?;
            self.is_done = true;
        }
        let resume = self.pager.split.clone();
        Ok((!page.records.is_empty()).then_some(Batch { records: page.records, resume }))
    }

    fn heap_bytes(&self) -> u64 {
        self.pager.bytes
    }
}
