//! The systems that are compared, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::dynamodb;
use crate::target::Target;

/// What a user could pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// One transaction alone, from its begin until it is visible: what the broker and librdkafka take.
    Floor,
    /// A bare loop of the clients: consume, produce or write rows, store the offsets, commit. Into DynamoDB up to 25 items in a request, and as
    /// many requests at once as Tidelock makes. Nothing recovers it.
    Raw,
    /// The same into DynamoDB with a request for each item, which writes nothing where something newer is there: what Tidelock's mode
    /// `versioned` asks of the server.
    RawConditional,
    /// The example `copy` of connectors/kafka, or `to_table` of this package, exactly once; into HBase and DynamoDB with rows that are written at
    /// once and have versions.
    Tidelock,
    /// The same, at least once. Into DynamoDB: its mode `batched`, up to 25 items in a request, without versions.
    TidelockAlo,
    /// `to_table` with transactions that are prepared.
    TidelockPrepared,
    /// `to_table` with rows of HBase or DynamoDB that are written when their checkpoint is complete.
    TidelockLedger,
    /// Apache Flink with its Kafka connector, or its JDBC sink (XA), exactly once; or with its sink for HBase or DynamoDB, at least once.
    Flink,
    /// A bare loop in Java with HBase's own client, without a gateway.
    Native,
    /// Kafka Streams, exactly once (v2).
    Streams,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "one transaction alone",
            Self::Raw => "raw client loop",
            Self::RawConditional => "raw client loop, conditional",
            Self::Tidelock => "Tidelock",
            Self::TidelockAlo => "Tidelock, at least once",
            Self::TidelockPrepared => "Tidelock, prepared",
            Self::TidelockLedger => "Tidelock, ledger",
            Self::Flink => "Flink",
            Self::Native => "native client loop",
            Self::Streams => "Kafka Streams",
        }
    }

    pub(crate) fn is_java(self) -> bool {
        matches!(self, Self::Flink | Self::Native | Self::Streams)
    }

    pub(crate) fn is_tidelock(self) -> bool {
        matches!(self, Self::Tidelock | Self::TidelockAlo | Self::TidelockPrepared | Self::TidelockLedger)
    }
}

/// What a system is to do.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) brokers: String,
    pub(crate) from: String,
    /// A topic, or a table of the database.
    pub(crate) to: String,
    pub(crate) database: Option<String>,
    pub(crate) interval: Duration,
    /// A fresh folder for its state.
    pub(crate) folder: PathBuf,
    pub(crate) tidelock_properties: Vec<String>,
    pub(crate) flink_settings: Vec<String>,
    pub(crate) hbase_linger_ms: u64,
    /// What is asked of the pipeline, where it is one.
    pub(crate) pipeline: Option<Pipeline>,
}

impl Task {
    /// The file in which Flink's job accounts for its checkpoints.
    pub(crate) fn account(&self) -> PathBuf {
        self.folder.with_extension("account")
    }

    fn target(&self) -> Target {
        Target::of(self.database.as_deref())
    }
}

/// The part of a task that copies have not.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    /// The database of the table `routes`.
    pub(crate) lookup: String,
    /// How many keys have a state.
    pub(crate) keys: u64,
}

/// Flink and Kryo look into classes of Java itself.
const JAVA_OPENS: [&str; 3] = ["java.lang", "java.util", "java.nio"];

/// The command that runs a system on a task. `target` is the folder of what was built.
pub(crate) fn command(system: System, task: &Task, target: &Path) -> Command {
    let mut command = match system {
        System::Tidelock | System::TidelockAlo | System::TidelockPrepared | System::TidelockLedger => {
            tidelock(system, task, target)
        }
        System::Raw | System::RawConditional | System::Floor => raw(system, task, target),
        System::Flink | System::Native | System::Streams => java(system, task, target),
    };
    if task.target() == Target::Dynamodb {
        command.envs(dynamodb::CREDENTIALS);
    }
    command
}

fn raw(system: System, task: &Task, target: &Path) -> Command {
    let mut command = Command::new(target.join("release/compare"));
    command.arg("raw-loop");
    tell(&mut command, task);
    if system == System::RawConditional {
        command.arg("--conditional");
    }
    command
}

/// What our own programs are told.
fn tell(command: &mut Command, task: &Task) {
    command.args(["--brokers", &task.brokers, "--from", &task.from, "--to", &task.to]);
    command.arg("--interval").arg(humantime::format_duration(task.interval).to_string());
    if let Some(url) = &task.database {
        command.args(["--database", url]);
    }
}

fn tidelock(system: System, task: &Task, target: &Path) -> Command {
    let program = match (&task.pipeline, &task.database) {
        (Some(_), _) => "release/pipeline",
        (None, Some(_)) => "release/to_table",
        (None, None) => "release/examples/copy",
    };
    let mut command = Command::new(target.join(program));
    tell(&mut command, task);
    command.arg("--checkpoints").arg(task.folder.join("checkpoints"));
    command.args(["--job-id", &task.to]);
    if let Some(Pipeline { lookup, keys }) = &task.pipeline {
        command.args(["--lookup", lookup, "--keys", &keys.to_string()]);
    }
    match system {
        System::TidelockAlo => drop(command.arg("--at-least-once")),
        System::TidelockPrepared => drop(command.arg("--prepared")),
        System::TidelockLedger => drop(command.arg("--ledger")),
        _ => {}
    }
    if task.target() == Target::Hbase {
        command.args(["--linger-ms", &task.hbase_linger_ms.to_string()]);
    }
    for property in &task.tidelock_properties {
        command.args(["--property", property]);
    }
    command
}

/// The class that is the system.
fn main_class(system: System, task: &Task) -> &'static str {
    match (system, task.target()) {
        (System::Streams, _) => "StreamsCopy",
        (System::Native, _) => "hbase.NativeToHbase",
        (_, Target::Kafka) => "FlinkCopy",
        (_, Target::Postgres | Target::Mysql) => "FlinkToTable",
        (_, Target::Hbase) if task.pipeline.is_some() => "hbase.FlinkPipeline",
        (_, Target::Hbase) => "hbase.FlinkToHbase",
        (_, Target::Dynamodb) => "dynamodb.FlinkToDynamo",
    }
}

fn java(system: System, task: &Task, target: &Path) -> Command {
    let peers = target.join(task.target().peers().folder);
    let mut command = Command::new("java");
    command.args(["-Xms2g", "-Xmx2g"]);
    for package in JAVA_OPENS {
        command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    }
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.arg(format!("-Dtidelock.account={}", task.account().display()));
    for setting in &task.flink_settings {
        command.arg(format!("-Dflink.{setting}"));
    }
    command.arg("-cp").arg(format!("{0}/classes:{0}/libs/*", peers.display()));
    command.arg(format!("tidelock.peers.{}", main_class(system, task)));
    command.args([&task.brokers, &task.from, &task.to, &task.interval.as_millis().to_string(), &task.to]);
    command.arg(&task.folder).args(&task.database);
    if let Some(Pipeline { lookup, keys }) = &task.pipeline {
        command.args([lookup, &keys.to_string()]);
    }
    command
}
