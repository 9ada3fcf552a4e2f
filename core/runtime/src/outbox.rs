//! News from workers and tasks to the coordinator.
//!
//! A worker must not wait, so news go through a queue. It is bounded by what is in flight: one report
//! for each task and epoch, one finish for each split, one wait for each writer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::host::News;
use tidelock::{Error, ErrorKind, Result};
use tokio::sync::{Notify, mpsc};

use crate::stop::Stop;

#[derive(Debug)]
pub(crate) struct Outbox {
    stop: Arc<Stop>,
    queue: Mutex<VecDeque<News>>,
    filled: Notify,
}

impl Outbox {
    pub(crate) fn new(stop: Arc<Stop>) -> Arc<Self> {
        Arc::new(Self { stop, queue: Mutex::default(), filled: Notify::new() })
    }

    pub(crate) fn push(&self, news: News) {
        // An operator that failed dropped records and said so first. The epoch that lacks them may
        // still close behind it, and must never be reported.
        if self.stop.is_set() {
            return;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(news);
        self.filled.notify_one();
    }

    fn pop(&self) -> Option<News> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Carries everything to the coordinator, in order, as long as it listens.
    pub(crate) async fn forward(self: Arc<Self>, coordinator: mpsc::Sender<News>) -> Result<()> {
        loop {
            while let Some(news) = self.pop() {
                if coordinator.send(news).await.is_err() {
                    return Err(Error::new(
                        ErrorKind::Other,
                        "report",
                        "the coordinator does not listen any more",
                    ));
                }
            }
            self.filled.notified().await;
        }
    }
}
