//! Killed with signal 9, again and again, and paused while another one goes on.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tidelock::Position;
use tidelock_dynamodb::Mode;
use tidelock_processes::{Moment, Pace, Process, count, seed};

use crate::world::{LINES_OF_A_KILL, World};

async fn killed_again_and_again(mode: Mode, interval_ms: u64, kills: usize) {
    let name = format!("killed, {mode:?}, {interval_ms} ms");
    let mut random = StdRng::seed_from_u64(seed(&name));
    let world = World::new(mode, interval_ms, LINES_OF_A_KILL * kills as u64).await;
    let log = world.log().await;
    for _ in 0..kills {
        let before = log.position().await;
        let mut process = world.start();
        let moment = Moment::choose(&mut random, Duration::from_millis(interval_ms));
        let records = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        moment.wait_for(&log, &mut process, before, records).await;
        process.kill();
    }
    assert!(!log.is_closed().await, "the input is long enough for kills");
    let wrong = world.finish().await;
    let recoveries = log.recoveries().await;
    println!("{name}: {kills} kills; {recoveries:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_10_ms_in_the_mode_versioned_leaves_every_item_as_it_must_be() {
    killed_again_and_again(Mode::Versioned, 10, count(8, 100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_100_ms_in_the_mode_batched_leaves_every_item_as_it_must_be() {
    killed_again_and_again(Mode::Batched, 100, count(6, 100)).await;
}

/// The job goes on by itself: what it is asked again is asked for longer than the server is away.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_again_and_again_and_every_item_is_as_it_must_be() {
    let mut random = StdRng::seed_from_u64(seed("the server is killed"));
    let mut world = World::new(Mode::Versioned, 20, 1_500).await;
    world.task.pace = Pace::even(Duration::from_millis(20));
    let log = world.log().await;
    let mut process = world.start();
    log.wait_for_attempt(&mut process, Position(0)).await;
    for _ in 0..count(4, 50) {
        log.wait_for_entry(&mut process, 3).await;
        world.server.kill();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        world.server.start_again();
    }
    log.wait_for_entry(&mut process, 3).await;
    process.kill();
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// It wakes up in the middle of a batch when all has been copied by others, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_paused_wakes_up_after_another_took_over_and_ends_without_a_change() {
    let mut random = StdRng::seed_from_u64(seed("paused"));
    let world = World::new(Mode::Versioned, 20, LINES_OF_A_KILL).await;
    let log = world.log().await;
    let mut paused = Vec::new();
    for _ in 0..count(3, 30) {
        let before = log.position().await;
        let mut process = world.start();
        log.wait_for_attempt(&mut process, before).await;
        log.wait_for_entry(&mut process, 2).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        process.signal(Signal::STOP);
        paused.push(process);
    }
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    for process in paused {
        process.signal(Signal::CONT);
        process.ended().await.assert_error(1, &[]);
    }
    let wrong = world.wrong().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
