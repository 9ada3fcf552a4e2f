//! Two processes of one job: one of them owns it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tidelock::Position;
use tidelock_containers::Kafka;
use tidelock_processes::{count, seed};

use crate::support;
use crate::world::World;

/// The exit code of a process that a newer one fenced.
const FENCED: i32 = 3;

/// A start takes about as long.
const START: Duration = Duration::from_millis(1_000);

/// Records of each partition that prove that a job works.
const SOME: u64 = 500;

/// Entries that the newer one appends while the older one sleeps.
const ENTRIES: u64 = 50;

async fn world() -> World {
    World::new(&Kafka::shared().await.expect("a broker").brokers(), 2).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_older_of_two_processes_is_fenced_awake_or_asleep() {
    let mut world = world().await;
    let mut older = world.start(&[]);
    for sleeps in [false, true] {
        world.wait_for_records(&mut older, SOME).await;
        let log = world.log().await;
        let before = log.position().await;
        if sleeps {
            older.signal(Signal::STOP);
        }
        let mut newer = world.start(&[]);
        world.wait_for_attempt(&mut newer, before).await;
        if sleeps {
            let end = Position(log.position().await.0 + ENTRIES);
            newer.wait_until("fifty entries", async |_| log.position().await >= end).await;
            older.signal(Signal::CONT);
        }
        older.ended().await.assert_error(FENCED, &["Fenced"]);
        world.wait_for_records(&mut newer, SOME).await;
        older = newer;
    }
    world.finish(older).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn of_two_processes_of_which_one_is_slow_to_start_exactly_one_goes_on() {
    let mut random = StdRng::seed_from_u64(seed("slow to start"));
    let mut world = world().await;
    for _ in 0..count(3, 30) {
        let before = world.log().await.position().await;
        let mut slow = world.start(&[]);
        tokio::time::sleep(random.random_range(Duration::ZERO..START)).await;
        slow.signal(Signal::STOP);
        let mut quick = world.start(&[]);
        world.wait_for_attempt(&mut quick, before).await;
        world.wait_for_records(&mut quick, 1).await;
        slow.signal(Signal::CONT);
        // Whichever claims last owns the job; the other one finds out when it appends.
        world.wait_until("one of them is fenced", async || !(slow.is_running() && quick.is_running())).await;
        let (loser, mut owner) = if slow.is_running() { (quick, slow) } else { (slow, quick) };
        loser.ended().await.assert_error(FENCED, &["Fenced"]);
        world.wait_for_records(&mut owner, SOME).await;
        owner.kill();
    }
    let last = world.start(&[]);
    world.finish(last).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn two_processes_that_do_not_share_a_log_are_found_out() {
    let world = world().await;
    let mut first = world.start(&[]);
    world.wait_for_records(&mut first, 1).await;
    let (job, checkpoints) = (support::fresh("other"), world.place("other"));
    let mut second = world.start(&["--job-id", &job, "--checkpoints", &checkpoints]);
    second.wait_until("they are found out", async |_| !world.wrong().is_empty()).await;
    assert!(world.wrong()[0].starts_with("doubled"), "{:?}", world.wrong());
    assert!(first.is_running());
}
