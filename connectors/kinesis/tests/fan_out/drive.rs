//! A job in a few lines: it asks for shards, reads them side by side, and begins anew from what it stored, as a host does.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock::{Batch, Discovery, Known, Result, Source as _, Split as _, SplitId, SplitReader as _, Stored};
use tidelock_kinesis::{KinesisRecord, KinesisShard, KinesisStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::shim::PATIENCE;

/// What a reader brought: `None` at the end of its shard.
type Brought = (SplitId, Result<Option<Batch<KinesisRecord, KinesisShard>>>);

/// A job, as far as it is stored, and what it read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    has_begun: bool,
    pub(crate) active: BTreeMap<SplitId, KinesisShard>,
    pub(crate) ended: BTreeMap<SplitId, KinesisShard>,
    /// The data of every record, in the order in which it came.
    pub(crate) seen: Vec<String>,
}

impl Job {
    /// Reads until there are so many records in all, and drops the readers then.
    pub(crate) async fn read_until(&mut self, source: &Arc<KinesisStream>, wanted: usize) -> Result<()> {
        let mut attempt = Attempt::begin(self, source).await?;
        while attempt.job.seen.len() < wanted {
            attempt.step().await?;
        }
        Ok(())
    }

    /// What stands in the log, read back: the beginning of another attempt.
    pub(crate) fn stored(&self) -> Self {
        let stored = |shard: &KinesisShard| Stored::encode(shard).unwrap().decode::<KinesisShard>().unwrap();
        let all = |shards: &BTreeMap<SplitId, KinesisShard>| {
            shards.iter().map(|(id, shard)| (id.clone(), stored(shard))).collect()
        };
        Self { active: all(&self.active), ended: all(&self.ended), ..self.clone() }
    }

    async fn discover(
        &mut self,
        source: &KinesisStream,
        finished: Option<&SplitId>,
    ) -> Result<Vec<KinesisShard>> {
        let is_active = |shard: &&KinesisShard| Some(&shard.id()) != finished;
        let known = Known {
            active: self.active.values().filter(is_active).cloned().collect(),
            finished: self.ended.keys().chain(finished).cloned().collect(),
            ended: self.ended.values().chain(finished.map(|id| &self.active[id])).cloned().collect(),
            first_run: !self.has_begun,
        };
        let Discovery { new, forget, .. } = source.discover(&known).await?;
        self.has_begun = true;
        if let Some(id) = finished {
            let ended = self.active.remove(id).expect("it was read");
            self.ended.insert(id.clone(), ended);
        }
        for id in forget {
            self.ended.remove(&id).expect("it is finished");
        }
        for shard in &new {
            assert!(!self.ended.contains_key(&shard.id()), "{shard:?} was read");
            assert!(self.active.insert(shard.id(), shard.clone()).is_none(), "{shard:?} is read");
        }
        Ok(new)
    }
}

/// One attempt: its readers end with it.
struct Attempt<'a> {
    job: &'a mut Job,
    source: Arc<KinesisStream>,
    bring: mpsc::Sender<Brought>,
    brought: mpsc::Receiver<Brought>,
    readers: JoinSet<()>,
}

impl<'a> Attempt<'a> {
    async fn begin(job: &'a mut Job, source: &Arc<KinesisStream>) -> Result<Self> {
        job.discover(source, None).await?;
        let (bring, brought) = mpsc::channel(1);
        let shards: Vec<KinesisShard> = job.active.values().cloned().collect();
        let mut attempt = Self { job, source: Arc::clone(source), bring, brought, readers: JoinSet::new() };
        for shard in shards {
            attempt.open(shard);
        }
        Ok(attempt)
    }

    fn open(&mut self, shard: KinesisShard) {
        let (source, bring) = (Arc::clone(&self.source), self.bring.clone());
        self.readers.spawn(async move {
            let id = shard.id();
            let mut reader = match source.open(shard).await {
                Ok(reader) => reader,
                Err(error) => return drop(bring.send((id, Err(error))).await),
            };
            loop {
                let next = reader.next().await;
                let is_last = !matches!(next, Ok(Some(_)));
                if bring.send((id.clone(), next)).await.is_err() || is_last {
                    return;
                }
            }
        });
    }

    /// Takes what some reader brings.
    async fn step(&mut self) -> Result<()> {
        let (id, brought) =
            timeout(PATIENCE, self.brought.recv()).await.expect("an answer").expect("readers");
        match brought? {
            Some(Batch { records, resume }) => {
                let text = |record: &KinesisRecord| String::from_utf8(record.data.to_vec()).unwrap();
                self.job.seen.extend(records.iter().map(text));
                self.job.active.insert(id, resume);
            }
            None => {
                for shard in self.job.discover(&Arc::clone(&self.source), Some(&id)).await? {
                    self.open(shard);
                }
            }
        }
        Ok(())
    }
}
