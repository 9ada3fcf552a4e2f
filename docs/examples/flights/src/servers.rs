//! The whole pipeline on real servers: one command that starts them, fills them, runs the job, and checks its rows.
//!
//! ```text
//!   MariaDB: planes, airlines ──┐
//!   Kafka: flights ─────────────┴──> the job ──> HBase: a row for each airport and hour ──> compared with the answer
//! ```
//!
//! The servers are in containers, end with the program, and keep nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use indicatif::HumanCount;
use tidelock::{Error, ErrorKind, Result};
use tidelock_containers::{
    Database as Kind, HbaseOptions, HbaseServer, Kafka, KafkaOptions, SqlOptions, SqlServer,
};

use crate::hbase::HbaseTable;
use crate::kafka::Topic;
use crate::options::Options;
use crate::places::start_from_nothing;
use crate::report::say;
use crate::sql::Database;
use crate::{answer, hbase, job, sql};

/// The recipes of the images, and what finds an engine.
const CONTAINERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/containers");

/// The images that are needed.
const IMAGES: [&str; 3] = ["kafka", "mariadb", "hbase"];

/// The checkpoints are those of this run alone: the servers begin empty.
const CHECKPOINTS: &str = "target/flights/servers";

/// Servers, and the places in them.
struct Servers {
    _kafka: Kafka,
    _database: SqlServer,
    _hbase: HbaseServer,
    topic: String,
    url: String,
    table: String,
}

/// Runs the pipeline, and compares what it wrote with the independent answer.
///
/// # Errors
/// Where a server cannot be started, the job fails, or a row is missing, double or wrong.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let checkpoints = options.checkpoints.clone().unwrap_or_else(|| CHECKPOINTS.to_owned());
    start_from_nothing(&checkpoints, options.checkpoints.is_none())?;
    make_images().await?;
    say!("starting Kafka, MariaDB and HBase; HBase takes half a minute");
    let servers = Servers::start().await?;
    let step = |name: &str| {
        let mut step = options.clone();
        (step.profile, step.checkpoints) = (None, Some(format!("{checkpoints}/{name}")));
        step
    };
    let database: Database = servers.url.parse().map_err(wrong)?;
    let mut tables = step("tables");
    tables.load_tables = Some(database.clone());
    sql::load(&tables, &database).await?;
    let topic: Topic = servers.topic.parse().map_err(wrong)?;
    let mut loading = step("flights");
    (loading.load, loading.rate) = (Some(topic.clone()), None);
    Box::pin(job::run(&loading)).await?;
    let table: HbaseTable = servers.table.parse().map_err(wrong)?;
    let mut counting = step("rows");
    (counting.from_kafka, counting.planes_from) = (Some(topic), Some(database));
    counting.to_hbase = Some(table.clone());
    Box::pin(job::run(&counting)).await?;
    judge(options, hbase::read(&table).await?)
}

/// Makes the images that are not there: once, and then it takes a second.
async fn make_images() -> Result<()> {
    for (script, args) in [("engine", &["start"][..]), ("images", &IMAGES)] {
        let mut command = Command::new(Path::new(CONTAINERS).join(script));
        command.args(args).stdin(Stdio::null());
        let failed = |why: String| {
            let remedy = "what a container engine needs is told above; flights without servers need none";
            Error::new(ErrorKind::Unavailable, "make the images of the servers", why).with("remedy", remedy)
        };
        let status = tokio::task::spawn_blocking(move || command.status()).await;
        let status =
            status.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(format!("{script} ended with {status}")));
        }
    }
    Ok(())
}

impl Servers {
    async fn start() -> Result<Self> {
        let (kafka, database, hbase) = tokio::try_join!(
            Kafka::start(KafkaOptions::default()),
            SqlServer::start(SqlOptions::new(Kind::Mariadb)),
            HbaseServer::start(HbaseOptions::default()),
        )
        .map_err(not_started)?;
        let name = database.fresh_database().await.map_err(not_started)?;
        Ok(Self {
            topic: format!("{}/flights", kafka.brokers()),
            url: database.url(&name),
            table: format!("{}/flights_by_hour", hbase.gateway()),
            _kafka: kafka,
            _database: database,
            _hbase: hbase,
        })
    }
}

fn not_started(error: tidelock_containers::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "start the servers", error.to_string())
}

fn wrong(why: String) -> Error {
    Error::new(ErrorKind::Bug, "start the servers", why)
}

fn judge(options: &Options, rows: Vec<answer::Row>) -> Result<()> {
    let expected = answer::expected(Path::new(&options.data))?;
    let difference = answer::compare(&expected, &rows);
    let [missing, double, wrong] = [&difference.missing, &difference.double, &difference.wrong].map(Vec::len);
    let (seen, right) = (HumanCount(rows.len() as u64), HumanCount(expected.len() as u64));
    say!("{seen} rows in HBase, {right} in the independent answer");
    say!("{missing} missing, {double} double, {wrong} wrong");
    if difference.is_none() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Bug,
        "check the rows",
        "the rows of the table are not those of the independent answer",
    ))
}
