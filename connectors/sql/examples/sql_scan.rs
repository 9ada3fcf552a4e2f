//! Orders go from a table of a SQLite file into files of JSON lines, each once:
//!
//! ```text
//! cargo run -p tidelock-sql --example sql_scan -- FOLDER
//! ```
//!
//! The folder, `target/scan` if none is named, gets the database, the files and the checkpoints. Kill it and start it again as
//! often as you like: it goes on in the middle of a range, and the lines stay as many as the rows.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};
use tidelock_runtime::{Job, Workers};
use tidelock_sql::{SqlConfig, SqlScan, SqlScanConfig};

#[derive(Deserialize, Serialize)]
struct Order {
    id: u64,
    cents: u64,
}

/// A shop with 100,000 orders.
const SHOP: &str = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL); \
     WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 100000) \
     INSERT OR IGNORE INTO orders SELECT id, id % 97 FROM n";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/scan".into()));
    let (file, out) = (folder.join("shop.db"), folder.join("out"));
    std::fs::create_dir_all(&out)?;
    rusqlite::Connection::open(&file)?.execute_batch(SHOP)?;

    let database = SqlConfig::from_url(&format!("sqlite:{}", file.display()))?;
    let orders = Arc::new(SqlScan::<Order>::connect(SqlScanConfig::table(database, "orders")).await?);
    let lines =
        Arc::new(FilesSink::new(FilesSinkConfig::new(out.display().to_string(), SinkFormat::JsonLines))?);
    let config = JobConfig::new("scan".parse()?, folder.join("checkpoints").display().to_string());
    Job::open(config)
        .await?
        .run(Workers::threads(1), move |graph| {
            graph.source("orders", &orders).stream().sink("lines", &lines);
        })
        .await?;

    let mut count = 0;
    for file in std::fs::read_dir(&out)? {
        let file = file?;
        // What a reader of files leaves out, too.
        if !file.file_name().to_string_lossy().starts_with(['.', '_']) {
            count += std::fs::read_to_string(file.path())?.lines().count();
        }
    }
    println!("{count} lines in {}", out.display());
    Ok(())
}
