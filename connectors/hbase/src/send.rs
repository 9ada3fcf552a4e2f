//! Steps of a batch to the gateways.
//!
//! ```text
//!   step 1: rows ──┬─> lane: calls, one after the other ─┐   a row is always in the same lane, so that it has
//!   step 2: rows ──┼─> lane                              ├─> one request under way at most, its retries included
//!   step 3: rows ──┴─> lane                              ┘
//! ```
//!
//! A call without an answer is made again, as it was, until there is one: by its timestamp it changes nothing twice. What the server refuses for ever is
//! made again in halves, to name the row; everything else of the call is written by then, or was before.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use hbase_thrift::hbase::{BatchMutation, Mutation, THbaseSyncClient};
use tidelock::{Error, ErrorKind, Patience, Result};

use crate::check::RowKey;
use crate::gateway::{CALLS_AGAIN, Gateways};
use crate::merge::{Step, Told, ToldRow};
use crate::sink_config::HbaseSinkConfig;

const OPERATION: &str = "write rows";

/// HBase gives the regions of a server that is gone to others within a minute. What takes longer is for the attempt's restart.
pub(crate) const AGAIN_FOR: Duration = Duration::from_secs(120);

/// So few rows are not worth a call of their own.
const LANE_ROWS_MIN: usize = 64;

/// What stands around a row and a cell in a request.
const ROW_BYTES: usize = 24;
const CELL_BYTES: usize = 40;

/// Sends to a table.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    gateways: Gateways,
    table: Arc<str>,
    lanes_max: usize,
    rows_max: usize,
    bytes_max: usize,
}

/// One request.
#[derive(Debug)]
struct Call {
    timestamp: i64,
    rows: Vec<ToldRow>,
}

impl Sender {
    pub(crate) fn new(gateways: &Gateways, config: &HbaseSinkConfig) -> Self {
        Self {
            gateways: gateways.clone(),
            table: config.table.as_str().into(),
            lanes_max: usize::try_from(config.hbase.connections_max).unwrap_or(usize::MAX).max(1),
            rows_max: config.call_rows_max,
            bytes_max: config.call_bytes_max(),
        }
    }

    /// Sends steps, each when the one before has arrived. When it returns, all of it is in the table.
    pub(crate) async fn send(&self, steps: Vec<Step>) -> Result<()> {
        let rows: usize = steps.iter().map(|step| step.rows.len()).sum();
        let lanes = (rows / LANE_ROWS_MIN).clamp(1, self.lanes_max);
        let mut calls: Vec<Vec<Call>> = (0..lanes).map(|_| Vec::new()).collect();
        for Step { timestamp, rows } in steps {
            let mut of_lanes: Vec<Vec<ToldRow>> = (0..lanes).map(|_| Vec::new()).collect();
            for row in rows {
                of_lanes[lane_of(&row.row, lanes)].push(row);
            }
            for (lane, rows) in calls.iter_mut().zip(of_lanes) {
                self.cut(timestamp, rows, lane);
            }
        }
        try_join_all(calls.into_iter().map(|lane| self.send_lane(lane))).await?;
        Ok(())
    }

    /// Cuts rows into calls that a gateway takes. A row that is too large for one becomes several.
    fn cut(&self, timestamp: i64, rows: Vec<ToldRow>, calls: &mut Vec<Call>) {
        let (mut now, mut bytes) = (Vec::new(), 0);
        for ToldRow { row, told } in rows {
            let mut part = Vec::with_capacity(told.len());
            bytes += row.len() + ROW_BYTES;
            for told in told {
                let more = told.weight() + CELL_BYTES;
                if bytes + more > self.bytes_max && !(now.is_empty() && part.is_empty()) {
                    if !part.is_empty() {
                        now.push(ToldRow { row: row.clone(), told: std::mem::take(&mut part) });
                    }
                    calls.push(Call { timestamp, rows: std::mem::take(&mut now) });
                    bytes = row.len() + ROW_BYTES;
                }
                bytes += more;
                part.push(told);
            }
            now.push(ToldRow { row, told: part });
            if now.len() >= self.rows_max {
                calls.push(Call { timestamp, rows: std::mem::take(&mut now) });
                bytes = 0;
            }
        }
        if !now.is_empty() {
            calls.push(Call { timestamp, rows: now });
        }
    }

    async fn send_lane(&self, calls: Vec<Call>) -> Result<()> {
        for call in calls {
            let Call { timestamp, rows } = call;
            let rows = Arc::new(rows);
            if let Err(error) = self.send_rows(timestamp, &rows, 0..rows.len()).await {
                return Err(self.name_row(timestamp, &rows, error).await);
            }
            metrics::counter!("tidelock_hbase_rows_total", "table" => self.table.to_string())
                .increment(rows.len() as u64);
        }
        Ok(())
    }

    /// Makes one call, again and again while that may help.
    async fn send_rows(
        &self,
        timestamp: i64,
        rows: &Arc<Vec<ToldRow>>,
        range: std::ops::Range<usize>,
    ) -> Result<()> {
        let mut patience = Patience::new(CALLS_AGAIN, AGAIN_FOR);
        loop {
            let (table, rows, range) = (Arc::clone(&self.table), Arc::clone(rows), range.clone());
            let call = self.gateways.call(OPERATION, move |client| {
                let table = table.as_bytes().to_vec();
                let (attributes, rows) = ([].into(), &rows[range]);
                match rows {
                    // A third of the time of a batch of one.
                    [one] => {
                        let (row, mutations) = (one.row.to_vec(), mutations(&one.told));
                        client.mutate_row_ts(table, row, mutations, timestamp, attributes)
                    }
                    _ => {
                        client.mutate_rows_ts(table, rows.iter().map(batch).collect(), timestamp, attributes)
                    }
                }
            });
            match call.await {
                Ok(()) => return Ok(()),
                Err(error) => patience.after(error.with("table", &self.table), &self.table).await?,
            }
        }
    }

    /// Finds the first row of a call that is refused for ever.
    async fn name_row(&self, timestamp: i64, rows: &Arc<Vec<ToldRow>>, mut error: Error) -> Error {
        let mut left = 0..rows.len();
        while error.kind() == ErrorKind::Data && left.len() > 1 {
            let middle = left.start + left.len() / 2;
            match self.send_rows(timestamp, rows, left.start..middle).await {
                Ok(()) => left.start = middle,
                Err(of_half) => {
                    error = of_half;
                    left.end = middle;
                }
            }
        }
        match &rows[left] {
            [one] => error.with("row", RowKey(&one.row)),
            _ => error,
        }
    }
}

/// In which lane a row is.
fn lane_of(row: &Bytes, lanes: usize) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(row);
    usize::try_from(hash % lanes as u64).unwrap_or_default()
}

fn batch(row: &ToldRow) -> BatchMutation {
    BatchMutation { row: Some(row.row.to_vec()), mutations: Some(mutations(&row.told)) }
}

fn mutations(told: &[Told]) -> Vec<Mutation> {
    let mutation = |told: &Told| {
        let (is_delete, column, value) = match told {
            Told::Put(column, value) => (false, column.to_wire(), value.to_vec()),
            Told::Delete(column) => (true, column.to_wire(), Vec::new()),
            // Without a colon, which would be the column without a qualifier.
            Told::DeleteFamily(family) => (true, family.clone().into_bytes(), Vec::new()),
        };
        Mutation {
            is_delete: Some(is_delete),
            column: Some(column),
            value: Some(value),
            write_to_w_a_l: Some(true),
        }
    };
    told.iter().map(mutation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::Column;
    use crate::config::HbaseConfig;

    fn sender(rows_max: usize, bytes_max: usize) -> Sender {
        let config = HbaseSinkConfig::new(HbaseConfig::new(["a"]), "t");
        let gateways = Gateways::new(&config.hbase).expect("no I/O");
        Sender { rows_max, bytes_max, ..Sender::new(&gateways, &config) }
    }

    fn row(name: &str, bytes: &[usize]) -> ToldRow {
        let put = |bytes: &usize| Told::Put(Column::parse("f:a").expect("a column"), vec![0; *bytes].into());
        ToldRow { row: name.to_owned().into(), told: bytes.iter().map(put).collect() }
    }

    /// Of each call the rows with the number of their cells.
    fn cut(sender: &Sender, rows: Vec<ToldRow>) -> Vec<Vec<(String, usize)>> {
        let mut calls = Vec::new();
        sender.cut(7, rows, &mut calls);
        let shown = |row: &ToldRow| (String::from_utf8_lossy(&row.row).into_owned(), row.told.len());
        calls.iter().map(|call| call.rows.iter().map(shown).collect()).collect()
    }

    #[tokio::test]
    async fn calls_are_as_large_as_a_gateway_takes() {
        let of = |name: &str, cells| (name.to_owned(), cells);
        let three = || ["a", "b", "c"].map(|name| row(name, &[10])).to_vec();
        assert_eq!(cut(&sender(2, 10_000), three()), [vec![of("a", 1), of("b", 1)], vec![of("c", 1)]]);
        assert_eq!(cut(&sender(10, 180), three()), [vec![of("a", 1), of("b", 1)], vec![of("c", 1)]]);
        let large = vec![row("a", &[10]), row("b", &[300, 300, 10]), row("c", &[10])];
        let parts = [vec![of("a", 1)], vec![of("b", 1)], vec![of("b", 1)], vec![of("b", 1), of("c", 1)]];
        assert_eq!(cut(&sender(10, 350), large), parts);
    }

    #[test]
    fn a_row_is_always_in_the_same_lane() {
        let lanes = |row: &str| (0..3).map(|_| lane_of(&row.to_owned().into(), 4)).collect::<Vec<_>>();
        let seen: std::collections::BTreeSet<usize> =
            (0..100).map(|at| lanes(&format!("r{at}"))[0]).collect();
        assert!((0..100).all(|at| lanes(&format!("r{at}")).windows(2).all(|pair| pair[0] == pair[1])));
        assert_eq!(seen.len(), 4);
    }
}
