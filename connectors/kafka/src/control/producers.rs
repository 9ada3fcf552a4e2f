//! The producers that partitions know, with their open transactions.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::PartitionResponse;
use tidelock::{Error, ErrorKind, Retry};

use super::cluster::{AT_ONCE, Cluster, patiently};
use super::connection::Address;
use super::fault::Fault;
use super::names::topic_name;

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

/// What a partition says of its producers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Producers {
    /// It knows these.
    Known(Vec<ActiveProducer>),
    /// There is no such partition any more, nor anything that was in it: its topic was deleted, and perhaps made
    /// again with fewer partitions.
    Gone,
}

impl Cluster {
    /// The producers that each of these topics and partitions knows, in the same order. Each leader is asked
    /// once, for all partitions that it leads.
    pub(crate) async fn producers(&self, places: &[(&str, i32)]) -> Result<Vec<Producers>, Fault> {
        patiently(|| async {
            match self.producers_of(places).await {
                // Of one that is not there, or that is not known to have a leader: which of both, is found out.
                Err(Fault::Code(
                    code @ (ResponseError::UnknownTopicOrPartition | ResponseError::LeaderNotAvailable),
                )) => {
                    let gone = self.gone(places).await?;
                    if gone.is_empty() {
                        return Err(Fault::Code(code));
                    }
                    let there: Vec<_> =
                        places.iter().filter(|place| !gone.contains(*place)).copied().collect();
                    let mut known = self.producers_of(&there).await?.into_iter();
                    let one = |place| if gone.contains(place) { Some(Producers::Gone) } else { known.next() };
                    Ok(places.iter().filter_map(one).collect())
                }
                known => known,
            }
        })
        .await
    }

    async fn producers_of(&self, places: &[(&str, i32)]) -> Result<Vec<Producers>, Fault> {
        let asks = self.by_leader(places).await?.into_iter();
        let asks: Vec<_> = asks.map(|(leader, led)| self.producers_at(leader, led)).collect();
        let answers: Vec<_> = stream::iter(asks).buffer_unordered(AT_ONCE).try_collect().await?;
        in_order(places, answers.into_iter().flatten().collect())
    }

    /// Asks one leader. Where its answer is too large for all of the partitions, it is asked for fewer.
    async fn producers_at(
        &self,
        leader: Address,
        led: Vec<(&str, i32)>,
    ) -> Result<Vec<((String, i32), Vec<ActiveProducer>)>, Fault> {
        let mut found = Vec::with_capacity(led.len());
        let mut to_ask = vec![&led[..]];
        while let Some(some) = to_ask.pop() {
            match self.ask_for_producers(&leader, some).await {
                Err(fault @ Fault::TooLarge { .. }) => match some {
                    [(topic, partition)] => return Err(too_many(fault, topic, *partition)),
                    _ => {
                        let (first, second) = some.split_at(some.len() / 2);
                        to_ask.extend([second, first]);
                    }
                },
                answer => found.extend(answer?),
            }
        }
        Ok(found)
    }

    async fn ask_for_producers(
        &self,
        leader: &Address,
        led: &[(&str, i32)],
    ) -> Result<Vec<((String, i32), Vec<ActiveProducer>)>, Fault> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in led {
            topics.entry(topic).or_default().push(*partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(partitions)
        });
        let request = DescribeProducersRequest::default().with_topics(topics.collect());
        let answer = self
            .ask_leader_of(led, leader, &request, 0, |answer| {
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

/// Restarting cannot help, nor waiting for less than the time after which brokers forget producers.
fn too_many(fault: Fault, topic: &str, partition: i32) -> Fault {
    let why = "a partition knows so many producers that its answer is larger than what is read of one answer";
    let remedy = "lower producer.id.expiration.ms of the brokers, which forget idle producers after it, and find out \
                  who makes a new producer for each few records";
    let error = Error::new(ErrorKind::Config, "ask Kafka for producers", why)
        .with("topic", topic)
        .with("partition", partition)
        .with("remedy", remedy);
    Fault::Final(error.because(fault.into_error("ask Kafka for producers")))
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
) -> Result<Vec<Producers>, Fault> {
    let known = places.iter().map(|(topic, partition)| {
        known.remove(&((*topic).to_owned(), *partition)).map(Producers::Known).ok_or_else(|| {
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
    use kafka_protocol::messages::describe_producers_response::{ProducerState, TopicResponse};
    use kafka_protocol::messages::{ApiKey, DescribeProducersResponse};
    use kafka_protocol::protocol::Decodable;

    use super::*;
    use crate::control::fake::{FakeBroker, Reply, metadata};

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
        assert_eq!(found, [Producers::Known(vec![producer(7)]), Producers::Known(vec![])]);
        let Err(Fault::Final(error)) = in_order(&[("t", 1), ("u", 0)], known()) else {
            panic!("it is left out")
        };
        assert!(
            error.to_string().contains("topic=u") && error.to_string().contains("partition=0"),
            "{error}"
        );
    }

    /// A broker that leads two partitions, of which these know too many producers to be told in one answer with others.
    async fn crowded(alone_too: bool) -> (FakeBroker, Cluster) {
        let broker = FakeBroker::start(move |own, (key, version, mut body)| match key {
            ApiKey::Metadata => Reply::of(&metadata(&[own], 2), version),
            ApiKey::DescribeProducers => {
                let asked = DescribeProducersRequest::decode(&mut body, version).expect("a request");
                let partitions = &asked.topics[0].partition_indexes;
                if partitions.len() > 1 || (alone_too && partitions == &[1]) {
                    return Reply::Size(1 << 30);
                }
                let producer = ProducerState::default().with_producer_id(i64::from(partitions[0]).into());
                let partition = PartitionResponse::default()
                    .with_partition_index(partitions[0])
                    .with_active_producers(vec![producer]);
                let topic =
                    TopicResponse::default().with_name(topic_name("t")).with_partitions(vec![partition]);
                Reply::of(&DescribeProducersResponse::default().with_topics(vec![topic]), version)
            }
            other => panic!("nobody asks for {other:?}"),
        })
        .await;
        let cluster = Cluster::new(&broker.properties()).expect("settings");
        (broker, cluster)
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_for_two_partitions_is_asked_for_one_by_one() {
        let (broker, cluster) = crowded(false).await;
        let found = cluster.producers(&[("t", 0), ("t", 1)]).await.expect("both");
        let ids = found.iter().map(|one| match one {
            Producers::Known(known) => known[0].producer_id,
            Producers::Gone => -1,
        });
        assert_eq!(ids.collect::<Vec<_>>(), [0, 1]);
        assert_eq!(broker.count(ApiKey::DescribeProducers), 3);
    }

    #[tokio::test]
    async fn a_partition_that_knows_too_many_producers_is_named_and_is_no_lost_connection() {
        let (_broker, cluster) = crowded(true).await;
        let fault = cluster.producers(&[("t", 0), ("t", 1)]).await.expect_err("too many");
        let error = fault.into_error("test");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt), "{error:?}");
        let text = error.to_string();
        for part in ["topic=t", "partition=1", "producer.id.expiration.ms"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
