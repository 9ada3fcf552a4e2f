//! Jobs with something broken in them: what the tests demand must not hold for them.

use tidelock_containers::{Database, SqlServer};
use tidelock_processes::{Defect, Fate, Process, Side};
use tidelock_sql::Mode;

use crate::MODES;
use crate::checker::Sight;
use crate::held::Held;
use crate::reader::Reader;
use crate::wire::Point;
use crate::world::World;

/// The answer that let its entry pass may have been on its way when the holding began.
const TRIES_MAX: usize = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_forgets_what_is_pending_is_found_out() {
    for mode in MODES {
        let server = SqlServer::shared(Database::Postgres).await.unwrap();
        let held = Held::new(server, mode).await;
        let mut process = held.world.start_broken(Defect::ForgetsPending);
        held.world.wait_for_rows(&mut process, 1).await;
        held.stop_between_durable_and_committed(&mut process).await;
        process.kill();
        held.release(held.commit(), Fate::Lost);
        let mut next = held.world.start_broken(Defect::ForgetsPending);
        next.wait_until("it is found out", async |_: &Process| !held.world.reader.wrong().is_empty()).await;
        assert!(held.world.reader.wrong()[0].starts_with("lost"), "{:?}", held.world.reader.wrong());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_commits_before_the_entry_is_durable_is_found_out() {
    let server = SqlServer::shared(Database::Postgres).await.unwrap();
    let held = Held::new(server, Mode::Prepared).await;
    let before = held.world.log().await.position().await;
    for _ in 0..TRIES_MAX {
        let mut process = held.world.start_broken(Defect::CommitsBeforeDurable);
        held.world.log().await.wait_for_attempt(&mut process, before).await;
        // Committed when prepared, and held up between that and its entry: killed, it is written again.
        held.hold(Point::CommitPrepared, Side::Answers);
        let uncovered = async |_: &Process| {
            let covered = crate::world::read_up_to(&held.world.log().await.splits().await);
            held.is_held(Point::CommitPrepared) && held.world.reader.newest() > covered
        };
        process.wait_until("rows are visible that no entry covers", uncovered).await;
        process.kill();
        held.release(Point::CommitPrepared, Fate::Lost);
        let mut next = held.world.start_broken(Defect::CommitsBeforeDurable);
        let end = held.world.reader.newest() + 500;
        let found =
            async |_: &Process| !held.world.reader.wrong().is_empty() || held.world.reader.newest() > end;
        next.wait_until("it is found out, or went on", found).await;
        next.kill();
        // The reader has passed them: the whole table has them twice.
        if held.world.copies("copied").await.contains(&2) {
            return;
        }
    }
    panic!("not found out in {TRIES_MAX} tries");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_leaves_what_older_attempts_prepared_is_found_out() {
    let server = SqlServer::shared(Database::Postgres).await.unwrap();
    let held = Held::new(server, Mode::Prepared).await;
    let mut process = held.world.start_at_work().await;
    let unlisted = held.stop_between_prepared_and_durable(&mut process).await;
    process.kill();
    held.release(Point::Prepare, Fate::Lost);
    let before = held.world.log().await.position().await;
    let mut next = held.world.start_broken(Defect::NeverSweeps);
    held.world.log().await.wait_for_attempt(&mut next, before).await;
    let prepared = held.world.place.prepared().await;
    assert!(unlisted.iter().all(|name| prepared.contains(name)), "{unlisted:?} in {prepared:?}");
}

/// The reader that looks for parts of epochs sees those of the mode that shows them, where there are two writers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn parts_of_an_epoch_are_found_out() {
    let server = SqlServer::shared(Database::Postgres).await.unwrap();
    let world = World::new(server, Mode::Prepared, 2).await;
    world.input().at_once(200);
    let reader = Reader::start(world.place.again(), &world.task.job, Sight::OneWriter);
    let mut process = world.start();
    process.wait_until("a part is seen", async |_: &Process| !reader.wrong().is_empty()).await;
    assert!(reader.wrong()[0].starts_with("lost"), "{:?}", reader.wrong());
    world.reader.assert_right();
}
