//! The tokio side: readers, writers and whatever else must not run on a worker.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tidelock::{Result, Uid};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::stop::{Stop, panic_error};

/// Spawns the tasks of one attempt. All of them end with it.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    handle: Handle,
    tracker: TaskTracker,
    stop: Arc<Stop>,
}

impl Tasks {
    pub(crate) fn new(handle: Handle, stop: Arc<Stop>) -> Self {
        Self { handle, tracker: TaskTracker::new(), stop }
    }

    /// Runs a future until it ends or the attempt does. Its error or panic ends the attempt.
    pub(crate) fn spawn<F>(&self, uid: Option<Uid>, operation: &'static str, future: F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let stop = Arc::clone(&self.stop);
        let task = async move {
            let guarded = AssertUnwindSafe(future).catch_unwind();
            match stop.token().run_until_cancelled(guarded).await {
                None | Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => stop.fail(uid, error),
                Some(Err(panic)) => stop.fail(uid, panic_error(operation, &*panic)),
            }
        };
        self.handle.spawn(self.tracker.track_future(task));
    }

    /// Returns when every task has ended and is dropped.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
