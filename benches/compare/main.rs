//! Kafka to Kafka or to a table: Tidelock beside what a user would pick instead. `--help` tells what is measured.

mod args;
mod bench;
mod broker;
mod builds;
mod clock;
mod dynamodb;
mod floor;
mod hbase;
mod latency;
mod load;
mod outcome;
mod picture;
mod process;
mod raw;
mod raw_items;
mod reader;
mod routes;
mod soak;
mod sql;
mod systems;
mod table;
mod tables;
mod target;
mod throughput;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use args::{Arguments, Command};
use bench::Bench;
use broker::Broker;
use outcome::Setting;
use routes::Routes;
use systems::System;
use tables::Tables;
use target::Target;

/// What went wrong, for the person before the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    operation: String,
    why: String,
}

impl Failure {
    pub(crate) fn new(operation: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { operation: operation.into(), why: why.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.why)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::RawLoop(task)) => raw::run(task),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("compare: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| Failure::new("make a folder", error))?;
    let results = arguments.results.clone().unwrap_or_else(|| folder.path().join("results.jsonl"));
    if !arguments.report {
        check(arguments)?;
        let seed = arguments.seed.unwrap_or_else(|| rand::rng().random());
        println!("seed {seed}");
        let target = builds::target()?;
        builds::build(&arguments.systems, arguments.target, &target)?;
        let broker = Broker::start(arguments.brokers.clone(), seed)?;
        let tables = Tables::start(arguments.target, arguments.database.clone())?;
        let routes = (!arguments.pipeline.is_empty()).then(Routes::start).transpose()?;
        let tidelock_properties = arguments.tidelock_properties.clone();
        let flink_settings = arguments.flink_settings.clone();
        let hbase_linger_ms = arguments.hbase_linger_ms;
        let bench = Bench {
            broker,
            tables,
            routes,
            target,
            seed,
            tidelock_properties,
            flink_settings,
            hbase_linger_ms,
        };
        let settings = settings(arguments);
        if arguments.brokers.is_none() {
            latency::warm(&bench, arguments, &settings[0])?;
        }
        if let Some(minutes) = arguments.soak_minutes {
            let ours = arguments.systems.iter().copied().find(|system| system.is_tidelock());
            return soak::run(&bench, ours.unwrap_or(System::Tidelock), &settings[0], minutes);
        }
        for setting in &settings {
            measure_all(&bench, arguments, setting, &results)?;
        }
    }
    let outcomes = outcome::load(&results)?;
    table::print(&outcomes);
    match &arguments.picture {
        Some(path) => picture::draw(&outcomes, path),
        None => Ok(()),
    }
}

/// Refuses what cannot be measured, before anything is built.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { target, partitions, .. } = arguments;
    if let Some(system) = arguments.systems.iter().find(|system| !target.is_written_by(**system)) {
        let why = format!("{} does not write to {target}: see --help", system.name());
        return Err(Failure::new("choose the systems", why));
    }
    if *target != Target::Kafka && *partitions != 1 {
        return Err(Failure::new(
            "choose the partitions",
            "of a table rows are read in order: take one partition",
        ));
    }
    if arguments.database.as_deref().is_some_and(|url| Target::of(Some(url)) != *target) {
        return Err(Failure::new(
            "choose the database",
            format!("its URL is not one of {target}: see --help"),
        ));
    }
    let is_pipeline = |system: &System| matches!(system, System::Tidelock | System::Flink);
    let is_refused =
        *target != Target::Hbase || arguments.throughput || !arguments.systems.iter().all(is_pipeline);
    if !arguments.pipeline.is_empty() && is_refused {
        let why =
            "the pipeline is measured with --target hbase --systems tidelock,flink, and not for throughput";
        return Err(Failure::new("choose the pipeline", why));
    }
    Ok(())
}

/// One setting for each interval, and of the pipeline one for each of its numbers of keys as well.
fn settings(arguments: &Arguments) -> Vec<Setting> {
    let Arguments { rate, size, partitions, seconds, records, throughput, .. } = *arguments;
    let of = |interval: &Duration, keys: Option<u64>| Setting {
        target: arguments.target,
        throughput,
        interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        rate: if throughput { 0 } else { rate },
        size,
        partitions,
        seconds: if throughput { 0 } else { seconds },
        records: if throughput { records } else { 0 },
        keys,
    };
    let pipelines: Vec<Option<u64>> = match arguments.pipeline.is_empty() {
        true => vec![None],
        false => arguments.pipeline.iter().copied().map(Some).collect(),
    };
    arguments
        .interval
        .iter()
        .flat_map(|interval| pipelines.iter().map(move |keys| of(interval, *keys)))
        .collect()
}

/// Every system, as often as asked for; in each repeat in another order, so that none has the better half of a
/// machine that grows warm or busy.
fn measure_all(
    bench: &Bench,
    arguments: &Arguments,
    setting: &Setting,
    results: &Path,
) -> Result<(), Failure> {
    let mut systems = arguments.systems.clone();
    // A transaction alone says nothing of throughput.
    systems.retain(|system| !setting.throughput || *system != System::Floor);
    // The broker has compiled what serves a full load only after one: a first round that counts for nobody.
    let warming = if setting.throughput { systems.len() } else { 0 };
    let repeats = arguments.repeats + u32::from(setting.throughput);
    let mut chance = SmallRng::seed_from_u64(bench.seed);
    let mut rounds = Vec::new();
    for _ in 0..repeats {
        systems.shuffle(&mut chance);
        rounds.extend_from_slice(&systems);
    }
    let preloaded = setting.throughput.then(|| throughput::preload(bench, setting)).transpose()?;
    let count = rounds.len();
    for (index, system) in rounds.into_iter().enumerate() {
        let what = if index < warming { ", to warm the broker" } else { "" };
        let (name, interval) = (system.name(), setting.interval_ms);
        eprintln!("{} of {count}: {name}, interval {interval} ms{what}", index + 1);
        let outcome = match (&preloaded, system) {
            (Some(topic), _) => throughput::measure(bench, system, setting, topic)?,
            (None, System::Floor) => floor::measure(bench, setting)?,
            (None, _) => latency::measure(bench, system, setting, Duration::from_secs(arguments.warm_up))?,
        };
        if index >= warming {
            outcome.store(results)?;
        }
    }
    if let Some(topic) = preloaded {
        bench.broker.delete_topics(&[&topic]);
    }
    Ok(())
}
