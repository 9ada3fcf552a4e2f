//! The source: finds partitions, decides once where each begins and ends, opens readers.
//!
//! Partitions are assigned by the job and never by a consumer group; positions are in the snapshot
//! alone (I2). Everything that is decided here is decided through the control client.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use regex::Regex;
use tidelock::{Discovery, Error, ErrorKind, Known, Result, Source, Split};

use crate::config::{KafkaSourceConfig, OnDataLoss, Start, Stop, Subscription, refuse};
use crate::consumer::SharedConsumer;
use crate::control::cluster::Cluster;
use crate::control::fault::Fault;
use crate::control::offsets::Place;
use crate::control::topics::Topic;
use crate::reader::KafkaReader;
use crate::record::KafkaRecord;
use crate::split::KafkaSplit;

/// Partitions whose positions are asked for at once.
const AT_ONCE: usize = 16;

/// Reads records from Kafka.
pub struct KafkaSource {
    pub(crate) shared: Arc<Shared>,
}

/// What source and readers share.
pub(crate) struct Shared {
    pub(crate) config: KafkaSourceConfig,
    pub(crate) cluster: Cluster,
    pattern: Option<Regex>,
    pub(crate) consumer: SharedConsumer,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

fn failed(fault: Fault) -> Error {
    fault.into_error("find partitions in Kafka")
}

impl KafkaSource {
    /// Connects to the cluster, so that wrong settings are found before the job starts.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] or [`ErrorKind::Auth`] with what is wrong; [`ErrorKind::Unavailable`] where no
    /// broker answers.
    pub async fn connect(config: KafkaSourceConfig) -> Result<Self> {
        config.validate()?;
        let pattern = match &config.subscription {
            Subscription::Pattern(pattern) => Some(whole_name(pattern)?),
            _ => None,
        };
        let cluster = Cluster::new(&config.properties)?;
        cluster.cluster_id().await.map_err(|fault| fault.into_error("connect to Kafka"))?;
        Ok(Self {
            shared: Arc::new(Shared { config, cluster, pattern, consumer: SharedConsumer::default() }),
        })
    }
}

/// A pattern must match a topic's whole name.
fn whole_name(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| refuse("subscription", "the pattern is no regular expression").because(error))
}

impl Shared {
    /// The topics that are subscribed to, with the partitions that are.
    async fn subscribed(&self, first_run: bool) -> Result<Vec<Topic>> {
        let names: Vec<String> = match &self.config.subscription {
            Subscription::Pattern(_) => {
                let all = self.cluster.topics(None).await.map_err(failed)?;
                let pattern = self.pattern.as_ref().expect("invariant: made with the source");
                return Ok(all
                    .into_iter()
                    .filter(|topic| !topic.internal && pattern.is_match(&topic.name))
                    .collect());
            }
            Subscription::Topics(topics) => topics.clone(),
            Subscription::Partitions(partitions) => partitions.keys().cloned().collect(),
        };
        let mut found = self.cluster.topics(Some(&names)).await.map_err(failed)?;
        let missing = names.iter().find(|name| !found.iter().any(|topic| topic.name == **name));
        if let Some(name) = missing.filter(|_| first_run) {
            let why = "a topic does not exist";
            return Err(Error::new(ErrorKind::NotFound, "find partitions in Kafka", why).with("topic", name));
        }
        if let Subscription::Partitions(wanted) = &self.config.subscription {
            for topic in &mut found {
                let wanted = wanted.get(&topic.name).map(Vec::as_slice).unwrap_or_default();
                if let Some(missing) = wanted.iter().find(|one| !topic.partitions.contains(one)) {
                    let why = "a partition does not exist";
                    return Err(Error::new(ErrorKind::NotFound, "find partitions in Kafka", why)
                        .with("topic", &topic.name)
                        .with("partition", missing));
                }
                topic.partitions.retain(|one| wanted.contains(one));
            }
        }
        Ok(found)
    }

    /// A position that was read in a topic says nothing about another topic under the same name.
    fn check_recreated(&self, topics: &[Topic], active: &[KafkaSplit]) -> Result<()> {
        if self.config.on_data_loss != OnDataLoss::Fail {
            return Ok(());
        }
        for split in active {
            if let Some(topic) = topics.iter().find(|topic| topic.name == split.topic) {
                recreated(split, &topic.id)?;
            }
        }
        Ok(())
    }

    /// Where a partition is read from, and to: concrete offsets, decided once (I9). `None`: nothing of
    /// it is to be read.
    async fn resolve(
        &self,
        topic: &Topic,
        partition: i32,
        resolve_start: bool,
    ) -> Result<Option<KafkaSplit>> {
        let name = topic.name.as_str();
        let start = if resolve_start { &self.config.start } else { &Start::Earliest };
        let offset = match start {
            Start::Earliest => self.earliest(name, partition).await?,
            Start::Latest => self.latest(name, partition).await?,
            Start::Timestamp(time) => self.at_time(name, partition, *time).await?,
            Start::Group(group) => {
                let place = (name.to_owned(), partition);
                let mut committed =
                    self.cluster.group_offsets(group, std::slice::from_ref(&place)).await.map_err(failed)?;
                match committed.remove(&place) {
                    Some(offset) => offset,
                    None => self.earliest(name, partition).await?,
                }
            }
            Start::Offsets(given) => match given.get(name).and_then(|of_topic| of_topic.get(&partition)) {
                Some(offset) => *offset,
                None => self.earliest(name, partition).await?,
            },
        };
        let stop = match &self.config.stop {
            Stop::Never => None,
            Stop::Latest => Some(self.latest(name, partition).await?),
            Stop::Timestamp(time) => Some(self.at_time(name, partition, *time).await?),
            Stop::Offsets(given) => match given.get(name).and_then(|of_topic| of_topic.get(&partition)) {
                Some(offset) => Some(*offset),
                None => return Ok(None),
            },
        };
        Ok(Some(KafkaSplit {
            topic: topic.name.clone(),
            topic_id: topic.id.clone(),
            partition,
            offset,
            stop,
        }))
    }

    pub(crate) async fn earliest(&self, topic: &str, partition: i32) -> Result<i64> {
        let offset = self.cluster.offset(topic, partition, Place::Earliest, false).await.map_err(failed)?;
        Ok(offset.unwrap_or(0))
    }

    /// The end that a reader sees: with `read_committed`, before the first transaction that is not
    /// decided.
    async fn latest(&self, topic: &str, partition: i32) -> Result<i64> {
        let committed = !self.config.read_uncommitted;
        let offset = self.cluster.offset(topic, partition, Place::Latest, committed).await.map_err(failed)?;
        Ok(offset.unwrap_or(0))
    }

    async fn at_time(&self, topic: &str, partition: i32, time: i64) -> Result<i64> {
        let committed = !self.config.read_uncommitted;
        let offset =
            self.cluster.offset(topic, partition, Place::Time(time), committed).await.map_err(failed)?;
        match offset {
            Some(offset) => Ok(offset),
            None => self.latest(topic, partition).await,
        }
    }

    /// Makes sure that a split's position still exists, or applies `on_data_loss`.
    pub(crate) async fn check_position(&self, split: &mut KafkaSplit) -> Result<()> {
        let topics = self.cluster.topics(Some(std::slice::from_ref(&split.topic))).await.map_err(failed)?;
        let Some(topic) = topics.first().filter(|topic| topic.partitions.contains(&split.partition)) else {
            let why = "a partition that is being read does not exist any more";
            return Err(Error::new(ErrorKind::NotFound, "read from Kafka", why)
                .with("topic", &split.topic)
                .with("partition", split.partition)
                .with("offset", split.offset));
        };
        let first = self.earliest(&split.topic, split.partition).await?;
        let loss = match recreated(split, &topic.id) {
            Err(loss) => Some(loss),
            Ok(()) if split.offset < first => {
                let lost = first - split.offset;
                let why = "records that were to be read no longer exist";
                Some(data_loss(split, why).with("lost_records", lost).with("first_offset", first))
            }
            Ok(()) => {
                let end = self.cluster.offset(&split.topic, split.partition, Place::Latest, false).await;
                let end = end.map_err(failed)?.unwrap_or(0);
                let why = "the position lies behind the end of the partition: its end was lost";
                (split.offset > end).then(|| data_loss(split, why).with("end_offset", end))
            }
        };
        let Some(loss) = loss else { return Ok(()) };
        match self.config.on_data_loss {
            OnDataLoss::Fail => return Err(loss),
            OnDataLoss::Warn => tracing::warn!("{loss}; going on with the first record that exists"),
            OnDataLoss::Ignore => {}
        }
        metrics::counter!("tidelock_kafka_data_losses").increment(1);
        split.offset = first;
        split.topic_id.clone_from(&topic.id);
        Ok(())
    }
}

fn data_loss(split: &KafkaSplit, why: &str) -> Error {
    Error::new(ErrorKind::Expired, "read from Kafka", why)
        .with("topic", &split.topic)
        .with("partition", split.partition)
        .with("offset", split.offset)
}

fn recreated(split: &KafkaSplit, topic_id: &str) -> Result<()> {
    if split.topic_id == topic_id {
        return Ok(());
    }
    let why = "the topic was deleted and made again: the position belongs to the old one";
    Err(data_loss(split, why).with("topic_id_was", &split.topic_id).with("topic_id_is", topic_id))
}

#[async_trait]
impl Source for KafkaSource {
    type Record = KafkaRecord;
    type Split = KafkaSplit;
    type Reader = KafkaReader;

    async fn discover(&self, known: &Known<KafkaSplit>) -> Result<Discovery<KafkaSplit>> {
        let shared = &self.shared;
        let bounded = shared.config.stop != Stop::Never;
        let nothing_known = known.active.is_empty() && known.finished.is_empty();
        if bounded && !known.first_run && !nothing_known {
            // Where it ends was decided with the first splits: what appears later is not part of it.
            return Ok(Discovery { complete: true, ..Discovery::default() });
        }
        let topics = shared.subscribed(known.first_run).await?;
        shared.check_recreated(&topics, &known.active)?;
        let mut ids: BTreeSet<_> = known.active.iter().map(Split::id).collect();
        ids.extend(known.finished.iter().cloned());
        let mut wanted = Vec::new();
        for topic in &topics {
            for partition in &topic.partitions {
                if !ids.contains(&KafkaSplit::id_of(&topic.name, *partition)) {
                    wanted.push(shared.resolve(topic, *partition, known.first_run));
                }
            }
        }
        let found: Vec<_> = stream::iter(wanted).buffered(AT_ONCE).try_collect().await?;
        Ok(Discovery { new: found.into_iter().flatten().collect(), forget: Vec::new(), complete: bounded })
    }

    async fn open(&self, mut split: KafkaSplit) -> Result<KafkaReader> {
        self.shared.check_position(&mut split).await?;
        KafkaReader::open(Arc::clone(&self.shared), split).await
    }

    async fn acknowledge(&self, durable: &[KafkaSplit]) -> Result<()> {
        let Some(group) = &self.shared.config.export_to_group else { return Ok(()) };
        // I2: for lag monitors alone, so a failure is no failure of the job.
        if let Err(fault) = self.shared.cluster.commit_group_offsets(group, durable).await {
            let error = fault.into_error("export positions to Kafka");
            tracing::warn!(%error, group, "positions were not exported");
            metrics::counter!("tidelock_kafka_exports_failed").increment(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_only() {
        let pattern = whole_name("a|flights-.*").expect("a pattern");
        assert!(pattern.is_match("flights-2013") && pattern.is_match("a"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("my-flights-2013"));
        assert!(whole_name("(").is_err());
    }

    #[test]
    fn a_topic_under_the_same_name_with_another_id_is_another_topic() {
        let split =
            KafkaSplit { topic: "t".into(), topic_id: "one".into(), partition: 0, offset: 9, stop: None };
        assert!(recreated(&split, "one").is_ok());
        let error = recreated(&split, "two").expect_err("another").to_string();
        assert!(error.contains("made again") && error.contains("offset=9"), "{error}");
    }
}
