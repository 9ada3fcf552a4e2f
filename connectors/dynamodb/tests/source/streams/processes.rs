//! Jobs on a scripted stream whose shards go on in others: with other numbers of workers from one run to the next, forked, and paused while another
//! process takes over.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tidelock_processes::{Moment, Process, count, seed};

use super::feed::Feed;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_killed_and_goes_on_with_other_numbers_of_workers_loses_nothing() {
    let mut random = StdRng::seed_from_u64(seed("rescaled under a scripted stream"));
    let mut feed = Feed::start().await;
    let mut world = feed.job();
    let log = world.log().await;
    for round in 0..count(3, 40) {
        world.workers([3, 1, 2][round % 3]);
        for _ in 0..2 {
            feed.write(random.random_range(30..120));
            feed.split();
        }
        feed.write(40);
        let moment = Moment::choose(&mut random, Duration::from_millis(20));
        let before = log.position().await;
        let mut process = world.start();
        let entries = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        moment.wait_for(&log, &mut process, before, entries).await;
        process.kill();
    }
    world.workers(4);
    feed.finish(&mut world).await;
}

/// Both read the same shards, each from its own snapshot, and neither minds the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_goes_on_from_where_the_first_job_was_stopped_and_both_read_each_change_once() {
    let mut feed = Feed::start().await;
    let mut world = feed.job();
    feed.write(60);
    feed.split();
    feed.write(60);
    let mut process = world.start();
    world.sees(&mut process, feed.written()).await;
    // A shard that has ended, and whose children are not told, goes on in both.
    let parent = feed.split();
    feed.stream.script().children_held = Some(parent.clone());
    let asked = format!("children of {parent}");
    process.wait_until("the children are asked for", async |_| feed.asked(&asked) > 0).await;
    world.stop(process).await;
    feed.stream.script().children_held = None;
    let before = feed.changes.clone();
    let mut fork = world.fork().await;
    feed.write(60);
    let (mut first, mut second) = (world.start(), fork.start());
    feed.split();
    feed.write(60);
    let after = feed.written() - usize::try_from(before.values().sum::<u64>()).unwrap();
    world.sees(&mut first, feed.written()).await;
    fork.sees(&mut second, after).await;
    world.stop(first).await;
    fork.stop(second).await;
    world.check(&feed.changes);
    fork.check_from(&before, &feed.changes);
}

/// It wakes up in the middle of a shard when others have read that to its end, and its children, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_paused_wakes_up_after_another_took_over_and_adds_nothing() {
    let mut random = StdRng::seed_from_u64(seed("paused under a scripted stream"));
    let mut feed = Feed::start().await;
    let mut world = feed.job();
    let log = world.log().await;
    let mut paused = Vec::new();
    for _ in 0..count(2, 30) {
        feed.write(random.random_range(60..200));
        feed.split();
        let before = log.position().await;
        let mut process = world.start();
        log.wait_for_attempt(&mut process, before).await;
        log.wait_for_entry(&mut process, 2).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        process.signal(Signal::STOP);
        paused.push(process);
    }
    feed.split();
    feed.write(60);
    feed.finish(&mut world).await;
    for process in paused {
        process.signal(Signal::CONT);
        process.ended().await.assert_error(1, &[]);
    }
    world.check(&feed.changes);
}
