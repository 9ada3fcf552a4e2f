//! Scans of a real HBase: every row once, however it is cut and whatever dies meanwhile; and the traps that would break it, each
//! shown with a bare client.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod bare;
mod conformance;
mod cut;
mod expiry;
mod faults;
mod large;
mod shape;
mod strangers;

use std::time::Duration;

use bare::Bare;
use tidelock::{Known, Result, Source as _, SplitReader as _, Stored};
use tidelock_containers::{FamilyOptions, HbaseServer};
use tidelock_hbase::{HbaseConfig, HbaseRow, HbaseScan, HbaseScanConfig, HbaseScanReader, HbaseSplit};
use tokio::time::timeout;

/// What a busy machine may need for one answer, while HBase begins anew.
const PATIENCE: Duration = Duration::from_secs(300);

/// A table of its own on a server.
struct Place {
    gateways: Vec<String>,
    table: String,
}

impl Place {
    /// On the server that all tests share, with one family `f` of one version and a region that begins at each of these keys.
    async fn shared(split_keys: &[&[u8]]) -> Self {
        Self::on(HbaseServer::shared().await.unwrap(), split_keys).await
    }

    async fn on(server: &HbaseServer, split_keys: &[&[u8]]) -> Self {
        Self::with_families(server, &[FamilyOptions::new("f")], split_keys).await
    }

    async fn with_families(server: &HbaseServer, families: &[FamilyOptions], split_keys: &[&[u8]]) -> Self {
        let table = format!("scan_{:016x}", rand::random::<u64>());
        server.create_table(&table, families, split_keys).await.unwrap();
        Self { gateways: vec![server.gateway()], table }
    }

    fn bare(&self) -> Bare {
        Bare::connect(&self.gateways[0])
    }

    fn config(&self) -> HbaseScanConfig {
        HbaseScanConfig::new(HbaseConfig::new(self.gateways.clone()), &self.table)
    }

    async fn scan(&self, change: impl FnOnce(&mut HbaseScanConfig)) -> HbaseScan {
        let mut config = self.config();
        change(&mut config);
        HbaseScan::connect(config).await.unwrap()
    }

    /// Rows of these keys with one column.
    fn fill<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) {
        let rows =
            keys.into_iter().map(|key| (key.as_ref().to_vec(), vec![("f:q".to_owned(), b"v".to_vec())]));
        self.bare().put(&self.table, rows, 1);
    }
}

/// The key of the row with this number.
fn numbered(number: u64) -> Vec<u8> {
    format!("n{number:07}").into_bytes()
}

async fn splits_of(scan: &HbaseScan) -> Vec<HbaseSplit> {
    let first_run = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let discovery = scan.discover(&first_run).await.unwrap();
    assert!(discovery.complete);
    discovery.new
}

async fn only_split_of(scan: &HbaseScan) -> HbaseSplit {
    let mut splits = splits_of(scan).await;
    assert_eq!(splits.len(), 1);
    splits.remove(0)
}

fn stored(split: &HbaseSplit) -> HbaseSplit {
    Stored::encode(split).unwrap().decode().unwrap()
}

/// Reads a split to its end, as a job does that dies after each batch: from the stored form of the position.
async fn read_split(scan: &HbaseScan, mut split: HbaseSplit) -> Result<Vec<HbaseRow>> {
    let mut records = Vec::new();
    loop {
        let mut reader = scan.open(stored(&split)).await?;
        let Some(batch) = reader.next().await? else { return Ok(records) };
        records.extend(batch.records);
        split = batch.resume;
    }
}

async fn read_all(scan: &HbaseScan) -> Vec<HbaseRow> {
    let mut records = Vec::new();
    for split in splits_of(scan).await {
        records.extend(read_split(scan, split).await.unwrap());
    }
    records
}

/// What a reader has next, in bounded time.
async fn next(reader: &mut HbaseScanReader) -> Vec<HbaseRow> {
    let batch = timeout(PATIENCE, reader.next()).await.expect("an answer").unwrap();
    batch.map(|batch| batch.records).unwrap_or_default()
}

/// All that a reader has left.
async fn rest(reader: &mut HbaseScanReader) -> Vec<HbaseRow> {
    let mut records = Vec::new();
    loop {
        let more = next(reader).await;
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

fn keys(records: &[HbaseRow]) -> Vec<Vec<u8>> {
    records.iter().map(|row| row.row.to_vec()).collect()
}
