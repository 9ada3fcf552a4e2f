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

/// So many records that wait are one call of a writer: where a call is a request and its answer, what came meanwhile would be as many
/// requests otherwise, each of them small. More are not worth the copy.
const TOGETHER_MAX: usize = 4096;

/// What is done next.
enum Gathered<R> {
    Records(Vec<R>, Vec<Credit>),
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
    /// Records of the epoch that were taken, and may be rejected still: a writer may find that out as late as when it prepares.
    pub(super) unsure: usize,
}

impl<R: Send + 'static> WriterTask<R> {
    /// Writes and prepares until the feed ends.
    pub(crate) async fn run<W: SinkWriter<Record = R>>(mut self, mut writer: W) -> Result<()> {
        // What was found behind records.
        let mut next = None;
        loop {
            let feed = tokio::select! {
                biased;
                (epoch, reinit) = self.settle.next() => {
                    writer.settled(epoch, reinit).await?;
                    continue;
                }
                feed = async { if next.is_some() { next.take() } else { self.feed.recv().await } } => feed,
            };
            let feed = feed.map(|feed| gather(feed, &mut self.feed, &mut next));
            if self.starved.swap(false, Ordering::SeqCst) {
                self.waker.wake();
            }
            match feed {
                None => return Ok(()),
                Some(Gathered::Records(records, credits)) => {
                    self.write(&mut writer, records).await?;
                    drop(credits);
                }
                Some(Gathered::Close(epoch)) => {
                    let prepared = writer.prepare(epoch).await?;
                    let store = |prepared: &_| PreparedState::of(self.writer, prepared);
                    let prepared = prepared.iter().map(store).collect::<Result<_>>()?;
                    // No barrier overtakes a record of its epoch: the last rejected ones go first.
                    let rejected = self.hand_over();
                    self.counter.add(std::mem::take(&mut self.unsure).saturating_sub(rejected));
                    if let Some(outlet) = &self.outlet {
                        outlet.prepared(epoch);
                        self.waker.wake();
                    }
                    self.book.contribute(epoch, &self.uid, Part::Sink(prepared));
                }
            }
        }
    }

    async fn write<W: SinkWriter<Record = R>>(&mut self, writer: &mut W, mut records: Vec<R>) -> Result<()> {
        loop {
            let offered = records.len();
            writer.write(&mut records).await?;
            let taken = offered.saturating_sub(records.len());
            if self.outlet.is_none() {
                self.counter.add(taken);
            } else {
                self.unsure = (self.unsure + taken).saturating_sub(self.hand_over());
            }
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

/// With records all others that wait behind them, up to the end of their epoch, which is done next.
fn gather<R>(first: Feed<R>, feed: &mut mpsc::Receiver<Feed<R>>, next: &mut Option<Feed<R>>) -> Gathered<R> {
    let (mut records, credit) = match first {
        Feed::Records(records, credit) => (records, credit),
        Feed::Close(epoch) => return Gathered::Close(epoch),
    };
    let mut credits = vec![credit];
    while records.len() < TOGETHER_MAX {
        match feed.try_recv() {
            Ok(Feed::Records(mut more, credit)) => {
                records.append(&mut more);
                credits.push(credit);
            }
            Ok(close) => {
                *next = Some(close);
                break;
            }
            // Nothing is there now, or nothing comes any more: the next look tells.
            Err(_) => break,
        }
    }
    Gathered::Records(records, credits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    /// What is done, one after the other, with what waits in a feed: how many records, or which epoch ends.
    fn done(feeds: Vec<Feed<u64>>) -> Vec<std::result::Result<Vec<u64>, Epoch>> {
        let (sender, mut feed) = mpsc::channel(64);
        feeds.into_iter().for_each(|feed| sender.try_send(feed).expect("a place"));
        let (mut next, mut done) = (None, Vec::new());
        while let Some(first) = next.take().or_else(|| feed.try_recv().ok()) {
            done.push(match gather(first, &mut feed, &mut next) {
                Gathered::Records(records, _credits) => Ok(records),
                Gathered::Close(epoch) => Err(epoch),
            });
        }
        done
    }

    #[test]
    fn records_that_wait_are_one_call_and_stay_in_their_epoch() {
        let budget = Budget::new(1_000_000, None);
        let records = |records: std::ops::Range<u64>| Feed::Records(records.collect(), budget.take(1));
        let close = |epoch| Feed::Close(Epoch(epoch));
        let feeds =
            vec![records(0..2), records(2..3), close(1), close(2), records(3..4), close(3), records(4..5)];
        let expected =
            [Ok(vec![0, 1, 2]), Err(Epoch(1)), Err(Epoch(2)), Ok(vec![3]), Err(Epoch(3)), Ok(vec![4])];
        assert_eq!(done(feeds), expected);
    }

    #[test]
    fn a_call_has_no_more_than_a_few_batches() {
        let budget = Budget::new(1_000_000, None);
        let many = (0..10).map(|_| Feed::Records(vec![0; 1000], budget.take(1)));
        let lens: Vec<_> =
            done(many.collect()).into_iter().map(|call| call.map(|records| records.len())).collect();
        assert_eq!(lens, [Ok(5000), Ok(5000)]);
    }
}
