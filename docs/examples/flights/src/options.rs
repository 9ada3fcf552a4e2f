//! The command line.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tidelock::JobId;

use crate::dynamodb::DynamoTable;
use crate::hbase::HbaseTable;
use crate::kafka::Topic;
use crate::sql::Database;

/// Fast enough to see something, slow enough for a person to watch: January takes three seconds.
pub(crate) const RATE: u64 = 9_000;

/// The data that is shipped with the package.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

const AFTER: &str = "\
Examples:
  flights                              January 2013, with the defaults of every option
  flights --crash 10                   the same, killed ten times with SIGKILL, and the rows checked
  flights --rate 0 --workers 2         as fast as it goes, on two threads
  flights --savepoint /tmp/before      Ctrl-C stops it, and leaves a savepoint there ...
  flights --from-savepoint /tmp/before     ... from which it goes on, or is rolled back
  flights --from-savepoint /tmp/before --job-id fork --checkpoints /tmp/fork --out /tmp/fork-rows

Examples with Kafka, in a build with --features kafka:
  flights --load localhost:9092/flights                the flights from their files into a topic
  flights --from-kafka localhost:9092/flights          counted from there, rows in files
  flights --from-kafka localhost:9092/flights --to-kafka localhost:9092/rows    and rows in a topic

Examples with databases, in a build with --features sql:
  flights --load-tables sqlite:target/air.db     planes and airlines from their files into a database
  flights --planes-from sqlite:target/air.db --to-sql sqlite:target/air.db   looked up there, and rows in a table
  flights --to-sql postgres://me@localhost/air                               or on a server

Examples with HBase, in a build with --features hbase, and with all of these servers, with --features servers:
  flights --to-hbase localhost:9090/flights_by_hour      rows in a table, by a Thrift gateway
  flights --profile servers        Kafka, MariaDB and HBase in containers, the job between them, and its rows checked

Examples with DynamoDB, in a build with --features dynamodb:
  flights --to-dynamodb https://dynamodb.eu-central-1.amazonaws.com/flights_by_hour     rows in a table of AWS
  AWS_REGION=any AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any \
      flights --to-dynamodb http://127.0.0.1:8000/flights_by_hour       of a server on this machine, which wants some

Signals:
  SIGINT, SIGTERM   stop with everything committed, so that the next start goes on from there
  SIGUSR1           take the savepoint of --savepoint and go on

Exit codes:
  0  done, or stopped as asked
  1  an error, which is named; mend it and start again: nothing is lost
  2  wrong usage
  3  fenced: a newer run of the same job took over";

/// Counts the flights that left New York City in 2013, by airport and hour, exactly once.
///
/// Reads flights from CSV files, looks up the plane and the airline of each, and writes one row of JSON
/// for every airport and hour. A checkpoint is taken every few milliseconds, and rows become visible with
/// it. Kill the program whenever you like, in whatever way: start it again and it goes on, and in the end
/// each row is there once.
#[derive(Debug, Clone, Parser)]
#[command(name = "flights", version, after_help = AFTER)]
pub(crate) struct Options {
    /// The folder of the input: flights*.csv, airlines.csv, planes.csv.
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub(crate) data: String,

    /// The folder of the rows. Result files are those whose names begin with neither '.' nor '_'.
    /// [default: target/flights/rows]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<String>,

    /// Set lines aside that are no flights, in this folder, and go on: a line of JSON for each, with what is
    /// wrong and what was read, exactly once. A line that is no record of CSV has a file of its own there, with
    /// its file, offset and text. Without this such a line ends the job.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from_kafka", "load", "crash"])]
    pub(crate) dead_letters: Option<String>,

    /// Read the flights from this topic instead of files, up to the end that it had when the job first
    /// started. Planes and airlines still come from --data. Needs a build with --features kafka.
    #[arg(long, value_name = "BROKERS/TOPIC")]
    pub(crate) from_kafka: Option<Topic>,

    /// Write the rows to this topic instead of files. It is made where it is missing. Readers must use
    /// isolation.level=read_committed. Needs a build with --features kafka.
    #[arg(long, value_name = "BROKERS/TOPIC", conflicts_with = "out")]
    pub(crate) to_kafka: Option<Topic>,

    /// Do nothing but copy the flights from their files to this topic, exactly once. It is made where it is
    /// missing. Needs a build with --features kafka.
    #[arg(long, value_name = "BROKERS/TOPIC", conflicts_with_all = ["from_kafka", "to_kafka", "workers"])]
    pub(crate) load: Option<Topic>,

    /// Look planes and airlines up in the tables `planes` and `airlines` of this database, which --load-tables fills, instead
    /// of files. They are looked at anew every minute. Needs a build with --features sql.
    #[arg(long, value_name = "URL", conflicts_with_all = ["load", "crash"])]
    pub(crate) planes_from: Option<Database>,

    /// Write the rows to the table `flights_by_hour` of this database instead of files. It is made where it is missing. The
    /// rows of a checkpoint become visible together. Needs a build with --features sql.
    #[arg(long, value_name = "URL", conflicts_with_all = ["out", "to_kafka", "load", "crash"])]
    pub(crate) to_sql: Option<Database>,

    /// Write the rows to this table of HBase instead of files, through its Thrift gateways. It is made where it is missing. A row
    /// is there as soon as it is written. Needs a build with --features hbase.
    #[arg(long, value_name = "GATEWAYS/TABLE", conflicts_with_all = ["out", "to_kafka", "to_sql", "load", "crash"])]
    pub(crate) to_hbase: Option<HbaseTable>,

    /// Write the rows to this table of DynamoDB instead of files, each once: those of a checkpoint are put by transactions, which a table beside it,
    /// `tidelock_ledger`, has on record. Both are made where they are missing. The URL is that of AWS in a region, or of another server.
    /// Credentials come from where AWS's own tools look for them (AWS_ACCESS_KEY_ID, a profile, a role), and so does the region
    /// where the URL names none. Needs a build with --features dynamodb.
    #[arg(long, value_name = "URL/TABLE", conflicts_with_all = ["out", "to_kafka", "to_sql", "to_hbase", "load", "crash"])]
    pub(crate) to_dynamodb: Option<DynamoTable>,

    /// Run the whole pipeline on servers that are started for it, in containers: flights in a topic of Kafka, planes and airlines in
    /// MariaDB, rows in HBase. In the end they are read back and compared with an independent answer. Needs a build with --features servers.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["out", "from_kafka", "to_kafka", "load", "planes_from", "to_sql", "to_hbase",
        "to_dynamodb", "load_tables", "crash", "dead_letters", "from_savepoint", "savepoint"])]
    pub(crate) profile: Option<Profile>,

    /// Do nothing but copy planes and airlines from their files to two tables of this database, which are made where they are
    /// missing. Needs a build with --features sql.
    #[arg(long, value_name = "URL", conflicts_with_all = ["from_kafka", "to_kafka", "load", "planes_from", "to_sql", "to_hbase",
        "to_dynamodb", "crash", "dead_letters", "out", "workers", "rate", "from_savepoint", "savepoint"])]
    pub(crate) load_tables: Option<Database>,

    /// The folder of the checkpoints, one for each job. [default: target/flights/checkpoints, with
    /// Kafka target/flights/kafka/checkpoints, with --load target/flights/load/TOPIC/checkpoints, with a
    /// database that is written target/flights/sql/DATABASE/checkpoints, with HBase target/flights/hbase/TABLE/checkpoints, with
    /// DynamoDB target/flights/dynamodb/SERVER-TABLE/checkpoints]
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoints: Option<String>,

    /// Time between two checkpoints. Rows become visible with one, and what a crash makes the job read
    /// again is what came after the last one.
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,

    /// Flights read in a second; 0 is as many as possible. [default: 9000, with --crash less where
    /// that many kills would not fit, with --load 0]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<u64>,

    /// Worker threads. Each reads one file at a time, or its share of a topic's partitions.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) workers: NonZeroUsize,

    /// Start from this savepoint, or from LOG#POSITION: a rollback where the job has checkpoints of its
    /// own, a fork under a new --job-id. Obeyed once: started again with it, the job goes on from its
    /// newest checkpoint.
    #[arg(long, value_name = "URL")]
    pub(crate) from_savepoint: Option<String>,

    /// A name for the request of --from-savepoint, to go back to the same savepoint a second time.
    #[arg(long, value_name = "NAME", requires = "from_savepoint")]
    pub(crate) request: Option<String>,

    /// How much earlier than an earlier line of its file a flight may be. One that comes later than that
    /// ends the job with an error.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub(crate) out_of_orderness: Duration,

    /// Kill the job this many times at random moments, then compare the rows with an independent answer.
    #[arg(long, value_name = "N", conflicts_with_all = ["from_savepoint", "savepoint", "from_kafka", "to_kafka", "load"])]
    pub(crate) crash: Option<u32>,

    /// The seed of the random moments, to repeat a run of --crash.
    #[arg(long, value_name = "N", requires = "crash")]
    pub(crate) seed: Option<u64>,

    /// Where a stop by a signal leaves a savepoint: a new folder.
    #[arg(long, value_name = "URL")]
    pub(crate) savepoint: Option<String>,

    /// The name of the job, for ever. [default: flights, with --load flights-load, with --load-tables flights-tables]
    #[arg(long, value_name = "NAME")]
    job_id: Option<JobId>,

    /// How to tell what happens.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) report: Report,
}

impl Options {
    /// The name of the job.
    pub(crate) fn job_id(&self) -> JobId {
        let name = match (&self.load, &self.load_tables) {
            (Some(_), _) => "flights-load",
            (None, Some(_)) => "flights-tables",
            (None, None) => "flights",
        };
        self.job_id.clone().unwrap_or_else(|| JobId::new(name).expect("invariant: a legal name"))
    }
}

/// Where a run takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Real servers in containers.
    Servers,
}

/// How to tell what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// Live on a terminal, plain otherwise.
    Auto,
    /// One line that changes.
    Live,
    /// A line each second.
    Plain,
    /// A line of JSON for every batch that was read and every checkpoint.
    Json,
}
