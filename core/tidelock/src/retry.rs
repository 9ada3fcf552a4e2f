//! Asking again, with jittered exponential backoff, for errors that advise [`Retry::Retry`].

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::{Result, Retry};

/// The first pause: about what a broker needs to finish what it is busy with.
const DELAY_MIN: Duration = Duration::from_millis(10);
/// The longest pause: a person who mends the other system should not wait for us.
const DELAY_MAX: Duration = Duration::from_secs(2);
/// After this time an error that would pass has not passed: the attempt restarts.
const TOTAL_MAX: Duration = Duration::from_secs(120);

/// The pauses between tries.
pub(crate) fn backoff(jitter_seed: u64) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .with_jitter()
        .with_jitter_seed(jitter_seed)
        .without_max_times()
        .with_total_delay(Some(TOTAL_MAX))
        .build()
}

/// The result of an operation that was perhaps tried more than once.
pub(crate) struct Tried<T> {
    pub(crate) result: Result<T>,
    /// A try failed: its request may still arrive.
    pub(crate) again: bool,
}

/// Tries `operation` until it succeeds, fails with other advice than to retry, or time is up. Then the
/// advice becomes [`Retry::Restart`].
pub(crate) async fn retry<T, F, Fut>(what: &'static str, jitter_seed: u64, mut operation: F) -> Tried<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut pauses = backoff(jitter_seed);
    let mut again = false;
    loop {
        let error = match operation().await {
            Ok(done) => return Tried { result: Ok(done), again },
            Err(error) => error,
        };
        if error.retry() != Retry::Retry {
            return Tried { result: Err(error), again };
        }
        again = true;
        let Some(pause) = pauses.next() else {
            return Tried { result: Err(error.with_retry(Retry::Restart)), again };
        };
        tracing::warn!(what, %error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
    }
}
