//! What can be asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::systems::System;
use crate::target::Target;

/// Copies a Kafka topic to another one or to a table with several systems, and measures them side by side.
///
/// Latency: records are made at a fixed rate that waits for nobody, and each carries the time at which it was
/// due, so that a system which stalls is charged for every record that waited. Latency ends when a reader with
/// isolation.level=read_committed has the record, or one that asks a table for new rows each millisecond. The reader also checks that each record came once and in order;
/// a row of HBase or an item of DynamoDB is there or not, and in which order they come is not asked.
///
/// Throughput (--throughput): records are there before a system starts. What counts is how fast the last stable
/// offset of the target grows (up to there a read_committed reader may read), or the greatest number in the table, between 20 % and
/// 100 % of the records. Of a table all rows are counted afterwards.
///
/// Systems run one after another, in an order that the seed shuffles, each as a process of its own, on one broker
/// that this program starts in a container. Every result is added to --results as a line of JSON, and
/// the tables and the picture are made of all lines of that file: so a long measurement can be taken in pieces.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  compare --systems tidelock,raw --interval 10ms --seconds 15 --repeats 1    a first look, about a minute
  compare --interval 10ms --repeats 5 --results target/compare.jsonl --picture docs/latency
  compare --throughput --systems tidelock,tidelock-alo,flink,streams --interval 1s,100ms --partitions 4
  compare --target postgres --systems tidelock,tidelock-prepared,flink,raw --size 100 --interval 100ms,1s    rows instead of records
  compare --target hbase --systems tidelock,tidelock-ledger,raw,native,flink --size 100 --interval 100ms,1s    the same into HBase
  compare --target dynamodb --systems tidelock,tidelock-alo,tidelock-ledger,raw,raw-conditional,flink --size 100 --rate 1000 --interval 100ms    into DynamoDB
  compare --target hbase --systems tidelock,flink --pipeline 0,1000,1000000 --interval 100ms,1s --rate 5000 --size 100    what state costs
  compare --soak-minutes 30 --interval 10ms --rate 20000
  compare --soak-minutes 30 --target postgres --systems tidelock-prepared --interval 100ms --rate 2000
  compare --report --results target/compare.jsonl                           only print what is there"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// What is measured, with commas.
    #[arg(long, value_delimiter = ',', default_value = "floor,raw,tidelock,flink,streams")]
    pub(crate) systems: Vec<System>,
    /// What is written.
    #[arg(long, value_enum, default_value_t = Target::Kafka)]
    pub(crate) target: Target,
    /// A database that runs already, as a URL, instead of one that is started. HBase is hbase://GATEWAY:PORT?zookeeper=HOST:PORT; the second
    /// half is for the systems in Java. DynamoDB is dynamodb://HOST:PORT, a server without encryption that takes any credentials; without one
    /// dynoxide is started, which TIDELOCK_TEST_DYNAMODB names or `tests/checks/dynamodb_server target/tools/dynoxide` installs, with its data
    /// in memory.
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Time between two commits; several with commas.
    #[arg(long, value_delimiter = ',', default_value = "10ms", value_parser = humantime::parse_duration)]
    pub(crate) interval: Vec<Duration>,
    /// Records made in a second.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) rate: u64,
    /// Bytes of a record's value, at least 16.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(16..=900_000))]
    pub(crate) size: u64,
    /// Partitions of source and target.
    #[arg(long, default_value_t = 1)]
    pub(crate) partitions: u32,
    /// Seconds that are measured, after the warm-up.
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Seconds of load on a broker that was started just now, before anything is measured, shared by all systems:
    /// each has requests of its own, and while the broker compiles what serves them it stalls for tenths of a second.
    #[arg(long, default_value_t = 180)]
    pub(crate) broker_warm_up: u64,
    /// Seconds of load on each system before it is measured, so that Java's compiler has done its work. Flink needs
    /// half a minute: after 6 s its latency was twice that after 30 s. What is not in Java gets a quarter of it.
    #[arg(long, default_value_t = 30)]
    pub(crate) warm_up: u64,
    /// How often each system is measured.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeats: u32,
    /// Measure throughput instead of latency.
    #[arg(long)]
    pub(crate) throughput: bool,
    /// Records that are preloaded for a measurement of throughput.
    #[arg(long, default_value_t = 4_000_000)]
    pub(crate) records: u64,
    /// Instead: load the first of ours for so many minutes, and look every half minute at memory, threads and connections.
    #[arg(long)]
    pub(crate) soak_minutes: Option<u64>,
    /// Shuffles the order. By default another one each time; it is printed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// A broker that runs already, as host:port, instead of a container.
    #[arg(long)]
    pub(crate) brokers: Option<String>,
    /// The file that results are added to. By default one in a folder that is removed.
    #[arg(long)]
    pub(crate) results: Option<PathBuf>,
    /// Where the picture of the latencies goes: a path without extension, for .svg and .png.
    #[arg(long)]
    pub(crate) picture: Option<PathBuf>,
    /// Measure nothing: make the tables and the picture of what --results holds.
    #[arg(long, requires = "results")]
    pub(crate) report: bool,
    /// Instead of copying, the pipeline: events are enriched from MySQL, summed by key, and written to HBase, with state of so many
    /// keys; 0 keeps none, and checkpoints hold positions alone. Several with commas. For tidelock and flink, into --target hbase.
    #[arg(long, value_delimiter = ',', value_name = "KEYS")]
    pub(crate) pipeline: Vec<u64>,
    /// A further setting of librdkafka for tidelock, as name=value. May be repeated.
    #[arg(long = "tidelock-property")]
    pub(crate) tidelock_properties: Vec<String>,
    /// Milliseconds for which Tidelock gathers rows for HBase: its setting `linger_ms`.
    #[arg(long, default_value_t = 0)]
    pub(crate) hbase_linger_ms: u64,
    /// A further setting of Flink, as name=value, for instance execution.buffer-timeout=100ms, or state.backend.type=hashmap for
    /// the pipeline; sink.flush-ms is that of its sinks for HBase and DynamoDB. May be repeated.
    #[arg(long = "flink-setting", value_name = "NAME=VALUE")]
    pub(crate) flink_settings: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The system `raw`: consume, produce, send offsets, commit, with a bare client and nothing else.
    #[command(hide = true)]
    RawLoop(RawLoop),
}

#[derive(Debug, Args)]
pub(crate) struct RawLoop {
    #[arg(long)]
    pub(crate) brokers: String,
    #[arg(long)]
    pub(crate) from: String,
    #[arg(long)]
    pub(crate) to: String,
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    /// The database of the table `to`; without one it is a topic.
    #[arg(long)]
    pub(crate) database: Option<String>,
    /// A request of its own for each item of DynamoDB, which writes nothing where something newer is there.
    #[arg(long)]
    pub(crate) conditional: bool,
}
