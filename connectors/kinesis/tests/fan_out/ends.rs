//! The end of a shard, in every form in which it comes.

use std::time::Duration;

use tokio::time::sleep;

use crate::drive::Job;
use crate::world::World;

async fn shards_that_end(names_children: bool, ends_apart: bool) {
    let mut world = World::with_shards(1).await;
    {
        let mut script = world.shim.script();
        (script.names_children, script.ends_apart) = (names_children, ends_apart);
        script.event_records = 7;
    }
    world.put(9, 3).await;
    world.split_all().await;
    world.put(9, 3).await;
    world.split_all().await;
    world.put(9, 3).await;
    world.merge_all().await;
    world.put(9, 3).await;
    let source = world.source(|_| {}).await;
    let mut job = Job::default();
    job.read_until(&source, world.total()).await.unwrap();
    world.check(&job.seen);
    assert_eq!((job.active.len(), job.ended.len()), (2, 7), "{job:?}");
    // An idle shard is closed, and the one after it is found.
    job = job.stored();
    world.merge_all().await;
    world.put(9, 1).await;
    job.read_until(&source, world.total()).await.unwrap();
    world.check(&job.seen);
    assert_eq!((job.active.len(), job.ended.len()), (1, 9), "{job:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_end_with_and_without_the_names_of_those_after_them_and_with_and_without_records() {
    for (names_children, ends_apart) in [(true, false), (true, true), (false, false), (false, true)] {
        println!("names_children={names_children} ends_apart={ends_apart}");
        shards_that_end(names_children, ends_apart).await;
    }
}

/// An attempt begins anew where a shard was read to its end, and its end was not told yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_again_to_who_has_read_everything_before_it() {
    let mut world = World::with_shards(1).await;
    world.put(2, 5).await;
    let source = world.source(|_| {}).await;
    let mut job = Job::default();
    job.read_until(&source, world.total()).await.unwrap();
    world.split_all().await;
    world.put(2, 5).await;
    let mut job = job.stored();
    sleep(Duration::from_millis(50)).await;
    job.read_until(&source, world.total()).await.unwrap();
    world.check(&job.seen);
    assert_eq!(job.ended.len(), 1);
}
