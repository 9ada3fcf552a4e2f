//! Topics, their partitions and ids, and settings of brokers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeProducersRequest, DescribeTransactionsRequest,
    ListTransactionsRequest,
};
use kafka_protocol::protocol::StrBytes;
use tidelock::{Error, ErrorKind};

use super::cluster::{Cluster, patiently};
use super::fault::Fault;

/// `TOPIC` among the kinds of resources that have settings.
const RESOURCE_TOPIC: i8 = 2;

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

    /// The name of the cluster, made when it was.
    pub(crate) async fn cluster_id(&self) -> Result<String, Fault> {
        let answer = patiently(|| self.metadata(Some(&[]))).await?;
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
