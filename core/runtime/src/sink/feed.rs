//! The feed of a sink on one worker: records and barriers in their order, never waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use tidelock::host::Opening;
use tidelock::{Epoch, Rejected, Rejecting, Rejects, Result, Sink, SinkAttempt, SinkControl, Uid, WriterId};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Settle;
use super::outlet::{Backflow, Mailbox, Outlet};
use super::writer::{Feed, WriterTask};
use crate::align::Aligner;
use crate::batch::Batch;
use crate::book::Book;
use crate::marks::Origins;
use crate::shared::Shared;
use crate::stop::Place;
use crate::stream::Stream;
use crate::time::Time;
use crate::wake::Waker;

/// Batches that wait in the channel to the writer. What does not fit waits at the feed, within the
/// budget of bytes in flight.
const FEEDS_WAITING_MAX: usize = 64;

/// Where a writer puts what it rejects, and the output that it leaves by.
type WayBack<R> = (Rejects<R>, Output<Time, Batch<Rejected<R>>>);

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
    /// for ever. A sink stands in one place of the graph: make another one for another uid. A record that it
    /// cannot take ends the attempt: see [`Stream::sink_or`].
    pub fn sink<S: Sink<Record = R>>(self, uid: &str, sink: &Arc<S>) {
        let uid = self.graph.uid(uid);
        let builder = builder(&self, &uid);
        add(self, builder, uid, sink, None, |_| {});
    }

    /// The same, and returns the records that the sink cannot take, each with its reason: too long, with a
    /// value that the target has no form for, against a constraint. They are of the same epoch as those that
    /// it took, so what becomes of them is part of the same checkpoint: [`Stream::letters`] and another
    /// sink, or [`Stream::skip`]. They are counted: see
    /// [`Handle::records_rejected`](crate::Handle::records_rejected).
    ///
    /// The second sink closes each epoch after this one has: a checkpoint takes as long as both together.
    /// The stream has no event time: a union with one that has wants
    /// [`Stream::without_event_time`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use serde::Serialize;
    /// # use tidelock::{DeadLetter, Rejecting, Sink};
    /// # use tidelock_runtime::Stream;
    /// # #[derive(Serialize)]
    /// # struct Order;
    /// # fn write<S: Sink<Record = Order>>(
    /// #     orders: Stream<'_, Order>, table: Arc<S>, letters: Arc<impl Sink<Record = DeadLetter>>)
    /// # where
    /// #     S::Writer: Rejecting,
    /// # {
    /// orders.sink_or("orders", &table).letters().sink("letters", &letters);
    /// # }
    /// ```
    #[must_use = "records that the sink rejects are lost where nobody takes them: `skip` says so"]
    pub fn sink_or<S: Sink<Record = R>>(self, uid: &str, sink: &Arc<S>) -> Stream<'s, Rejected<R>>
    where
        S::Writer: Rejecting,
    {
        let uid = self.graph.uid(uid);
        let graph = self.graph.clone();
        let mut builder = builder(&self, &uid);
        let (output, inner) = builder.new_output();
        let rejects = Rejects::kept();
        let to = rejects.clone();
        add(self, builder, uid.clone(), sink, Some((rejects, output)), |writer| writer.reject_to(to));
        Stream { inner, graph, origins: Origins::default(), after: uid }
    }
}

fn builder<'s, R>(stream: &Stream<'s, R>, uid: &Uid) -> OperatorBuilder<'s, Time> {
    OperatorBuilder::new(format!("sink {uid}"), stream.graph.scope())
}

/// Adds the feed and the writer to the graph. `ready` gets the writer before anything is written.
fn add<'s, R: Send + 'static, S: Sink<Record = R>>(
    stream: Stream<'s, R>,
    mut builder: OperatorBuilder<'s, Time>,
    uid: Uid,
    sink: &Arc<S>,
    rejected: Option<WayBack<R>>,
    ready: impl FnOnce(&mut S::Writer) + Send + 'static,
) {
    let Stream { inner, graph, .. } = stream;
    let address = builder.operator_info().address;
    let mut input = builder.new_input(inner, Pipeline);

    let shared = Arc::clone(&graph.inner.shared);
    let settle = Arc::new(Settle::default());
    let (channel, feed) = mpsc::channel(FEEDS_WAITING_MAX);
    let starved = Arc::new(AtomicBool::new(false));
    let (outlet, mut backflow) = connect(&uid, &shared, rejected).unzip();
    let task = WriterTask {
        uid: uid.clone(),
        writer: WriterId(graph.inner.seat.worker),
        feed,
        starved: Arc::clone(&starved),
        waker: Waker::new(graph.scope().worker().sync_activator_for(address.to_vec())),
        settle: Arc::clone(&settle),
        book: Arc::clone(&graph.inner.book),
        outbox: Arc::clone(&shared.outbox),
        counter: shared.counters.writer(&uid),
        outlet,
        unsure: 0,
    };
    let waker = task.waker.clone();
    let control: Arc<dyn SinkControl> = Arc::<S>::clone(sink);
    let sink = Arc::clone(sink);
    let opener = move |opening: Arc<Opening>| open(shared, sink, task, opening, ready).boxed();
    graph.add_sink(&uid, control, settle, Box::new(opener));

    let place = Place { uid, operator: "sink" };
    let book = Arc::clone(&graph.inner.book);
    let shared = Arc::clone(&graph.inner.shared);
    let mut feed = SinkFeed { book, shared, aligner: None, waiting: VecDeque::new(), channel, starved };
    builder.build(move |mut capabilities| {
        if let Some(backflow) = &mut backflow {
            backflow.capability = capabilities.pop();
        }
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
                if let Some(backflow) = &mut backflow {
                    backflow.send(feed.book.start());
                }
            });
        }
    });
}

/// Both ends of the way back, where there is one.
fn connect<R: 'static>(
    uid: &Uid,
    shared: &Shared,
    rejected: Option<WayBack<R>>,
) -> Option<(Outlet<R>, Backflow<R>)> {
    let (rejects, output) = rejected?;
    let mailbox = Arc::new(Mailbox::default());
    let outlet = Outlet {
        uid: uid.clone(),
        rejects,
        mailbox: Arc::clone(&mailbox),
        counter: shared.counters.rejection(uid),
        budget: Arc::clone(&shared.budget),
    };
    Some((outlet, Backflow { mailbox, output, capability: None }))
}

/// Opens the writer, and leaves it to its task.
async fn open<S: Sink>(
    shared: Arc<Shared>,
    sink: Arc<S>,
    task: WriterTask<S::Record>,
    opening: Arc<Opening>,
    ready: impl FnOnce(&mut S::Writer),
) -> Result<()> {
    let chunks = Some(shared.log.chunk_store(opening.attempt.number));
    let attempt = SinkAttempt { chunks, ..opening.attempt.of_sink(&task.uid) };
    let mut writer = sink.open(&attempt, task.writer).await?;
    ready(&mut writer);
    shared.tasks.spawn(Some(task.uid.clone()), "write", task.run(writer));
    Ok(())
}
