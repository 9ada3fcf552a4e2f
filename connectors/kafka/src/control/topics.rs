//! Topics, their partitions and ids, and settings of brokers.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeProducersRequest, DescribeTransactionsRequest,
    ListTransactionsRequest, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;
use tidelock::{Error, ErrorKind};
use tokio::time::sleep;

use super::cluster::{Cluster, METADATA_NEWEST, PATIENCE, metadata_request, patiently};
use super::connection::Connection;
use super::fault::Fault;

/// `TOPIC` among the kinds of resources that have settings.
const RESOURCE_TOPIC: i8 = 2;

/// How often all brokers must say that a partition does not exist.
const GONE_LOOKS: usize = 2;

/// Between two such looks: longer than brokers take to learn of a change.
const GONE_PAUSE: Duration = Duration::from_secs(1);

/// `BROKER` among the kinds of resources that have settings.
const RESOURCE_BROKER: i8 = 4;

/// A topic as the cluster describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// New for each topic that is created, also under a name that was there before. Zeros where the
    /// broker keeps no ids.
    pub(crate) id: String,
    pub(crate) partitions: Vec<i32>,
    pub(crate) internal: bool,
}

impl Cluster {
    /// Describes topics; `None` describes all. A topic that does not exist is left out.
    pub(crate) async fn topics(&self, names: Option<&[String]>) -> Result<Vec<Topic>, Fault> {
        let answer = patiently(|| async {
            let answer = self.metadata(names).await?;
            let passing = |code: ResponseError| match code {
                ResponseError::UnknownTopicOrPartition => Ok(()),
                code => Err(Fault::Code(code)),
            };
            let mut codes =
                answer.topics.iter().filter_map(|topic| ResponseError::try_from_code(topic.error_code));
            codes.try_for_each(passing)?;
            Ok(answer)
        })
        .await?;
        let found = answer.topics.into_iter().filter(|topic| topic.error_code == 0).filter_map(|topic| {
            let mut partitions: Vec<_> = topic.partitions.iter().map(|one| one.partition_index).collect();
            partitions.sort_unstable();
            let name = topic.name?.to_string();
            Some(Topic { name, id: topic.topic_id.to_string(), partitions, internal: topic.is_internal })
        });
        Ok(found.collect())
    }

    /// Those of these topics and partitions that do not exist any more. One broker's metadata may be behind, and a
    /// broker that is starting may not know everything yet: so all of them must say it, and again a while later. A
    /// partition without a leader exists.
    pub(crate) async fn gone<'a>(
        &self,
        places: &[(&'a str, i32)],
    ) -> Result<BTreeSet<(&'a str, i32)>, Fault> {
        let mut gone: BTreeSet<_> = places.iter().copied().collect();
        for look in 0..GONE_LOOKS {
            if look > 0 {
                sleep(GONE_PAUSE).await;
            }
            let brokers = self.brokers().await?;
            if brokers.is_empty() {
                return Err(Fault::Code(ResponseError::LeaderNotAvailable));
            }
            for broker in brokers {
                let topics: BTreeSet<String> = gone.iter().map(|(topic, _)| (*topic).to_owned()).collect();
                if topics.is_empty() {
                    return Ok(gone);
                }
                let request = metadata_request(Some(&Vec::from_iter(topics)));
                let asked =
                    async |connection: &mut Connection| connection.call(&request, METADATA_NEWEST).await;
                let answer = self.on(&broker, asked).await?;
                Fault::check(answer.error_code)?;
                gone.retain(|(topic, partition)| lacks(&answer, topic, *partition));
            }
        }
        Ok(gone)
    }

    /// The name of the cluster, made when it was. Asked first of all, by whoever connects: so it says when
    /// nobody answers.
    pub(crate) async fn cluster_id(&self) -> Result<String, Fault> {
        let what = format!("the Kafka brokers {}", self.named());
        let asking = patiently(|| self.metadata(Some(&[])));
        let answer = tidelock::patiently(&what, PATIENCE, asking).await?;
        Ok(answer.cluster_id.map(|id| id.to_string()).unwrap_or_default())
    }

    /// A setting of the brokers, or `None` where we may not see it.
    pub(crate) async fn broker_setting(&self, name: &str) -> Result<Option<String>, Fault> {
        let brokers = patiently(|| self.metadata(Some(&[]))).await?.brokers;
        let Some(node) = brokers.first().map(|broker| broker.node_id.0) else { return Ok(None) };
        let resource = resource(RESOURCE_BROKER, &node.to_string(), name);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = patiently(|| async {
            let address = self.node(node).ok_or(Fault::Code(ResponseError::LeaderNotAvailable))?;
            self.on(&address, async |connection| connection.call(&request, 4).await).await
        })
        .await?;
        Ok(value_of(answer, name))
    }

    /// A setting of a topic, or `None` where we may not see it or there is no such topic yet.
    pub(crate) async fn topic_setting(&self, topic: &str, name: &str) -> Result<Option<String>, Fault> {
        let request =
            DescribeConfigsRequest::default().with_resources(vec![resource(RESOURCE_TOPIC, topic, name)]);
        Ok(value_of(patiently(|| self.ask_any(&request, 4)).await?, name))
    }

    /// Whether every broker knows what recovery needs.
    pub(crate) async fn check_features(&self) -> Result<(), Fault> {
        for broker in patiently(|| self.brokers()).await? {
            let missing = patiently(|| {
                self.on(&broker, async |connection| {
                    Ok(if !connection.knows::<DescribeTransactionsRequest>(0, 0) {
                        Some("DescribeTransactions")
                    } else if !connection.knows::<ListTransactionsRequest>(0, 0) {
                        Some("ListTransactions")
                    } else if !connection.knows::<DescribeProducersRequest>(0, 0) {
                        Some("DescribeProducers")
                    } else {
                        None
                    })
                })
            })
            .await?;
            if let Some(missing) = missing {
                let why = "the broker lacks what exactly-once needs to recover; Kafka 3.0 or newer has it";
                let error = Error::new(ErrorKind::Config, "connect to Kafka", why)
                    .with("broker", &broker)
                    .with("request", missing);
                return Err(Fault::Final(error));
            }
        }
        Ok(())
    }
}

/// Whether metadata prove that a partition does not exist, as far as the broker knows.
fn lacks(answer: &MetadataResponse, topic: &str, partition: i32) -> bool {
    let mut named = answer.topics.iter();
    let Some(found) = named.find(|one| one.name.as_ref().is_some_and(|name| &**name == topic)) else {
        return false;
    };
    match ResponseError::try_from_code(found.error_code) {
        Some(ResponseError::UnknownTopicOrPartition) => true,
        Some(_) => false,
        None => found.partitions.iter().all(|one| one.partition_index != partition),
    }
}

fn resource(kind: i8, name: &str, setting: &str) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(Some(vec![StrBytes::from_string(setting.to_owned())]))
}

fn value_of(answer: DescribeConfigsResponse, setting: &str) -> Option<String> {
    let good = answer.results.into_iter().filter(|result| result.error_code == 0);
    let mut settings = good.flat_map(|result| result.configs);
    settings.find(|config| &*config.name == setting)?.value.map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

    use super::*;
    use crate::control::names::topic_name;

    #[test]
    fn only_a_broker_that_knows_the_topic_or_denies_it_proves_that_a_partition_is_gone() {
        let answer = |error_code, partitions: &[i32]| {
            let partitions = partitions.iter();
            let partition = |index: &i32| MetadataResponsePartition::default().with_partition_index(*index);
            let topic = MetadataResponseTopic::default()
                .with_name(Some(topic_name("t")))
                .with_error_code(error_code)
                .with_partitions(partitions.map(partition).collect());
            MetadataResponse::default().with_topics(vec![topic])
        };
        let code = |code: ResponseError| code.code();
        assert!(lacks(&answer(code(ResponseError::UnknownTopicOrPartition), &[]), "t", 0));
        assert!(lacks(&answer(0, &[0]), "t", 1), "made again with fewer partitions");
        assert!(!lacks(&answer(0, &[0, 1]), "t", 1), "also where nobody leads it");
        assert!(!lacks(&answer(code(ResponseError::LeaderNotAvailable), &[]), "t", 0));
        assert!(!lacks(&answer(code(ResponseError::TopicAuthorizationFailed), &[]), "t", 0));
        assert!(!lacks(&answer(0, &[]), "u", 0), "the broker was not asked for it");
    }
}
