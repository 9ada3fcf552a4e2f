//! News from workers and tasks to the coordinator.
//!
//! A worker must not wait, so news go through a queue. It is bounded by what is in flight: one report
//! for each task and epoch, one finish for each split, one wait for each writer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tidelock::Result;
use tidelock::host::News;
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

    /// Carries everything to the coordinator, in order. Where it does not listen any more, it needs none of it to end, and
    /// says itself how it ended.
    pub(crate) async fn forward(self: Arc<Self>, coordinator: mpsc::Sender<News>) -> Result<()> {
        loop {
            while let Some(news) = self.pop() {
                let _ = coordinator.send(news).await;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn news_that_nobody_hears_any_more_fail_nothing_and_do_not_pile_up() {
        let outbox = Outbox::new(Stop::new());
        let (coordinator, heard) = mpsc::channel(1);
        let forward = tokio::spawn(Arc::clone(&outbox).forward(coordinator));
        drop(heard);
        for _ in 0..100 {
            outbox.push(News::NoFreePlace);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!forward.is_finished(), "{:?}", forward.await);
        assert!(outbox.pop().is_none(), "it fills up");
        forward.abort();
    }
}
