//! One subscription after the other.

use std::time::Duration;

use tokio::time::sleep;

use crate::drive::Job;
use crate::shim::by_shard;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_follows_the_other_from_where_it_ended_and_none_comes_too_early() {
    let mut world = World::with_shards(2).await;
    world.shim.script().event_records = 3;
    world.put(7, 10).await;
    let source =
        world.source(|config| config.fan_out = Some(World::fan_out().with_times_ms(60, 25, 1_000))).await;
    let mut job = Job::default();
    while world.total() < 210 {
        job.read_until(&source, world.total()).await.unwrap();
        job = job.stored();
        world.put(7, 5).await;
        sleep(Duration::from_millis(20)).await;
    }
    job.read_until(&source, world.total()).await.unwrap();
    world.check(&job.seen);
    let script = world.shim.script();
    assert!(script.asked.iter().all(|asked| asked.is_taken), "one came too early: {:?}", script.asked);
    assert_eq!(by_shard(&script).len(), 2);
    assert_eq!(script.times_called("RegisterStreamConsumer"), 1);
    assert_eq!(
        script.times_called("GetRecords"),
        2,
        "without the consumer nothing is read but where the horizon is"
    );
}

/// The service may end one before its time is up, and then it is followed by another one as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_the_service_ends_is_followed_by_another_one() {
    let mut world = World::with_shards(1).await;
    world.shim.script().life = Duration::from_millis(40);
    world.put(3, 5).await;
    let source = world.source(|_| {}).await;
    let mut job = Job::default();
    let reading = job.read_until(&source, 45);
    let putting = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(150)).await;
            world.put(3, 5).await;
        }
    };
    tokio::join!(async { reading.await.unwrap() }, putting);
    world.check(&job.seen);
    let script = world.shim.script();
    assert!(script.asked.len() > 3, "{:?}", script.asked);
    let after = script.asked.iter().skip(1).filter(|asked| asked.kind == "AFTER_SEQUENCE_NUMBER");
    assert_eq!(after.count(), script.asked.len() - 1, "{:?}", script.asked);
}

/// Two attempts of a job, or two jobs with one consumer: each takes the shards of the other, and each reads everything once.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_take_the_shards_from_one_another_both_read_everything_once() {
    let mut world = World::with_shards(2).await;
    world.shim.script().event_records = 2;
    world.put(5, 60).await;
    let (one, other) = (world.source(|_| {}).await, world.source(|_| {}).await);
    let (mut first, mut second) = (Job::default(), Job::default());
    let total = world.total();
    let (read, also) = tokio::join!(first.read_until(&one, total), second.read_until(&other, total));
    read.unwrap();
    also.unwrap();
    world.check(&first.seen);
    world.check(&second.seen);
}
