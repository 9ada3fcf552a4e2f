//! Killed with signal 9, again and again.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tidelock::Position;
use tidelock_containers::{GatewayOptions, HbaseServer};
use tidelock_hbase::Mode;
use tidelock_processes::{Defect, Moment, Process, count, is_soak, seed};

use crate::world::{LINES_OF_A_KILL, World};

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

/// Kills a job when an entry is durable that lists what the table has not: its gateway is frozen before. What it was asked for by then is
/// done when it wakes up, after the death of who asked. Returns what is wrong in the end.
async fn killed_between_durable_and_committed(defect: Option<Defect>) -> Vec<String> {
    let server = HbaseServer::shared().await.unwrap();
    let gateway = server.another_gateway(GatewayOptions::default()).await.unwrap();
    let mut world = World::new(server, Mode::Ledger, 100, LINES_OF_A_KILL).await;
    world.task.sink.hbase.gateways = vec![gateway.address()];
    world.task.defect = defect;
    let log = world.log().await;
    let mut process = world.start();
    log.wait_for_attempt(&mut process, Position(0)).await;
    log.wait_for_entry(&mut process, 5).await;
    gateway.pause().await.unwrap();
    let frozen = log.position().await;
    let is_listed = async |_: &Process| log.position().await > frozen && !log.listed().await.is_empty();
    process.wait_until("an entry lists what cannot be committed", is_listed).await;
    process.kill();
    gateway.unpause().await.unwrap();
    world.finish().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn what_is_durable_and_not_committed_when_the_job_dies_is_applied_by_the_next_attempt() {
    let wrong = killed_between_durable_and_committed(None).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The tests above must find out what is broken.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_forgets_what_is_pending_is_found_out() {
    assert!(!killed_between_durable_and_committed(Some(Defect::ForgetsPending)).await.is_empty());
}
