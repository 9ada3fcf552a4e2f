//! When a broker serves: it answers, and knows the brokers that it should know.

use super::{Broker, wire};
use crate::Result;
use crate::ready::until;

/// Waits until the broker lists all these.
pub(super) async fn wait(broker: &Broker, expected: &[i32]) -> Result<()> {
    let address = &broker.ports.plain.address();
    until(&broker.container, format!("Kafka broker {}", broker.id), || async move {
        let known = wire::known_brokers(address).await.map_err(|error| error.to_string())?;
        if expected.iter().all(|id| known.contains(id)) {
            return Ok(());
        }
        Err(format!("it knows the brokers {known:?} of {expected:?}"))
    })
    .await
}
