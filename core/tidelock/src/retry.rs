//! Asking again, with jittered exponential backoff, for errors that advise [`Retry::Retry`], and not waiting
//! for ever for an answer.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use crate::patience::{TOLD_AFTER, later};
use crate::{Error, ErrorKind, Result, Retry};

/// The first pause: about what a broker needs to finish what it is busy with.
const DELAY_MIN: Duration = Duration::from_millis(10);
/// The longest pause: a person who mends the other system should not wait for us.
const DELAY_MAX: Duration = Duration::from_secs(2);
/// After this time an error that would pass has not passed: the attempt restarts.
const TOTAL_MAX: Duration = Duration::from_secs(120);

/// How long somebody waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Jitters the pauses.
    pub(crate) jitter_seed: u64,
    /// A call without an answer for so long is given up, and so is asking again.
    pub(crate) call_timeout: Duration,
}

/// The pauses between tries.
fn backoff(jitter_seed: u64) -> ExponentialBackoff {
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

/// Tries `operation` until it succeeds, fails with other advice than to retry, does not answer, or time is up.
/// Then the advice becomes [`Retry::Restart`].
pub(crate) async fn retry<T, F, Fut>(what: &'static str, bounds: Bounds, mut operation: F) -> Tried<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let (began, mut told) = (Instant::now(), false);
    let until = later(began, bounds.call_timeout);
    let mut pauses = backoff(bounds.jitter_seed);
    let mut again = false;
    loop {
        // What is asked again has what is left, so that all tries together end in time.
        let left = until.saturating_duration_since(Instant::now());
        let error = match in_time(what, left, operation()).await {
            Ok(done) => return Tried { result: Ok(done), again },
            Err(error) => error,
        };
        if error.retry() != Retry::Retry {
            return Tried { result: Err(error), again };
        }
        again = true;
        let pause = pauses.next().filter(|pause| Instant::now() + *pause < until);
        let Some(pause) = pause else {
            return Tried { result: Err(error.with_retry(Retry::Restart)), again };
        };
        // Once, and not before it is more than a hiccup.
        if !told && began.elapsed() + pause > TOLD_AFTER {
            told = true;
            let for_at_most = until.saturating_duration_since(Instant::now()).min(TOTAL_MAX);
            tracing::warn!(what, %error, ?for_at_most, "it is tried again and again");
        } else {
            tracing::debug!(what, %error, ?pause, "trying again");
        }
        tokio::time::sleep(pause).await;
    }
}

/// The answer to a call, or an error where there is none in time: what hangs is found out, named and restarted,
/// and does not hold the job up for ever.
///
/// # Errors
/// That of the call, or [`ErrorKind::Unavailable`] where it did not answer within `call_timeout`.
pub async fn in_time<T>(
    what: &'static str,
    call_timeout: Duration,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(call_timeout, call).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, what, "no answer in time: the call is given up")
            .with("waited", format_args!("{call_timeout:?}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Heard;

    #[tokio::test(start_paused = true)]
    async fn what_is_tried_again_for_longer_than_two_seconds_is_told_once() {
        let heard = Heard::here();
        let bounds = Bounds { jitter_seed: 7, call_timeout: Duration::from_secs(60) };
        let refused = || Error::new(ErrorKind::Unavailable, "list", "no route").with_retry(Retry::Retry);
        let tried = retry("list", bounds, async || Err::<(), _>(refused())).await;
        assert_eq!(tried.result.unwrap_err().retry(), Retry::Restart);
        let lines = heard.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("no route") && lines[0].contains("for_at_most=5"), "{lines:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_tries_together_are_given_up_in_the_time_of_one_call() {
        let (began, mut calls) = (Instant::now(), 0);
        let bounds = Bounds { jitter_seed: 7, call_timeout: Duration::from_secs(60) };
        let tried = retry("commit", bounds, || {
            calls += 1;
            let is_first = calls == 1;
            async move {
                if is_first {
                    tokio::time::sleep(Duration::from_secs(59)).await;
                    let away = Error::new(ErrorKind::Unavailable, "commit", "no answer");
                    return Err::<(), _>(away.with_retry(Retry::Retry));
                }
                std::future::pending().await
            }
        });
        let error = tried.await.result.expect_err("it never answers");
        assert_eq!((error.kind(), calls), (ErrorKind::Unavailable, 2), "{error}");
        // The clock of the test stands still but for what is waited for.
        assert!(began.elapsed() <= bounds.call_timeout, "given up after {:?}", began.elapsed());
    }
}
