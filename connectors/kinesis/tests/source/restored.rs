//! A job on a real stream of sixteen shards that is given more and fewer workers, goes back, is forked, and runs twice.

use std::collections::BTreeMap;

use rustix::process::Signal;
use tidelock_processes::{Pace, Process};

use crate::common::{NewStream, config, shared};
use crate::job::World;

/// What a process ends with that is fenced.
const FENCED: i32 = 1;

/// A stream, and how many records each key had.
struct Feed {
    stream: NewStream,
    records: BTreeMap<String, u64>,
}

impl Feed {
    async fn new() -> Self {
        Self { stream: NewStream::make(shared(), 16).await, records: BTreeMap::new() }
    }

    async fn write(&mut self, rounds: u64) {
        let mut records = Vec::new();
        for key in 0..64 {
            let key = format!("k{key}");
            let number = self.records.entry(key.clone()).or_default();
            records
                .extend((*number..*number + rounds).map(|number| (key.clone(), format!("{key}:{number}"))));
            *number += rounds;
        }
        self.stream.put(records).await;
    }

    fn count(&self) -> usize {
        usize::try_from(self.records.values().sum::<u64>()).unwrap()
    }

    fn job(&self) -> World {
        let mut world = World::new(config(shared()), &self.stream.name);
        world.pace(Pace::full());
        world
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_shards_move_from_one_worker_to_three_and_two_and_all_is_read_once_in_order() {
    let mut feed = Feed::new().await;
    let mut world = feed.job();
    for (workers, is_killed) in [(1, false), (3, true), (2, false), (1, true), (3, false)] {
        world.workers(workers);
        feed.write(5).await;
        let mut process = world.start();
        world.sees(&mut process, feed.count()).await;
        // Something is on its way when it ends.
        feed.write(2).await;
        if is_killed { process.kill() } else { world.stop(process).await }
    }
    world.workers(2);
    let mut process = world.start();
    world.sees(&mut process, feed.count()).await;
    world.stop(process).await;
    world.check(&feed.records);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_paused_while_another_one_took_over_writes_nothing_more() {
    let mut feed = Feed::new().await;
    let mut world = feed.job();
    for _ in 0..2 {
        feed.write(3).await;
        let mut older = world.start();
        world.sees(&mut older, feed.count()).await;
        older.signal(Signal::STOP);
        feed.write(3).await;
        let mut newer = world.start();
        world.sees(&mut newer, feed.count()).await;
        older.signal(Signal::CONT);
        let ended = older.ended().await;
        ended.assert_error(FENCED, &["Fenced"]);
        newer.kill();
    }
    let mut process = world.start();
    world.sees(&mut process, feed.count()).await;
    world.stop(process).await;
    world.check(&feed.records);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_goes_back_reads_again_from_there_and_a_fork_does_beside_it() {
    let mut feed = Feed::new().await;
    let mut world = feed.job();
    world.keep_snapshots();
    feed.write(4).await;
    let mut process = world.start();
    world.sees(&mut process, feed.count()).await;
    world.stop(process).await;
    let (then, position) = (feed.count(), world.log().await.position().await);
    let snapshot = format!("{}#{}", world.checkpoints(), position.0);
    feed.write(3).await;

    let mut fork = world.fork(snapshot.clone());
    fork.pace(Pace::full());
    let mut process = fork.start();
    fork.sees(&mut process, feed.count() - then).await;
    fork.stop(process).await;
    assert_eq!(fork.visible().len(), feed.count() - then, "what came after the snapshot, once");

    let mut process = world.start();
    world.sees(&mut process, feed.count()).await;
    world.stop(process).await;
    world.check(&feed.records);
    world.go_back_to(Some(snapshot));
    let mut process = world.start();
    let twice = 2 * feed.count() - then;
    process
        .wait_until("what came since is read again", async |_: &Process| world.visible().len() >= twice)
        .await;
    world.stop(process).await;
    assert_eq!(world.visible().len(), twice, "what readers have seen stays");
}
