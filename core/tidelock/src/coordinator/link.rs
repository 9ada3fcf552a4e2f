//! The link to the host, seen from here: orders that wait for it, and what it tells.
//!
//! ```text
//!   stands: ordered ──> waits for room ──> the host         news <── the host
//!      │
//!      └── cut ──> over: no order is given any more, and no news is heard
//! ```
//!
//! - Orders leave in the order in which they were given. As long as the link stands none is lost, and giving one never
//!   waits: how many wait is bounded by the epochs in flight and the number of splits.
//! - Once it is cut, the coordinator needs nothing of the host any more, and the host sees that at both of its ends. What it
//!   reports late belongs to no entry, what fails there takes nothing away from the end, and an order would reach nobody.
//! - A host that was told to open does so in time, or the attempt ends: what hangs there has no other clock.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::host::{News, Opening, Order};
use crate::{Error, ErrorKind, Result};

pub(super) struct Link {
    /// `None` once it is cut.
    orders: Option<mpsc::Sender<Order>>,
    waiting: VecDeque<Order>,
    news: mpsc::Receiver<News>,
    /// The host, which was told to open, has until then.
    open_until: Option<Instant>,
}

impl Link {
    pub(super) fn new(orders: mpsc::Sender<Order>, news: mpsc::Receiver<News>) -> Self {
        Self { orders: Some(orders), waiting: VecDeque::new(), news, open_until: None }
    }

    /// Gives an order.
    pub(super) fn order(&mut self, order: Order) {
        if self.stands() {
            self.waiting.push_back(order);
        }
    }

    /// Tells the host to open, which it must have done by `until`.
    pub(super) fn open(&mut self, opening: Opening, until: Instant) {
        self.open_until = Some(until);
        self.order(Order::Open(opening));
    }

    /// The host is open.
    pub(super) fn opened(&mut self) {
        self.open_until = None;
    }

    /// Until when the host must have opened, while it has not.
    pub(super) fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    pub(super) fn stands(&self) -> bool {
        self.orders.is_some()
    }

    /// The host is told nothing any more, and not listened to: it stops when it sees that.
    pub(super) fn cut(&mut self) {
        self.waiting.clear();
        self.orders = None;
        self.news.close();
    }

    /// Sends the first order that waits, when the host has room, or hears what it tells. `None`: an order was sent.
    /// Nothing is lost where it is dropped half-way. Only while the link stands.
    ///
    /// # Errors
    /// The host is gone.
    pub(super) async fn exchange(&mut self) -> Result<Option<News>> {
        let Some(orders) = &self.orders else { return std::future::pending().await };
        tokio::select! {
            biased;
            room = orders.reserve(), if !self.waiting.is_empty() => {
                let room = room.map_err(|_| host_ended())?;
                if let Some(first) = self.waiting.pop_front() {
                    room.send(first);
                }
                Ok(None)
            }
            news = self.news.recv() => news.map(Some).ok_or_else(host_ended),
        }
    }
}

/// Indefinite, and no proof of a defect: whoever was to tell may have ended first.
fn host_ended() -> Error {
    Error::new(ErrorKind::Other, "run", "the host ended without telling why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    #[tokio::test]
    async fn orders_leave_in_their_order_and_none_after_the_cut() {
        let (orders, mut host) = mpsc::channel(2);
        let (tell, news) = mpsc::channel(1);
        let mut link = Link::new(orders, news);
        link.order(Order::EndOfInput);
        link.order(Order::Completed { epoch: Epoch(1) });
        tell.send(News::NoFreePlace).await.expect("heard");
        for _ in 0..2 {
            // What waits to be sent goes first, or a host that tells much would never be told anything.
            assert!(link.exchange().await.expect("stands").is_none());
        }
        assert!(matches!(link.exchange().await.expect("stands"), Some(News::NoFreePlace)));
        assert!(matches!(host.recv().await, Some(Order::EndOfInput)));
        assert!(matches!(host.recv().await, Some(Order::Completed { epoch: Epoch(1) })));

        link.order(Order::EndOfInput);
        assert!(!tell.is_closed());
        link.cut();
        link.order(Order::EndOfInput);
        assert!(host.recv().await.is_none());
        assert!(tell.is_closed(), "the host cannot know that nobody listens");
    }

    #[tokio::test]
    async fn a_host_that_is_gone_is_noticed_by_what_is_sent_and_by_what_is_heard() {
        let (orders, host) = mpsc::channel(1);
        let (tell, news) = mpsc::channel(1);
        let mut link = Link::new(orders, news);
        drop(host);
        link.order(Order::EndOfInput);
        assert!(link.exchange().await.is_err());

        let (orders, _host) = mpsc::channel(1);
        let (_, news) = mpsc::channel(1);
        assert!(Link::new(orders, news).exchange().await.is_err());
        drop(tell);
    }
}
