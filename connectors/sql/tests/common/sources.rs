//! The harnesses of the suite of sources.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use tidelock::{Discovery, Known, Result, Source, Split as _};
use tidelock_sql::{
    DatabaseKind, IncrementalReader, SqlIncremental, SqlIncrementalConfig, SqlScan, SqlScanConfig, SqlSplit,
    SqlStart,
};
use tidelock_testkit::harness::{Endings, Latest, SourceFacets, SourceHarness};
use tidelock_testkit::oracle::Input;

use super::Place;

/// Few, as some checks append ten times as many.
const PAGE_ROWS: usize = 40;

/// A row of the suite; the columns of its key are no fields.
#[derive(Debug, Deserialize)]
pub(crate) struct Fed {
    input: String,
}

fn identify(record: &Fed) -> Input {
    record.input.parse().unwrap()
}

fn values(split: &str, places: Range<u64>, row: impl Fn(u64, Input) -> String) -> String {
    places.map(|place| row(place, Input::new(split, place))).collect::<Vec<_>>().join(", ")
}

/// A table whose key begins with the split: it is cut where the first column changes, as all splits have as many rows.
pub(crate) struct Scanned(Place);

impl Scanned {
    pub(crate) async fn new(place: Place) -> Self {
        place
            .run(
                "CREATE TABLE feed (split BIGINT NOT NULL, place BIGINT NOT NULL, input VARCHAR(64) NOT NULL, \
                 PRIMARY KEY (split, place))",
            )
            .await;
        Self(place)
    }
}

#[async_trait]
impl SourceHarness for Scanned {
    type Source = SqlScan<Fed>;

    async fn source(&self) -> Result<SqlScan<Fed>> {
        let splits = self.0.query("SELECT count(DISTINCT split) FROM feed").await[0][0].int();
        let mut config = SqlScanConfig::table(self.0.config.clone(), "feed");
        config.splits = u32::try_from(splits).unwrap();
        config.page_rows = PAGE_ROWS;
        SqlScan::connect(config).await
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let rows = values(split, places, |place, input| format!("({split}, {place}, '{input}')"));
        self.0.run(&format!("INSERT INTO feed VALUES {rows}")).await;
        Ok(())
    }

    fn identify(&self, record: &Fed) -> Input {
        identify(record)
    }

    fn facets(&self) -> SourceFacets<'_, SqlScan<Fed>> {
        SourceFacets::new(PAGE_ROWS).without_growth().without_newcomers().with_endings(self)
    }
}

#[async_trait]
impl Endings for Scanned {
    async fn end(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A table for each split: on SQLite in the order of its ids, and elsewhere in that of times, of which many are equal.
pub(crate) struct Followed(Arc<Place>);

impl Followed {
    pub(crate) fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }

    fn feeds(&self, start: SqlStart) -> Feeds {
        Feeds { place: Arc::clone(&self.0), start }
    }
}

/// Several endless sources as one: each reads one table.
pub(crate) struct Feeds {
    place: Arc<Place>,
    start: SqlStart,
}

impl Feeds {
    async fn of(&self, table: &str) -> Result<SqlIncremental<Fed>> {
        let is_sqlite = self.place.kind() == DatabaseKind::Sqlite;
        let column = if is_sqlite { "id" } else { "written" };
        let mut config = SqlIncrementalConfig::new(self.place.config.clone(), table, column);
        config.lag_ms = (!is_sqlite).then_some(1);
        config.start = self.start;
        config.page_rows = PAGE_ROWS;
        config.poll_interval_ms = 10;
        SqlIncremental::connect(config).await
    }
}

#[async_trait]
impl Source for Feeds {
    type Record = Fed;
    type Split = SqlSplit;
    type Reader = IncrementalReader<Fed>;

    async fn discover(&self, known: &Known<SqlSplit>) -> Result<Discovery<SqlSplit>> {
        let tables = self.place.of(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'",
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
            "SELECT name FROM sqlite_schema WHERE name LIKE 'feed%'",
        );
        let mut discovery = Discovery::default();
        for row in self.place.query(tables).await {
            let table = row[0].text();
            if known.active.iter().any(|split| split.id().as_str() == table) {
                continue;
            }
            let alone = Known {
                active: Vec::new(),
                finished: Vec::new(),
                ended: Vec::new(),
                first_run: known.first_run,
            };
            discovery.new.extend(self.of(table).await?.discover(&alone).await?.new);
        }
        Ok(discovery)
    }

    async fn open(&self, split: SqlSplit) -> Result<IncrementalReader<Fed>> {
        self.of(split.id().as_str()).await?.open(split).await
    }
}

#[async_trait]
impl SourceHarness for Followed {
    type Source = Feeds;

    async fn source(&self) -> Result<Feeds> {
        Ok(self.feeds(SqlStart::Beginning))
    }

    async fn append(&self, split: &str, places: Range<u64>) -> Result<()> {
        let (id, now) = (
            self.0.of(
                "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                "BIGINT AUTO_INCREMENT PRIMARY KEY",
                "INTEGER PRIMARY KEY AUTOINCREMENT",
            ),
            self.0.of(
                "TIMESTAMPTZ NOT NULL DEFAULT now()",
                "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
                "TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP",
            ),
        );
        let table = format!(
            "CREATE TABLE IF NOT EXISTS feed_{split} (id {id}, written {now}, input VARCHAR(64) NOT NULL)"
        );
        self.0.run(&table).await;
        let rows = values(split, places, |_, input| format!("('{input}')"));
        self.0.run(&format!("INSERT INTO feed_{split} (input) VALUES {rows}")).await;
        Ok(())
    }

    fn identify(&self, record: &Fed) -> Input {
        identify(record)
    }

    fn facets(&self) -> SourceFacets<'_, Feeds> {
        let facets = SourceFacets::new(PAGE_ROWS);
        // With a lag nobody knows whether a row that is so young was there before the start.
        if self.0.kind() == DatabaseKind::Sqlite { facets.with_latest(self) } else { facets }
    }
}

#[async_trait]
impl Latest<Feeds> for Followed {
    async fn source_at_latest(&self) -> Result<Feeds> {
        Ok(self.feeds(SqlStart::End))
    }
}
