//! One measurement of throughput: how fast preloaded records become visible.
//!
//! What is watched is the last stable offset of the target, up to which a `read_committed` reader may read, or the greatest
//! number in the table. A reader of all records would take a large part of the machine for itself. Of a table all rows are counted
//! when it is over: the greatest number hides what is missing below it.

use std::thread::sleep;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::Producer;

use crate::Failure;
use crate::bench::Bench;
use crate::clock::Clock;
use crate::load::{producer, send};
use crate::outcome::{Outcome, Setting};
use crate::process::Usage;
use crate::reader::{Stamp, histogram};
use crate::systems::System;
use crate::tables::Tables;

/// A measurement ends at the latest after this time.
const LONGEST: Duration = Duration::from_secs(180);

const LOOK: Duration = Duration::from_millis(5);

/// After the last row was seen all others are there within this time, or missing.
const BEHIND_MAX: Duration = Duration::from_secs(30);

const ASK_MAX: Duration = Duration::from_secs(10);

/// Fills a fresh topic.
pub(crate) fn preload(bench: &Bench, setting: &Setting) -> Result<String, Failure> {
    let failed = |error| Failure::new("preload records", error);
    eprintln!("preloading {} records", setting.records);
    let topic = bench.broker.make_topic("from", setting.partitions, None)?;
    let producer = producer(&bench.broker.address)?;
    let mut value = vec![b'x'; usize::try_from(setting.size).unwrap_or(usize::MAX)];
    for number in 0..setting.records {
        Stamp { number, due: 0 }.write(&mut value);
        send(&producer, &topic, number % u64::from(setting.partitions), &value).map_err(failed)?;
    }
    producer.flush(LONGEST).map_err(failed)?;
    Ok(topic)
}

/// How much was visible at some time.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: Duration,
    visible: u64,
    usage: Usage,
}

/// Measures one system once, on the preloaded topic `from`.
pub(crate) fn measure(
    bench: &Bench,
    system: System,
    setting: &Setting,
    from: &str,
) -> Result<Outcome, Failure> {
    let placed = bench.place_on(system, setting, from.to_owned())?;
    let watcher = watcher(&bench.broker.address)?;
    let mut process = bench.start(&placed)?;
    let clock = Clock::start();
    let mut steps: Vec<Step> = Vec::new();
    while steps.last().is_none_or(|step| step.visible < setting.records) {
        process.check()?;
        if clock.elapsed() > LONGEST {
            let why = format!("not within {LONGEST:?}; its log:\n{}", process.tail());
            return Err(Failure::new("wait for records to become visible", why));
        }
        let to = &placed.task.to;
        let visible = match &bench.tables {
            None => visible(&watcher, to, setting.partitions)?,
            Some(tables) => tables.visible(to)?,
        };
        if visible > steps.last().map_or(0, |step| step.visible) {
            steps.push(Step { at: clock.elapsed(), visible, usage: process.usage()? });
        }
        sleep(LOOK);
    }
    if let Some(tables) = &bench.tables {
        count(tables, &placed.task.to, setting.records, clock)?;
    }
    drop(process);
    bench.clear_target(&placed);
    let (first, last) = measured(&steps, setting.records)?;
    let records = last.visible.saturating_sub(first.visible) as f64;
    let cpu_seconds = last.usage.cpu_seconds - first.usage.cpu_seconds;
    Ok(Outcome {
        records_per_second: records / (last.at.saturating_sub(first.at)).as_secs_f64(),
        cpu_seconds: Some(cpu_seconds),
        cpu_micros_per_record: Some(cpu_seconds / records * 1e6),
        memory_mib: Some(last.usage.memory_mib),
        ..bench.outcome(system, setting, &histogram())
    })
}

/// Fails where rows are missing: those of calls that were under way together may come after the last one.
fn count(tables: &Tables, table: &str, records: u64, clock: Clock) -> Result<(), Failure> {
    let until = clock.elapsed() + BEHIND_MAX;
    loop {
        let there = tables.count(table)?;
        if there == records {
            return Ok(());
        }
        if clock.elapsed() > until {
            return Err(Failure::new("count the rows", format!("{there} of {records} are there")));
        }
    }
}

/// From the first commit past a fifth of the records to the last one before the end: before, systems warm
/// up; the last commit waits for its interval with nothing left to do.
fn measured(steps: &[Step], records: u64) -> Result<(Step, Step), Failure> {
    let first = steps.iter().find(|step| step.visible >= records / 5);
    let last = steps.iter().rfind(|step| step.visible < records);
    match (first, last) {
        (Some(first), Some(last)) if last.visible > first.visible => Ok((*first, *last)),
        _ => Err(Failure::new("measure throughput", "too few commits: take more --records")),
    }
}

fn watcher(brokers: &str) -> Result<BaseConsumer, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("isolation.level", "read_committed");
    config.create().map_err(|error| Failure::new("make a watcher", error))
}

fn visible(watcher: &BaseConsumer, topic: &str, partitions: u32) -> Result<u64, Failure> {
    let ask = |partition| watcher.fetch_watermarks(topic, partition, ASK_MAX);
    let partitions = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
    let ends: Result<Vec<_>, _> = partitions.map(ask).collect();
    let ends = ends.map_err(|error| Failure::new("ask for the last stable offset", error))?;
    Ok(ends.into_iter().filter_map(|(_, end)| u64::try_from(end).ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_warm_up_nor_the_last_wait_counts() {
        let step = |at, visible| Step { at: Duration::from_secs(at), visible, usage: Usage::default() };
        let steps = [step(1, 100), step(2, 250), step(3, 600), step(4, 950), step(9, 1001)];
        let (first, last) = measured(&steps, 1000).expect("enough commits");
        assert_eq!((first.visible, last.visible), (250, 950));
        assert!(measured(&steps[3..], 1000).is_err());
    }
}
