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
use tidelock::{Discovery, Error, ErrorKind, Known, Result, Source, Split, SplitId};

use crate::config::{KafkaSourceConfig, OnDataLoss, Start, Stop, Subscription, refuse};
use crate::control::cluster::Cluster;
use crate::control::offsets::Place;
use crate::control::topics::Topic;
use crate::position::{Position, Reading, failed, recreated};
use crate::properties::Properties;
use crate::reader::KafkaReader;
use crate::record::KafkaRecord;
use crate::split::KafkaSplit;

/// Partitions whose positions are asked for at once.
const AT_ONCE: usize = 16;

/// Reads records from Kafka.
pub struct KafkaSource {
    reading: Arc<Reading>,
    pattern: Option<Regex>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("config", &self.reading.config).finish_non_exhaustive()
    }
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
        Ok(Self { reading: Arc::new(Reading::new(config, cluster)), pattern })
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.reading.config.properties
    }

    fn config(&self) -> &KafkaSourceConfig {
        &self.reading.config
    }
}

/// A pattern must match a topic's whole name.
fn whole_name(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| refuse("subscription", "the pattern is no regular expression").because(error))
}

impl KafkaSource {
    /// The topics that are subscribed to, with the partitions that are.
    async fn subscribed(&self, first_run: bool) -> Result<Vec<Topic>> {
        let cluster = &self.reading.cluster;
        let names: Vec<String> = match &self.config().subscription {
            Subscription::Pattern(_) => {
                let mut all = cluster.topics(None).await.map_err(failed)?;
                all.retain(|topic| !topic.internal);
                return Ok(self.without_others(all));
            }
            Subscription::Topics(topics) => topics.clone(),
            Subscription::Partitions(partitions) => partitions.keys().cloned().collect(),
        };
        let found = cluster.topics(Some(&names)).await.map_err(failed)?;
        let missing = names.iter().find(|name| !found.iter().any(|topic| topic.name == **name));
        if let Some(name) = missing.filter(|_| first_run) {
            let why = "a topic does not exist";
            return Err(Error::new(ErrorKind::NotFound, "find partitions in Kafka", why).with("topic", name));
        }
        if let Subscription::Partitions(wanted) = &self.config().subscription {
            for topic in &found {
                let wanted = wanted.get(&topic.name).map(Vec::as_slice).unwrap_or_default();
                if let Some(missing) = wanted.iter().find(|one| !topic.partitions.contains(one)) {
                    self.missing(&topic.name, *missing, first_run)?;
                }
            }
        }
        Ok(self.without_others(found))
    }

    /// A partition that was asked for by name does not exist. Later it may have been lost with its topic.
    fn missing(&self, topic: &str, partition: i32, first_run: bool) -> Result<()> {
        let why = "a partition does not exist";
        let error = Error::new(ErrorKind::NotFound, "find partitions in Kafka", why)
            .with("topic", topic)
            .with("partition", partition);
        if first_run || self.config().on_data_loss == OnDataLoss::Fail {
            return Err(error);
        }
        tracing::debug!(%error, "it is not read");
        Ok(())
    }

    /// Takes out what is not subscribed to, or dropped.
    fn without_others(&self, mut topics: Vec<Topic>) -> Vec<Topic> {
        for Topic { name, partitions, .. } in &mut topics {
            partitions.retain(|one| self.is_subscribed(name, *one) && !self.config().drops(name, *one));
        }
        topics.retain(|topic| !topic.partitions.is_empty());
        topics
    }

    /// Whether a partition is subscribed to, wherever it is.
    fn is_subscribed(&self, topic: &str, partition: i32) -> bool {
        match &self.config().subscription {
            Subscription::Pattern(_) => self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(topic)),
            Subscription::Topics(topics) => topics.iter().any(|one| one == topic),
            Subscription::Partitions(all) => all.get(topic).is_some_and(|some| some.contains(&partition)),
        }
    }

    /// What is in the snapshot is subscribed to, or dropped by name: going on with it would surprise as much as losing its
    /// position.
    fn check_subscribed(&self, active: &[KafkaSplit]) -> Result<()> {
        let is_placed = |split: &&KafkaSplit| {
            let KafkaSplit { topic, partition, .. } = *split;
            self.is_subscribed(topic, *partition) || self.config().drops(topic, *partition)
        };
        let Some(split) = active.iter().find(|split| !is_placed(split)) else { return Ok(()) };
        let why = "a topic in the snapshot is no longer subscribed to";
        Err(refuse("subscription", why)
            .with("topic", &split.topic)
            .with("partition", split.partition)
            .with("offset", split.offset)
            .with("remedy", format_args!("subscribe to it, or name it in drop_splits, as {:?}", split.topic)))
    }

    /// The finished splits that leave the snapshot. In a source that has an end: those that are dropped. In one that has
    /// none, where `listed` has what is there: all, for a split of it ends only where its partition was gone, or dropped.
    fn forgotten(&self, known: &Known<KafkaSplit>, listed: Option<&[Topic]>) -> Result<Vec<SplitId>> {
        let mut forgotten = Vec::new();
        for id in &known.finished {
            let Some((topic, partition)) = KafkaSplit::place_of(id) else { continue };
            if self.config().drops(topic, partition) {
                forgotten.push(id.clone());
                continue;
            }
            let Some(listed) = listed else { continue };
            // Where its end is not in the snapshot yet, this is asked again.
            let Some(ended) = known.ended.iter().find(|split| split.id() == *id) else { continue };
            let same = |one: &&Topic| one.name == topic && one.partitions.contains(&partition);
            let is_same = listed.iter().find(same).is_some_and(|one| ended.is_of(&one.id));
            if is_same && ended.stop.is_some() {
                let why = "a partition was read to its stop, and the source has none now: nobody asked for the rest";
                let remedy = format!(
                    "give the source its stop again, or name it in drop_splits, as {:?}",
                    id.as_str()
                );
                return Err(refuse("stop", why).with("split", id).with("remedy", remedy));
            }
            forgotten.push(id.clone());
        }
        Ok(forgotten)
    }

    /// A position that was read in a topic says nothing about another topic under the same name.
    fn check_recreated(&self, topics: &[Topic], active: &[KafkaSplit]) -> Result<()> {
        if self.config().on_data_loss != OnDataLoss::Fail {
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
        let start = if resolve_start { &self.config().start } else { &Start::Earliest };
        let offset = match start {
            Start::Earliest => self.reading.earliest(name, partition).await?,
            Start::Latest => self.latest(name, partition).await?,
            Start::Timestamp(time) => self.at_time(name, partition, *time).await?,
            Start::Group(group) => {
                let place = (name.to_owned(), partition);
                let mut committed = self
                    .reading
                    .cluster
                    .group_offsets(group, std::slice::from_ref(&place))
                    .await
                    .map_err(failed)?;
                match committed.remove(&place) {
                    Some(offset) => offset,
                    None => self.reading.earliest(name, partition).await?,
                }
            }
            Start::Offsets(given) => match given.get(name).and_then(|of_topic| of_topic.get(&partition)) {
                Some(offset) => *offset,
                None => self.reading.earliest(name, partition).await?,
            },
        };
        let stop = match &self.config().stop {
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

    /// The end that a reader sees: with `read_committed`, before the first transaction that is not
    /// decided.
    async fn latest(&self, topic: &str, partition: i32) -> Result<i64> {
        let committed = !self.config().read_uncommitted;
        let offset =
            self.reading.cluster.offset(topic, partition, Place::Latest, committed).await.map_err(failed)?;
        Ok(offset.unwrap_or(0))
    }

    async fn at_time(&self, topic: &str, partition: i32, time: i64) -> Result<i64> {
        let committed = !self.config().read_uncommitted;
        let offset = self
            .reading
            .cluster
            .offset(topic, partition, Place::Time(time), committed)
            .await
            .map_err(failed)?;
        match offset {
            Some(offset) => Ok(offset),
            None => self.latest(topic, partition).await,
        }
    }
}

#[async_trait]
impl Source for KafkaSource {
    type Record = KafkaRecord;
    type Split = KafkaSplit;
    type Reader = KafkaReader;

    async fn discover(&self, known: &Known<KafkaSplit>) -> Result<Discovery<KafkaSplit>> {
        let bounded = self.config().stop != Stop::Never;
        let nothing_known = known.active.is_empty() && known.finished.is_empty();
        self.check_subscribed(&known.active)?;
        if bounded && !known.first_run && !nothing_known {
            // Where it ends was decided with the first splits: what appears later is not part of it.
            let forget = self.forgotten(known, None)?;
            return Ok(Discovery { complete: true, forget, ..Discovery::default() });
        }
        let topics = self.subscribed(known.first_run).await?;
        self.check_recreated(&topics, &known.active)?;
        let forget = self.forgotten(known, (!bounded).then_some(&topics))?;
        let mut ids: BTreeSet<_> = known.active.iter().map(Split::id).collect();
        ids.extend(known.finished.iter().cloned());
        let mut wanted = Vec::new();
        for topic in &topics {
            for partition in &topic.partitions {
                if !ids.contains(&KafkaSplit::id_of(&topic.name, *partition)) {
                    wanted.push(self.resolve(topic, *partition, known.first_run));
                }
            }
        }
        let found: Vec<_> = stream::iter(wanted).buffered(AT_ONCE).try_collect().await?;
        Ok(Discovery { new: found.into_iter().flatten().collect(), forget, complete: bounded })
    }

    async fn open(&self, mut split: KafkaSplit) -> Result<KafkaReader> {
        let position = if self.config().drops(&split.topic, split.partition) {
            let KafkaSplit { topic, partition, offset, .. } = &split;
            tracing::warn!(topic, partition, offset, "dropped by name: it is read no more");
            Position::Gone
        } else {
            self.reading.check_position(&mut split).await?
        };
        KafkaReader::open(Arc::clone(&self.reading), split, position).await
    }

    async fn acknowledge(&self, durable: &[KafkaSplit]) -> Result<()> {
        let Some(group) = &self.config().export_to_group else { return Ok(()) };
        // I2: for lag monitors alone, so a failure is no failure of the job.
        if let Err(fault) = self.reading.cluster.commit_group_offsets(group, durable).await {
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
}
