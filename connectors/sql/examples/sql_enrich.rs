//! Enriches the flights of CSV files with the seats of their planes, which are in a table of SQLite:
//!
//! ```text
//! cargo run -p tidelock-sql --example sql_enrich -- docs/examples/flights/data OUT CHECKPOINTS planes.db
//! ```
//!
//! The folder has `planes.csv` as well, from which the table is made where it is not there. With another URL the same
//! lookup runs on PostgreSQL or MySQL.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::Result;
use tidelock::job::JobConfig;
use tidelock_files::{
    CsvReading, FilesSink, FilesSinkConfig, FilesSource, FilesSourceConfig, SinkFormat, SourceFormat,
};
use tidelock_runtime::{Job, Lookups, Workers};
use tidelock_sql::{SqlConfig, SqlLookup, SqlLookupConfig};

/// Some of the columns of the input; the others are passed over.
#[derive(Deserialize)]
struct Flight {
    tailnum: Option<String>,
    origin: String,
    time_hour: String,
}

#[derive(Serialize)]
struct Row {
    origin: String,
    time_hour: String,
    seats: Option<u32>,
}

#[derive(Clone, Deserialize)]
struct Plane {
    seats: Option<u32>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (input, output, checkpoints) = (argument("data"), argument("out"), argument("checkpoints"));
    let database = argument("planes.db");
    make_table(&input, &database);

    let mut reading = FilesSourceConfig::new(input, SourceFormat::Csv(CsvReading::with_null("NA")));
    reading.glob = "flights*.csv".into();
    let flights = Arc::new(FilesSource::<Flight>::new(reading)?);
    let rows = Arc::new(FilesSink::<Row>::new(FilesSinkConfig::new(output, SinkFormat::JsonLines))?);
    let planes =
        SqlLookupConfig::new(SqlConfig::from_url(&format!("sqlite:{database}"))?, "planes", ["tailnum"]);
    let planes = Arc::new(SqlLookup::<String, Plane>::open(planes).await?);

    let mut config = JobConfig::new("enrich".parse()?, checkpoints);
    config.settings.interval = Duration::from_millis(100);
    let job = Job::open(config).await?;
    let ended = job.run(Workers::threads(1), move |graph| {
        let flights = graph.source("flights", &flights).stream();
        let tailnum = |flight: &Flight| flight.tailnum.clone();
        let join = |Flight { origin, time_hour, .. }, plane: Option<&Plane>| {
            let seats = plane.and_then(|plane| plane.seats);
            Row { origin, time_hour, seats }
        };
        flights.lookup("planes", &planes, Lookups::ordered(), tailnum, join).sink("rows", &rows);
    });
    println!("{:?}", ended.await?);
    Ok(())
}

/// A table of planes; of a real database it would be somebody else's.
fn make_table(input: &str, database: &str) {
    let mut connection = rusqlite::Connection::open(database).expect("a file that can be written");
    let ddl = "CREATE TABLE IF NOT EXISTS planes (tailnum TEXT PRIMARY KEY, seats INTEGER)";
    connection.execute_batch(ddl).expect("a database");
    let lines =
        std::fs::read_to_string(format!("{input}/planes.csv")).expect("planes.csv beside the flights");
    let rows = connection.transaction().expect("a transaction");
    for line in lines.lines().skip(1) {
        let columns: Vec<&str> = line.split(',').collect();
        let insert = "INSERT OR IGNORE INTO planes VALUES (?1, ?2)";
        rows.execute(insert, (columns[0], columns[6].parse::<u32>().ok())).expect("a row");
    }
    rows.commit().expect("the table");
}
