//! Consumers: registered, waited for, reused, gone and removed.

use std::sync::Arc;
use std::time::Duration;

use tidelock::{ErrorKind, Retry};
use tidelock_kinesis::{ConsumerLifecycle, KinesisStream};
use tokio::time::sleep;

use crate::drive::Job;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_registered_waited_for_and_reused() {
    let mut world = World::with_shards(3).await;
    world.shim.script().creating = 5;
    world.put(5, 2).await;
    let mut job = Job::default();
    job.read_until(&world.source(|_| {}).await, 10).await.unwrap();
    {
        let script = world.shim.script();
        assert_eq!(script.times_called("RegisterStreamConsumer"), 1);
        assert!(script.times_called("DescribeStreamConsumer") > 5);
    }
    world.put(5, 2).await;
    let mut job = job.stored();
    job.read_until(&world.source(|_| {}).await, 20).await.unwrap();
    world.check(&job.seen);
    assert_eq!(world.shim.script().times_called("RegisterStreamConsumer"), 1, "it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_somebody_else_registers_must_be_there() {
    let mut world = World::with_shards(1).await;
    world.put(1, 1).await;
    let mut config = world.config();
    config.fan_out.as_mut().unwrap().lifecycle = ConsumerLifecycle::Registered;
    let error = KinesisStream::connect(config.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    for part in ["consumer=reader", "register-stream-consumer"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(world.shim.script().times_called("RegisterStreamConsumer"), 0);
    let arn = format!("arn:aws:kinesis:eu-central-1:000000000000:stream/{}", world.stream.name);
    world.shim.script().register(&arn, "reader").unwrap();
    let source = Arc::new(KinesisStream::connect(config).await.unwrap());
    let mut job = Job::default();
    job.read_until(&source, 1).await.unwrap();
    source.close().await.unwrap();
    assert_eq!(world.shim.script().consumers.len(), 1, "it is not ours");
}

/// It is no end of a shard, and no loss, that the consumer is not there any more.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_somebody_removes_is_registered_again_and_nothing_is_missed() {
    let mut world = World::with_shards(2).await;
    world.put(4, 5).await;
    let source = world.source(|_| {}).await;
    let mut job = Job::default();
    let reading = job.read_until(&source, 60);
    let putting = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(100)).await;
            {
                let mut script = world.shim.script();
                script.consumers.clear();
                script.live.clear();
            }
            world.put(4, 5).await;
        }
    };
    tokio::join!(async { reading.await.unwrap() }, putting);
    world.check(&job.seen);
    assert!(job.ended.is_empty());
    assert_eq!(world.shim.script().times_called("RegisterStreamConsumer"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_removed_where_that_is_wanted_and_else_kept() {
    for (lifecycle, left) in
        [(ConsumerLifecycle::RegisterAndKeep, 1), (ConsumerLifecycle::RegisterAndRemove, 0)]
    {
        let mut world = World::with_shards(1).await;
        world.put(1, 1).await;
        let source = world.source(|config| config.fan_out.as_mut().unwrap().lifecycle = lifecycle).await;
        Job::default().read_until(&source, 1).await.unwrap();
        source.close().await.unwrap();
        source.close().await.unwrap();
        assert_eq!(world.shim.script().consumers.len(), left, "{lifecycle:?}");
    }
}

/// The stream is gone, and with it the shard: that is a loss and no end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_is_no_consumer_that_is_gone() {
    let mut world = World::with_shards(1).await;
    world.put(1, 1).await;
    let source = world.source(|config| config.retry_for_ms = 2_000).await;
    let mut job = Job::default();
    let reading = job.read_until(&source, 2);
    let deleting = async {
        while world.shim.script().asked.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(100)).await;
        world.stream.delete().await;
    };
    let (read, ()) = tokio::join!(reading, deleting);
    let error = read.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Halt), "{error}");
    assert!(error.to_string().contains("shard=shardId-000000000000"), "{error}");
    assert_eq!(job.seen.len(), 1);
}
