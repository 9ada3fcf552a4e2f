//! Several processes as one job: they finish, they fail, they are killed and paused.
//!
//! The processes are this test's own executable, which runs the job where an environment variable says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so")]

mod ahead;
#[path = "../lines/mod.rs"]
mod lines;
mod run;
mod started;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tidelock_runtime::Workers;

use lines::Numbers;
use run::{HELD_UP, TAGGED, WEIGHTY, peak_bytes, run, spread};
use started::{Processes, assert_exactly_once, free_ports, rows, slow_way_to, visible, wait_for_rows};

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
        "ahead" => ahead::run(directory, workers, Numbers { splits: SPLITS, length }).await,
        "spread" => spread(directory, workers, Numbers { splits: 1, length }).await,
        _ => panic!("{told:?}"),
    };
    match result {
        Ok(closed) => println!("ended: {closed}\npeak: {}", peak_bytes()),
        Err(error) => {
            println!("failed: {error:?}");
            std::process::exit(7);
        }
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
        // A supervisor restarts what says that it may be restarted, and a person reads which process it was.
        assert!(said.contains("(Unavailable, Restart)"), "round {round}: {said}");
        assert!(said.contains(&format!("process={victim}")), "round {round}: {said}");
        assert!(!said.contains("panicked"), "round {round}: {said}");
    }
    let mut processes = Processes::start(directory.path(), u64::MAX);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("restored: "), "{said}");
    }
    assert_exactly_once(directory.path(), LENGTH);
}

/// What a writer keeps in the log beside its entries is written by every process, and read by the first, or by the first of
/// the next attempt.
#[test]
fn epochs_that_leave_memory_as_chunks_in_every_process_are_applied_once_whichever_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let before = rows(directory.path()).len();
        let mut processes = Processes::start_graph("ahead", 2, directory.path(), u64::MAX, LENGTH);
        wait_for_rows(directory.path(), before + 200);
        processes.signal(round, "-KILL");
        assert!(!processes.wait(1 - round, SOON).0, "round {round}");
    }
    let mut processes = Processes::start_graph("ahead", 2, directory.path(), u64::MAX, LENGTH);
    for process in [0, 1] {
        let (well, said) = processes.wait(process, SOON);
        assert!(well && said.contains("restored: "), "{said}");
    }
    assert_exactly_once(directory.path(), LENGTH);
    let chunks = std::fs::read_dir(directory.path().join("log/chunks")).unwrap().count();
    assert!(chunks > 0, "those of the retained entries are there");
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
