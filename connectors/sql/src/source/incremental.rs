//! The endless source: rows in the order of a column that grows.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tidelock::{Batch, Discovery, ErrorKind, Known, Result, Source, SplitReader};

use super::config::{SqlIncrementalConfig, SqlRelation, SqlStart};
use super::discovery::first_row;
use super::order::Order;
use super::page::Pages;
use super::reader::{PageBounds, Pager};
use super::reading::Reading;
use super::relation::Relation;
use super::split::SqlSplit;
use crate::row::fields_of;
use crate::value::SqlValue;

/// Reads the rows of a table as they come, in the order of a column that grows, as records of type `T`: see the
/// [crate's page](crate) for what it guarantees, and for what `lag_ms` is about.
///
/// ```no_run
/// # use tidelock_sql::{SqlConfig, SqlIncremental, SqlIncrementalConfig};
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
///     cents: i64,
/// }
///
/// # async fn connect() -> tidelock::Result<()> {
/// let database = SqlConfig::from_url("postgres://reader:s3cret@db.example/shop")?;
/// let mut changed = SqlIncrementalConfig::new(database, "orders", "changed_at");
/// // No transaction that writes orders takes longer.
/// changed.lag_ms = Some(10_000);
/// let orders = SqlIncremental::<Order>::connect(changed).await?;
/// # Ok(()) }
/// ```
pub struct SqlIncremental<T> {
    config: Arc<SqlIncrementalConfig>,
    rows: SqlRelation,
    reading: Arc<Reading>,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for SqlIncremental<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlIncremental").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> SqlIncremental<T> {
    /// Looks at the table: what is missing is told now, and not when the job has begun.
    ///
    /// # Errors
    /// Where a setting cannot work, the database cannot be reached, table or columns are not there, or rows could be lost.
    pub async fn connect(config: SqlIncrementalConfig) -> Result<Self> {
        config.validate()?;
        let reading = Reading::new(config.database.clone(), config.table.clone(), config.retry_for_ms);
        let rows = SqlRelation::Table(config.table.clone());
        let source = Self { config: Arc::new(config), rows, reading: Arc::new(reading), record: PhantomData };
        source.look().await?;
        Ok(source)
    }

    /// The table as the database describes it now.
    async fn look(&self) -> Result<(Relation, Order, Pages)> {
        let mut client = self.reading.pool.get().await?;
        let relation = Relation::look(&mut client, self.config.database.kind, &self.rows).await?;
        client.give_back();
        let order = Order::of(&self.config, &relation)?;
        let pages = order.pages(&relation, relation.record(fields_of::<T>())?);
        Ok((relation, order, pages))
    }

    /// Where reading begins.
    async fn start(&self, pages: &Pages, start: SqlStart) -> Result<Option<Vec<SqlValue>>> {
        match start {
            SqlStart::Beginning => Ok(None),
            SqlStart::End => first_row(&self.reading, None, pages.edge(true)).await,
        }
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static> Source for SqlIncremental<T> {
    type Record = T;
    type Split = SqlSplit;
    type Reader = IncrementalReader<T>;

    async fn discover(&self, known: &Known<SqlSplit>) -> Result<Discovery<SqlSplit>> {
        let (relation, order, pages) = self.look().await?;
        for split in &known.active {
            // While nothing new comes, no row tells that the column is another one.
            split.check(relation.table.as_deref(), &order.key)?;
        }
        if !order.is_complete && first_row(&self.reading, None, pages.incomplete()).await?.is_some() {
            let why = "a row has NULL in its key: it would never be read";
            return Err(relation.wrong(ErrorKind::Data, why).with("column", &self.config.column));
        }
        if !known.active.is_empty() || !known.finished.is_empty() {
            return Ok(Discovery::default());
        }
        let start = if known.first_run { self.config.start } else { SqlStart::Beginning };
        // Decided once (I9).
        let after = self.start(&pages, start).await?;
        let name = self.config.table.clone();
        let split = SqlSplit {
            name,
            table: relation.table.clone(),
            key: order.key,
            snapshot: None,
            after,
            end: None,
        };
        Ok(Discovery { new: vec![split], ..Discovery::default() })
    }

    async fn open(&self, split: SqlSplit) -> Result<IncrementalReader<T>> {
        let (relation, order, pages) = self.reading.patiently(|| self.look()).await?;
        split.check(relation.table.as_deref(), &order.key)?;
        let bounds = PageBounds { rows_max: self.config.page_rows, bytes_max: self.config.page_bytes };
        let pager = Pager::new(split, Arc::clone(&self.reading), pages, bounds);
        let interval = Duration::from_millis(self.config.poll_interval_ms);
        Ok(IncrementalReader { pager, interval, is_idle: false, record: PhantomData })
    }
}

/// Reads rows as they come.
pub struct IncrementalReader<T> {
    pager: Pager,
    interval: Duration,
    /// The last page had all that there was.
    is_idle: bool,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for IncrementalReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncrementalReader").field("split", &self.pager.split).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static> SplitReader for IncrementalReader<T> {
    type Record = T;
    type Split = SqlSplit;

    async fn next(&mut self) -> Result<Option<Batch<T, SqlSplit>>> {
        loop {
            if self.is_idle {
                tokio::time::sleep(self.interval).await;
            }
            let page = self.pager.page().await?;
            self.is_idle = page.is_last;
            if !page.records.is_empty() {
                return Ok(Some(Batch { records: page.records, resume: self.pager.split.clone() }));
            }
        }
    }

    fn heap_bytes(&self) -> u64 {
        self.pager.bytes
    }
}
