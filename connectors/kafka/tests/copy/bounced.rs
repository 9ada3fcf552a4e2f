//! Brokers killed, stopped and paused, and clients with them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tidelock_containers::{Kafka, KafkaOptions};
use tidelock_processes::{Process, count, is_soak, seed};

use crate::support;
use crate::world::World;

/// How long a broker is paused.
const PAUSE: Duration = Duration::from_secs(20);

/// So many more records of each partition prove that the job goes on.
const MORE: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
enum Bounce {
    BrokerKilled,
    BrokerStopped,
    JobKilled,
    JobStopped,
}

const BOUNCES: [Bounce; 4] =
    [Bounce::BrokerKilled, Bounce::BrokerStopped, Bounce::JobKilled, Bounce::JobStopped];

async fn go_on(world: &World, process: &mut Process) -> usize {
    let (log, before) = (world.log().await, world.reader().next());
    let newest = log.position().await;
    let has_more = async || {
        let has_more = world.reader().next().iter().zip(&before).all(|(now, before)| *now >= before + MORE);
        // The reader may have had to catch up: it is this process that must be at work.
        has_more && log.position().await > newest
    };
    world.supervise(process, has_more).await
}

async fn bounce(kafka: &Kafka, world: &World, broker: i32, how: Bounce, mut process: Process) -> Process {
    let broker = kafka.broker(broker).expect("a broker");
    match how {
        Bounce::BrokerKilled => {
            broker.kill().await.expect("killed");
            broker.start().await.expect("started again");
        }
        Bounce::BrokerStopped => {
            broker.stop().await.expect("stopped");
            broker.start().await.expect("started again");
        }
        Bounce::JobKilled => {
            process.kill();
            process = world.start(&[]);
        }
        Bounce::JobStopped => {
            process.stop().await.assert_success();
            process = world.start(&[]);
        }
    }
    let restarts = go_on(world, &mut process).await;
    println!("{how:?}: went on, {restarts} restarts by a supervisor");
    process
}

async fn bounced(name: &str, brokers: i32, rounds: usize) {
    let mut random = StdRng::seed_from_u64(seed(name));
    let options = KafkaOptions::default().with_brokers(usize::try_from(brokers).expect("small"));
    let kafka = Kafka::start(options).await.expect("started");
    let mut world = World::new(&kafka.brokers(), 2).await;
    let mut process = world.start(&[]);
    go_on(&world, &mut process).await;
    for _ in 0..rounds {
        let mut order = BOUNCES;
        order.shuffle(&mut random);
        for how in order {
            let broker = 1 + i32::try_from(random.next_u32() % brokers.unsigned_abs()).expect("small");
            process = bounce(&kafka, &world, broker, how, process).await;
        }
    }
    world.finish(process).await;
    println!("{name}: {:?}", world.log().await.recoveries().await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn broker_and_job_killed_and_stopped_in_turn_lose_and_double_nothing() {
    bounced("bounced, one broker", 1, count(1, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container; does nothing but in a soak"]
async fn one_of_three_brokers_and_the_job_killed_and_stopped_in_turn_lose_and_double_nothing() {
    if is_soak() {
        bounced("bounced, three brokers", 3, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn a_broker_that_is_paused_for_20_s_under_load_loses_and_doubles_nothing() {
    let kafka = Kafka::start(KafkaOptions::default()).await.expect("started");
    let mut world = World::new(&kafka.brokers(), 2).await;
    let mut process = world.start(&[]);
    for _ in 0..count(1, 4) {
        go_on(&world, &mut process).await;
        let broker = kafka.broker(1).expect("the broker");
        broker.pause().await.expect("paused");
        tokio::time::sleep(PAUSE).await;
        broker.unpause().await.expect("unpaused");
    }
    let restarts = go_on(&world, &mut process).await;
    world.finish(process).await;
    println!("paused: {restarts} restarts by a supervisor, {:?}", world.log().await.recoveries().await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container"]
async fn the_coordinator_that_moves_to_another_of_three_brokers_loses_and_doubles_nothing() {
    let kafka = Kafka::start(KafkaOptions::default().with_brokers(3)).await.expect("started");
    let mut world = World::new(&kafka.brokers(), 2).await;
    let mut process = world.start(&[]);
    go_on(&world, &mut process).await;
    let log = world.log().await;
    for _ in 0..count(1, 5) {
        let mut pending = Vec::new();
        process
            .wait_until("something is pending", async |_| {
                pending = log.pending().await;
                !pending.is_empty()
            })
            .await;
        let id = &pending[0].transactional_id;
        let before = support::coordinator(&kafka.brokers(), id);
        let broker = kafka.broker(before).expect("a broker");
        broker.kill().await.expect("killed");
        go_on(&world, &mut process).await;
        let after = support::coordinator(&kafka.brokers(), id);
        println!("the coordinator of {id} moved from {before} to {after}");
        assert_ne!(before, after);
        broker.start().await.expect("started again");
        go_on(&world, &mut process).await;
    }
    world.finish(process).await;
    println!("coordinator moved: {:?}", log.recoveries().await);
}
