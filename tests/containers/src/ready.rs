//! Waits until a server serves.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::container::Container;
use crate::{Error, Result};

/// A broker needs 5 s on an idle machine; a database makes its data at the first start, and after a kill it repairs it.
/// Several may do so at once on a busy machine.
const READY_MAX: Duration = Duration::from_secs(180);

/// A server that is starting accepts connections some time before it answers.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until the answer is that it serves. Any other one says what is missing; the last of them and the end of the
/// server's log are in the error.
pub(crate) async fn until<F, E>(
    container: &Container,
    server: impl Display,
    mut ask: impl FnMut() -> F,
) -> Result<()>
where
    F: Future<Output = std::result::Result<(), E>>,
    E: Display,
{
    let deadline = Instant::now() + READY_MAX;
    loop {
        let last = match timeout(ANSWER_MAX, ask()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        let ended = !container.is_running().await?;
        if ended || Instant::now() > deadline {
            let log = container.log().await;
            let state = if ended {
                "its container ended".to_owned()
            } else {
                format!("not ready after {} s: {last}", READY_MAX.as_secs())
            };
            let why = format!("{state}; the end of its log:\n{log}");
            return Err(Error::new(format!("wait for {server}"), why));
        }
        sleep(PAUSE).await;
    }
}
