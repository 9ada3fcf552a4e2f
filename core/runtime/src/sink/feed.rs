//! The feed of a sink on one worker: records and barriers in their order, never waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use tidelock::host::Opening;
use tidelock::{Epoch, Result, Sink, SinkControl, WriterId};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Settle;
use super::writer::{Feed, WriterTask};
use crate::align::Aligner;
use crate::batch::Batch;
use crate::book::Book;
use crate::graph::Time;
use crate::shared::Shared;
use crate::stop::Place;
use crate::stream::Stream;
use crate::wake::Waker;

/// Batches that wait in the channel to the writer. What does not fit waits at the feed, within the
/// budget of bytes in flight.
const FEEDS_WAITING_MAX: usize = 64;

struct SinkFeed<R> {
    book: Arc<Book>,
    shared: Arc<Shared>,
    /// Begins with the attempt.
    aligner: Option<Aligner<Batch<R>>>,
    waiting: VecDeque<Feed<R>>,
    channel: mpsc::Sender<Feed<R>>,
    starved: Arc<AtomicBool>,
}

impl<R> SinkFeed<R> {
    fn aligner(&mut self) -> Option<&mut Aligner<Batch<R>>> {
        if self.aligner.is_none() {
            self.aligner = self.book.start().map(|start| self.shared.aligner(start.epoch));
        }
        self.aligner.as_mut()
    }

    fn take(&mut self, epoch: Epoch, batch: Batch<R>) {
        let aligner = self.aligner().expect("invariant: nothing flows before the attempt began");
        if let Some(batch) = aligner.offer(epoch, batch) {
            self.push(batch);
        }
    }

    fn push(&mut self, batch: Batch<R>) {
        if !batch.records.is_empty() {
            self.waiting.push_back(Feed::Records(batch.records.into_vec(), batch.credit));
        }
    }

    fn close(&mut self, frontier: &MutableAntichain<Time>) {
        while let Some(aligner) = self.aligner()
            && aligner.is_complete(frontier)
        {
            let closed = aligner.open();
            let early = aligner.advance();
            // No barrier overtakes a record of its epoch, and no record of the next one the barrier.
            self.waiting.push_back(Feed::Close(closed));
            early.into_iter().for_each(|batch| self.push(batch));
        }
    }

    /// Hands over what the channel takes. Woken when it takes more.
    fn send(&mut self) {
        while let Some(feed) = self.waiting.pop_front() {
            match self.channel.try_send(feed) {
                Ok(()) => {}
                Err(TrySendError::Full(feed)) => {
                    self.waiting.push_front(feed);
                    // The wish first, then a second look: the writer may have emptied the channel
                    // in between, and then nobody wakes this feed.
                    if self.starved.swap(true, Ordering::SeqCst) || self.channel.capacity() == 0 {
                        return;
                    }
                }
                // The writer ended: so does the attempt.
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }
}

impl<'s, R: Send + 'static> Stream<'s, R> {
    /// Writes the stream to a sink: with one writer on each worker. `uid` names its prepared writes
    /// for ever. A sink stands in one place of the graph: make another one for another uid.
    pub fn sink<S: Sink<Record = R>>(self, uid: &str, sink: &Arc<S>) {
        let Self { inner, graph, .. } = self;
        let uid = graph.uid(uid);
        let mut builder = OperatorBuilder::new(format!("sink {uid}"), graph.scope());
        let address = builder.operator_info().address;
        let mut input = builder.new_input(inner, Pipeline);

        let shared = Arc::clone(&graph.inner.shared);
        let settle = Arc::new(Settle::default());
        let (channel, feed) = mpsc::channel(FEEDS_WAITING_MAX);
        let starved = Arc::new(AtomicBool::new(false));
        let task = WriterTask {
            uid: uid.clone(),
            writer: WriterId(graph.inner.worker),
            feed,
            starved: Arc::clone(&starved),
            waker: Waker::new(graph.scope().worker().sync_activator_for(address.to_vec())),
            settle: Arc::clone(&settle),
            book: Arc::clone(&graph.inner.book),
            outbox: Arc::clone(&shared.outbox),
            counter: shared.counters.writer(&uid),
        };
        let waker = task.waker.clone();
        let control: Arc<dyn SinkControl> = Arc::<S>::clone(sink);
        let sink = Arc::clone(sink);
        let opener = move |opening: Arc<Opening>| open(shared, sink, task, opening).boxed();
        graph.add_sink(&uid, control, settle, Box::new(opener));

        let place = Place { uid, operator: "sink" };
        let book = Arc::clone(&graph.inner.book);
        let shared = Arc::clone(&graph.inner.shared);
        let mut feed = SinkFeed { book, shared, aligner: None, waiting: VecDeque::new(), channel, starved };
        builder.build(move |_| {
            move |frontiers: &[MutableAntichain<Time>]| {
                waker.taken();
                place.run(|| {
                    input.for_each(|capability, batch| {
                        if let Some(time) = capability.least() {
                            feed.take(Epoch(*time), std::mem::take(batch));
                        }
                    });
                    feed.close(&frontiers[0]);
                    feed.send();
                });
            }
        });
    }
}

/// Opens the writer, and leaves it to its task.
async fn open<S: Sink>(
    shared: Arc<Shared>,
    sink: Arc<S>,
    task: WriterTask<S::Record>,
    opening: Arc<Opening>,
) -> Result<()> {
    let writer = sink.open(&opening.attempt.of_sink(&task.uid), task.writer).await?;
    shared.tasks.spawn(Some(task.uid.clone()), "write", task.run(writer));
    Ok(())
}
