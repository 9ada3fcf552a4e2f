//! A job in a few lines: it asks for shards, reads them, and begins anew from what it stored, as a host does.

use std::collections::BTreeMap;
use std::time::Duration;

use tidelock::{Discovery, Known, Result, Source as _, Split as _, SplitId, SplitReader as _, Stored};
use tidelock_dynamodb::{DynamoShard, DynamoStream, DynamoStreamReader};
use tokio::time::{sleep, timeout};

use crate::scripted::{Scripted, text_of};

/// What a busy machine may need for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job, as far as it is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    pub(crate) has_begun: bool,
    pub(crate) active: BTreeMap<SplitId, DynamoShard>,
    pub(crate) ended: BTreeMap<SplitId, DynamoShard>,
    /// What was read, in its order.
    pub(crate) seen: Vec<String>,
}

/// What becomes of a reader that was asked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Records,
    Nothing,
    End,
}

impl Job {
    /// Asks for shards. `just_finished` is finished, and its end is in no entry yet.
    pub(crate) async fn discover(&mut self, source: &DynamoStream, just_finished: &[SplitId]) -> Result<()> {
        let known = Known {
            active: self
                .active
                .values()
                .filter(|shard| !just_finished.contains(&shard.id()))
                .cloned()
                .collect(),
            finished: self.ended.keys().chain(just_finished).cloned().collect(),
            ended: self
                .ended
                .values()
                .chain(just_finished.iter().map(|id| &self.active[id]))
                .cloned()
                .collect(),
            first_run: !self.has_begun,
        };
        let asked = timeout(PATIENCE, source.discover(&known)).await.expect("an answer");
        let Discovery { new, forget, complete } = asked?;
        assert!(!complete);
        self.has_begun = true;
        for shard in new {
            assert!(!self.ended.contains_key(&shard.id()), "{shard:?} was read");
            let before = self.active.insert(shard.id(), shard);
            assert!(before.is_none(), "{before:?} is read");
        }
        for id in forget {
            assert!(self.ended.remove(&id).is_some() || just_finished.contains(&id), "{id} is not finished");
        }
        Ok(())
    }

    /// What stands in the log, read back: the beginning of another attempt.
    pub(crate) fn stored(&self) -> Self {
        let stored = |shard: &DynamoShard| Stored::encode(shard).unwrap().decode::<DynamoShard>().unwrap();
        let all = |shards: &BTreeMap<SplitId, DynamoShard>| {
            shards.iter().map(|(id, shard)| (id.clone(), stored(shard))).collect()
        };
        Self { active: all(&self.active), ended: all(&self.ended), ..self.clone() }
    }

    /// Reads a shard on: what comes next, unless there is nothing more.
    pub(crate) async fn read_once(
        &mut self,
        stream: &Scripted,
        id: &SplitId,
        reader: &mut DynamoStreamReader,
    ) -> Result<Read> {
        let shard = name_of(id);
        let idle = || stream.script().idle.get(shard).copied().unwrap_or_default();
        let before = idle();
        let has_nothing = async {
            while idle() == before {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let batch = tokio::select! {
            biased;
            batch = timeout(PATIENCE, reader.next()) => batch.expect("an answer")?,
            () = has_nothing => return Ok(Read::Nothing),
        };
        let Some(batch) = batch else { return Ok(Read::End) };
        self.seen.extend(batch.records.iter().map(|event| text_of(event).to_owned()));
        self.active.insert(id.clone(), batch.resume);
        Ok(Read::Records)
    }

    /// A shard was read to its end: its children are asked for, and both enter the snapshot.
    pub(crate) async fn finish(&mut self, source: &DynamoStream, id: &SplitId) -> Result<()> {
        self.discover(source, std::slice::from_ref(id)).await?;
        let ended = self.active.remove(id).expect("it was read");
        self.ended.insert(id.clone(), ended);
        Ok(())
    }

    /// Reads everything that is there.
    pub(crate) async fn run(&mut self, stream: &Scripted, source: &DynamoStream) -> Result<()> {
        self.discover(source, &[]).await?;
        let mut quiet = Vec::new();
        loop {
            let next = self.active.iter().find(|(id, _)| !quiet.contains(*id));
            let Some((id, shard)) = next.map(|(id, shard)| (id.clone(), shard.clone())) else {
                return Ok(());
            };
            let mut reader = source.open(shard).await?;
            loop {
                match self.read_once(stream, &id, &mut reader).await? {
                    Read::Records => {}
                    Read::Nothing => {
                        quiet.push(id);
                        break;
                    }
                    Read::End => {
                        self.finish(source, &id).await?;
                        break;
                    }
                }
            }
        }
    }

    /// The shards that are read, by their names.
    pub(crate) fn names(&self) -> String {
        self.active.keys().map(name_of).collect::<Vec<_>>().join(" ")
    }
}

/// The shard of a split.
pub(crate) fn name_of(id: &SplitId) -> &str {
    id.as_str().rsplit('/').next().unwrap()
}

/// The first shard that is read.
pub(crate) fn first_of(job: &Job) -> (SplitId, DynamoShard) {
    job.active.iter().next().map(|(id, shard)| (id.clone(), shard.clone())).unwrap()
}
