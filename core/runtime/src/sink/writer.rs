//! The task that owns a writer. Calls on it are strictly serial.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidelock::host::{News, PreparedState};
use tidelock::{Epoch, Result, SinkWriter, Uid, WriterId};
use tokio::sync::mpsc;

use super::Settle;
use super::outlet::Outlet;
use crate::book::{Book, Part};
use crate::budget::Credit;
use crate::counters::Counter;
use crate::outbox::Outbox;
use crate::wake::Waker;

/// What the feed brings, in order.
#[derive(Debug)]
pub(crate) enum Feed<R> {
    Records(Vec<R>, Credit),
    /// All records of this epoch are there.
    Close(Epoch),
}

pub(crate) struct WriterTask<R> {
    pub(crate) uid: Uid,
    pub(crate) writer: WriterId,
    pub(crate) feed: mpsc::Receiver<Feed<R>>,
    /// The feed found the channel full, and waits for a place in it.
    pub(crate) starved: Arc<AtomicBool>,
    pub(crate) waker: Waker,
    pub(crate) settle: Arc<Settle>,
    pub(crate) book: Arc<Book>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) counter: Counter,
    /// Where rejected records go; `None` where a bad record is an error.
    pub(super) outlet: Option<Outlet<R>>,
}

impl<R: Send + 'static> WriterTask<R> {
    /// Writes and prepares until the feed ends.
    pub(crate) async fn run<W: SinkWriter<Record = R>>(mut self, mut writer: W) -> Result<()> {
        loop {
            let feed = tokio::select! {
                biased;
                (epoch, reinit) = self.settle.next() => {
                    writer.settled(epoch, reinit).await?;
                    continue;
                }
                feed = self.feed.recv() => feed,
            };
            if self.starved.swap(false, Ordering::SeqCst) {
                self.waker.wake();
            }
            match feed {
                None => return Ok(()),
                Some(Feed::Records(records, credit)) => {
                    self.write(&mut writer, records).await?;
                    drop(credit);
                }
                Some(Feed::Close(epoch)) => {
                    let prepared = writer.prepare(epoch).await?;
                    let store = |prepared: &_| PreparedState::of(self.writer, prepared);
                    let prepared = prepared.iter().map(store).collect::<Result<_>>()?;
                    // No barrier overtakes a record of its epoch: the last rejected ones go first.
                    self.hand_over();
                    if let Some(outlet) = &self.outlet {
                        outlet.prepared(epoch);
                        self.waker.wake();
                    }
                    self.book.contribute(epoch, &self.uid, Part::Sink(prepared));
                }
            }
        }
    }

    async fn write<W: SinkWriter<Record = R>>(&self, writer: &mut W, mut records: Vec<R>) -> Result<()> {
        loop {
            let offered = records.len();
            writer.write(&mut records).await?;
            let taken = offered.saturating_sub(records.len());
            self.counter.add(taken.saturating_sub(self.hand_over()));
            if records.is_empty() {
                return Ok(());
            }
            // No free place: nothing is free before an epoch settles, so the coordinator must know
            // that somebody waits for it.
            self.outbox.push(News::NoFreePlace);
            let (epoch, reinit) = self.settle.next().await;
            writer.settled(epoch, reinit).await?;
        }
    }

    /// Hands on what the writer rejected, and says how many records that were.
    fn hand_over(&self) -> usize {
        let rejected = self.outlet.as_ref().map_or(0, Outlet::hand_over);
        if rejected > 0 {
            self.waker.wake();
        }
        rejected
    }
}
