//! Killed with SIGKILL at random moments, again and again: every row is visible once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock_e2e::{Watcher, World, with_seeds};

/// Kills in one life of the job.
const KILLS: u64 = 20;
/// Flights a second: slow enough that all kills fit into January.
const RATE: u64 = 4_500;

/// One after the other: January ends, so what an attempt reads until it may be killed must not be too much.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn killed_again_and_again(world: &World, workers: &str, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let expected = world.expected();
    let input: u64 = expected.iter().map(|row| row.flights.unsigned_abs()).sum();
    let options = ["--interval", "10ms", "--rate", &RATE.to_string(), "--workers", workers];
    let watcher = Watcher::start(world.out());
    let mut read = 0;
    let mut epochs = Vec::new();
    let mut told = None;
    for kill in 0..KILLS {
        let mut job = world.start(&options);
        job.wait_for("a checkpoint", |job| job.checkpoints() > 0);
        let rows = watcher.rows();
        job.wait_for("a row of this attempt is visible", |_| watcher.rows() > rows);
        // A random share of what this attempt may read without leaving too little for the others.
        let share = input.saturating_sub(read) / (KILLS - kill + 1);
        let more = random.random_range(0..=share.saturating_sub(job.flights()));
        let until = job.flights() + more;
        job.wait_for("it read its share", |job| job.flights() >= until);
        std::thread::sleep(Duration::from_micros(random.random_range(0..10_000)));
        assert!(job.restored_epoch() >= told, "{told:?} was told to be complete: {epochs:?}");
        epochs.push(job.restored_epoch());
        told = job.completed_epoch();
        read += job.kill();
    }
    let mut last = world.start(&options);
    let ended = last.ended();
    ended.assert_success();
    assert!(last.restored_epoch() >= told, "{told:?} was told to be complete: {epochs:?}");
    epochs.push(last.restored_epoch());
    read += ended.flights;
    watcher.assert_nothing_changed();
    world.assert_exact();

    // `None` of the first attempt is less than any epoch.
    assert!(epochs.is_sorted_by(|before, after| before < after), "an attempt went back: {epochs:?}");
    let again = read - input;
    println!("{KILLS} kills, {again} flights of {input} read again, restored epochs {epochs:?}");
}

#[test]
fn kill_9_with_one_worker_loses_and_doubles_nothing() {
    let _alone = alone();
    with_seeds(|seed| killed_again_and_again(&World::new(), "1", seed));
}

#[test]
fn kill_9_with_two_workers_loses_and_doubles_nothing() {
    let _alone = alone();
    with_seeds(|seed| killed_again_and_again(&World::with_files(4), "2", seed));
}

#[test]
fn the_program_kills_itself_and_finds_every_row_once() {
    let _alone = alone();
    with_seeds(|seed| {
        let world = World::new();
        let mut crash = world.start(&["--crash", "5", "--seed", &seed.to_string()]);
        crash.ended().assert_success();
        world.assert_exact();
    });
}
