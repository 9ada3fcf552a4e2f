//! Any trouble at any time, while shards are split and merged and attempts begin anew.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock_processes::{count, seed};
use tokio::time::sleep;

use crate::drive::Job;
use crate::world::World;

async fn anything_may_happen(seed: u64) {
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::with_shards(random.random_range(1..4)).await;
    {
        let mut script = world.shim.script();
        script.random = StdRng::seed_from_u64(random.random());
        script.chance = random.random_range(0.1..0.7);
        script.event_records = random.random_range(1..20);
        script.names_children = random.random();
        script.ends_apart = random.random();
        script.life = Duration::from_millis(random.random_range(20..300));
    }
    let source = world
        .source(|config| {
            let fan_out = World::fan_out().with_times_ms(random.random_range(30..300), 25, 50);
            config.fan_out = Some(fan_out);
            config.fan_out.as_mut().unwrap().idle_timeout_ms = 100;
        })
        .await;
    let mut job = Job::default();
    for _ in 0..random.random_range(2..6) {
        let before = world.total();
        let (keys, records) = (random.random_range(1..8), random.random_range(1..20));
        world.put(keys, records).await;
        let total = world.total();
        let stop = random.random_range(before..=total);
        let (reading, reshard) = (job.read_until(&source, stop), random.random_range(0..4));
        let resharding = async {
            sleep(Duration::from_millis(random.random_range(0..60))).await;
            match reshard {
                0 => world.split_all().await,
                1 => world.merge_all().await,
                _ => {}
            }
        };
        tokio::join!(async { reading.await.unwrap() }, resharding);
        if random.random() {
            job = job.stored();
        }
    }
    job.read_until(&source, world.total()).await.unwrap();
    world.check(&job.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_everything_is_read_once_and_in_order() {
    let first = seed("fan-out at random");
    for at in 0..count(6, 300) {
        anything_may_happen(first.wrapping_add(at as u64)).await;
    }
}
