//! Killed with signal 9, again and again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock_containers::{Database, SqlServer};
use tidelock_processes::{Moment, Process, count, is_soak, seed};
use tidelock_sql::Mode;

use crate::databases;
use crate::world::World;

/// Two writers: where each has transactions of its own, a kill may come between both.
const WRITERS: usize = 2;

/// Some rows of each epoch.
const FEW: u64 = 10;

/// In a soak so many on each database.
fn kills(database: Database) -> usize {
    let in_a_soak = match database {
        Database::Postgres => 100,
        Database::Mariadb => 50,
        Database::Mysql => 20,
    };
    count(8, in_a_soak)
}

/// Kills the job at random moments, so often; and then as entries show, until a tenth of that left something open that the log
/// lists. Returns how many kills did.
async fn kill(world: &World, random: &mut StdRng, kills: usize) -> usize {
    let (log, interval) = (world.log().await, Duration::from_millis(world.task.interval_ms));
    let mut with_open = 0;
    for kill in 0..kills * 3 {
        let moment = if kill < kills { Moment::choose(random, interval) } else { Moment::AtEntry };
        if kill >= kills && with_open >= kills.div_ceil(10) {
            break;
        }
        let before = log.position().await;
        let mut process = world.start();
        let rows = async |process: &mut Process| {
            world.recovered(process, before).await;
            world.wait_for_rows(process, 1).await;
        };
        moment.wait_for(&log, &mut process, before, rows).await;
        process.kill();
        with_open += usize::from(world.listed().await.open > 0);
        world.reader.assert_right();
    }
    with_open
}

/// `at_once` rows come each hundredth of a second.
async fn killed_again_and_again(mode: Mode, interval_ms: u64, at_once: u64) {
    for database in databases() {
        let name = format!("killed, {database:?}, {mode:?}, {interval_ms} ms, {at_once} rows");
        let mut random = StdRng::seed_from_u64(seed(&name));
        let kills = kills(database);
        let server = SqlServer::shared(database).await.unwrap();
        let mut world = World::new(server, mode, WRITERS).await.every(interval_ms);
        world.input().at_once(at_once);
        let with_open = kill(&world, &mut random, kills).await;
        let last = world.start_at_work().await;
        world.finish(last).await;
        let recoveries = world.log().await.recoveries().await;
        println!(
            "{name}: {kills} kills, after {with_open} of them something listed was open; {recoveries:?}"
        );
        assert!(with_open >= kills.div_ceil(10), "too few kills left something open: {with_open}");
        assert!(recoveries.with_pending >= kills.div_ceil(10), "too few had to commit: {recoveries:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_at_10_ms_in_the_mode_ledger_loses_and_doubles_nothing_and_shows_no_part_of_an_epoch() {
    killed_again_and_again(Mode::Ledger, 10, FEW).await;
}

/// Of each epoch a writer has some 1,500 rows, and sends most of them before the barrier.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_while_rows_are_sent_before_their_barrier_loses_and_doubles_nothing() {
    killed_again_and_again(Mode::Ledger, 500, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn kill_9_at_100_ms_in_the_mode_ledger_loses_and_doubles_nothing_and_shows_no_part_of_an_epoch() {
    if is_soak() {
        killed_again_and_again(Mode::Ledger, 100, FEW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn kill_9_at_10_ms_in_the_mode_prepared_loses_and_doubles_nothing_and_leaves_no_lock() {
    if is_soak() {
        killed_again_and_again(Mode::Prepared, 10, FEW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn kill_9_at_100_ms_in_the_mode_prepared_loses_and_doubles_nothing_and_leaves_no_lock() {
    killed_again_and_again(Mode::Prepared, 100, FEW).await;
}

/// Input that ends: the job ends by itself, however often it was killed before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_scan_from_the_server_that_is_written_to_is_exact_however_often_the_job_is_killed() {
    const ROWS: u64 = 40_000;
    let mut random = StdRng::seed_from_u64(seed("scan"));
    for database in databases() {
        let server = SqlServer::shared(database).await.unwrap();
        let mut world = World::of_a_scan(server, Mode::Prepared, ROWS).await;
        let log = world.log().await;
        for _ in 0..count(4, 20) {
            let end = log.position().await.0 + random.random_range(2..10);
            let mut process = world.start();
            // It may have ended by itself, which is as good.
            while process.is_running() && log.position().await.0 < end {
                tokio::task::yield_now().await;
            }
            process.kill();
            world.reader.assert_right();
        }
        world.start().ended().await.assert_success();
        world.compare(ROWS).await;
        let recoveries = log.recoveries().await;
        println!("scan, {database:?}: {recoveries:?}");
        assert!(recoveries.attempts > 1, "no kill came in its middle: {recoveries:?}");
    }
}
