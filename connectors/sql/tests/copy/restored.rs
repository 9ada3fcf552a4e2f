//! Restored by choice: rolled back, forked, and with other numbers of writers.

use rustix::process::Signal;
use tidelock_containers::SqlServer;
use tidelock_processes::{Process, splits_of};
use tidelock_sql::Mode;

use crate::job::Task;
use crate::world::{World, make_table, read_up_to};
use crate::{MODES, databases, pairs};

/// Rows that prove that a job works.
const SOME: u64 = 300;

/// Takes a savepoint while the job runs, and waits until more is visible. Returns up to which row it has read.
async fn savepoint(world: &World, process: &mut Process, place: &str) -> u64 {
    process.signal(Signal::USR1);
    process.wait_until("a savepoint is taken", async |process| process.said().contains("savepoint of")).await;
    let position = read_up_to(&splits_of(place).await);
    let passed = async |_: &Process| world.reader.newest() > position + SOME;
    process.wait_until("rows behind the savepoint are visible", passed).await;
    position
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_rollback_writes_exactly_what_came_after_its_savepoint_again_and_only_once() {
    for database in databases() {
        for mode in MODES {
            let server = SqlServer::shared(database).await.unwrap();
            let mut world = World::new(server, mode, 2).await;
            let place = world.text("savepoint");
            world.task.savepoint = Some(place.clone());
            let mut process = world.start_at_work().await;
            let position = savepoint(&world, &mut process, &place).await;
            process.kill();
            // From here on rows are there twice, which is right.
            world.reader.stop();
            let seen = world.reader.newest();
            let rolled_back = Task { savepoint: None, start_from: Some(place), ..world.task.clone() };
            // A supervisor that repeats its arguments: the request is obeyed once.
            for _ in 0..2 {
                let before = world.log().await.position().await;
                let mut process = world.start_as(&rolled_back);
                world.recovered(&mut process, before).await;
                let end = world.log().await.position().await.0 + 20;
                let log = world.log().await;
                process.wait_until("it works", async |_: &Process| log.position().await.0 > end).await;
                process.kill();
            }
            let last = world.start_as(&rolled_back);
            world.stop_with_all(last).await;
            let copies = world.copies("copied").await;
            let twice: Vec<u64> =
                (1..).zip(&copies).filter(|(_, count)| **count == 2).map(|(number, _)| number).collect();
            let (first, last) = (twice.first().copied(), twice.last().copied());
            assert_eq!(first, Some(position + 1), "{database:?}, {mode:?}");
            assert!(last >= Some(seen), "{last:?} and {seen}");
            let end = usize::try_from(last.unwrap() - position).unwrap();
            assert_eq!(twice.len(), end, "without gaps");
            assert!(copies.iter().all(|count| [1, 2].contains(count)), "all, and none three times");
            assert_eq!(copies.len() as u64, world.stop_feeding());
            world.place.assert_nothing_is_left().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_fork_goes_on_by_itself_and_the_first_job_is_not_disturbed() {
    for (database, mode) in pairs(Mode::Ledger) {
        let server = SqlServer::shared(database).await.unwrap();
        let mut world = World::new(server, mode, 2).await;
        let place = world.text("savepoint");
        world.task.savepoint = Some(place.clone());
        make_table(&world.place, "forked").await;
        let mut first = world.start_at_work().await;
        let position = savepoint(&world, &mut first, &place).await;
        let task = Task {
            job: "fork".into(),
            checkpoints: world.text("fork"),
            table: "forked".into(),
            workers: 1,
            savepoint: None,
            start_from: Some(place),
            ..world.task.clone()
        };
        // Killed once: it goes on with what is its own.
        let log = tidelock_processes::Evidence::of(&world.path("fork")).await;
        let mut fork = world.start_as(&task);
        let attempt = log.wait_for_attempt(&mut fork, tidelock::Position(0)).await;
        log.wait_for_entry(&mut fork, 10).await;
        fork.kill();
        let mut fork = world.start_as(&task);
        log.wait_for_attempt(&mut fork, attempt).await;
        world.wait_for_rows(&mut first, SOME).await;
        let fed = world.stop_feeding();
        let all = async |_: &Process| {
            let row = &world.place.query("SELECT count(*) FROM forked").await[0];
            row[0].int() >= i128::from(fed - position)
        };
        fork.wait_until("the fork has all", all).await;
        fork.stop().await.assert_success();
        let expected: Vec<u64> = (1..=fed).map(|number| u64::from(number > position)).collect();
        assert_eq!(world.copies("forked").await, expected, "{database:?}, {mode:?}");
        world.finish(first).await;
    }
}
