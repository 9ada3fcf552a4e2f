//! Over which connection a subscription goes.

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use tidelock::Result;
use tidelock_aws::AwsConfig;
use tokio::sync::Mutex;

use crate::client::client;

/// Subscriptions that share a connection. By HTTP/2 they all go over one, and a client opens no second one where the service takes no more on it: they
/// would wait for one another. A server takes a hundred at least (RFC 9113, 6.5.2), and half of it leaves room for those that have just ended.
const SEATS: usize = 50;

/// The connections of a source.
#[derive(Debug)]
pub(crate) struct Connections {
    config: AwsConfig,
    clients: Mutex<Vec<Arc<Client>>>,
}

/// The place of a subscription on a connection. It is free again when the seat is dropped.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    client: Arc<Client>,
}

impl Seat {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

impl Connections {
    pub(crate) fn new(config: AwsConfig) -> Self {
        Self { config, clients: Mutex::default() }
    }

    /// A seat on a connection that has a free one: where there is none, on a new connection.
    pub(super) async fn seat(&self) -> Result<Seat> {
        let mut clients = self.clients.lock().await;
        // One of those that count is ours.
        if let Some(client) = clients.iter().find(|client| Arc::strong_count(client) <= SEATS) {
            return Ok(Seat { client: Arc::clone(client) });
        }
        let client = Arc::new(client(&self.config).await?);
        clients.push(Arc::clone(&client));
        Ok(Seat { client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_has_so_many_seats_and_those_that_get_free_are_taken_again() {
        let mut config = AwsConfig::new().with_credentials("key", "secret");
        (config.region, config.endpoint) = (Some("eu-central-1".into()), Some("http://127.0.0.1:1".into()));
        let connections = Connections::new(config);
        let mut seats = Vec::new();
        for _ in 0..2 * SEATS + 1 {
            seats.push(connections.seat().await.expect("a seat"));
        }
        assert_eq!(connections.clients.lock().await.len(), 3);
        seats.drain(..SEATS);
        for _ in 0..2 * SEATS - 1 {
            seats.push(connections.seat().await.expect("a seat"));
        }
        assert_eq!(connections.clients.lock().await.len(), 3);
    }
}
