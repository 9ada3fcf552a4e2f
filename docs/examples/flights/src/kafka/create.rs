//! Makes topics.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use tidelock::{Error, ErrorKind, Result};

use super::Topic;

/// As many replicas as the brokers give a topic by default.
const REPLICAS_BY_DEFAULT: TopicReplication<'_> = TopicReplication::Fixed(-1);

/// Makes a topic where there is none of its name. One that is there stays as it is.
pub(super) async fn if_missing(topic: &Topic, partitions: i32) -> Result<()> {
    let failed = |why: String| Error::new(ErrorKind::Unavailable, "make a topic", why).with("topic", topic);
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .create()
        .map_err(|error: rdkafka::error::KafkaError| failed(error.to_string()))?;
    let new = NewTopic::new(topic.name(), partitions, REPLICAS_BY_DEFAULT);
    let made = admin.create_topics(&[new], &AdminOptions::new()).await;
    for one in made.map_err(|error| failed(error.to_string()))? {
        match one {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(code.to_string())),
        }
    }
    Ok(())
}
