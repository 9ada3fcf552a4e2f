//! Killed with signal 9, again and again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock::Position;
use tidelock_processes::{Defect, Moment, Process, count, seed};
use tidelock_testkit::Fault;

use crate::world::{LINES_OF_A_KILL, World};

/// Rarely enough that the job goes on.
fn faults() -> Vec<(Fault, f64)> {
    [Fault::Cut, Fault::Lost, Fault::Doubled, Fault::Late(2), Fault::Late(30)]
        .map(|fault| (fault, 0.01))
        .to_vec()
}

async fn killed_again_and_again(interval_ms: u64, kills: usize) {
    let name = format!("killed, {interval_ms} ms");
    let mut random = StdRng::seed_from_u64(seed(&name));
    let world = World::new(interval_ms, LINES_OF_A_KILL * kills as u64).await;
    world.faults.random(random.random(), faults());
    let log = world.log().await;
    let mut found_pending = false;
    for kill in 0..kills * 3 {
        let moment = if kill < kills {
            Moment::choose(&mut random, Duration::from_millis(interval_ms))
        } else {
            Moment::AtEntry
        };
        if kill >= kills && found_pending {
            break;
        }
        let before = log.position().await;
        let mut process = world.start();
        let records = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        moment.wait_for(&log, &mut process, before, records).await;
        process.kill();
        found_pending |= !log.listed().await.is_empty();
    }
    assert!(!log.is_closed().await, "the input is long enough for kills");
    let wrong = world.finish().await;
    let recoveries = log.recoveries().await;
    println!("{name}: {kills} kills, {} faults; {recoveries:?}", world.faults.count());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(recoveries.with_pending > 0, "nothing was pending: {recoveries:?}");
    assert!(world.ledger_items().await <= 9, "the ledger does not grow");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_10_ms_leaves_every_count_exact() {
    killed_again_and_again(10, count(6, 100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_100_ms_leaves_every_count_exact() {
    killed_again_and_again(100, count(3, 100)).await;
}

/// Kills a job when an entry is durable that lists what the table has not: its requests meet this fault. Returns what is wrong in the end.
async fn killed_between_durable_and_committed(fault: &Fault, defect: Option<Defect>) -> Vec<String> {
    let mut world = World::new(100, LINES_OF_A_KILL).await;
    world.task.defect = defect;
    let log = world.log().await;
    let mut process = world.start();
    log.wait_for_attempt(&mut process, Position(0)).await;
    log.wait_for_entry(&mut process, 5).await;
    world.faults.plan(fault, 10_000);
    let held = log.position().await;
    let is_listed = async |_: &Process| log.position().await > held && !log.listed().await.is_empty();
    process.wait_until("an entry lists what cannot be committed", is_listed).await;
    process.kill();
    world.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_and_not_committed_when_the_job_dies_is_applied_by_the_next_attempt() {
    // What is late arrives after the death of who asked, and while the next attempt takes over.
    for fault in [Fault::Cut, Fault::Lost, Fault::Late(4)] {
        let wrong = killed_between_durable_and_committed(&fault, None).await;
        assert!(wrong.is_empty(), "{fault:?}: {wrong:#?}");
    }
}

/// The tests above must find out what is broken.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_forgets_what_is_pending_is_found_out() {
    assert!(
        !killed_between_durable_and_committed(&Fault::Cut, Some(Defect::ForgetsPending)).await.is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_again_and_again_is_waited_for_and_every_count_is_exact() {
    let mut random = StdRng::seed_from_u64(seed("the server is killed"));
    let kills = count(4, 40);
    let mut world = World::new(20, 200 * kills as u64).await;
    let log = world.log().await;
    let mut process = world.start();
    log.wait_for_attempt(&mut process, Position(0)).await;
    for _ in 0..kills {
        log.wait_for_entry(&mut process, random.random_range(2..6)).await;
        world.server.kill();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        world.server.start_again();
    }
    process.kill();
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
