//! The rows of a table go into files of JSON lines, each once:
//!
//! ```text
//! cargo run -p tidelock-hbase --example hbase_scan -- GATEWAY:9090 TABLE [FOLDER]
//! ```
//!
//! The folder, `target/scan` if none is named, gets the files and the checkpoints. Kill it and start it again as often as you like:
//! it goes on in the middle of a region, and the lines stay as many as the rows. Keys and values are base64.

use std::path::PathBuf;
use std::sync::Arc;

use tidelock::job::JobConfig;
use tidelock_files::{FilesSink, FilesSinkConfig, SinkFormat};
use tidelock_hbase::{HbaseConfig, HbaseRow, HbaseScan, HbaseScanConfig};
use tidelock_runtime::{Job, Workers};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [gateway, table, rest @ ..] = &arguments[..] else {
        return Err("usage: hbase_scan GATEWAY:9090 TABLE [FOLDER]".into());
    };
    let folder = PathBuf::from(rest.first().map_or("target/scan", String::as_str));
    let out = folder.join("out").display().to_string();

    let hbase = HbaseConfig::new([gateway]);
    let rows = Arc::new(HbaseScan::connect(HbaseScanConfig::new(hbase, table)).await?);
    let lines: Arc<FilesSink<HbaseRow>> =
        Arc::new(FilesSink::new(FilesSinkConfig::new(&out, SinkFormat::JsonLines))?);
    let config = JobConfig::new("scan".parse()?, folder.join("checkpoints").display().to_string());
    let job = Job::open(config).await?;
    let handle = job.handle();
    job.run(Workers::threads(1), move |graph| {
        graph.source("rows", &rows).stream().sink("lines", &lines);
    })
    .await?;
    println!("{} rows in this run, in {out}", handle.records_written().values().sum::<u64>());
    Ok(())
}
