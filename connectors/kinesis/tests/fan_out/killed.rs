//! A job that is killed with signal 9.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock_kinesis::FanOutConfig;
use tidelock_processes::{Moment, Pace, Process, count, seed};

use crate::job;
use crate::world::World;

/// A shard is split, or all are merged two by two.
async fn change(world: &World, random: &mut StdRng) {
    let open = world.stream.open_shards().await;
    if open.len() < 4 {
        world.stream.split(&open[random.random_range(0..open.len())]).await;
    } else {
        world.merge_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_in_a_storm_of_splits_and_merges_loses_nothing_and_keeps_the_order() {
    let mut random = StdRng::seed_from_u64(seed("fan-out, killed in a storm"));
    let mut world = World::with_shards(2).await;
    let mut job = job::World::new(world.shim.config(), &world.stream.name);
    job.fan_out(FanOutConfig::new("reader"));
    let log = job.log().await;
    let kills = count(6, 60);
    for _ in 0..kills {
        let moment = Moment::choose(&mut random, Duration::from_millis(20));
        let before = log.position().await;
        world.shim.script().names_children = random.random();
        let mut process = job.start();
        let raging = async {
            for _ in 0..3 {
                world.put(9, 5).await;
                change(&world, &mut random).await;
                world.put(9, 5).await;
            }
        };
        let entries = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        tokio::join!(raging, moment.wait_for(&log, &mut process, before, entries));
        process.kill();
    }
    job.pace(Pace::full());
    let mut process = job.start();
    job.sees(&mut process, world.total()).await;
    job.stop(process).await;
    job.check(&world.put);
    let subscriptions = world.shim.script().asked.len();
    println!("{kills} kills, {subscriptions} subscriptions, {:?}", log.recoveries().await);
}
