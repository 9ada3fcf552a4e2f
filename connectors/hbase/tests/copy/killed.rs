//! Killed with signal 9, again and again.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tidelock_containers::HbaseServer;
use tidelock_hbase::Mode;
use tidelock_processes::{Defect, Moment, Process, count, is_soak, seed};

use crate::world::World;

/// How many lines of a file may be copied between two kills, more than there is time for.
const LINES_OF_A_KILL: u64 = 600;

async fn killed_again_and_again(mode: Mode, interval_ms: u64, kills: usize) {
    let name = format!("killed, {mode:?}, {interval_ms} ms");
    let mut random = StdRng::seed_from_u64(seed(&name));
    let server = HbaseServer::shared().await.unwrap();
    let world = World::new(server, mode, interval_ms, LINES_OF_A_KILL * kills as u64).await;
    let log = world.log().await;
    let mut found_pending = false;
    for kill in 0..kills * 3 {
        let moment = if kill < kills {
            Moment::choose(&mut random, Duration::from_millis(interval_ms))
        } else {
            Moment::AtEntry
        };
        if kill >= kills && (found_pending || mode == Mode::Upsert) {
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
    println!("{name}: {kills} kills; {recoveries:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(recoveries.attempts > kills / 2, "too few kills found it at work: {recoveries:?}");
    assert!(mode == Mode::Upsert || recoveries.with_pending > 0, "nothing was pending: {recoveries:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_at_10_ms_in_the_mode_upsert_leaves_every_cell_as_it_must_be() {
    killed_again_and_again(Mode::Upsert, 10, count(8, 100)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn kill_9_at_100_ms_in_the_mode_upsert_leaves_every_cell_as_it_must_be() {
    if is_soak() {
        killed_again_and_again(Mode::Upsert, 100, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn kill_9_at_10_ms_in_the_mode_ledger_leaves_every_cell_as_it_must_be() {
    if is_soak() {
        killed_again_and_again(Mode::Ledger, 10, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_at_100_ms_in_the_mode_ledger_leaves_every_cell_as_it_must_be() {
    killed_again_and_again(Mode::Ledger, 100, count(8, 100)).await;
}

/// The tests above must find out what is broken.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_forgets_what_is_pending_is_found_out() {
    const KILLS: usize = 8;
    let server = HbaseServer::shared().await.unwrap();
    let mut world = World::new(server, Mode::Ledger, 10, LINES_OF_A_KILL * KILLS as u64).await;
    world.task.defect = Some(Defect::ForgetsPending);
    let log = world.log().await;
    for _ in 0..KILLS {
        let before = log.position().await;
        let mut process = world.start();
        log.wait_for_attempt(&mut process, before).await;
        log.wait_for_entry(&mut process, 5).await;
        process.kill();
        if !log.listed().await.is_empty() {
            break;
        }
    }
    let wrong = world.finish().await;
    assert!(!wrong.is_empty(), "it forgot nothing: {:?}", log.recoveries().await);
}
