//! How "settled" reaches a writer.

use std::sync::{Mutex, PoisonError};

use tidelock::Epoch;
use tokio::sync::Notify;

/// The newest settled epoch that the writer was not told yet. "Settled up to n" includes all before
/// it, so only the newest is kept; a wish for a fresh identity is never forgotten.
#[derive(Debug, Default)]
pub(crate) struct Settle {
    news: Mutex<Option<(Epoch, bool)>>,
    came: Notify,
}

impl Settle {
    pub(crate) fn tell(&self, epoch: Epoch, reinit: bool) {
        {
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            let reinit = reinit || news.is_some_and(|(_, reinit)| reinit);
            *news = Some((epoch, reinit));
        }
        self.came.notify_one();
    }

    /// Waits for something to tell. Nothing is lost where the wait is given up.
    pub(crate) async fn next(&self) -> (Epoch, bool) {
        loop {
            if let Some(news) = self.news.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return news;
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_for_a_fresh_identity_outlives_later_news() {
        let settle = Settle::default();
        settle.tell(Epoch(1), true);
        settle.tell(Epoch(2), false);
        assert_eq!(settle.next().await, (Epoch(2), true));
    }
}
