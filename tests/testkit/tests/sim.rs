//! Random simulation: the real coordinator, log and host survive whatever a seed does to them.
//!
//! `TIDELOCK_SEEDS` says how many seeds to try, `TIDELOCK_SEED` tries one and prints all that happens.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidelock_testkit::sim::points::{Hits, Kind, Point};
use tidelock_testkit::sim::seed::{Found, simulate};
use tokio::time::Instant;

/// Tried where nobody says how many: enough to notice, few enough for every `cargo test`.
const SEEDS: u64 = 60;

/// From so many seeds on, every crash point and state must have been hit [`HITS_MIN`] times.
const SEEDS_FOR_HITS: u64 = 8_000;
const HITS_MIN: u64 = 100;

/// States that must be reached as often, too.
const STATES: &[&str] = &[
    "\"already exists\" to our own create, sent twice",
    "a commit arrived after a later epoch's",
    "a job was forked from a running one",
    "a job went on after it was stopped",
    "a leftover was aborted",
    "a request arrived after its process died",
    "a rollback was asked for",
    "a rollback was refused",
    "a savepoint was taken",
    "a writer learned that a part of its epoch was thrown away",
    "a writer went on with a fresh identity",
    "an attempt was fenced",
    "an attempt was started while another one was alive",
    "an entry was created in a gap that pruning left",
    "the job halted: the target threw away what an entry lists",
    "the target threw away what was open for too long",
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number and is {text:?}")))
}

/// Runs seeds on all cores: each seed on one thread, its world its own.
fn run(seeds: std::ops::Range<u64>) -> Result<(Hits, [u64; 3]), Found> {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let sum = Mutex::new((Hits::default(), [0; 3]));
    let found: Mutex<Option<Found>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    // A panic in the code under test must name its seed, too.
                    let guard = Named(seed);
                    let outcome = simulate(seed, None, false);
                    std::mem::forget(guard);
                    match outcome {
                        Ok(report) => {
                            let mut sum = sum.lock().unwrap();
                            sum.0.add(&report.hits);
                            sum.1[0] += report.attempts as u64;
                            sum.1[1] += report.visible as u64;
                            sum.1[2] += report.ms;
                        }
                        Err(wrong) => {
                            stop.store(true, Ordering::Relaxed);
                            found.lock().unwrap().get_or_insert(wrong);
                        }
                    }
                }
            });
        }
    });
    match found.into_inner().unwrap() {
        Some(found) => Err(found),
        None => Ok(sum.into_inner().unwrap()),
    }
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        println!("seed {} panicked; replay it with TIDELOCK_SEED={}", self.0, self.0);
    }
}

#[test]
fn every_record_becomes_visible_once_whatever_a_seed_does() {
    if let Some(seed) = number("TIDELOCK_SEED") {
        // What happens is printed also where it panics.
        let report = simulate(seed, None, true).unwrap_or_else(|found| panic!("{found}"));
        println!(
            "{}\nseed {seed}: {} attempts, {} ms, all is right",
            report.hits, report.attempts, report.ms
        );
        return;
    }
    let seeds = number("TIDELOCK_SEEDS").unwrap_or(SEEDS);
    println!("seeds 0 to {}", seeds.saturating_sub(1));
    let began = Instant::now();
    let (hits, [attempts, visible, ms]) = run(0..seeds).unwrap_or_else(|found| panic!("{found}"));
    println!("{hits}");
    println!(
        "{seeds} seeds in {:.1} s: {attempts} attempts, {visible} records visible, {} simulated hours",
        began.elapsed().as_secs_f64(),
        ms / 3_600_000
    );
    if seeds >= SEEDS_FOR_HITS {
        let seldom = seldom(&hits);
        assert!(seldom.is_empty(), "hit fewer than {HITS_MIN} times:\n{}", seldom.join("\n"));
    }
}

/// Crash points, with their actions, and states that were hit too seldom to have been tried.
fn seldom(hits: &Hits) -> Vec<String> {
    let mut seldom = Vec::new();
    for point in Point::ALL {
        let mut wanted = vec!["crash before", "crash after", "pause before", "pause after"];
        if point.kind() != Kind::Link {
            wanted.extend(["request lost", "reply lost", "late"]);
        }
        for action in wanted {
            let count = hits.of(*point, action);
            if count < HITS_MIN {
                seldom.push(format!("{point:?}, {action}: {count}"));
            }
        }
    }
    for state in STATES {
        let count = hits.states.get(state).copied().unwrap_or(0);
        if count < HITS_MIN {
            seldom.push(format!("{state}: {count}"));
        }
    }
    seldom
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    for seed in 0..20 {
        let (once, again) = (simulate(seed, None, false), simulate(seed, None, false));
        assert_eq!(once, again, "seed {seed}");
    }
    let traces: Vec<_> = (0..5).map(|seed| simulate(seed, None, false).map(|report| report.trace)).collect();
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]), "other seeds take other steps");
}
