//! Several processes as one job: they finish, they fail, they are killed and paused.
//!
//! The processes are this test's own executable, which runs the job where an environment variable says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so")]

mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tidelock::job::JobConfig;
use tidelock::{Error, ErrorKind, JobId, Result, Uid};
use tidelock_runtime::{Job, Restarts, State, Stream, Workers};
use tokio::time::Instant;

use lines::{LinesSink, Numbers, UNWRITABLE};

const SPLITS: u64 = 4;
const LENGTH: u64 = 600;
const KEYS: u64 = 7;

/// What a child is told, as one variable: directory, number of the process, ports, where to fail, how much there is,
/// and which graph it runs.
const CHILD: &str = "TIDELOCK_TEST_CHILD";

/// Not a test of its own: the job, where this executable is started as one of its processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Vec<&str> = told.split(' ').collect();
    let [directory, process, ports, fail_at, length, graph] = told[..] else { panic!("{told:?}") };
    let addresses = ports.split(',').map(|port| format!("127.0.0.1:{port}")).collect();
    let workers = Workers::processes(process.parse().unwrap(), addresses, 2).unwrap();
    let (directory, length) = (Path::new(directory), length.parse().unwrap());
    let result = match graph {
        "count" => {
            run(directory, workers, fail_at.parse().unwrap(), Numbers { splits: SPLITS, length }).await
        }
        "spread" => spread(directory, workers, Numbers { splits: 1, length }).await,
        _ => panic!("{told:?}"),
    };
    match result {
        Ok(closed) => println!("ended: {closed}\npeak: {}", peak_bytes()),
        Err(error) => {
            println!("failed: {error}");
            std::process::exit(7);
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(20);

async fn open(directory: &Path, interval: Duration) -> Result<Job> {
    let mut config = JobConfig::new(JobId::new("numbers")?, directory.join("log").to_str().unwrap());
    config.settings.interval = interval;
    let job = Job::open(config).await?.restarts(Restarts::never()).stop_on_signals();
    if let Some(restored) = job.restored() {
        println!("restored: {}", restored.id.epoch);
    }
    Ok(job)
}

async fn run(directory: &Path, workers: Workers, fail_at: u64, numbers: Numbers) -> Result<String> {
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
const TAGGED: u64 = u64::MAX - 1;

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
async fn spread(directory: &Path, workers: Workers, numbers: Numbers) -> Result<String> {
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
const HELD_UP: u64 = u64::MAX - 3;

fn hold_up((split, number): &(u64, u64)) {
    if (*split, *number) == (2, LENGTH / 2) {
        std::thread::sleep(Duration::from_secs(13));
    }
}

/// Where the job is to fail at this number, its records are large on their way to other processes.
const WEIGHTY: u64 = u64::MAX - 2;

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
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Carries bytes from wherever somebody connects to an address, so many a second each way.
fn slow_way_to(address: SocketAddr, bytes_a_second: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = loop {
            match TcpStream::connect(address) {
                Ok(far) => break far,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || carry(from, to, bytes_a_second));
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream, bytes_a_second: usize) {
    let mut buffer = vec![0; bytes_a_second / 100];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_secs_f64(length as f64 / bytes_a_second as f64));
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The processes of one job.
struct Processes(Vec<Child>);

impl Processes {
    fn start(directory: &Path, fail_at: u64) -> Self {
        Self::start_many(2, directory, fail_at, LENGTH)
    }

    fn start_many(processes: usize, directory: &Path, fail_at: u64, length: u64) -> Self {
        Self::start_graph("count", processes, directory, fail_at, length)
    }

    fn start_graph(graph: &str, processes: usize, directory: &Path, fail_at: u64, length: u64) -> Self {
        Self::start_with(&vec![free_ports(processes); processes], graph, directory, fail_at, length)
    }

    /// Starts as many as there are lists of ports: those of all processes, as each of them sees them.
    fn start_with(ports: &[Vec<u16>], graph: &str, directory: &Path, fail_at: u64, length: u64) -> Self {
        let start = |process: usize| {
            let ports: Vec<_> = ports[process].iter().map(u16::to_string).collect();
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--nocapture"])
                .env(
                    CHILD,
                    format!(
                        "{} {process} {} {fail_at} {length} {graph}",
                        directory.display(),
                        ports.join(",")
                    ),
                )
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        Self((0..ports.len()).map(start).collect())
    }

    fn signal(&self, process: usize, signal: &str) {
        let pid = self.0[process].id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for a process, at most this long. Returns whether it ended well, and what it said.
    fn wait(&mut self, process: usize, at_most: Duration) -> (bool, String) {
        let (child, began) = (&mut self.0[process], Instant::now());
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > at_most => panic!("process {process} did not end in time"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut said = String::new();
        for pipe in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read>),
        ] {
            pipe.unwrap().read_to_string(&mut said).unwrap();
        }
        (status.success(), said)
    }
}

fn free_ports(processes: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Nothing that was started outlives its test.
impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The rows that a reader of the target sees.
fn rows(directory: &Path) -> Vec<String> {
    visible(directory, "rows")
}

fn visible(directory: &Path, folder: &str) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(directory.join(folder)) else { return Vec::new() };
    let visible = files
        .map(|file| file.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    visible.flat_map(|path| lines_of(&path)).collect()
}

/// Waits until a reader sees so many.
fn wait_for_rows(directory: &Path, count: usize) {
    while rows(directory).len() < count {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lines_of(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Every number once, and every key counted without a gap.
fn assert_exactly_once(directory: &Path, length: u64) {
    let (mut numbers, mut counts) = (BTreeMap::new(), BTreeMap::<u64, Vec<u64>>::new());
    for row in rows(directory) {
        let fields: Vec<u64> = row.split(' ').map(|field| field.parse().unwrap()).collect();
        *numbers.entry((fields[0], fields[1])).or_insert(0) += 1;
        counts.entry(fields[2]).or_default().push(fields[3]);
    }
    let every = (0..SPLITS).flat_map(|split| (0..length).map(move |number| ((split, number), 1)));
    assert_eq!(numbers, every.collect::<BTreeMap<_, _>>());
    for counts in counts.values_mut() {
        counts.sort_unstable();
        assert!(counts.iter().copied().eq(1..=counts.len() as u64));
    }
}

const SOON: Duration = Duration::from_secs(60);

#[test]
fn two_processes_run_one_job_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut processes = Processes::start(directory.path(), u64::MAX);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("ended: Finished"), "{said}");
    }
    assert_exactly_once(directory.path(), LENGTH);
}

#[test]
fn when_one_is_killed_the_other_ends_and_a_restart_continues() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let before = rows(directory.path()).len();
        let mut processes = Processes::start(directory.path(), u64::MAX);
        wait_for_rows(directory.path(), before + 200);
        let (victim, other) = (round % 2, 1 - round % 2);
        processes.signal(victim, "-KILL");
        let (well, said) = processes.wait(other, SOON);
        assert!(!well && said.contains("failed: "), "round {round}: {said}");
    }
    let mut processes = Processes::start(directory.path(), u64::MAX);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("restored: "), "{said}");
    }
    assert_exactly_once(directory.path(), LENGTH);
}

#[test]
fn when_one_fails_both_end_with_its_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut processes = Processes::start(directory.path(), 300);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(!well && said.contains("number is cursed") && said.contains("uid=numbers"), "{said}");
    }
    let mut processes = Processes::start(directory.path(), u64::MAX);
    for process in [0, 1] {
        assert!(processes.wait(process, SOON).0);
    }
    assert_exactly_once(directory.path(), LENGTH);
}

/// In one process such records go from worker to worker as they are; found where they would leave it.
#[test]
fn records_that_other_processes_could_not_read_are_refused_at_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut processes = Processes::start(directory.path(), TAGGED);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        let named = ["send to another process", "Tagged", "#[serde(tag)]", "uid=numbers"];
        assert!(!well && named.iter().all(|word| said.contains(word)), "{said}");
    }
    assert!(rows(directory.path()).is_empty());
}

#[test]
fn a_process_whose_worker_is_held_up_is_not_taken_for_dead() {
    let directory = tempfile::tempdir().unwrap();
    let mut processes = Processes::start(directory.path(), HELD_UP);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("ended: Finished"), "{said}");
    }
    assert_exactly_once(directory.path(), LENGTH);
}

/// The sources could read everything before a tenth of it is through. Between the processes are queues that have no
/// bound of their own.
#[test]
fn sources_wait_for_a_network_that_is_slower_than_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let ports = free_ports(2);
    let slow = slow_way_to(SocketAddr::from(([127, 0, 0, 1], ports[0])), 20_000_000);
    let seen = [ports.clone(), vec![slow.port(), ports[1]]];
    let length = 300;
    let mut processes = Processes::start_with(&seen, "count", directory.path(), WEIGHTY, length);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("ended: Finished"), "{said}");
        let peak = said.lines().find_map(|line| line.strip_prefix("peak: ")).unwrap().parse::<usize>();
        println!("process {process} had {} MB", peak.as_ref().unwrap() / 1_000_000);
        // Each process sends 90 MB to the other.
        assert!(peak.unwrap() < 70_000_000, "{said}");
    }
    assert_exactly_once(directory.path(), length);
}

#[test]
fn when_one_is_paused_the_other_ends_and_a_restart_continues() {
    let directory = tempfile::tempdir().unwrap();
    for paused in [0, 1] {
        let before = rows(directory.path()).len();
        let mut processes = Processes::start(directory.path(), u64::MAX);
        wait_for_rows(directory.path(), before + 200);
        processes.signal(paused, "-STOP");
        let (well, said) = processes.wait(1 - paused, SOON);
        assert!(!well && said.contains("not heard of"), "{said}");
        processes.signal(paused, "-KILL");
    }
    let mut processes = Processes::start(directory.path(), u64::MAX);
    for process in [0, 1] {
        assert!(processes.wait(process, SOON).0);
    }
    assert_exactly_once(directory.path(), LENGTH);
}

#[test]
fn a_newer_start_of_the_job_fences_every_older_process() {
    let directory = tempfile::tempdir().unwrap();
    // Long enough that the older ones are not done before the newer ones are there.
    let length = 10 * LENGTH;
    let mut older = Processes::start_many(2, directory.path(), u64::MAX, length);
    wait_for_rows(directory.path(), 200);
    let newer = loop {
        let mut newer = Processes::start_many(2, directory.path(), u64::MAX, length);
        let ended = [0, 1].map(|process| newer.wait(process, SOON));
        // The older start appends meanwhile: where its entry came between the two, the error says what to do.
        if !ended.iter().any(|(_, said)| said.contains("start all of them again")) {
            break ended;
        }
    };
    for (process, (newer_well, newer)) in newer.into_iter().enumerate() {
        let (older_well, older) = older.wait(process, SOON);
        let said = format!("{process}, the older: {older}\nthe newer: {newer}");
        assert!(!older_well && older.contains("a newer attempt owns this job"), "{said}");
        assert!(newer_well && newer.contains("restored: ") && newer.contains("ended: Finished"), "{said}");
    }
    assert_exactly_once(directory.path(), length);
}

#[test]
fn a_signal_stops_a_job_with_a_checkpoint_and_a_restart_continues() {
    let directory = tempfile::tempdir().unwrap();
    // Enough for every stop to come before the end.
    let length = 5 * LENGTH;
    for signal in ["-TERM", "-INT"] {
        let before = rows(directory.path()).len();
        let mut processes = Processes::start_many(1, directory.path(), u64::MAX, length);
        wait_for_rows(directory.path(), before + 200);
        processes.signal(0, signal);
        let (well, said) = processes.wait(0, SOON);
        assert!(well && said.contains("ended: Stopped"), "{said}");
    }
    // What was stopped under one process goes on under two, and a signal to any of them stops all.
    for (process, signal) in [(1, "-TERM"), (0, "-TERM"), (1, "-INT")] {
        let before = rows(directory.path()).len();
        let mut processes = Processes::start_many(2, directory.path(), u64::MAX, length);
        wait_for_rows(directory.path(), before + 200);
        processes.signal(process, signal);
        for process in [0, 1] {
            let (well, said) = processes.wait(process, SOON);
            assert!(well && said.contains("ended: Stopped"), "{said}");
        }
    }
    let mut processes = Processes::start_many(2, directory.path(), u64::MAX, length);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("ended: Finished"), "{said}");
    }
    assert_exactly_once(directory.path(), length);
}

#[test]
fn what_is_rejected_and_what_crosses_processes_is_there_once_through_kills() {
    const NUMBERS: u64 = 2_400;
    let directory = tempfile::tempdir().unwrap();
    let start = || Processes::start_graph("spread", 2, directory.path(), u64::MAX, NUMBERS);
    for round in 0..4 {
        let before = rows(directory.path()).len();
        let mut processes = start();
        wait_for_rows(directory.path(), before + 200);
        processes.signal(round % 2, "-KILL");
        let (well, said) = processes.wait(1 - round % 2, SOON);
        assert!(!well && said.contains("failed: "), "round {round}: {said}");
    }
    let mut processes = start();
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("restored: "), "{said}");
    }
    let mut seen = BTreeMap::<u64, u64>::new();
    let (mut readers, mut writers) = (BTreeSet::new(), BTreeMap::<u64, BTreeSet<u64>>::new());
    for row in rows(directory.path()) {
        let fields: Vec<u64> = row.split(' ').map(|field| field.parse().unwrap()).collect();
        let [number, read_by, written_by] = fields[..] else { panic!("{row}") };
        assert!(![3, 7].contains(&(number % 10)), "{row}");
        *seen.entry(number).or_default() += 1;
        readers.insert(read_by);
        writers.entry(number % KEYS).or_default().insert(written_by);
    }
    for letter in visible(directory.path(), "letters") {
        let (number, why) = letter.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        *seen.entry(number).or_default() += 1;
        match number % 10 {
            3 => assert_eq!(why, "parse a three"),
            7 => assert!(why.starts_with("rows ") && why.contains("not writable"), "{letter}"),
            _ => panic!("{letter}"),
        }
    }
    assert_eq!(seen, (0..NUMBERS).map(|number| (number, 1)).collect());
    assert_eq!(readers, (0..4).collect(), "one split is worked on by every worker of both processes");
    assert!(writers.values().all(|writers| writers.len() == 1), "a bucket has one writer: {writers:?}");
}

/// Three processes, of which a random one is killed, or each in its turn asked to stop, in a random order.
#[test]
fn kills_of_random_processes_and_signals_to_each_lose_and_double_nothing() {
    const PROCESSES: usize = 3;
    let (kills, stops) = if std::env::var_os("TIDELOCK_SOAK").is_some() { (50, 20) } else { (3, 1) };
    let seed = std::env::var("TIDELOCK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let stopped = (0..PROCESSES * stops).map(|round| Some(round % PROCESSES));
    let mut rounds: Vec<_> = std::iter::repeat_n(None, kills).chain(stopped).collect();
    rounds.shuffle(&mut chance);
    let directory = tempfile::tempdir().unwrap();
    // Enough for every round to come before the end.
    let length = 200 * rounds.len() as u64;
    let start = || Processes::start_many(PROCESSES, directory.path(), u64::MAX, length);
    for (round, stop) in rounds.into_iter().enumerate() {
        let before = rows(directory.path()).len();
        let mut processes = start();
        wait_for_rows(directory.path(), before + chance.random_range(1..300));
        let (process, signal, word) = match stop {
            Some(process) => (process, "-TERM", "ended: Stopped"),
            None => (chance.random_range(0..PROCESSES), "-KILL", "failed: "),
        };
        processes.signal(process, signal);
        for other in (0..PROCESSES).filter(|other| stop.is_some() || *other != process) {
            let (well, said) = processes.wait(other, SOON);
            assert!(
                well == stop.is_some() && said.contains(word),
                "round {round}, {signal} {process}: {said}"
            );
        }
    }
    let mut processes = start();
    for process in 0..PROCESSES {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("restored: ") && said.contains("ended: Finished"), "{said}");
    }
    assert_exactly_once(directory.path(), length);
}
