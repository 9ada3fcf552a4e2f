//! A job whose only gateway is away when it is asked to end.

use std::time::Duration;

use rustix::process::Signal;
use tidelock::Position;
use tidelock_containers::{Gateway, GatewayOptions, HbaseServer};
use tidelock_hbase::Mode;
use tidelock_processes::{Process, is_soak};

use crate::world::World;

/// Signals within a second of the first are one wish.
const ANOTHER_WISH: Duration = Duration::from_millis(1_500);

/// Of each file, far more than is copied meanwhile.
const LINES: u64 = 3_000;

/// A job that waits for its gateway, which is gone.
async fn waiting(mode: Mode) -> (World, Gateway, Process) {
    let server = HbaseServer::shared().await.unwrap();
    let gateway = server.another_gateway(GatewayOptions::default()).await.unwrap();
    let mut world = World::new(server, mode, 100, LINES).await;
    world.task.sink.hbase.gateways = vec![gateway.address()];
    let log = world.log().await;
    let mut process = world.start();
    log.wait_for_attempt(&mut process, Position(0)).await;
    log.wait_for_entry(&mut process, 5).await;
    gateway.kill().await.unwrap();
    let is_told = async |process: &Process| process.errors().contains("again and again");
    process.wait_until("it is told", is_told).await;
    (world, gateway, process)
}

/// What was written and what was not: another job goes on from the newest snapshot.
async fn goes_on(world: &World) {
    let wrong = world.finish().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_without_a_gateway_that_is_asked_to_end_stops_with_a_checkpoint_when_there_is_one() {
    let (world, gateway, process) = waiting(Mode::Upsert).await;
    process.signal(Signal::TERM);
    gateway.start().await.unwrap();
    process.ended().await.assert_success();
    assert!(world.log().await.is_closed().await);
    goes_on(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_job_without_a_gateway_that_is_asked_to_end_twice_ends_at_once_and_loses_nothing() {
    let (world, gateway, process) = waiting(Mode::Ledger).await;
    process.signal(Signal::TERM);
    tokio::time::sleep(ANOTHER_WISH).await;
    process.signal(Signal::TERM);
    process.ended().await.assert_error(1, &["it ends as in a crash, and the next start recovers"]);
    gateway.start().await.unwrap();
    goes_on(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn a_job_without_a_gateway_that_is_asked_to_end_ends_with_the_error_after_two_minutes() {
    if !is_soak() {
        return;
    }
    let (world, gateway, process) = waiting(Mode::Upsert).await;
    process.signal(Signal::TERM);
    process.ended().await.assert_error(1, &["tried_for=120s"]);
    gateway.start().await.unwrap();
    goes_on(&world).await;
}
