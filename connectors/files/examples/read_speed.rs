//! How fast CSV becomes rows: `cargo run --release -p tidelock-files --example read_speed -- DIR GLOB`.

use std::time::Duration;

use serde::Deserialize;
use tidelock::{Known, Result, Source, SplitReader};
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, SourceFormat};
use tokio::time::Instant;

/// A flight that left New York City, all 19 columns.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "reading them is the point")]
struct Flight {
    year: u16,
    month: u8,
    day: u8,
    dep_time: Option<u16>,
    sched_dep_time: u16,
    dep_delay: Option<i32>,
    arr_time: Option<u16>,
    sched_arr_time: u16,
    arr_delay: Option<i32>,
    carrier: String,
    flight: u32,
    tailnum: Option<String>,
    origin: String,
    dest: String,
    air_time: Option<u32>,
    distance: u32,
    hour: u8,
    minute: u8,
    time_hour: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "data".into());
    let mut config = FilesSourceConfig::new(folder, SourceFormat::Csv(CsvReading::with_null("NA")));
    config.glob = arguments.next().unwrap_or_else(|| "flights*.csv".into());
    let source: FilesSource<Flight> = FilesSource::new(config)?;
    let known = Known { active: Vec::new(), finished: Vec::new(), ended: Vec::new(), first_run: true };
    let splits = source.discover(&known).await?.new;
    let (mut rows, mut bytes) = (0, 0);
    let begin = Instant::now();
    for split in splits {
        bytes += split.size;
        let mut reader = source.open(split).await?;
        while let Some(batch) = reader.next().await? {
            rows += batch.records.len();
        }
    }
    let took = begin.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
    println!(
        "{rows} rows, {:.1} MB, {took:.3} s: {:.0} rows/s, {:.0} MB/s",
        bytes as f64 / 1e6,
        rows as f64 / took,
        bytes as f64 / took / 1e6
    );
    Ok(())
}
