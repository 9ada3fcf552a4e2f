//! Killed with signal 9, again and again.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tidelock_containers::Kafka;
use tidelock_kafka::Verdict;
use tidelock_processes::{Defect, Moment, count, seed};

use crate::world::World;

/// A double must be found out within so many kills.
const KILLS_OF_A_DOUBLE: usize = 20;

/// Kills the job at random moments, so often; and then as entries show, until a tenth of that left an open
/// transaction that the log lists. Returns how many kills did.
pub(crate) async fn kill(world: &World, random: &mut StdRng, kills: usize, interval: Duration) -> usize {
    let (log, transactions) = (world.log().await, world.transactions().await);
    let mut with_open = 0;
    for kill in 0..kills * 3 {
        let moment = if kill < kills { Moment::choose(random, interval) } else { Moment::AtEntry };
        if kill >= kills && with_open >= kills.div_ceil(10) {
            break;
        }
        let before = log.position().await;
        let mut process = world.start(&[]);
        let records = async |process: &mut _| world.wait_for_records(process, 1).await;
        moment.wait_for(&log, &mut process, before, records).await;
        process.kill();
        with_open += usize::from(!log.pending_that_are(Verdict::Open, &transactions).await.is_empty());
        world.reader().assert_right();
    }
    with_open
}

async fn killed_again_and_again(name: &str, interval: &str) {
    let mut random = StdRng::seed_from_u64(seed(name));
    let kills = count(25, 200);
    let kafka = Kafka::shared().await.expect("a broker");
    let mut world = World::new(&kafka.brokers(), 2).await.with_option("--interval", interval);
    let time = humantime::parse_duration(interval).expect("a duration");
    let with_open = kill(&world, &mut random, kills, time).await;
    let last = world.start(&[]);
    world.finish(last).await;
    let recoveries = world.log().await.recoveries().await;
    println!(
        "{name}: {kills} kills at an interval of {interval}, after {with_open} of them a listed transaction was \
         open; {recoveries:?}"
    );
    assert!(
        recoveries.with_pending >= kills / 10,
        "too few restarts had to commit something: {recoveries:?}"
    );
    assert!(with_open >= kills / 10, "too few kills left an open transaction that is listed: {with_open}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_at_random_moments_at_an_interval_of_10_ms_loses_and_doubles_nothing() {
    killed_again_and_again("killed, 10 ms", "10ms").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_at_random_moments_at_an_interval_of_100_ms_loses_and_doubles_nothing() {
    killed_again_and_again("killed, 100 ms", "100ms").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_forgets_what_is_pending_is_found_out_by_kills() {
    let kafka = Kafka::shared().await.expect("a broker");
    let world = World::new(&kafka.brokers(), 1).await;
    let log = world.log().await;
    for kill in 1..=KILLS_OF_A_DOUBLE {
        let before = log.position().await;
        let mut process = world.start_broken(Defect::ForgetsPending);
        world.wait_for_attempt(&mut process, before).await;
        world.wait_for_entry(&mut process, 10).await;
        process.kill();
        if let Some(wrong) = world.wrong().first() {
            println!("found out after {kill} kills: {wrong}");
            assert!(wrong.starts_with("lost"), "{wrong}");
            return;
        }
    }
    panic!("not found out by {KILLS_OF_A_DOUBLE} kills");
}
