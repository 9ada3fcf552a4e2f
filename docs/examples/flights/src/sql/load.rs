//! Copies planes and airlines from their files into a database, exactly once.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_files::{CsvReading, FilesSource, FilesSourceConfig, SourceFormat};
use tidelock_runtime::{Job, Workers};
use tidelock_sql::{Change, SqlSink, SqlSinkConfig};

use super::Database;
use crate::options::Options;
use crate::places::Places;
use crate::report::Reporter;

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS planes (tailnum VARCHAR(16) PRIMARY KEY, model VARCHAR(64), seats INTEGER)",
    "CREATE TABLE IF NOT EXISTS airlines (carrier VARCHAR(8) PRIMARY KEY, name VARCHAR(64) NOT NULL)",
];

#[derive(Serialize, Deserialize)]
struct Plane {
    tailnum: String,
    model: Option<String>,
    seats: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Airline {
    carrier: String,
    name: String,
}

/// Copies both tables, which are made where they are missing. A row that is there already is replaced.
pub(crate) async fn load(options: &Options, database: &Database) -> Result<()> {
    let places = Places::of(options);
    for table in TABLES {
        database.execute(table).await?;
    }
    let (planes, to_planes) = ends::<Plane>(&options.data, database, "planes")?;
    let (airlines, to_airlines) = ends::<Airline>(&options.data, database, "airlines")?;
    let job = Job::open(JobConfig::new(options.job_id(), &places.checkpoints)).await?;
    let handle = job.handle();
    let ended = job.run(Workers::threads(1), move |graph| {
        graph.source("planes-files", &planes).stream().map(Change::Upsert).sink("planes", &to_planes);
        graph.source("airlines-files", &airlines).stream().map(Change::Upsert).sink("airlines", &to_airlines);
    });
    let ended = ended.await?;
    let reporter = Reporter::new(options.report);
    if ended.was_finished {
        reporter.note("loaded", &format!("Planes and airlines were loaded into {database} before."));
        let again = format!("To load them again, remove the checkpoints:  rm -r '{}'", places.checkpoints);
        reporter.note("hint", &again);
    } else {
        let rows: u64 = handle.records_written().values().sum();
        reporter.note("loaded", &format!("{rows} planes and airlines are in {database}."));
    }
    Ok(())
}

type Ends<T> = (Arc<FilesSource<T>>, Arc<SqlSink<T>>);

/// A file of the data and its table.
fn ends<T: Serialize + DeserializeOwned + Send + 'static>(
    data: &str,
    database: &Database,
    table: &str,
) -> Result<Ends<T>> {
    let mut reading = FilesSourceConfig::new(data, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = format!("{table}.csv");
    let sink = SqlSink::new(SqlSinkConfig::new((**database).clone(), table))?;
    Ok((Arc::new(FilesSource::new(reading)?), Arc::new(sink)))
}
