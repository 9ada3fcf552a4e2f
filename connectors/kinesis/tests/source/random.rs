//! Shards that are split and merged at random, lists that lag behind, iterators that expire, answers without records, shards that disappear when they were read, and a job that
//! dies again and again: every record once, and those of each key in their order.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tidelock::{Source as _, SplitId};
use tidelock_kinesis::{KinesisReader, KinesisStream, KinesisStreamConfig, StreamStart};
use tidelock_processes::{count, seed};

use crate::drive::{Job, Read, name_of};
use crate::scripted::{Scripted, Trimmed};

const KEYS: usize = 12;

/// Which keys each open shard has, and how many records each key had.
struct Stream {
    owned: BTreeMap<String, Vec<usize>>,
    records: [u64; KEYS],
    /// What each shard that was made goes on from.
    parents: BTreeMap<String, Vec<String>>,
}

impl Stream {
    fn new(stream: &Scripted) -> Self {
        let mut owned = BTreeMap::new();
        for (number, keys) in [(0..KEYS / 2), (KEYS / 2..KEYS)].into_iter().enumerate() {
            let name = format!("first-{number}");
            stream.script().open(&name);
            owned.insert(name, keys.collect());
        }
        let parents = owned.keys().map(|name: &String| (name.clone(), Vec::new())).collect();
        Self { owned, records: [0; KEYS], parents }
    }

    fn write(&mut self, stream: &Scripted, random: &mut StdRng) {
        let key = random.random_range(0..KEYS);
        let (shard, _) = self.owned.iter().find(|(_, keys)| keys.contains(&key)).unwrap();
        stream.script().write(shard, format!("{key}:{}", self.records[key]));
        self.records[key] += 1;
    }

    fn any(&self, random: &mut StdRng) -> String {
        let number = random.random_range(0..self.owned.len());
        self.owned.keys().nth(number).unwrap().clone()
    }

    /// Names say nothing of what goes on from what.
    fn child(&mut self, stream: &Scripted, random: &mut StdRng, parents: &[&str]) -> String {
        let name = format!("{:08x}", random.next_u32());
        self.parents.insert(name.clone(), parents.iter().map(|&parent| parent.to_owned()).collect());
        if random.random_range(0..3) == 0 {
            stream.script().unlisted.insert(name.clone(), random.random_range(1..4));
        }
        name
    }

    fn split(&mut self, stream: &Scripted, random: &mut StdRng) {
        let parent = self.any(random);
        let keys = self.owned.remove(&parent).unwrap();
        let cut = random.random_range(0..=keys.len());
        let children =
            [&keys[..cut], &keys[cut..]].map(|keys| (self.child(stream, random, &[&parent]), keys));
        stream.script().split(&parent, &[&children[0].0, &children[1].0]);
        self.owned.extend(children.map(|(name, keys)| (name, keys.to_vec())));
    }

    fn merge(&mut self, stream: &Scripted, random: &mut StdRng) {
        let (one, other) = (self.any(random), self.any(random));
        if one == other {
            return;
        }
        let keys = [&one, &other].map(|shard| self.owned.remove(shard).unwrap()).concat();
        let child = self.child(stream, random, &[&one, &other]);
        stream.script().merge([&one, &other], &child);
        self.owned.insert(child, keys);
    }

    /// The next lists lack any one of the shards.
    fn lack(&self, stream: &Scripted, random: &mut StdRng) {
        let mut script = stream.script();
        let number = random.random_range(0..script.shards.len());
        let shard = script.shards.keys().nth(number).unwrap().clone();
        script.unlisted.insert(shard, random.random_range(1..4));
    }

    /// The oldest shards disappear, where the log says that they were read.
    fn vanish(&self, stream: &Scripted, stored: &Job) {
        let mut script = stream.script();
        let is_oldest =
            |name: &str| self.parents[name].iter().all(|parent| !script.shards.contains_key(parent));
        // A list lags behind by seconds, and a shard is there for a day.
        let is_told = |name: &str| {
            let is_child =
                |(_, parents): &(&String, &Vec<String>)| parents.iter().any(|parent| parent == name);
            self.parents.iter().filter(is_child).all(|(child, _)| !script.unlisted.contains_key(child))
        };
        let read = stored.ended.keys().map(|id| name_of(id).to_owned());
        let may_go = |name: &String| script.shards.contains_key(name) && is_oldest(name) && is_told(name);
        let gone: Vec<String> = read.filter(may_go).collect();
        gone.iter().for_each(|name| script.vanish(name));
    }

    /// What all readers of the log have read is thrown away.
    fn trim(&self, stream: &Scripted, stored: &Job) {
        let mut script = stream.script();
        for (id, shard) in &stored.active {
            let (name, position) = (name_of(id), format!("{shard:?}"));
            let read = script.shards.get(name).map(|_| script.place_in(name, &position));
            if let Some(Some(place)) = read {
                script.trim(name, place);
            }
        }
    }
}

struct World {
    stream: Scripted,
    feed: Stream,
    start: StreamStart,
    /// How many records each key had before those that are read.
    before: [u64; KEYS],
    source: KinesisStream,
    job: Job,
    stored: Job,
    readers: BTreeMap<SplitId, KinesisReader>,
}

impl World {
    async fn start(random: &mut StdRng) -> Self {
        let stream = Scripted::start().await;
        let mut feed = Stream::new(&stream);
        for _ in 0..random.random_range(0..40) {
            match random.random_range(0..5) {
                0 => feed.split(&stream, random),
                1 => feed.merge(&stream, random),
                _ => feed.write(&stream, random),
            }
        }
        {
            let mut script = stream.script();
            script.tells_children = random.random();
            script.trimmed = match random.random_range(0..3) {
                0 => Trimmed::Silent,
                1 => Trimmed::Refused("InvalidArgumentException"),
                _ => Trimmed::Refused("ResourceNotFoundException"),
            };
        }
        let (start, before) = if random.random() {
            (StreamStart::Horizon, [0; KEYS])
        } else {
            stream.script().unlisted.clear();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            (StreamStart::Latest, feed.records)
        };
        let source = Self::source(&stream, &start).await;
        let (mut job, readers) = (Job::default(), BTreeMap::new());
        job.discover(&source, &[]).await.unwrap();
        let stored = job.stored();
        Self { stream, feed, start, before, source, job, stored, readers }
    }

    async fn source(stream: &Scripted, start: &StreamStart) -> KinesisStream {
        let settings = |config: &mut KinesisStreamConfig| {
            (config.batch_records, config.start) = (3, start.clone());
            (config.idle_wait_ms, config.idle_wait_max_ms) = (1, 1);
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
            0..33 => self.feed.write(&self.stream, random),
            33..39 => self.feed.split(&self.stream, random),
            39..44 => self.feed.merge(&self.stream, random),
            44..74 => self.read(random).await,
            74..79 => self.job.discover(&self.source, &[]).await.unwrap(),
            79..88 => self.stored = self.job.stored(),
            88..90 => self.feed.vanish(&self.stream, &self.stored),
            90..92 => self.feed.trim(&self.stream, &self.stored),
            92..94 => self.stream.script().expire(),
            94 => self.feed.lack(&self.stream, random),
            95 => self.stream.script().empty_answers = random.random_range(1..3),
            96 => {
                let mut script = self.stream.script();
                script.has_holes = random.random();
                script.page = random.random_range(1..5);
            }
            _ => {
                self.job = self.stored.stored();
                self.readers.clear();
                self.source = Self::source(&self.stream, &self.start).await;
            }
        }
    }

    fn check(&self) {
        for (key, records) in self.feed.records.iter().enumerate() {
            let prefix = format!("{key}:");
            let seen: Vec<&str> =
                self.job.seen.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
            let expected: Vec<String> =
                (self.before[key]..*records).map(|number| number.to_string()).collect();
            assert_eq!(seen, expected, "key {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_read_once_and_those_of_each_key_in_their_order_whatever_becomes_of_shards() {
    let mut random = StdRng::seed_from_u64(seed("random shards"));
    for _ in 0..count(5, 200) {
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
