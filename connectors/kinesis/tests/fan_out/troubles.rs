//! What goes wrong with a subscription.

use std::time::Duration;

use tidelock::{ErrorKind, Retry};
use tokio::time::sleep;

use crate::drive::Job;
use crate::script::{TROUBLES, Trouble};
use crate::world::World;

async fn everything_is_read_once_in_spite_of(trouble: Trouble, times: usize) {
    let mut world = World::with_shards(1).await;
    world.shim.script().event_records = 4;
    world.put(3, 10).await;
    world.shim.script().plan.extend(std::iter::repeat_n(trouble, times));
    let source = world
        .source(|config| {
            config.fan_out.as_mut().unwrap().idle_timeout_ms = 150;
            config.kinesis.call_timeout_ms = 300;
        })
        .await;
    let mut job = Job::default();
    let reading = job.read_until(&source, 60);
    let putting = async {
        sleep(Duration::from_millis(100)).await;
        world.put(3, 10).await;
    };
    tokio::join!(async { reading.await.unwrap() }, putting);
    world.check(&job.seen);
    assert!(world.shim.script().plan.is_empty(), "{trouble:?} did not come to pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_any_trouble() {
    for trouble in TROUBLES {
        println!("{trouble:?}");
        // What nobody knows ends no subscription.
        let times = if matches!(trouble, Trouble::Unknown(_)) { 1 } else { 3 };
        everything_is_read_once_in_spite_of(trouble, times).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_answer_is_made_again() {
    everything_is_read_once_in_spite_of(Trouble::NoAnswer, 2).await;
}

/// An event that has nothing in it is no end, also where the shard has nothing more for now.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_says_nothing_is_not_taken_for_the_end() {
    let mut world = World::with_shards(1).await;
    world.put(1, 3).await;
    world.shim.script().plan.extend([Trouble::Empty(3), Trouble::Empty(0), Trouble::Empty(1)]);
    let source = world.source(|_| {}).await;
    let mut job = Job::default();
    let reading = job.read_until(&source, 8);
    let putting = async {
        while !world.shim.script().plan.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        world.put(1, 5).await;
    };
    tokio::join!(async { reading.await.unwrap() }, putting);
    world.check(&job.seen);
    assert!(job.ended.is_empty(), "{:?}", job.ended);
}

/// What a person must mend ends the job at once, and is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_disabled_halts_the_job() {
    let mut world = World::with_shards(1).await;
    world.put(1, 1).await;
    world.shim.script().plan.push_back(Trouble::Exception(1, "KMSDisabledException"));
    let source = world.source(|_| {}).await;
    let error = Job::default().read_until(&source, 2).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Auth, Retry::Halt), "{error}");
    for part in ["KMSDisabledException", "consumer=reader", "shard=shardId-000000000000"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_brings_anything_ends_the_attempt_in_time() {
    for trouble in [
        Trouble::Silent(0),
        Trouble::Ended(0),
        Trouble::Empty(0),
        Trouble::Exception(0, "InternalFailureException"),
        Trouble::Refused("ResourceInUseException"),
        Trouble::Refused("ResourceNotFoundException"),
    ] {
        let world = World::with_shards(1).await;
        world.shim.script().plan.extend(std::iter::repeat_n(trouble, 1_000));
        let source = world
            .source(|config| {
                config.retry_for_ms = 1_000;
                config.fan_out.as_mut().unwrap().idle_timeout_ms = 100;
            })
            .await;
        let error = Job::default().read_until(&source, 1).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Restart, "{trouble:?}: {error}");
        assert!(error.to_string().contains("consumer=reader"), "{trouble:?}: {error}");
    }
}
