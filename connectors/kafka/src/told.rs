//! Tells of what is waited for, once it takes long.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// Nobody is told of what takes less.
pub(crate) const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Waits for `work`. Where that takes longer than two seconds, says once what is waited for and for how long at most.
pub(crate) async fn told<T>(what: &str, longest: Duration, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match timeout(TOLD_AFTER, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            tracing::warn!("{what}: waited for since {TOLD_AFTER:?}, and for {longest:?} at most");
            work.await
        }
    }
}
