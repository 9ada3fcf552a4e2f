//! What readers and the source have in common: the cluster, the consumer, and whether a position still exists.

use std::sync::Arc;

use tidelock::{Error, ErrorKind, Result, Retry};

use crate::config::{KafkaSourceConfig, OnDataLoss, Stop};
use crate::consumer::SharedConsumer;
use crate::control::cluster::{Cluster, patiently};
use crate::control::fault::Fault;
use crate::control::offsets::Place;
use crate::split::KafkaSplit;
use crate::watch::Watch;

/// What one source and its readers share.
pub(crate) struct Reading {
    pub(crate) config: KafkaSourceConfig,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) consumer: SharedConsumer,
    /// The topics that are read, looked at now and then.
    pub(crate) watch: Watch,
}

/// What became of a split's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// It can be read from: where it was, or where the policy moved it to.
    Exists,
    /// Its partition does not exist any more, and the policy is to go on without it.
    Gone,
}

/// What could not be found out about a partition. One that vanished between two questions is no reason to halt: the next
/// attempt finds it gone.
pub(crate) fn failed(fault: Fault) -> Error {
    let error = fault.into_error("find partitions in Kafka");
    if error.kind() == ErrorKind::NotFound { error.with_retry(Retry::Restart) } else { error }
}

impl Reading {
    pub(crate) fn new(config: KafkaSourceConfig, cluster: Cluster) -> Self {
        let cluster = Arc::new(cluster);
        let watch = Watch::new(&cluster);
        Self { config, cluster, consumer: SharedConsumer::default(), watch }
    }

    pub(crate) async fn earliest(&self, topic: &str, partition: i32) -> Result<i64> {
        let offset = self.cluster.offset(topic, partition, Place::Earliest, false).await.map_err(failed)?;
        Ok(offset.unwrap_or(0))
    }

    /// Makes sure that a split's position still exists, or applies `on_data_loss`.
    pub(crate) async fn check_position(&self, split: &mut KafkaSplit) -> Result<Position> {
        let topics = self.cluster.topics(Some(std::slice::from_ref(&split.topic))).await.map_err(failed)?;
        let Some(topic) = topics.first() else {
            let place = [(split.topic.as_str(), split.partition)];
            if !patiently(|| self.cluster.gone(&place)).await.map_err(failed)?.is_empty() {
                return self.gone(split);
            }
            let why = "a broker does not know a topic that others know: it begins, or lags behind";
            return Err(
                Error::new(ErrorKind::Unavailable, "read from Kafka", why).with("topic", &split.topic)
            );
        };
        let recreated = recreated(split, &topic.id);
        if !topic.partitions.contains(&split.partition) {
            if let Err(loss) = recreated {
                self.accept(loss, "it has no such partition now, which is forgotten")?;
                return Ok(Position::Gone);
            }
            let why = "a partition is not listed, although its topic is the same";
            return Err(Error::new(ErrorKind::Unavailable, "read from Kafka", why)
                .with("topic", &split.topic)
                .with("partition", split.partition));
        }
        let first = self.earliest(&split.topic, split.partition).await?;
        let end = self.cluster.offset(&split.topic, split.partition, Place::Latest, false).await;
        let end = end.map_err(failed)?.unwrap_or(0);
        let is_another = recreated.is_err();
        let loss = match recreated {
            Err(loss) => Some(loss),
            Ok(()) if split.offset < first => {
                // What lay there cannot be looked at any more. A reader passes what no reader sees as soon as it
                // meets the end of the partition, so that here is at most what came after that.
                let lost = first - split.offset;
                let why = "records that were to be read no longer exist";
                Some(data_loss(split, why).with("lost_records", lost).with("first_offset", first))
            }
            Ok(()) if split.offset > end => {
                let why = "the position lies behind the end of the partition: its end was lost";
                Some(data_loss(split, why).with("end_offset", end))
            }
            Ok(()) => None,
        };
        match loss {
            Some(loss) => {
                self.accept(loss, "going on with the first record that exists")?;
                split.offset = first;
                split.topic_id.clone_from(&topic.id);
            }
            None => split.learn(&topic.id),
        }
        self.cut_stop(split, end, is_another)?;
        Ok(Position::Exists)
    }

    /// A stop that lies behind the end of its partition is waited for in vain: what lay before it was lost. An offset that
    /// was given may be one that is yet to come, unless it was given for another topic.
    fn cut_stop(&self, split: &mut KafkaSplit, end: i64, is_another: bool) -> Result<()> {
        let Some(stop) = split.stop.filter(|stop| *stop > end) else { return Ok(()) };
        if is_another {
            split.stop = Some(end);
        } else if self.stops_at_what_was_there() {
            let why =
                "the partition ends before the stop that it had when the job first started: its end was lost";
            let loss = data_loss(split, why).with("stop", stop).with("end_offset", end);
            self.accept(loss, "reading ends at the end that exists")?;
            split.stop = Some(end);
        }
        Ok(())
    }

    /// Whether stops are ends that partitions had.
    fn stops_at_what_was_there(&self) -> bool {
        matches!(self.config.stop, Stop::Latest | Stop::Timestamp(_))
    }

    /// Whether a bounded split waits for records that were lost.
    pub(crate) async fn is_behind_the_end(&self, split: &KafkaSplit) -> Result<bool, Fault> {
        let Some(stop) = split.stop.filter(|_| self.stops_at_what_was_there()) else { return Ok(false) };
        let end = self.cluster.offset(&split.topic, split.partition, Place::Latest, false).await?;
        Ok(end.is_some_and(|end| end < stop))
    }

    /// A partition does not exist any more: the policy decides.
    fn gone(&self, split: &KafkaSplit) -> Result<Position> {
        let why = "a partition that is being read does not exist any more: its topic was deleted";
        let remedy = format!("name it in drop_splits, as {:?}, or choose another on_data_loss", split.topic);
        let loss = Error::new(ErrorKind::NotFound, "read from Kafka", why)
            .with("topic", &split.topic)
            .with("partition", split.partition)
            .with("offset", split.offset)
            .with("remedy", remedy);
        self.accept(loss, "it is forgotten")?;
        Ok(Position::Gone)
    }

    /// Applies the policy: the loss is the error, or is told, or is not.
    fn accept(&self, loss: Error, then: &str) -> Result<()> {
        match self.config.on_data_loss {
            OnDataLoss::Fail => return Err(loss),
            OnDataLoss::Warn => tracing::warn!("{loss}; {then}"),
            OnDataLoss::Ignore => tracing::debug!("{loss}; {then}"),
        }
        metrics::counter!("tidelock_kafka_data_losses").increment(1);
        Ok(())
    }
}

fn data_loss(split: &KafkaSplit, why: &str) -> Error {
    Error::new(ErrorKind::Expired, "read from Kafka", why)
        .with("topic", &split.topic)
        .with("partition", split.partition)
        .with("offset", split.offset)
        .with("remedy", "with another on_data_loss it goes on with the first record that exists")
}

/// A position that was read in a topic says nothing about another topic under the same name.
pub(crate) fn recreated(split: &KafkaSplit, topic_id: &str) -> Result<()> {
    if split.is_of(topic_id) {
        return Ok(());
    }
    let why = "the topic was deleted and made again: the position belongs to the old one";
    Err(data_loss(split, why).with("topic_id_was", &split.topic_id).with("topic_id_is", topic_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_under_the_same_name_with_another_id_is_another_topic() {
        let split =
            KafkaSplit { topic: "t".into(), topic_id: "one".into(), partition: 0, offset: 9, stop: None };
        assert!(recreated(&split, "one").is_ok());
        let error = recreated(&split, "two").expect_err("another").to_string();
        assert!(error.contains("made again") && error.contains("offset=9"), "{error}");
    }
}
