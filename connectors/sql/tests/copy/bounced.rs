//! Servers killed, stopped, paused, and without connections, and the job with them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tidelock::Position;
use tidelock_containers::{Database, SqlOptions, SqlServer};
use tidelock_processes::{Process, count, is_soak, seed};
use tidelock_sql::Mode;

use crate::world::World;
use crate::{MODES, databases, pairs};

/// How long a server is paused.
const PAUSE: Duration = Duration::from_secs(20);

/// So many more rows prove that the job goes on.
const MORE: u64 = 300;

#[derive(Debug, Clone, Copy)]
enum Bounce {
    ServerKilled,
    ServerStopped,
    JobKilled,
    JobStopped,
    BothKilled,
}

const BOUNCES: [Bounce; 5] =
    [Bounce::ServerKilled, Bounce::ServerStopped, Bounce::JobKilled, Bounce::JobStopped, Bounce::BothKilled];

/// Waits until it is at work: the reader may have to catch up, and takes what it sees then for this one's.
async fn start(world: &World) -> Process {
    let before = world.log().await.position().await;
    let mut process = world.start();
    world.recovered(&mut process, before).await;
    process
}

async fn bounce(server: &SqlServer, world: &World, how: Bounce, mut process: Process) -> Process {
    match how {
        Bounce::ServerKilled => {
            server.kill().await.unwrap();
            server.start_again().await.unwrap();
        }
        Bounce::ServerStopped => {
            server.stop().await.unwrap();
            server.start_again().await.unwrap();
        }
        Bounce::JobKilled => {
            process.kill();
            process = start(world).await;
        }
        Bounce::JobStopped => {
            process.stop().await.assert_success();
            process = start(world).await;
        }
        Bounce::BothKilled => {
            server.kill().await.unwrap();
            process.kill();
            server.start_again().await.unwrap();
            process = start(world).await;
        }
    }
    world.wait_for_rows(&mut process, MORE).await;
    println!("{how:?}: went on");
    process
}

async fn bounced(database: Database, mode: Mode) {
    let name = format!("bounced, {database:?}, {mode:?}");
    let mut random = StdRng::seed_from_u64(seed(&name));
    let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
    let mut world = World::new(&server, mode, 2).await;
    let mut process = world.start_at_work().await;
    for _ in 0..count(1, 5) {
        let mut order = BOUNCES;
        order.shuffle(&mut random);
        for how in order {
            process = Box::pin(bounce(&server, &world, how, process)).await;
        }
    }
    world.finish(process).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn server_and_job_killed_and_stopped_in_turn_lose_and_double_nothing() {
    for database in databases() {
        for mode in MODES {
            // `prepared` has a job in `tests/prepared` whose servers are killed.
            if mode == Mode::Ledger || is_soak() {
                Box::pin(bounced(database, mode)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_server_that_is_paused_for_20_s_under_load_loses_and_doubles_nothing() {
    for database in databases() {
        for mode in MODES {
            // `prepared` has a job in `tests/prepared` whose servers are paused.
            if !is_soak() && (mode == Mode::Prepared || database != Database::Postgres) {
                continue;
            }
            let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
            let mut world = World::new(&server, mode, 2).await;
            let mut process = world.start_at_work().await;
            for _ in 0..count(1, 4) {
                world.wait_for_rows(&mut process, MORE).await;
                server.pause().await.unwrap();
                tokio::time::sleep(PAUSE).await;
                server.unpause().await.unwrap();
            }
            world.wait_for_rows(&mut process, MORE).await;
            world.finish(process).await;
        }
    }
}

/// As when a proxy in front of the servers fails over: all at once, and again before the job has recovered.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    let mut random = StdRng::seed_from_u64(seed("cut"));
    for (database, mode) in pairs(Mode::Prepared) {
        let server = SqlServer::shared(database).await.unwrap();
        let mut world = World::new(server, mode, 2).await;
        let mut process = world.start_at_work().await;
        for cut in 0..count(20, 300) {
            world.place.end_connections().await;
            tokio::time::sleep(random.random_range(Duration::ZERO..Duration::from_millis(150))).await;
            world.reader.assert_right();
            assert!(process.is_running(), "{}", process.errors());
            if cut % 10 == 9 {
                world.wait_for_rows(&mut process, 1).await;
            }
        }
        world.wait_for_rows(&mut process, MORE).await;
        println!("{database:?}, {mode:?}");
        world.finish(process).await;
    }
}

/// Read from and written to at once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_scan_ends_exact_although_the_server_that_it_reads_and_writes_is_killed() {
    const ROWS: u64 = 40_000;
    for (database, mode) in pairs(Mode::Prepared) {
        let server = SqlServer::start(SqlOptions::new(database)).await.unwrap();
        let mut world = World::of_a_scan(&server, mode, ROWS).await;
        let process = world.start();
        let log = world.log().await;
        for kill in 1..=count(2, 8) as u64 {
            let end = Position(kill * 8);
            // It may have ended by itself.
            world
                .wait_until("some entries", async || log.position().await >= end || log.is_closed().await)
                .await;
            server.kill().await.unwrap();
            server.start_again().await.unwrap();
        }
        process.ended().await.assert_success();
        println!("{database:?}, {mode:?}: {:?}", log.recoveries().await);
        world.compare(ROWS).await;
    }
}
