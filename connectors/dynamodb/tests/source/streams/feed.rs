//! A scripted stream whose shards go on in others while it is written to, by the test, and read, by a job in another process.

use std::collections::BTreeMap;

use tidelock_processes::Pace;

use crate::job::{What, World};
use crate::scripted::Scripted;

const KEYS: u64 = 7;

/// A stream that is written to, and what was written.
pub(super) struct Feed {
    pub(super) stream: Scripted,
    /// The open shard that has the keys below the middle, and the one that has the others.
    pub(super) shards: [String; 2],
    pub(super) changes: BTreeMap<String, u64>,
    pub(super) generations: usize,
}

impl Feed {
    pub(super) async fn start() -> Self {
        let stream = Scripted::start().await;
        let shards = ["0-low", "0-high"].map(str::to_owned);
        shards.iter().for_each(|shard| stream.script().open(shard));
        Self { stream, shards, changes: BTreeMap::new(), generations: 0 }
    }

    pub(super) fn write(&mut self, count: u64) {
        for number in 0..count {
            let key = number % KEYS;
            let shard = &self.shards[usize::from(key > KEYS / 2)];
            let change = self.changes.entry(format!("k{key}")).or_default();
            self.stream.script().write(shard, format!("k{key}:{change}"));
            *change += 1;
        }
    }

    /// The low shard ends, and another one goes on; returns the one that has ended.
    pub(super) fn split(&mut self) -> String {
        self.generations += 1;
        let child = format!("{}-low", self.generations);
        let parent = std::mem::replace(&mut self.shards[0], child);
        self.stream.script().close(&parent, &[&self.shards[0]]);
        parent
    }

    pub(super) fn asked(&self, what: &str) -> usize {
        self.stream.script().times_asked(what)
    }

    pub(super) fn written(&self) -> usize {
        usize::try_from(self.changes.values().sum::<u64>()).unwrap()
    }

    pub(super) fn job(&self) -> World {
        World::new(self.stream.fake.config(), "table", What::Stream)
    }

    /// Lets the job read what is there, and checks what became of it.
    pub(super) async fn finish(&self, world: &mut World) {
        world.pace(Pace::full());
        let mut process = world.start();
        world.sees(&mut process, self.written()).await;
        world.stop(process).await;
        world.check(&self.changes);
    }
}
