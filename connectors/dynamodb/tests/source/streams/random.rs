//! Shards that go on in others at random, lists that lag behind and lack what they had, iterators that expire, shards that disappear when they were read, and
//! a job that dies again and again, and began at the horizon or when much had been written already: every change once, and those of each key in their order.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tidelock::{Source as _, SplitId};
use tidelock_dynamodb::{DynamoStream, DynamoStreamConfig, DynamoStreamReader, StreamStart};
use tidelock_processes::{count, seed};

use super::drive::{Job, Read};
use crate::scripted::Scripted;

const KEYS: usize = 12;

/// Which keys each open shard has, and how many changes each key had.
struct Table {
    owned: BTreeMap<String, Vec<usize>>,
    changes: [u64; KEYS],
    /// What each shard that was made goes on from.
    parents: BTreeMap<String, Option<String>>,
}

impl Table {
    fn new(stream: &Scripted) -> Self {
        let mut owned = BTreeMap::new();
        for (number, keys) in [(0..KEYS / 2), (KEYS / 2..KEYS)].into_iter().enumerate() {
            let name = format!("first-{number}");
            stream.script().open(&name);
            owned.insert(name, keys.collect());
        }
        let parents = owned.keys().map(|name: &String| (name.clone(), None)).collect();
        Self { owned, changes: [0; KEYS], parents }
    }

    fn write(&mut self, stream: &Scripted, random: &mut StdRng) {
        let key = random.random_range(0..KEYS);
        let (shard, _) = self.owned.iter().find(|(_, keys)| keys.contains(&key)).unwrap();
        stream.script().write(shard, format!("{key}:{}", self.changes[key]));
        self.changes[key] += 1;
    }

    /// One shard ends, and one or two go on from it. Names say nothing of what goes on from what.
    fn split(&mut self, stream: &Scripted, random: &mut StdRng) {
        let number = random.random_range(0..self.owned.len());
        let parent = self.owned.keys().nth(number).unwrap().clone();
        let keys = self.owned.remove(&parent).unwrap();
        let cut = if keys.len() > 1 && random.random() { keys.len() / 2 } else { keys.len() };
        let parts: Vec<Vec<usize>> = [&keys[..cut], &keys[cut..]].map(<[usize]>::to_vec).into();
        let named = parts.into_iter().filter(|keys| !keys.is_empty());
        let named: Vec<_> = named.map(|keys| (format!("{:08x}", random.next_u32()), keys)).collect();
        let children: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        let mut script = stream.script();
        script.close(&parent, &children);
        for child in children {
            self.parents.insert(child.to_owned(), Some(parent.clone()));
            if random.random_range(0..3) == 0 {
                script.unlisted.insert(child.to_owned(), random.random_range(1..4));
            }
        }
        self.owned.extend(named);
    }

    /// The next lists lack any one of the shards.
    fn lack(&self, stream: &Scripted, random: &mut StdRng) {
        let mut script = stream.script();
        let number = random.random_range(0..script.shards.len());
        let shard = script.shards.keys().nth(number).unwrap().clone();
        script.unlisted.insert(shard, random.random_range(1..4));
    }

    /// The oldest shards disappear, where the log says that they were read.
    fn vanish(&mut self, stream: &Scripted, stored: &Job) {
        let mut script = stream.script();
        let is_oldest =
            |name: &str| self.parents[name].as_ref().is_none_or(|parent| !script.shards.contains_key(parent));
        // A list lags behind by seconds, and a shard is there for a day.
        let is_told = |name: &str| {
            let mut children = self.parents.iter().filter(|(_, parent)| parent.as_deref() == Some(name));
            children.all(|(child, _)| !script.unlisted.contains_key(child))
        };
        let read = stored.ended.keys().map(|id| super::drive::name_of(id).to_owned());
        let may_go = |name: &String| script.shards.contains_key(name) && is_oldest(name) && is_told(name);
        let gone: Vec<String> = read.filter(may_go).collect();
        gone.iter().for_each(|name| script.vanish(name));
    }
}

struct World {
    stream: Scripted,
    table: Table,
    start: StreamStart,
    /// How many changes each key had before those that are read.
    before: [u64; KEYS],
    source: DynamoStream,
    job: Job,
    stored: Job,
    readers: BTreeMap<SplitId, DynamoStreamReader>,
}

impl World {
    async fn start(random: &mut StdRng) -> Self {
        let stream = Scripted::start().await;
        let mut table = Table::new(&stream);
        for _ in 0..random.random_range(0..40) {
            if random.random_range(0..4) == 0 {
                table.split(&stream, random);
            } else {
                table.write(&stream, random);
            }
        }
        let (mut start, mut before) = (StreamStart::Horizon, [0; KEYS]);
        if random.random() {
            (start, before) = (StreamStart::Now, table.changes);
            // So long before that no clock can take it for now. And every shard that goes on in another one is known to.
            let mut script = stream.script();
            let shards: Vec<String> = script.shards.keys().cloned().collect();
            shards.iter().for_each(|shard| script.age(shard, 3_600));
            script.unlisted.clear();
        }
        let source = Self::source(&stream, start).await;
        let (mut job, readers) = (Job::default(), BTreeMap::new());
        job.discover(&source, &[]).await.unwrap();
        let stored = job.stored();
        Self { stream, table, start, before, source, job, stored, readers }
    }

    async fn source(stream: &Scripted, start: StreamStart) -> DynamoStream {
        let settings = |config: &mut DynamoStreamConfig| {
            (config.batch_records, config.idle_wait_ms, config.start) = (3, 1, start);
        };
        stream.source(settings).await
    }

    /// Reads one of the shards a step further.
    async fn read(&mut self, random: &mut StdRng) {
        if self.job.active.is_empty() {
            return;
        }
        let number = random.random_range(0..self.job.active.len());
        let (id, shard) = self.job.active.iter().nth(number).unwrap();
        let (id, shard) = (id.clone(), shard.clone());
        let mut reader = match self.readers.remove(&id) {
            Some(reader) => reader,
            None => self.source.open(shard).await.unwrap(),
        };
        match self.job.read_once(&self.stream, &id, &mut reader).await.unwrap() {
            Read::Records => drop(self.readers.insert(id, reader)),
            // It was left in the middle of a call.
            Read::Nothing => {}
            Read::End => self.job.finish(&self.source, &id).await.unwrap(),
        }
    }

    async fn step(&mut self, random: &mut StdRng) {
        match random.random_range(0..100) {
            0..35 => self.table.write(&self.stream, random),
            35..43 => self.table.split(&self.stream, random),
            43..75 => self.read(random).await,
            75..80 => self.job.discover(&self.source, &[]).await.unwrap(),
            80..90 => self.stored = self.job.stored(),
            90..93 => self.table.vanish(&self.stream, &self.stored),
            93..95 => self.stream.script().expire(),
            95 => self.table.lack(&self.stream, random),
            96 => {
                let mut script = self.stream.script();
                script.has_holes = random.random();
                script.page = random.random_range(1..5);
            }
            _ => {
                self.job = self.stored.stored();
                self.readers.clear();
                self.source = Self::source(&self.stream, self.start).await;
            }
        }
    }

    fn check(&self) {
        for (key, changes) in self.table.changes.iter().enumerate() {
            let prefix = format!("{key}:");
            let seen: Vec<&str> =
                self.job.seen.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
            let expected: Vec<String> =
                (self.before[key]..*changes).map(|number| number.to_string()).collect();
            assert_eq!(seen, expected, "key {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_read_once_and_those_of_each_key_in_their_order_whatever_becomes_of_shards() {
    let mut random = StdRng::seed_from_u64(seed("random shards"));
    for _ in 0..count(12, 200) {
        let mut world = World::start(&mut random).await;
        for _ in 0..200 {
            world.step(&mut random).await;
        }
        world.readers.clear();
        world.stream.script().unlisted.clear();
        let World { job, stream, source, .. } = &mut world;
        job.run(stream, source).await.unwrap();
        world.check();
    }
}
