//! An operator of one's own with state and a timer: of the alarms of each sensor it lets one through
//! every ten minutes, with the number of those that it kept back.
//!
//! Run it with `cargo run --example quiet_alarms -p tidelock-runtime`. It reads a few alarms from
//! memory, and its checkpoints are in memory too: the operator is the point.

mod alarms;

use std::convert::Infallible;
use std::sync::Arc;

use object_store::memory::InMemory;
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::log::Log;
use tidelock::{JobId, Result};
use tidelock_runtime::{Context, Job, KeyedOperator, State, Workers};
use tidelock_testkit::doubles::{MemorySink, Target};
use tidelock_testkit::harness::Row;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use alarms::{Alarm, Alarms};

const QUIET_MS: i64 = 10 * 60 * 1000;

/// Since when a sensor is quiet, and how many alarms that was good for.
#[derive(Serialize, Deserialize)]
struct Quiet {
    since_ms: i64,
    kept_back: u64,
}

struct Quieten;

impl KeyedOperator for Quieten {
    type Key = String;
    type In = Alarm;
    type Out = Row;
    type Side = Infallible;
    type State = Quiet;
    const STATE_VERSION: u16 = 1;

    fn on_record(
        &mut self,
        sensor: &String,
        quiet: &mut State<Quiet>,
        alarm: Alarm,
        context: &mut Context<'_, Row>,
    ) -> Result<()> {
        match &mut **quiet {
            Some(quiet) if alarm.at_ms < quiet.since_ms + QUIET_MS => quiet.kept_back += 1,
            before => {
                let kept_back = before.as_ref().map_or(0, |quiet| quiet.kept_back);
                context.emit(Row::new(sensor, kept_back));
                *before = Some(Quiet { since_ms: alarm.at_ms, kept_back: 0 });
                // Nothing is kept for a sensor that has nothing to say.
                context.set_timer(alarm.at_ms + QUIET_MS);
            }
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _sensor: &String,
        quiet: &mut State<Quiet>,
        at_ms: i64,
        _context: &mut Context<'_, Row>,
    ) -> Result<()> {
        if quiet.as_ref().is_some_and(|quiet| quiet.since_ms + QUIET_MS <= at_ms && quiet.kept_back == 0) {
            **quiet = None;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let log = std::env::var("RUST_LOG").ok().and_then(|log| log.parse().ok());
    let log = log.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(log).init();
    let target = Target::new();
    let alarms = Arc::new(Alarms::of_a_morning());
    let rows = Arc::new(MemorySink::new(target.clone()));
    let log = Log::on(Arc::new(InMemory::new()), "checkpoints".into());
    let job = Job::open_on(JobConfig::new(JobId::new("alarms")?, "memory"), log).await?;
    let ended = job
        .run(Workers::threads(2), move |graph| {
            graph
                .source("alarms", &alarms)
                .event_time(|alarm| alarm.at_ms)
                .stream()
                .key_by(|alarm| alarm.sensor.clone())
                .process("quieten", Quieten)
                .sink("rows", &rows);
        })
        .await?;
    println!("{ended}");
    for row in target.visible() {
        println!("alarm of {}, {} kept back before", row.key, row.value);
    }
    Ok(())
}
