//! Which times the cells of a table have, by a look at its first rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use hbase_thrift::hbase::{THbaseSyncClient, TRowResult, TScan};
use tidelock::Result;
use tokio::time::timeout;

use super::Table;
use super::deletes::OWN_ROWS;
use crate::column::Column;
use crate::gateway::Gateways;

const SAMPLE: &str = "look at the times of the table's cells";

/// How many rows are looked at.
const ROWS: i32 = 100;

/// And how many columns of each.
const COLUMNS: u32 = 100;

impl Table {
    /// The newest time of a cell in the first hundred rows, of a hundred columns each, by family. A family without any cell there is left out.
    ///
    /// `None`: they are not to be had in half the time of a call. HBase reads over deleted rows that are kept, and there may be any number
    /// of them in front of the first hundred: no job is to fail by that.
    ///
    /// # Errors
    /// Those of calls.
    pub(crate) async fn newest_times(&self, gateways: &Gateways) -> Result<Option<BTreeMap<String, i64>>> {
        let at_most = gateways.call_timeout() / 2;
        match timeout(at_most, self.look_at_times(gateways)).await {
            Ok(times) => times.map(Some),
            Err(_) => {
                tracing::warn!(
                    table = self.name, waited = ?at_most,
                    "the first rows of the table are not read in time, perhaps because many deleted ones are kept in front of them: which \
                     times others gave to cells is not known"
                );
                Ok(None)
            }
        }
    }

    async fn look_at_times(&self, gateways: &Gateways) -> Result<BTreeMap<String, i64>> {
        let named = |error: tidelock::Error| error.with("table", &self.name);
        let mut held = gateways.hold(SAMPLE).await.map_err(named)?;
        let table = self.name.as_bytes().to_vec();
        let scan = TScan {
            start_row: None,
            stop_row: None,
            timestamp: None,
            columns: None,
            caching: Some(ROWS),
            // Values may be large, and are not looked at; and rows may be wide.
            filter_string: Some(format!("KeyOnlyFilter() AND ColumnPaginationFilter({COLUMNS}, 0)").into()),
            batch_size: None,
            sort_columns: None,
            reversed: None,
            cache_blocks: Some(false),
        };
        let rows = held.call(SAMPLE, move |client| {
            let scanner = client.scanner_open_with_scan(table, scan, BTreeMap::new())?;
            let rows = client.scanner_get_list(scanner, ROWS)?;
            client.scanner_close(scanner)?;
            Ok(rows)
        });
        let rows = rows.await.map_err(named)?;
        held.give_back();
        Ok(newest(&rows))
    }
}

fn newest(rows: &[TRowResult]) -> BTreeMap<String, i64> {
    let mut times = BTreeMap::new();
    for row in rows {
        if row.row.as_deref().is_some_and(|key| key.starts_with(OWN_ROWS)) {
            continue;
        }
        for (name, cell) in row.columns.iter().flatten() {
            let (Some(column), Some(time)) = (Column::of_wire(Bytes::copy_from_slice(name)), cell.timestamp)
            else {
                continue;
            };
            let newest = times.entry(column.family().to_owned()).or_insert(time);
            *newest = time.max(*newest);
        }
    }
    times
}
