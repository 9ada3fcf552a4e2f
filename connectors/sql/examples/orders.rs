//! Orders go from files of JSON lines into a table of a SQLite file, each once:
//!
//! ```text
//! cargo run -p tidelock-sql --example orders -- FOLDER
//! ```
//!
//! The folder, `target/orders` if none is named, gets an input, the database and the checkpoints. Kill it and start it again
//! as often as you like: it goes on, and the sum stays.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock_files::{FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_runtime::{Job, Workers};
use tidelock_sql::{Change, SqlConfig, SqlSink, SqlSinkConfig};

#[derive(Deserialize, Serialize)]
struct Order {
    id: u64,
    cents: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/orders".into()));
    let (input, file) = (folder.join("in"), folder.join("shop.db"));
    std::fs::create_dir_all(&input)?;
    let lines: String = (0..100_000).map(|id| format!("{{\"id\":{id},\"cents\":{}}}\n", id % 97)).collect();
    std::fs::write(input.join(".orders"), lines)?;
    if !input.join("orders.jsonl").exists() {
        std::fs::rename(input.join(".orders"), input.join("orders.jsonl"))?;
    }
    let shop = rusqlite::Connection::open(&file)?;
    shop.execute_batch("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL)")?;

    let reading = FilesSourceConfig::new(input.display().to_string(), SourceFormat::JsonLines);
    let orders = Arc::new(FilesSource::<Order>::new(reading)?);
    let database = SqlConfig::from_url(&format!("sqlite:{}", file.display()))?;
    let rows = Arc::new(SqlSink::new(SqlSinkConfig::new(database, "orders"))?);
    let config = JobConfig::new("orders".parse()?, folder.join("checkpoints").display().to_string());
    let job = Job::open(config).await?;
    job.run(Workers::threads(1), move |graph| {
        graph.source("orders", &orders).stream().map(Change::Insert).sink("rows", &rows);
    })
    .await?;

    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let (count, cents) = shop.query_row("SELECT count(*), sum(cents) FROM orders", [], read)?;
    println!("{count} orders of {cents} cents in {}", file.display());
    Ok(())
}
