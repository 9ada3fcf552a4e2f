//! Jobs that are killed with signal 9: at each step when a shard has ended and its children are in no snapshot yet, on a scripted stream; and at random while shards are split
//! and merged under load, on a real one.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidelock_processes::{Moment, Pace, Process, count, seed};

use crate::common::{NewStream, config, shared};
use crate::job::World;
use crate::scripted::Scripted;

const KEYS: u64 = 8;

/// A scripted stream that is written to, and what was written. It has one open shard, or the two that it was split into.
struct Feed {
    stream: Scripted,
    open: Vec<String>,
    records: BTreeMap<String, u64>,
    generations: usize,
}

impl Feed {
    async fn start() -> Self {
        let stream = Scripted::start().await;
        stream.script().open("0");
        Self { stream, open: vec!["0".into()], records: BTreeMap::new(), generations: 0 }
    }

    fn write(&mut self, count: u64) {
        for number in 0..count {
            let key = number % KEYS;
            let shard = &self.open[(key as usize * self.open.len()) / KEYS as usize];
            let record = self.records.entry(format!("k{key}")).or_default();
            self.stream.script().write_key(shard, &format!("k{key}"), &format!("k{key}:{record}"));
            *record += 1;
        }
    }

    /// The open shard is split, or the two are merged; returns those that have ended and those that go on.
    fn go_on(&mut self) -> (Vec<String>, Vec<String>) {
        self.generations += 1;
        let children = if let [parent] = &self.open[..] {
            let children = [0, 1].map(|half| format!("{}-{half}", self.generations));
            self.stream.script().split(parent, &[&children[0], &children[1]]);
            children.to_vec()
        } else {
            let child = self.generations.to_string();
            self.stream.script().merge([&self.open[0], &self.open[1]], &child);
            vec![child]
        };
        (std::mem::replace(&mut self.open, children.clone()), children)
    }

    fn asked(&self, what: &str) -> usize {
        self.stream.script().times_asked(what)
    }
}

fn written(records: &BTreeMap<String, u64>) -> usize {
    usize::try_from(records.values().sum::<u64>()).unwrap()
}

/// Lets the job read what is there, and checks what became of it.
async fn finish(world: &mut World, records: &BTreeMap<String, u64>) {
    world.pace(Pace::full());
    let mut process = world.start();
    world.sees(&mut process, written(records)).await;
    world.stop(process).await;
    world.check(records);
}

/// At which step the process is killed.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The end is told to the reader, with the children or without.
    EndTold,
    /// Shards are listed, for the children of what has ended.
    ChildrenListed,
    /// A child is opened.
    ChildOpened,
}

/// Waits without a pause that would be longer than a step.
async fn until(process: &mut Process, what: &str, wish: impl Fn() -> bool) {
    process.wait_at_once(what, wish).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_when_a_shard_has_ended_and_its_children_are_in_no_snapshot_loses_nothing_and_keeps_the_order()
{
    let mut random = StdRng::seed_from_u64(seed("killed at the end of shards"));
    let mut feed = Feed::start().await;
    let mut world = World::new(feed.stream.fake.config(), crate::scripted::STREAM);
    let kills = count(20, 200);
    for kill in 0..kills {
        feed.write(40);
        let (parents, children) = feed.go_on();
        feed.write(40);
        feed.stream.script().tells_children = random.random();
        let parent = &parents[random.random_range(0..parents.len())];
        let (end, opened) = (format!("end of {parent}"), format!("iterator of {}", children[0]));
        let mut process = world.start();
        until(&mut process, "the end is told", || feed.asked(&end) > 0).await;
        match [Step::EndTold, Step::ChildrenListed, Step::ChildOpened][kill % 3] {
            Step::EndTold => {}
            Step::ChildrenListed => {
                let lists = feed.asked("ListShards");
                until(&mut process, "shards are listed", || feed.asked("ListShards") > lists).await;
            }
            Step::ChildOpened => until(&mut process, "it is opened", || feed.asked(&opened) > 0).await,
        }
        process.kill();
    }
    finish(&mut world, &feed.records).await;
    println!("{kills} kills, {} generations, {:?}", feed.generations, world.log().await.recoveries().await);
}

/// A real stream that is written to while its shards change.
struct Storm {
    stream: NewStream,
    records: BTreeMap<String, u64>,
    changes: usize,
}

impl Storm {
    async fn write(&mut self, random: &mut StdRng, count: usize) {
        let record = |_| {
            let key = format!("k{}", random.random_range(0..30));
            let number = self.records.entry(key.clone()).or_default();
            *number += 1;
            (key.clone(), format!("{key}:{}", *number - 1))
        };
        let records: Vec<(String, String)> = (0..count).map(record).collect();
        self.stream.put(records).await;
    }

    /// One shard is split, or two that are beside each other are merged.
    async fn change(&mut self, random: &mut StdRng) {
        let open = self.stream.open_shards().await;
        self.changes += 1;
        if open.len() == 1 || (open.len() < 6 && random.random()) {
            self.stream.split(&open[random.random_range(0..open.len())]).await;
        } else {
            let at = random.random_range(0..open.len() - 1);
            self.stream.merge(&open[at], &open[at + 1]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_in_a_storm_of_splits_and_merges_under_load_loses_nothing_and_keeps_the_order() {
    let mut random = StdRng::seed_from_u64(seed("killed in a storm"));
    let stream = NewStream::make(shared(), 2).await;
    let mut storm = Storm { stream, records: BTreeMap::new(), changes: 0 };
    let mut world = World::new(config(shared()), &storm.stream.name);
    let log = world.log().await;
    let kills = count(6, 60);
    for _ in 0..kills {
        let moment = Moment::choose(&mut random, Duration::from_millis(20));
        let before = log.position().await;
        let mut process = world.start();
        let raging = async {
            for _ in 0..6 {
                storm.write(&mut random, 30).await;
                storm.change(&mut random).await;
                storm.write(&mut random, 30).await;
            }
        };
        let entries = async |process: &mut Process| log.wait_for_entry(process, 2).await;
        tokio::join!(raging, moment.wait_for(&log, &mut process, before, entries));
        process.kill();
    }
    finish(&mut world, &storm.records).await;
    println!("{kills} kills, {} splits and merges, {:?}", storm.changes, log.recoveries().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_one_job_hand_shards_to_each_other_and_lose_nothing_when_either_is_killed() {
    let mut random = StdRng::seed_from_u64(seed("pairs in a storm"));
    let stream = NewStream::make(shared(), 3).await;
    let mut storm = Storm { stream, records: BTreeMap::new(), changes: 0 };
    let mut world = World::new(config(shared()), &storm.stream.name);
    world.pace(Pace::full());
    let log = world.log().await;
    let kills = count(4, 40);
    for kill in 0..kills {
        let before = log.position().await;
        let ([mut first, second], _ports) = world.start_pair();
        log.wait_for_attempt(&mut first, before).await;
        for _ in 0..4 {
            storm.write(&mut random, 30).await;
            storm.change(&mut random).await;
        }
        if kill % 2 == 0 {
            // What goes on from shards that ended in the other process is found at once, and read.
            world.sees(&mut first, written(&storm.records)).await;
        }
        let (killed, other) = if random.random() { (first, second) } else { (second, first) };
        killed.kill();
        other.ended().await.assert_error(1, &[]);
    }
    finish(&mut world, &storm.records).await;
    println!("{kills} kills, {} splits and merges, {:?}", storm.changes, log.recoveries().await);
}
