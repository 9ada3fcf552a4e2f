//! One measurement of latency: from the time a record was due until a `read_committed` reader has it.

use std::thread::sleep;
use std::time::Duration;

use crate::Failure;
use crate::args::Arguments;
use crate::bench::{Bench, Placed};
use crate::clock::Clock;
use crate::load::{Load, give_state};
use crate::outcome::{Outcome, Setting};
use crate::process::Process;
use crate::reader::{Reader, Seen};
use crate::systems::System;

/// A system that shows no record after this time was not started right.
const FIRST_MAX: Duration = Duration::from_secs(60);

/// Keys get their state at this rate at least, in a second.
const KEYS_RATE_MIN: u64 = 30_000;

/// A system that is so far behind at the end of a measurement does not keep up.
const BEHIND_MAX: Duration = Duration::from_secs(30);

const LOOK: Duration = Duration::from_millis(20);

/// Load, system and reader at work.
pub(crate) struct Flow {
    pub(crate) load: Load,
    pub(crate) process: Process,
    pub(crate) reader: Reader,
    pub(crate) clock: Clock,
}

impl Flow {
    /// Starts all three, and returns when the first record is visible and the load is at its full rate.
    pub(crate) fn start(bench: &Bench, placed: &Placed, setting: &Setting) -> Result<Self, Failure> {
        let Setting { partitions, size, rate, .. } = *setting;
        let clock = Clock::start();
        let brokers = &bench.broker.address;
        let keys = setting.keys.unwrap_or(0);
        give_state(brokers, &placed.task.from, keys)?;
        let reader = bench.reader(placed, setting, clock)?;
        let process = bench.start(placed)?;
        let load = Load::start(brokers, placed.task.from.clone(), partitions, size, rate, clock)?;
        let mut flow = Self { load, process, reader, clock };
        let first_max = FIRST_MAX + Duration::from_secs(keys / KEYS_RATE_MIN);
        flow.wait(first_max, |flow| flow.reader.seen() > 0)?;
        flow.load.open();
        Ok(flow)
    }

    pub(crate) fn wait(&mut self, longest: Duration, until: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = self.clock.elapsed() + longest;
        while !until(self) {
            self.process.check()?;
            if self.clock.elapsed() > deadline {
                let why = format!("not within {longest:?}; its log:\n{}", self.process.tail());
                return Err(Failure::new("wait for records to become visible", why));
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Ends all three. Returns what the reader saw.
    pub(crate) fn stop(self, bench: &Bench, placed: &Placed) -> Result<Seen, Failure> {
        let Self { load, process, reader, .. } = self;
        load.stop()?;
        let seen = reader.stop()?;
        drop(process);
        bench.clear(placed);
        Ok(seen)
    }

    /// Lets it run for a time, and fails where the process ends.
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let deadline = self.clock.elapsed() + time;
        while self.clock.elapsed() < deadline {
            self.process.check()?;
            sleep(LOOK);
        }
        Ok(())
    }
}

/// Loads a broker that was started just now with each of the systems, and measures nothing.
pub(crate) fn warm(bench: &Bench, arguments: &Arguments, setting: &Setting) -> Result<(), Failure> {
    // Also before a measurement of throughput, which has no rate of its own.
    let setting = Setting { throughput: false, rate: arguments.rate, ..setting.clone() };
    let systems = arguments.systems.iter().filter(|system| **system != System::Floor);
    let systems: Vec<System> = systems.copied().collect();
    let time =
        Duration::from_secs(arguments.broker_warm_up) / u32::try_from(systems.len().max(1)).unwrap_or(1);
    for system in systems {
        eprintln!("warming the broker with {} for {} s", system.name(), time.as_secs());
        let placed = bench.place(system, &setting)?;
        let mut flow = Flow::start(bench, &placed, &setting)?;
        flow.run_for(time)?;
        flow.stop(bench, &placed)?;
    }
    Ok(())
}

/// Measures one system once.
pub(crate) fn measure(
    bench: &Bench,
    system: System,
    setting: &Setting,
    warm_up: Duration,
) -> Result<Outcome, Failure> {
    let placed = bench.place(system, setting)?;
    let mut flow = Flow::start(bench, &placed, setting)?;
    flow.run_for(if system.is_java() { warm_up } else { warm_up / 4 })?;
    let from = flow.load.sent() + setting.rate / 100;
    let to = from + setting.rate * setting.seconds;
    flow.reader.measure(from, to);
    let (began, before) = (flow.clock.elapsed(), flow.process.usage()?);
    let (gateway, account) = (bench.gateway_usage(&placed)?, bench.accounted(&placed));
    let checkpoints = bench.checkpoints(&placed);
    flow.run_for(Duration::from_secs(setting.seconds))?;
    let (after, took) = (flow.process.usage()?, flow.clock.elapsed() - began);
    let checkpoints = bench.checkpoints(&placed) - checkpoints;
    let gateway = gateway.zip(bench.gateway_usage(&placed)?);
    let account = account.zip(bench.accounted(&placed));
    flow.wait(BEHIND_MAX, |flow| flow.reader.is_done())?;
    let seen = flow.stop(bench, &placed)?;
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let micros_per_record = |seconds: f64| seconds / took.as_secs_f64() / setting.rate as f64 * 1e6;
    Ok(Outcome {
        records_per_second: seen.micros.len() as f64 / setting.seconds as f64,
        cpu_micros_per_record: Some(micros_per_record(cpu_seconds)),
        cpu_seconds: Some(cpu_seconds),
        memory_mib: Some(after.memory_mib),
        disk_bytes: Some(after.disk_bytes - before.disk_bytes),
        gateway_micros_per_record: gateway
            .map(|(before, after)| micros_per_record(after.cpu_seconds - before.cpu_seconds)),
        gateway_memory_mib: gateway.map(|(_, after)| after.memory_mib),
        checkpoint_bytes: account
            .and_then(|((count, bytes), (counts, all))| (all - bytes).checked_div(counts - count)),
        checkpoints: Some(checkpoints),
        missing: (to - from).saturating_sub(seen.micros.len()),
        wrong: seen.wrong,
        ..bench.outcome(system, setting, &seen.micros)
    })
}
