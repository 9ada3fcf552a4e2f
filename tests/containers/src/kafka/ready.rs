//! Waits until a broker serves: it answers, and knows the brokers that it should know.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Broker, wire};
use crate::{Error, Result};

/// A broker needs 5 s on an idle machine, and several may start at once on a busy one.
const READY_MAX: Duration = Duration::from_secs(180);

/// A broker that is starting accepts connections some time before it answers.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the broker lists all these.
pub(super) async fn wait(broker: &Broker, expected: &[i32]) -> Result<()> {
    let operation = format!("wait for Kafka broker {}", broker.id);
    let address = broker.ports.plain.address();
    let deadline = Instant::now() + READY_MAX;
    loop {
        let last = match timeout(ANSWER_MAX, wire::known_brokers(&address)).await {
            Ok(Ok(known)) if expected.iter().all(|id| known.contains(id)) => return Ok(()),
            Ok(Ok(known)) => format!("it knows the brokers {known:?} of {expected:?}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        let ended = !broker.container.is_running().await?;
        if ended || Instant::now() > deadline {
            let log = broker.container.log().await;
            let state = if ended {
                "its container ended".to_owned()
            } else {
                format!("not ready after {} s: {last}", READY_MAX.as_secs())
            };
            return Err(Error::new(operation, format!("{state}; the end of its log:\n{log}")));
        }
        sleep(PAUSE).await;
    }
}
