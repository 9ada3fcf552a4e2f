//! Whether a family keeps what it is told of deletes: tried on a row of our own, because no gateway shows it.
//!
//! A value that comes late must stay behind the delete that is newer, whatever happens to the table meanwhile. Two settings of a family break that:
//!
//! | setting | the late value |
//! |---|---|
//! | `KEEP_DELETED_CELLS => 'FALSE'`, HBase's default | is hidden until a major compaction takes the delete away, and then comes back |
//! | `NEW_VERSION_BEHAVIOR => 'true'` | is seen at once, because it came after the delete |
//!
//! The first one shows in a read of the time before a delete: there is nothing to be read where deleted cells are not kept.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hbase_thrift::hbase::{Mutation, THbaseSyncClient, TRowResult};
use tidelock::{Error, ErrorKind, Result, Retry};

use super::Table;
use crate::column::Column;
use crate::gateway::Gateways;

const TRY: &str = "try deletes on a row of our own";

/// Rows that are the connector's own begin with this. They are gone when they were tried on. Of a table that was refused one may be left, where the
/// process was killed meanwhile, and scans pass over it.
pub(crate) const OWN_ROWS: &[u8] = b"\0tidelock/";

/// The column that is tried on.
const TRIED: &str = "t";

impl Table {
    /// Tries on the row `row`, at times from `now_ms` on, whether deletes of these families keep what they hide.
    /// The row is deleted afterwards. Who tries on it at the same time may be refused for nothing, and is never let through for nothing: no value is
    /// there without a delete above it. No reader sees it meanwhile, where deletes keep what they hide:
    /// the delete is there before the value.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what to do, where they do not.
    pub(crate) async fn try_deletes(
        &self,
        gateways: &Gateways,
        families: &BTreeSet<String>,
        row: &[u8],
        now_ms: i64,
    ) -> Result<()> {
        if families.is_empty() {
            return Ok(());
        }
        let trial = Trial { table: self, gateways, families, row };
        trial.mutate(delete, now_ms + 2).await?;
        trial.mutate(put, now_ms + 1).await?;
        // The bound is excluded: the value alone is in this time.
        let kept = trial.read(Some(now_ms + 2)).await?;
        let late = trial.read(None).await?;
        trial.clean(now_ms + 3).await?;
        if let Some(family) = families.iter().find(|&family| !kept.contains(family)) {
            let why = format!(
                "a value that comes late would come back after its delete, with a major compaction: run `alter '{}', NAME => \
                 '{family}', KEEP_DELETED_CELLS => 'TRUE'` in the HBase shell",
                self.name
            );
            return Err(self.cannot(family, why));
        }
        if let Some(family) = families.iter().find(|&family| late.contains(family)) {
            let why = format!(
                "a value that comes late is seen after its delete: run `alter '{}', NAME => '{family}', NEW_VERSION_BEHAVIOR => \
                 'false'` in the HBase shell",
                self.name
            );
            return Err(self.cannot(family, why));
        }
        Ok(())
    }

    fn cannot(&self, family: &str, why: String) -> Error {
        let error = Error::new(ErrorKind::Config, TRY, why).with_retry(Retry::Halt);
        error.with("table", &self.name).with("family", family)
    }
}

struct Trial<'a> {
    table: &'a Table,
    gateways: &'a Gateways,
    families: &'a BTreeSet<String>,
    row: &'a [u8],
}

impl Trial<'_> {
    fn columns(&self) -> Result<Vec<Vec<u8>>> {
        self.families.iter().map(|family| Ok(Column::new(family, TRIED)?.to_wire())).collect()
    }

    /// One mutation of the column of each family.
    async fn mutate(&self, mutation: fn(Vec<u8>) -> Mutation, time: i64) -> Result<()> {
        let (table, row) = (self.table.name.as_bytes().to_vec(), self.row.to_vec());
        let mutations = self.columns()?.into_iter().map(mutation).collect();
        let call = self
            .gateways
            .call(TRY, move |client| client.mutate_row_ts(table, row, mutations, time, BTreeMap::new()));
        call.await.map_err(|error| error.with("table", &self.table.name))
    }

    /// The families that have the column, now or in the time before.
    async fn read(&self, before: Option<i64>) -> Result<BTreeSet<String>> {
        let (table, row) = (self.table.name.as_bytes().to_vec(), self.row.to_vec());
        let columns = self.columns()?;
        let call = self.gateways.call(TRY, move |client| match before {
            Some(time) => client.get_row_with_columns_ts(table, row, columns, time, BTreeMap::new()),
            None => client.get_row_with_columns(table, row, columns, BTreeMap::new()),
        });
        let rows = call.await.map_err(|error| error.with("table", &self.table.name))?;
        Ok(rows.iter().flat_map(families_of).collect())
    }

    async fn clean(&self, time: i64) -> Result<()> {
        let (table, row) = (self.table.name.as_bytes().to_vec(), self.row.to_vec());
        let call = self
            .gateways
            .call(TRY, move |client| client.delete_all_row_ts(table, row, time, BTreeMap::new()));
        call.await.map_err(|error| error.with("table", &self.table.name))
    }
}

fn families_of(row: &TRowResult) -> Vec<String> {
    let columns = row.columns.iter().flat_map(|columns| columns.keys());
    columns
        .filter_map(|name| Some(Column::of_wire(Bytes::copy_from_slice(name))?.family().to_owned()))
        .collect()
}

fn put(column: Vec<u8>) -> Mutation {
    Mutation::new(false, column, b"tried".to_vec(), true)
}

fn delete(column: Vec<u8>) -> Mutation {
    Mutation::new(true, column, Vec::new(), true)
}
