//! Work that blocks, off the async threads.

use tidelock::{Error, ErrorKind, Result};

/// Runs `work` on a thread that may block.
///
/// A dropped future does not stop it: it runs to its end, which every caller keeps short, and its
/// result is thrown away.
pub(crate) async fn blocking<R: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Bug, operation, "blocking work panicked or was cancelled").because(error))
    })
}
