//! What puts records by a task of its own.

use std::fmt;

use tidelock::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::driver::{Bounds, Command, Driver, Stamp};
use super::request::Requests;
use crate::put::KinesisPut;

/// Puts records. Where it is dropped nothing more is sent.
pub(crate) struct Puts {
    commands: mpsc::Sender<Command>,
    /// The task. `None`: it has ended with an error, which was told.
    task: Option<JoinHandle<Result<()>>>,
    unwanted: CancellationToken,
    _dropped: DropGuard,
}

impl fmt::Debug for Puts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puts").field("is_broken", &self.task.is_none()).finish_non_exhaustive()
    }
}

impl Puts {
    /// Begins a task, which is known as under way until it has ended, and ends early when nobody wants it any more.
    pub(crate) fn begin(
        requests: Requests,
        bounds: Bounds,
        stamp: impl Stamp,
        (under_way, unwanted): (&TaskTracker, CancellationToken),
    ) -> Self {
        // One that waits while the task is at the one before.
        let (commands, receiver) = mpsc::channel(1);
        let driver = Driver::new(requests, bounds, stamp);
        let task = under_way.spawn(driver.run(receiver, unwanted.clone()));
        let _dropped = unwanted.clone().drop_guard();
        Self { commands, task: Some(task), unwanted, _dropped }
    }

    /// Takes records: they are on their way when it returns, or wait. It returns when there is room for more.
    ///
    /// # Errors
    /// Why nothing is put any more: of whatever was taken before.
    pub(crate) async fn put(&mut self, records: Vec<KinesisPut>) -> Result<()> {
        if records.is_empty() {
            return self.check();
        }
        match self.commands.send(Command::Put(records)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.why().await),
        }
    }

    /// Waits until all that was taken is in the stream.
    ///
    /// # Errors
    /// Where it is not, or nobody knows.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        let (done, all_done) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() && all_done.await.is_ok() {
            return Ok(());
        }
        Err(self.why().await)
    }

    fn check(&self) -> Result<()> {
        if self.task.is_none() { Err(broken()) } else { Ok(()) }
    }

    /// Why the task has ended.
    async fn why(&mut self) -> Error {
        let Some(task) = self.task.take() else { return broken() };
        match task.await {
            Ok(Err(error)) => error,
            Ok(Ok(())) if self.unwanted.is_cancelled() => {
                let why = "another attempt of this process has begun, and this one puts nothing any more";
                Error::new(ErrorKind::Conflict, "put records", why)
            }
            Ok(Ok(())) => Error::new(ErrorKind::Bug, "put records", "the task that puts records ended early"),
            Err(error) => {
                let why = "the task that puts records ended in the middle: whether they are in the stream is unknown";
                Error::new(ErrorKind::Other, "put records", why).because(error)
            }
        }
    }
}

/// Said when the error itself was told.
fn broken() -> Error {
    let why =
        "an earlier call of this writer failed: not everything of the epoch is known to be in the stream";
    Error::new(ErrorKind::Conflict, "put records", why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tidelock::Retry;
    use tidelock_aws::{AwsConfig, Limit};
    use tokio::time::Instant;

    use super::super::driver::At;
    use super::*;

    struct Bare;

    impl Stamp for Bare {
        fn stamp(&mut self, _index: u64, data: &Bytes) -> Bytes {
            data.clone()
        }

        fn put(&mut self, _index: u64, _at: &At<'_>) -> Result<()> {
            Ok(())
        }

        fn has_room(&self, _next: u64) -> bool {
            true
        }
    }

    const BOUNDS: Bounds = Bounds {
        is_ordered: true,
        aggregates: false,
        records_max: 500,
        bytes_max: 1_000_000,
        own_bytes: 0,
        at_once: 4,
    };

    /// To a service that nobody reaches.
    async fn puts(under_way: &TaskTracker) -> Puts {
        let mut config = AwsConfig::new().with_credentials("test", "s3cret");
        (config.region, config.endpoint) = (Some("eu-central-1".into()), Some("http://127.0.0.1:1".into()));
        let client = crate::client::client(&config).await.expect("a client");
        let requests = Requests { client, stream: "arn".into(), limit: Limit::new(4) };
        Puts::begin(requests, BOUNDS, Bare, (under_way, CancellationToken::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_away_is_given_up_after_a_while_and_nothing_is_said_to_be_there() {
        let (under_way, began) = (TaskTracker::new(), Instant::now());
        let mut puts = puts(&under_way).await;
        puts.put((0..9).map(|at| KinesisPut::new(format!("k{at}"), "data")).collect()).await.expect("taken");
        let error = puts.flush().await.expect_err("nobody is there");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart), "{error}");
        let took = began.elapsed();
        assert!((Duration::from_secs(120)..Duration::from_secs(150)).contains(&took), "{took:?}");
        for error in [puts.flush().await, puts.put(Vec::new()).await].map(|told| told.expect_err("for ever"))
        {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_any_more_ends_at_once() {
        let (under_way, began) = (TaskTracker::new(), Instant::now());
        let mut puts = puts(&under_way).await;
        puts.put(vec![KinesisPut::new("key", "data")]).await.expect("taken");
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(puts);
        under_way.close();
        under_way.wait().await;
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}
