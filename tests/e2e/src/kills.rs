//! A program that is killed on its way, again and again.

use std::time::Duration;

use flights::answer::Row;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::World;

/// On a machine so busy that January is over before, kills are fewer.
const KILLS: u64 = 4;
/// How long an attempt may take to get there; then it is killed all the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills the program at random moments, and then lets it end. Rows go where the options say. Returns the epochs from which
/// it was restored.
pub fn killed_again_and_again(
    world: &World,
    expected: &[Row],
    random: &mut StdRng,
    checkpoints: &str,
    options: &[&str],
) -> Vec<Option<u64>> {
    let input: u64 = expected.iter().map(|row| row.flights.unsigned_abs()).sum();
    let (mut read, mut epochs) = (0, Vec::new());
    for kill in 0..KILLS {
        let mut job = world.start_elsewhere(checkpoints, options);
        // A random share of what this attempt may read without leaving too little for the others.
        let share = input.saturating_sub(read) / (KILLS - kill + 1);
        let until = random.random_range(0..=share);
        for _ in 0..PATIENCE.as_millis() {
            if !job.is_running() || (job.checkpoints() > 0 && job.flights() >= until) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        if !job.is_running() {
            break;
        }
        epochs.push(job.restored_epoch());
        read += job.kill();
    }
    let mut last = world.start_elsewhere(checkpoints, options);
    let ended = last.ended();
    ended.assert_success();
    epochs.push(last.restored_epoch());
    println!("{} flights of {input} read, restored epochs {epochs:?}", read + ended.flights);
    epochs
}
