//! Killed with signal 9, again and again, and paused while another one goes on.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tidelock_processes::{Moment, Process, count, seed};

use crate::job::Task;
use crate::world::{LINES_OF_A_KILL, World};

/// Starts a job and kills it, so many times.
async fn killed_again_and_again(world: &World, task: &Task, kills: usize, mut random: StdRng) {
    let log = World::log(task).await;
    for _ in 0..kills {
        let before = log.position().await;
        let mut process = world.start(task);
        let moment = Moment::choose(&mut random, Duration::from_millis(task.interval_ms));
        let records = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        moment.wait_for(&log, &mut process, before, records).await;
        process.kill();
    }
    println!("{}: {kills} kills; {:?}", task.job, log.recoveries().await);
}

/// Shards are split and merged for as long as this goes on.
async fn storm(world: &World, mut random: StdRng) {
    loop {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        world.change_shards(&mut random).await;
    }
}

async fn both_are_killed(name: &str, aggregates: bool, kills: usize) {
    let mut random = StdRng::seed_from_u64(seed(name));
    let world = World::new(LINES_OF_A_KILL * kills as u64, aggregates).await;
    let rngs = [random.random(), random.random(), random.random()].map(StdRng::seed_from_u64);
    let [of_puts, of_reads, of_shards] = rngs;
    let kill_both = async {
        tokio::join!(
            killed_again_and_again(&world, &world.puts, kills, of_puts),
            killed_again_and_again(&world, &world.reads, kills, of_reads),
        );
    };
    tokio::select! {
        () = kill_both => {}
        () = storm(&world, of_shards) => {}
    }
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_writer_and_reader_in_a_storm_of_splits_and_merges_hands_each_record_over_once() {
    both_are_killed("writer and reader are killed", false, count(5, 60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_writer_and_reader_hands_each_record_of_aggregates_over_once() {
    both_are_killed("writer and reader of aggregates are killed", true, count(3, 60)).await;
}

/// They wake up in the middle of an epoch that another one has put, when all has been put and much of it read, and what they put comes to no reader.
#[tokio::test(flavor = "multi_thread")]
async fn writers_that_were_paused_wake_up_after_another_took_over_and_nothing_comes_twice() {
    let mut random = StdRng::seed_from_u64(seed("paused writers"));
    let kills = count(3, 30);
    let world = World::new(LINES_OF_A_KILL * kills as u64, false).await;
    let log = World::log(&world.puts).await;
    let mut paused = Vec::new();
    for _ in 0..kills {
        let before = log.position().await;
        let mut process = world.start(&world.puts);
        log.wait_for_attempt(&mut process, before).await;
        log.wait_for_entry(&mut process, 2).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
        process.signal(Signal::STOP);
        paused.push(process);
        world.change_shards(&mut random).await;
    }
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    for process in paused {
        process.signal(Signal::CONT);
        process.ended().await.assert_error(1, &[]);
    }
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
