//! The jobs that the processes run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{Error, ErrorKind, JobId, Result, Uid};
use tidelock_runtime::{Job, Restarts, State, Stream, Workers};

use super::lines::{LinesSink, Numbers, UNWRITABLE};
use super::{KEYS, LENGTH};

pub(crate) const INTERVAL: Duration = Duration::from_millis(20);

pub(crate) async fn open(directory: &Path, interval: Duration) -> Result<Job> {
    let mut config = JobConfig::new(JobId::new("numbers")?, directory.join("log").to_str().unwrap());
    config.settings.interval = interval;
    let job = Job::open(config).await?.restarts(Restarts::never()).stop_on_signals();
    if let Some(restored) = job.restored() {
        println!("restored: {}", restored.id.epoch);
    }
    Ok(job)
}

pub(crate) async fn run(
    directory: &Path,
    workers: Workers,
    fail_at: u64,
    numbers: Numbers,
) -> Result<String> {
    // Alignment at a barrier holds sources back as well: not where the point is what else does.
    let interval = if fail_at == WEIGHTY { Duration::from_secs(3_600) } else { INTERVAL };
    let job = open(directory, interval).await?;
    let source = Arc::new(numbers);
    let sink = Arc::new(LinesSink::new(directory.join("rows")));
    let weight = if fail_at == WEIGHTY { LARGE } else { 16 };
    let ended = job.run(workers, move |graph| {
        let numbers = graph.source("numbers", &source).weigh(move |_| weight).stream();
        let numbers = match fail_at {
            TAGGED => through_tags(numbers),
            WEIGHTY => through_large_records(numbers),
            HELD_UP => numbers.inspect(hold_up),
            _ => numbers,
        };
        numbers
            .try_map(move |(split, number): (u64, u64)| match split {
                0 if number == fail_at => Err(Error::new(ErrorKind::Data, "parse", "number is cursed")),
                _ => Ok((split, number)),
            })
            .key_by(|(_, number)| number % KEYS)
            .stateful("count", |key, count: &mut State<u64>, (split, number), context| {
                let seen = count.get_or_insert(0);
                *seen += 1;
                context.emit(format!("{split} {number} {key} {seen}"));
                Ok(())
            })
            .sink("rows", &sink);
    });
    Ok(format!("{:?}", ended.await?.closed))
}

/// Where the job is to fail at this number, its records go to other processes in a form that cannot be read there.
pub(crate) const TAGGED: u64 = u64::MAX - 1;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Number { split: u64, number: u64 },
}

fn through_tags(numbers: Stream<'_, (u64, u64)>) -> Stream<'_, (u64, u64)> {
    let tagged = numbers.map(|(split, number)| Tagged::Number { split, number });
    tagged.key_by(|Tagged::Number { split, .. }| *split).stateful(
        "tagged",
        |_, count: &mut State<u64>, Tagged::Number { split, number }, context| {
            *count.get_or_insert(0) += 1;
            context.emit((split, number));
            Ok(())
        },
    )
}

/// One split for all workers of all processes, buckets that belong to one writer each, numbers that a function
/// rejects and numbers that the sink rejects.
pub(crate) async fn spread(directory: &Path, workers: Workers, numbers: Numbers) -> Result<String> {
    let job = open(directory, INTERVAL).await?;
    let source = Arc::new(numbers);
    let rows = Arc::new(LinesSink::new(directory.join("rows")));
    let letters = Arc::new(LinesSink::new(directory.join("letters")));
    let ended = job.run(workers, move |graph| {
        let worker = graph.worker();
        let numbers = graph.source("numbers", &source).stream().rebalance();
        let (parsed, unparsed) =
            numbers.map(move |(_, number)| (number, worker)).try_map_or("parse", |&(number, worker)| {
                if number % 10 == 3 { Err("a three") } else { Ok((number, worker)) }
            });
        let mark = |number| if number % 10 == 7 { UNWRITABLE } else { "" };
        let unwritten = parsed
            .route(|(number, _)| number % KEYS)
            .map(move |(number, read_by)| format!("{number} {read_by} {worker}{}", mark(number)))
            .sink_or("rows", &rows);
        let line = |uid: Uid, number: &str, reason: String| format!("{number} {uid} {reason}");
        let unparsed =
            unparsed.map(move |letter| line(letter.uid, &letter.record.0.to_string(), letter.reason));
        let unwritten = unwritten.map(move |letter| {
            line(letter.uid, letter.record.split(' ').next().unwrap_or_default(), letter.reason)
        });
        unparsed.union(unwritten).sink("letters", &letters);
    });
    Ok(format!("{:?}", ended.await?.closed))
}

/// Where the job is to fail at this number, a worker that has the post of its process is held up by a function for
/// longer than a process may be silent.
pub(crate) const HELD_UP: u64 = u64::MAX - 3;

fn hold_up((split, number): &(u64, u64)) {
    if (*split, *number) == (2, LENGTH / 2) {
        std::thread::sleep(Duration::from_secs(13));
    }
}

/// Where the job is to fail at this number, its records are large on their way to other processes.
pub(crate) const WEIGHTY: u64 = u64::MAX - 2;

/// What a large record takes.
const LARGE: usize = 300_000;

fn through_large_records(numbers: Stream<'_, (u64, u64)>) -> Stream<'_, (u64, u64)> {
    let large = numbers.map(|(split, number)| (split, number, "x".repeat(LARGE)));
    large.key_by(|(_, number, _)| number % KEYS).stateful(
        "large",
        |_, count: &mut State<u64>, (split, number, _), context| {
            *count.get_or_insert(0) += 1;
            context.emit((split, number));
            Ok(())
        },
    )
}

/// The most memory that this process had so far.
pub(crate) fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
