//! The producers that partitions know, with their open transactions.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use kafka_protocol::messages::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::PartitionResponse;
use tidelock::{Error, ErrorKind, Retry};

use super::cluster::{AT_ONCE, Cluster, patiently};
use super::connection::Address;
use super::fault::Fault;
use super::offsets::topic_name;

/// A producer that a partition knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActiveProducer {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i32,
    /// The epoch of the coordinator that last ended a transaction of it here; -1 where none did.
    pub(crate) coordinator_epoch: i32,
    /// Where its open transaction begins in this partition, if it has one.
    pub(crate) open_since: Option<i64>,
}

impl Cluster {
    /// The producers that each of these topics and partitions knows, in the same order. Each leader is asked
    /// once, for all partitions that it leads.
    pub(crate) async fn producers(&self, places: &[(&str, i32)]) -> Result<Vec<Vec<ActiveProducer>>, Fault> {
        patiently(|| async {
            let asks = self.by_leader(places).await?.into_iter();
            let asks: Vec<_> = asks.map(|(leader, led)| self.producers_at(leader, led)).collect();
            let answers: Vec<_> = stream::iter(asks).buffer_unordered(AT_ONCE).try_collect().await?;
            in_order(places, answers.into_iter().flatten().collect())
        })
        .await
    }

    /// Asks one leader.
    async fn producers_at(
        &self,
        leader: Address,
        led: Vec<(&str, i32)>,
    ) -> Result<Vec<((String, i32), Vec<ActiveProducer>)>, Fault> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &led {
            topics.entry(topic).or_default().push(*partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(partitions)
        });
        let request = DescribeProducersRequest::default().with_topics(topics.collect());
        let answer = self
            .ask_leader_of(&led, &leader, &request, 0, |answer| {
                let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.map(|partition| partition.error_code).find(|code| *code != 0).unwrap_or(0)
            })
            .await?;
        let found = answer.topics.into_iter().flat_map(|topic| {
            let name = topic.name.to_string();
            let known = |one: PartitionResponse| ((name.clone(), one.partition_index), known_in(one));
            topic.partitions.into_iter().map(known).collect::<Vec<_>>()
        });
        Ok(found.collect())
    }
}

fn known_in(partition: PartitionResponse) -> Vec<ActiveProducer> {
    let producers = partition.active_producers.into_iter().map(|producer| ActiveProducer {
        producer_id: producer.producer_id.0,
        producer_epoch: producer.producer_epoch,
        coordinator_epoch: producer.coordinator_epoch,
        open_since: (producer.current_txn_start_offset >= 0).then_some(producer.current_txn_start_offset),
    });
    producers.collect()
}

/// No answer must never look like a partition that knows no producer: that would be a commit that is visible.
fn in_order(
    places: &[(&str, i32)],
    mut known: BTreeMap<(String, i32), Vec<ActiveProducer>>,
) -> Result<Vec<Vec<ActiveProducer>>, Fault> {
    let known = places.iter().map(|(topic, partition)| {
        known.remove(&((*topic).to_owned(), *partition)).ok_or_else(|| {
            let why = "the broker's answer leaves out a partition that was asked for";
            let error = Error::new(ErrorKind::Other, "ask Kafka for producers", why);
            let error = error.with_retry(Retry::Restart).with("topic", topic);
            Fault::Final(error.with("partition", partition))
        })
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_an_answer_leaves_out_is_not_one_without_producers() {
        let producer = |producer_id| ActiveProducer {
            producer_id,
            producer_epoch: 0,
            coordinator_epoch: -1,
            open_since: None,
        };
        let known =
            || BTreeMap::from([(("t".to_owned(), 1), vec![producer(7)]), (("t".to_owned(), 0), vec![])]);
        let found = in_order(&[("t", 1), ("t", 0)], known()).expect("both are there");
        assert_eq!(found, [vec![producer(7)], vec![]]);
        let Err(Fault::Final(error)) = in_order(&[("t", 1), ("u", 0)], known()) else {
            panic!("it is left out")
        };
        assert!(
            error.to_string().contains("topic=u") && error.to_string().contains("partition=0"),
            "{error}"
        );
    }
}
