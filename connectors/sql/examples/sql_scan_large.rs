//! Reads a table of many rows and says what memory that took:
//!
//! ```text
//! cargo run --release -p tidelock-sql --example sql_scan_large -- FOLDER [ROWS] [SPLITS]
//! ```
//!
//! The folder gets a SQLite file with 10,000,000 rows of about 100 bytes, if no number is named. Each row is read as a record, its
//! id is added up, and it is dropped: what is measured is the source. Four splits are open at once, as in a job.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tidelock::{Known, Source as _, SplitReader as _};
use tidelock_sql::{SqlConfig, SqlScan, SqlScanConfig};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[derive(Deserialize)]
struct Row {
    id: u64,
    name: String,
    cents: Option<i64>,
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).map_or(0, |kib: u64| kib / 1024)
}

fn fill(file: &PathBuf, rows: u64) -> rusqlite::Result<()> {
    let database = rusqlite::Connection::open(file)?;
    database.execute_batch(&format!(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; \
         CREATE TABLE IF NOT EXISTS big (id INTEGER PRIMARY KEY, name TEXT NOT NULL, cents INTEGER); \
         WITH RECURSIVE n(id) AS (SELECT coalesce((SELECT max(id) FROM big), 0) + 1 UNION ALL SELECT id + 1 FROM n WHERE id < {rows}) \
         INSERT INTO big SELECT id, printf('%080d', id), id % 97 FROM n WHERE id <= {rows}"
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "target/sql_scan_large".into()));
    let rows: u64 = arguments.next().map_or(Ok(10_000_000), |rows| rows.parse())?;
    let splits: u32 = arguments.next().map_or(Ok(16), |splits| splits.parse())?;
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("big.db");
    fill(&file, rows)?;
    println!("{rows} rows are there; peak memory so far {} MiB", peak_mib());

    let mut config = SqlScanConfig::table(SqlConfig::from_url(&format!("sqlite:{}", file.display()))?, "big");
    config.splits = splits;
    let scan = Arc::new(SqlScan::<Row>::connect(config).await?);
    let began = Instant::now();
    let known = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let open = Arc::new(Semaphore::new(SqlScan::<Row>::OPEN_SPLITS_MAX));
    let mut readers = JoinSet::new();
    for split in scan.discover(&known).await?.new {
        let (scan, open) = (Arc::clone(&scan), Arc::clone(&open));
        readers.spawn(async move {
            let _open = open.acquire_owned().await.expect("it is never closed");
            let mut reader = scan.open(split).await?;
            let (mut count, mut sum, mut bytes) = (0_u64, 0_u64, 0_u64);
            while let Some(batch) = reader.next().await? {
                for row in batch.records {
                    count += 1;
                    sum += row.id;
                    bytes += row.name.len() as u64 + row.cents.map_or(0, |_| 8);
                }
            }
            Ok::<_, tidelock::Error>((count, sum, bytes))
        });
    }
    let (mut count, mut sum, mut bytes) = (0, 0, 0);
    while let Some(read) = readers.join_next().await {
        let read = read??;
        (count, sum, bytes) = (count + read.0, sum + read.1, bytes + read.2);
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!((count, sum), (rows, rows * (rows + 1) / 2), "every row once");
    #[allow(clippy::cast_precision_loss, reason = "it is a figure for people")]
    let rate = count as f64 / seconds;
    println!(
        "{count} rows, {} MiB, in {seconds:.1} s: {rate:.0} rows/s; peak memory {} MiB",
        bytes >> 20,
        peak_mib()
    );
    Ok(())
}
