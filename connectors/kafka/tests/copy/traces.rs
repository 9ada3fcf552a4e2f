//! What a job leaves in the cluster: few transactional ids, and nothing that keeps readers waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelock::{Position, TargetName};
use tidelock_containers::Kafka;
use tidelock_kafka::{KafkaSinkConfig, Properties, TransactionState};
use tidelock_processes::{Defect, PATIENCE, Process, count, is_soak};
use tokio::time::Instant;

use crate::world::World;

/// Checkpoints that must not make more ids.
const CHECKPOINTS: u64 = 150;

/// Between two epochs nothing is open: a kill may hit just that.
const TRIES_MAX: usize = 10;

/// How much longer than the restart takes readers may wait, in a soak on a quiet machine.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The transactional ids of the world's job, by writer and attempt, and those of them that are open.
async fn ids(world: &World) -> (BTreeMap<TargetName, BTreeSet<String>>, Vec<TargetName>) {
    let (mut ids, mut open) = (BTreeMap::<_, BTreeSet<_>>::new(), Vec::new());
    for listed in world.transactions().await.list().await.expect("a list") {
        let id = listed.transactional_id;
        let target = id.rsplit_once('.').and_then(|(target, _)| TargetName::parse(target));
        let Some(target) = target.filter(|target| target.job.as_str() == world.job()) else { continue };
        if listed.state == TransactionState::Ongoing {
            open.push(target.clone());
        }
        ids.entry(target).or_default().insert(id);
    }
    (ids, open)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_writer_has_few_transactional_ids_and_what_older_attempts_left_is_aborted() {
    let mut world = World::new(&Kafka::shared().await.expect("a broker").brokers(), 2).await;
    let log = world.log().await;
    let mut before = Position(0);
    let mut process = world.start(&["--workers", "2"]);
    for _ in 0..count(2, 10) {
        before = world.wait_for_attempt(&mut process, before).await;
        let (_, open) = ids(&world).await;
        assert!(open.iter().all(|target| target.attempt >= before), "of an older attempt: {open:?}");
        let end = Position(log.position().await.0 + CHECKPOINTS);
        process.wait_until("many checkpoints", async |_: &Process| log.position().await >= end).await;
        process.kill();
        process = world.start(&["--workers", "2"]);
    }
    let (ids, _) = ids(&world).await;
    world.finish(process).await;
    let most = ids.values().map(BTreeSet::len).max();
    let allowed = KafkaSinkConfig::new(Properties::new("any")).slots_max as usize;
    println!("{} writers in all attempts; one had {most:?} ids at most of {allowed}", ids.len());
    assert!(ids.len() >= 4 && most <= Some(allowed), "{ids:?}");
}

/// The end of each partition for readers with this isolation level.
async fn ends(world: &World, isolation: &'static str) -> Vec<i64> {
    let all = world.watermarks(world.target(), isolation, PATIENCE).await;
    all.into_iter().map(|one| one.expect("an answer").1).collect()
}

async fn readers_get_to(world: &World, ends_before: &[i64]) -> bool {
    let stable = ends(world, "read_committed").await;
    stable.iter().zip(ends_before).all(|(stable, before)| stable >= before)
}

/// Starts and kills the job until it leaves an open transaction. Returns the ends behind which readers wait.
async fn leave_something_open(world: &World, start: impl Fn() -> Process) -> Vec<i64> {
    let log = world.log().await;
    for _ in 0..TRIES_MAX {
        let before = log.position().await;
        let mut process = start();
        world.wait_for_attempt(&mut process, before).await;
        world.wait_for_records(&mut process, 100).await;
        process.kill();
        let written = ends(world, "read_uncommitted").await;
        if !readers_get_to(world, &written).await {
            return written;
        }
    }
    panic!("{TRIES_MAX} kills left nothing open, although records flow all the time");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn after_a_crash_readers_wait_for_the_restart_and_no_longer() {
    let mut world = World::new(&Kafka::shared().await.expect("a broker").brokers(), 2).await;
    let log = world.log().await;
    let (mut worst, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..count(2, 50) {
        let written = leave_something_open(&world, || world.start(&[])).await;
        let before = log.position().await;
        let begun = Instant::now();
        let mut process = world.start(&[]);
        world.wait_for_attempt(&mut process, before).await;
        let started = begun.elapsed();
        let passed = async |_: &Process| readers_get_to(&world, &written).await;
        process.wait_until("readers get to what was written before", passed).await;
        worst = worst.max(begun.elapsed().saturating_sub(started));
        slowest = slowest.max(started);
        process.kill();
    }
    println!("readers waited {worst:?} longer than a restart at most; the slowest restart took {slowest:?}");
    assert!(!is_soak() || worst <= WAIT_MAX, "{worst:?}");
    let last = world.start(&[]);
    world.finish(last).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_sink_that_leaves_open_what_older_attempts_left_is_found_out() {
    let world = World::new(&Kafka::shared().await.expect("a broker").brokers(), 2).await;
    let log = world.log().await;
    for _ in 0..TRIES_MAX {
        let written = leave_something_open(&world, || world.start_broken(Defect::NeverSweeps)).await;
        let before = log.position().await;
        let mut process = world.start_broken(Defect::NeverSweeps);
        let attempt = world.wait_for_attempt(&mut process, before).await;
        let (_, open) = ids(&world).await;
        let is_found_out = open.iter().any(|target| target.attempt < attempt);
        if is_found_out && !readers_get_to(&world, &written).await {
            return;
        }
        // Only what the log lists was open, which recovery commits; or more arrived after the ends were read.
        process.kill();
    }
    panic!("not found out by {TRIES_MAX} restarts");
}
