//! Leads librdkafka back to brokers that it gave up.
//!
//! A broker that is fenced is missing in the metadata, and librdkafka gives up every broker that is missing there. After
//! the last one it is to begin again with `bootstrap.servers`. But the answer that lists no broker also cancels what is
//! planned for that, where it is planned a moment too early; and without a broker it never asks again. So by its source,
//! in 2.12.1 as in 2.15.0, and [as others report](https://github.com/confluentinc/librdkafka/issues/5301). What it leaves
//! behind is silence: a consumer that reads nothing any more, a producer that sends nothing.

use std::ffi::CString;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;

use crate::native::add_brokers;
use crate::properties::BOOTSTRAP_SERVERS;

/// How long librdkafka is left alone after it lost all brokers: time to do it by itself.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// The servers to begin with, and whether to begin again.
pub(crate) struct Bootstrap {
    servers: CString,
    /// When all brokers were lost, until the servers are added.
    lost: Mutex<Option<Instant>>,
}

impl Bootstrap {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let servers = BOOTSTRAP_SERVERS.iter().find_map(|name| config.get(name)).unwrap_or_default();
        // librdkafka refuses a setting with a zero byte before this is ever used.
        Self { servers: CString::new(servers).unwrap_or_default(), lost: Mutex::new(None) }
    }

    /// Takes note of an error that a client reports.
    pub(crate) fn note(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    }

    /// Adds the servers again, where all brokers were lost. For the thread that serves the client's events, again
    /// and again.
    pub(crate) fn serve<C: ClientContext>(&self, client: &Client<C>) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.take_if(|since| since.elapsed() > LEFT_ALONE).is_none() {
            return;
        }
        let added = add_brokers(client, &self.servers);
        tracing::debug!(target: "librdkafka", added, "all brokers were lost: the bootstrap servers are added again");
    }
}

#[cfg(test)]
mod tests;
