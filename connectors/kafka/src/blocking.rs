//! Calls of librdkafka that block.

use tidelock::{Error, ErrorKind, Result};

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failed| {
        let why = "a call of librdkafka did not return";
        Err(Error::new(ErrorKind::Bug, "call librdkafka", why).because(failed))
    })
}
