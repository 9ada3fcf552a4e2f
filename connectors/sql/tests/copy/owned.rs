//! Two processes of one job: one of them owns it, also where the other sleeps in the middle of something.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tidelock::Position;
use tidelock_containers::SqlServer;
use tidelock_processes::{Fate, Process, Side, count, seed};
use tidelock_sql::Mode;

use crate::held::Held;
use crate::job::FENCED;
use crate::wire::Point;
use crate::world::World;
use crate::{MODES, databases, pairs};

/// Entries that the newer one appends while the older one sleeps.
const ENTRIES: u64 = 15;

/// Rows that prove that a job works.
const SOME: u64 = 200;

/// Asleep with a transaction open, a process holds up the next one for some seconds, and not for a minute.
const SHORT: &str = "?statement_timeout_ms=2000&idle_max_ms=2000";

async fn entries(world: &World, process: &mut Process) {
    let log = world.log().await;
    let end = Position(log.position().await.0 + ENTRIES);
    process.wait_until("many entries", async |_: &Process| log.position().await >= end).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_older_of_two_processes_is_fenced_awake_or_asleep_at_any_moment() {
    let mut random = StdRng::seed_from_u64(seed("owned"));
    for database in databases() {
        for mode in MODES {
            let server = SqlServer::shared(database).await.unwrap();
            let mut world = World::new(server, mode, 2).await;
            world.task.to += SHORT;
            let mut older = world.start_at_work().await;
            for sleeps in [false, true].into_iter().cycle().take(count(2, 20)) {
                world.wait_for_rows(&mut older, SOME).await;
                let before = world.log().await.position().await;
                if sleeps {
                    tokio::time::sleep(random.random_range(Duration::ZERO..Duration::from_millis(30))).await;
                    older.signal(Signal::STOP);
                }
                let mut newer = world.start();
                world.recovered(&mut newer, before).await;
                if sleeps {
                    entries(&world, &mut newer).await;
                    older.signal(Signal::CONT);
                }
                older.ended().await.assert_error(FENCED, &["Fenced"]);
                world.wait_for_rows(&mut newer, SOME).await;
                older = newer;
            }
            world.finish(older).await;
        }
    }
}

/// Asleep between a statement and its answer, and woken when the newer one is far ahead: what it sent arrives then.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_process_that_wakes_in_the_middle_of_a_prepare_or_a_commit_changes_nothing() {
    for database in databases() {
        for (mode, point, side) in [
            (Mode::Prepared, Point::Prepare, Side::Requests),
            (Mode::Prepared, Point::Prepare, Side::Answers),
            (Mode::Prepared, Point::CommitPrepared, Side::Requests),
            (Mode::Prepared, Point::CommitPrepared, Side::Answers),
            (Mode::Ledger, Point::Commit, Side::Requests),
            (Mode::Ledger, Point::Commit, Side::Answers),
        ] {
            let server = SqlServer::shared(database).await.unwrap();
            let mut held = Held::new(server, mode).await;
            held.world.task.to += SHORT;
            held.direct.to += SHORT;
            let mut older = held.world.start_at_work().await;
            held.hold(point, side);
            older.wait_until("it is held up", async |_: &Process| held.is_held(point)).await;
            older.signal(Signal::STOP);
            let before = held.world.log().await.position().await;
            let mut newer = held.world.start_as(&held.direct);
            held.world.recovered(&mut newer, before).await;
            entries(&held.world, &mut newer).await;
            held.release(point, Fate::Delivered);
            older.signal(Signal::CONT);
            let ended = older.ended().await;
            ended.assert_error(FENCED, &["Fenced"]);
            held.world.wait_for_rows(&mut newer, SOME).await;
            println!("{database:?}, {mode:?}, {point:?}, {side:?}");
            held.world.finish(newer).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn of_two_processes_of_which_one_is_slow_to_start_exactly_one_goes_on() {
    let mut random = StdRng::seed_from_u64(seed("slow to start"));
    for (database, mode) in pairs(Mode::Prepared) {
        let server = SqlServer::shared(database).await.unwrap();
        let mut world = World::new(server, mode, 1).await;
        world.task.to += SHORT;
        for _ in 0..count(1, 10) {
            let before = world.log().await.position().await;
            let mut slow = world.start();
            tokio::time::sleep(random.random_range(Duration::ZERO..Duration::from_millis(500))).await;
            slow.signal(Signal::STOP);
            let mut quick = world.start();
            world.recovered(&mut quick, before).await;
            world.wait_for_rows(&mut quick, 1).await;
            slow.signal(Signal::CONT);
            // Whichever claims last owns the job; the other one finds out when it appends.
            let one = async || !(slow.is_running() && quick.is_running());
            world.wait_until("one of them is fenced", one).await;
            let (loser, mut owner) = if slow.is_running() { (quick, slow) } else { (slow, quick) };
            loser.ended().await.assert_error(FENCED, &["Fenced"]);
            world.wait_for_rows(&mut owner, SOME).await;
            owner.kill();
        }
        let last = world.start_at_work().await;
        world.finish(last).await;
    }
}
