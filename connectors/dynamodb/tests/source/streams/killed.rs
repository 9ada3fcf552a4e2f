//! A job on a scripted stream, killed with signal 9: while a shard has ended and its children are asked for, when they are told, when the first of them is
//! opened, and at random.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock_processes::{Moment, Process, count, seed};

use super::feed::Feed;

/// At which step the process is killed.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The shard was read to its end, and the children are not told.
    ChildrenAsked,
    /// They are told to the reader, and asked for again by discovery.
    ChildrenTold,
    /// The child is opened.
    ChildOpened,
}

/// Waits without a pause that would be longer than a step.
async fn until(process: &mut Process, what: &str, wish: impl Fn() -> bool) {
    process.wait_at_once(what, wish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_each_step_of_a_split_loses_nothing_and_keeps_the_order_of_each_key() {
    let mut feed = Feed::start().await;
    let mut world = feed.job();
    for step in [Step::ChildrenAsked, Step::ChildrenTold, Step::ChildOpened, Step::ChildrenAsked] {
        feed.write(60);
        let parent = feed.split();
        feed.write(60);
        let (asked, opened) = (format!("children of {parent}"), format!("iterator of {}", feed.shards[0]));
        feed.stream.script().children_held = matches!(step, Step::ChildrenAsked).then(|| parent.clone());
        let mut process = world.start();
        until(&mut process, "the children are asked for", || feed.asked(&asked) > 0).await;
        match step {
            Step::ChildrenAsked => {}
            Step::ChildrenTold => {
                let lists = feed.asked("DescribeStream");
                until(&mut process, "shards are listed", || feed.asked("DescribeStream") > lists).await;
            }
            Step::ChildOpened => until(&mut process, "it is opened", || feed.asked(&opened) > 0).await,
        }
        process.kill();
        feed.stream.script().children_held = None;
    }
    feed.finish(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_while_shards_go_on_in_others_loses_nothing_and_keeps_the_order_of_each_key() {
    let mut random = StdRng::seed_from_u64(seed("killed under a scripted stream"));
    let mut feed = Feed::start().await;
    let mut world = feed.job();
    let log = world.log().await;
    let kills = count(5, 60);
    for _ in 0..kills {
        for _ in 0..random.random_range(1..4) {
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
    feed.finish(&mut world).await;
    println!("{kills} kills, {} generations, {:?}", feed.generations, log.recoveries().await);
}
