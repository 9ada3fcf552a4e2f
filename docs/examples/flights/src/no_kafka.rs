//! What stands in the place of `kafka` in a build without it: no topic can be named.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tidelock::Result;

use crate::ends::{Flights, Flow, Rows};
use crate::options::Options;
use crate::pace::Pace;

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic(Infallible);

impl FromStr for Topic {
    type Err = String;

    fn from_str(_: &str) -> std::result::Result<Self, String> {
        Err("this program was built without Kafka. With it: cargo run --release -p flights --features kafka"
            .to_owned())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl Topic {
    pub(crate) fn name(&self) -> &str {
        match self.0 {}
    }
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn flights(_: &Options, topic: &Topic, _: Arc<Pace>) -> Result<Flights> {
    match topic.0 {}
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn rows(topic: &Topic) -> Result<Rows> {
    match topic.0 {}
}

#[allow(clippy::unused_async, reason = "the other build waits")]
pub(crate) async fn load(topic: &Topic, _: &str, _: Arc<Pace>) -> Result<Flow> {
    match topic.0 {}
}
