//! The call that begins a subscription.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use tidelock::{Error, ErrorKind, Retry};
use tokio::time::timeout;

use super::fault::{Fault, SUBSCRIBE};
use crate::source::fetch::Place;

/// What comes by a subscription.
pub(super) type Events = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

/// Where a subscription begins, for as long as it takes to get one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beginning {
    Oldest,
    At(String),
    After(String),
    Time(i64),
}

impl Beginning {
    pub(super) fn of(place: Place<'_>) -> Self {
        match place {
            Place::Oldest => Self::Oldest,
            Place::At(number) => Self::At(number.to_owned()),
            Place::After(number) => Self::After(number.to_owned()),
            Place::Time(ms) => Self::Time(ms),
        }
    }

    pub(super) fn place(&self) -> Place<'_> {
        match self {
            Self::Oldest => Place::Oldest,
            Self::At(number) => Place::At(number),
            Self::After(number) => Place::After(number),
            Self::Time(ms) => Place::Time(*ms),
        }
    }

    fn of_wire(&self) -> StartingPosition {
        let (kind, number, time) = match self {
            Self::Oldest => (ShardIteratorType::TrimHorizon, None, None),
            Self::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number), None),
            Self::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number), None),
            Self::Time(ms) => (ShardIteratorType::AtTimestamp, None, Some(DateTime::from_millis(*ms))),
        };
        let position = StartingPosition::builder().r#type(kind).set_sequence_number(number.cloned());
        position.set_timestamp(time).build().expect("invariant: it has a type")
    }
}

/// Subscribes. The call waits for the first message, for which the SDK has no limit.
pub(super) async fn subscribe(
    client: &Client,
    consumer: &str,
    shard: &str,
    from: &Beginning,
    in_time: Duration,
) -> Result<Events, Fault> {
    let call = client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
    match timeout(in_time, call.starting_position(from.of_wire()).send()).await {
        Ok(Ok(answer)) => Ok(answer.event_stream),
        Ok(Err(answer)) => Err(Fault::of_call(answer)),
        Err(_) => {
            let why = "no answer in time: whether there is a subscription is unknown";
            Err(Fault::Other(Error::new(ErrorKind::Unavailable, SUBSCRIBE, why).with_retry(Retry::Retry)))
        }
    }
}
