//! One scanner of one gateway, on a connection that is held for it.

use std::collections::BTreeMap;

use hbase_thrift::hbase::{THbaseSyncClient as _, TScan};
use tidelock::Result;

use super::config::HbaseScanConfig;
use crate::gateway::{Client, Gateways, Held};
use crate::row::HbaseRow;

/// A scanner: it is gone with every call that does not give it back, and so is its number.
pub(super) struct Scanner {
    held: Held,
    id: i32,
}

impl Scanner {
    /// Opens one over the keys from the first on and before the second.
    pub(super) async fn open(
        gateways: &Gateways,
        config: &HbaseScanConfig,
        start: Vec<u8>,
        stop: Vec<u8>,
    ) -> Result<Self> {
        const OPEN: &str = "open a scanner";
        let table = config.table.as_bytes().to_vec();
        let scan = TScan {
            start_row: Some(start),
            stop_row: Some(stop),
            timestamp: config.before_timestamp,
            columns: Some(config.wanted().map(|wanted| wanted.to_wire()).collect()),
            // How many rows the gateway asks a region for at once: with fewer than a call wants it asks again and again.
            caching: i32::try_from(config.batch_rows).ok(),
            filter_string: None,
            // With a number here a row of more cells comes in several parts, and each would pass for a row.
            batch_size: None,
            sort_columns: Some(false),
            reversed: Some(false),
            // Whoever reads everything once should not drive out of the cache what others read often.
            cache_blocks: Some(false),
        };
        let mut held = gateways.hold(OPEN).await?;
        let open = move |client: &mut Client| client.scanner_open_with_scan(table, scan, BTreeMap::new());
        let id = held.call(OPEN, open).await?;
        Ok(Self { held, id })
    }

    /// The next rows, so many at most; none at the end of the range.
    pub(super) async fn next(mut self, rows: usize) -> Result<(Self, Vec<HbaseRow>)> {
        let (id, rows) = (self.id, i32::try_from(rows).unwrap_or(i32::MAX));
        // Rows are made of the answer here, where a thread may be busy.
        let next = move |client: &mut Client| {
            let rows = client.scanner_get_list(id, rows)?;
            Ok(rows.into_iter().map(HbaseRow::of_wire).collect::<Result<Vec<_>>>())
        };
        let rows = self.held.call("read rows", next).await??;
        Ok((self, rows))
    }

    /// Frees what the gateway keeps for it. Where that fails the gateway forgets it after a while.
    pub(super) async fn close(mut self) {
        let id = self.id;
        let close = move |client: &mut Client| client.scanner_close(id);
        match self.held.call("close a scanner", close).await {
            Ok(()) => self.held.give_back(),
            Err(error) => tracing::debug!(%error, "a scanner is left to expire"),
        }
    }
}
