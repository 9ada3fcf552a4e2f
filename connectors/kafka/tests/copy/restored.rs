//! Restored by choice: under other numbers of workers, rolled back, forked; and ended, and started again.

use rustix::process::Signal;
use tidelock_containers::Kafka;
use tidelock_processes::Process;

use crate::evidence::positions_of;
use crate::reader::{Checker, Reader};
use crate::support;
use crate::world::World;

const PARTITIONS: i32 = 4;

/// Records of each partition that prove that a job works.
const SOME: u64 = 500;

async fn world() -> World {
    World::new(&Kafka::shared().await.expect("a broker").brokers(), PARTITIONS).await
}

/// Takes a savepoint while the job runs, and waits until it and more is visible. Returns where it stands.
async fn savepoint(world: &World, process: &mut Process, place: &str) -> Vec<u64> {
    process.signal(Signal::USR1);
    process.wait_until("a savepoint is taken", async |process| process.said().contains("savepoint of")).await;
    let positions = positions_of(place).await;
    let passed = async |_: &Process| {
        world.reader().assert_right();
        world.reader().next().iter().zip(&positions).all(|(next, position)| *next > position + SOME)
    };
    process.wait_until("records behind the savepoint are visible", passed).await;
    positions
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn one_worker_then_three_then_two_lose_and_double_nothing() {
    let mut world = world().await;
    let savepoint = world.place("savepoint");
    let mut one = world.start(&["--workers", "1", "--savepoint", &savepoint]);
    world.wait_for_records(&mut one, SOME).await;
    one.stop().await.assert_success();
    let mut three = world.start(&["--workers", "3", "--from-savepoint", &savepoint]);
    world.wait_for_records(&mut three, SOME).await;
    three.kill();
    let mut two = world.start(&["--workers", "2"]);
    world.wait_for_records(&mut two, SOME).await;
    world.finish(two).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_rollback_replays_exactly_what_came_after_its_savepoint_and_only_once() {
    let mut world = world().await;
    let place = world.place("savepoint");
    let mut process = world.start(&["--savepoint", &place]);
    world.wait_for_records(&mut process, SOME).await;
    let positions = savepoint(&world, &mut process, &place).await;
    process.kill();

    world.reader().checker().expect_replay(&positions);
    let options = ["--from-savepoint", &place];
    let mut process = world.start(&options);
    world.wait_for_replay(&mut process).await;
    world.wait_for_records(&mut process, SOME).await;
    process.kill();
    // A supervisor that repeats its arguments: the request was obeyed.
    let mut process = world.start(&options);
    world.wait_for_records(&mut process, SOME).await;
    let mut whole = Checker::new(PARTITIONS);
    whole.expect_replay(&positions);
    world.finish_as(process, whole).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn two_forks_of_one_savepoint_go_on_from_it_and_the_first_job_is_not_disturbed() {
    let mut world = world().await;
    let place = world.place("savepoint");
    let mut first = world.start(&["--savepoint", &place]);
    world.wait_for_records(&mut first, SOME).await;
    let positions = savepoint(&world, &mut first, &place).await;
    let mut forks = Vec::new();
    for name in ["fork-a", "fork-b"] {
        let to = support::fresh_topic(world.brokers(), PARTITIONS).await;
        let reader = Reader::start(world.brokers(), &to, Checker::from_positions(positions.clone()));
        let (job, checkpoints) = (support::fresh(name), world.place(name));
        let options =
            ["--job-id", &job, "--checkpoints", &checkpoints, "--to", &to, "--from-savepoint", &place];
        forks.push((world.start(&options), reader));
    }
    world.wait_for_records(&mut first, SOME).await;
    for (process, reader) in &mut forks {
        let wish = async |_: &Process| {
            reader.assert_right();
            reader.next().iter().zip(&positions).all(|(next, position)| *next > position + SOME)
        };
        process.wait_until("a fork works", wish).await;
    }
    world.finish(first).await;
    for (mut process, reader) in forks {
        let fed = world.fed();
        process.wait_until("a fork has all", async |_| reader.checker().is_at(fed)).await;
        process.stop().await.assert_success();
        reader.assert_right();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_bounded_job_ends_by_itself_and_has_nothing_to_do_when_it_is_started_again() {
    let mut world = world().await;
    let fed = world.stop_feeding();
    for said in ["finished: ", "nothing to do: "] {
        let ended = world.start(&["--stop-at-end", ""]).ended().await;
        ended.assert_success();
        assert!(ended.said.contains(said), "{}", ended.said);
    }
    world.wait_until("all is visible", async || world.reader().checker().is_at(fed)).await;
    world.reader().assert_right();
}
