//! A whole engine in one page: source -> function -> sinks, in plain tokio.
//!
//! Whoever owns another engine hosts Tidelock's connectors as this one does. The coordinator brings the
//! protocol; a host brings readers, the function and writers, and keeps three promises:
//!
//! 1. Orders are obeyed in their order, and **no barrier overtakes a record**. Here a task does one thing
//!    at a time: when it closes an epoch, every record that it read is written.
//! 2. Every task reports every epoch once, in order, after `prepare` of all its writers returned.
//! 3. When the coordinator ends, everything ends. Here all of it is one tree of futures: nothing is
//!    spawned, and dropping [`run`] drops readers and writers. An engine that spawns must join.
//!
//! ```text
//!                 ┌── task 0: its splits ── function ── a writer for each sink
//!   orders ──> route                  ...
//!                 └── task n: its splits ── function ── a writer for each sink
//!   news   <────────── Opened, Report, SplitFinished, NoFreePlace, Failed
//! ```
//!
//! What it leaves out: an exchange between tasks (then a task must wait until the barrier arrived on
//! *all* its inputs), operator state, event time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::{BoxFuture, join};
use futures::stream::FuturesUnordered;
use tidelock::coordinator::{Control, Coordinator, Ended, HostLink};
use tidelock::host::{News, Opening, Order, Report};
use tidelock::job::{Graph, Job};
use tidelock::log::Log;
use tidelock::{
    Attempt, DynReader, DynWriter, Epoch, Error, Result, SinkAttempt, SinkData, SourceData, SplitId,
    SplitState, Uid, WriterId,
};
use tokio::sync::mpsc;

/// Orders that wait for a busy task. Small: a barrier that waits long is a checkpoint that takes long.
const INBOX: usize = 16;

/// What happens to one record: nothing, one or several records come out.
pub type Function<I, O> = Arc<dyn Fn(I) -> Vec<O> + Send + Sync>;

/// What the host runs.
pub struct Pipeline<I, O> {
    /// The sources by uid.
    pub sources: BTreeMap<Uid, Arc<dyn SourceData<I>>>,
    /// What happens to each record.
    pub function: Function<I, O>,
    /// The sinks by uid. Each gets every record.
    pub sinks: BTreeMap<Uid, Arc<dyn SinkData<O>>>,
    /// How many tasks read and write side by side. May change from attempt to attempt.
    pub tasks: u32,
    /// The job's log, where writers may keep what is too large for an entry. `None`: all of it must fit into one.
    pub log: Option<Log>,
}

impl<I, O> fmt::Debug for Pipeline<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sources, sinks) = (self.sources.keys(), self.sinks.keys());
        write!(f, "Pipeline({sources:?} -> {sinks:?}, {} tasks)", self.tasks)
    }
}

impl<I: Send + 'static, O: Clone + Send + 'static> Pipeline<I, O> {
    /// What the coordinator must know of it.
    pub fn graph(&self) -> Graph {
        let mut graph = Graph { tasks: self.tasks, ..Graph::default() };
        for (uid, source) in &self.sources {
            graph.sources.insert(uid.clone(), Arc::<dyn SourceData<I>>::clone(source));
        }
        for (uid, sink) in &self.sinks {
            graph.sinks.insert(uid.clone(), Arc::<dyn SinkData<O>>::clone(sink));
        }
        graph
    }
}

/// Runs one attempt of a job to its end.
///
/// # Errors
/// Whatever ended the attempt. [`Error::retry`] says whether to start again.
pub async fn run<I, O>(job: Job, pipeline: Pipeline<I, O>) -> Result<Ended>
where
    I: Send + 'static,
    O: Clone + Send + 'static,
{
    let (attempt, _control) = start(job, pipeline);
    attempt.await
}

/// One attempt of a job, which goes on while it is polled, and what a user has of it in hand.
pub fn start<I, O>(job: Job, pipeline: Pipeline<I, O>) -> (impl Future<Output = Result<Ended>>, Control)
where
    I: Send + 'static,
    O: Clone + Send + 'static,
{
    let (coordinator, link, control) = Coordinator::new(job, pipeline.graph());
    let attempt = async move {
        let mut coordinator = Box::pin(coordinator.run());
        tokio::select! {
            biased;
            ended = &mut coordinator => ended,
            // The host ends first only when the coordinator no longer listens: it is about to say why.
            () = host(link, pipeline) => coordinator.await,
        }
    };
    (attempt, control)
}

/// The engine: obeys orders until the coordinator is gone.
pub async fn host<I, O>(link: HostLink, pipeline: Pipeline<I, O>)
where
    I: Send + 'static,
    O: Clone + Send + 'static,
{
    let HostLink { mut orders, news } = link;
    let Some(Order::Open(opening)) = orders.recv().await else { return };
    let pipeline = Arc::new(pipeline);
    let (mut inboxes, tasks) = (Vec::new(), FuturesUnordered::new());
    for number in 0..pipeline.tasks {
        let (inbox, orders) = mpsc::channel(INBOX);
        match Task::open(number, &opening, &pipeline, news.clone()).await {
            Ok(task) => tasks.push(task.run(orders)),
            // The coordinator ends the attempt, and with it this future.
            Err((uid, error)) => return fail(&news, uid, error).await,
        }
        inboxes.push(inbox);
    }
    if news.send(News::Opened).await.is_ok() {
        join(route(orders, inboxes), tasks.collect::<()>()).await;
    }
}

/// Gives a split to one task, and everything else to all, in order.
async fn route(mut orders: mpsc::Receiver<Order>, inboxes: Vec<mpsc::Sender<Order>>) {
    let mut next_task = (0..inboxes.len()).cycle();
    while let Some(order) = orders.recv().await {
        let receivers = match &order {
            Order::Assign { .. } => next_task.next().map_or(&[][..], |task| &inboxes[task..=task]),
            _ => &inboxes[..],
        };
        for inbox in receivers {
            if inbox.send(order.clone()).await.is_err() {
                return; // The task is gone only when everything is.
            }
        }
    }
}

async fn fail(news: &mpsc::Sender<News>, uid: Option<Uid>, error: Error) {
    // Where nobody listens, the attempt has ended already.
    let _ = news.send(News::Failed { uid, error }).await;
}

type Failure = (Option<Uid>, Error);

/// A reader that was asked for its next records. It is never dropped half-way.
type Reading<I> = BoxFuture<'static, Read<I>>;

/// What a reader returned, and the reader.
struct Read<I> {
    uid: Uid,
    id: SplitId,
    reader: Box<dyn DynReader<I>>,
    records: Result<Option<Vec<I>>>,
}

/// A writer, and the records that it has not taken yet.
struct Outlet<O> {
    uid: Uid,
    writer: Box<dyn DynWriter<O>>,
    waiting: Vec<O>,
}

struct Task<I, O> {
    number: u32,
    attempt: Attempt,
    pipeline: Arc<Pipeline<I, O>>,
    readings: FuturesUnordered<Reading<I>>,
    outlets: Vec<Outlet<O>>,
    /// Barriers that wait until all records before them are written.
    barriers: VecDeque<(Epoch, bool)>,
    /// Where each split that moved since the last report goes on after what was *written*.
    moved: BTreeMap<(Uid, SplitId), SplitState>,
    stopped: bool,
    news: mpsc::Sender<News>,
}

impl<I: Send + 'static, O: Clone + Send + 'static> Task<I, O> {
    async fn open(
        number: u32,
        opening: &Opening,
        pipeline: &Arc<Pipeline<I, O>>,
        news: mpsc::Sender<News>,
    ) -> Result<Self, Failure> {
        let mut outlets = Vec::new();
        for (uid, sink) in &pipeline.sinks {
            let chunks = pipeline.log.as_ref().map(|log| log.chunk_store(opening.attempt.number));
            let attempt = SinkAttempt { chunks, ..opening.attempt.of_sink(uid) };
            let writer = sink.open(&attempt, WriterId(number)).await;
            let writer = writer.map_err(|error| (Some(uid.clone()), error))?;
            outlets.push(Outlet { uid: uid.clone(), writer, waiting: Vec::new() });
        }
        Ok(Self {
            number,
            attempt: opening.attempt.clone(),
            pipeline: Arc::clone(pipeline),
            readings: FuturesUnordered::new(),
            outlets,
            barriers: VecDeque::new(),
            moved: BTreeMap::new(),
            stopped: false,
            news,
        })
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        if let Err((uid, error)) = self.work(&mut orders).await {
            fail(&self.news, uid, error).await;
        }
    }

    async fn work(&mut self, orders: &mut mpsc::Receiver<Order>) -> Result<(), Failure> {
        loop {
            // Records that a writer gave back wait for the next settled epoch. Nothing is read meanwhile.
            let reads = !self.stopped && !self.is_waiting() && !self.readings.is_empty();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await?,
                    None => return Ok(()),
                },
                Some(read) = self.readings.next(), if reads => self.take(read).await?,
            }
            // The barrier arrived between two batches: every record before it is written by now, or
            // waits, and then the barrier waits behind it.
            while !self.is_waiting()
                && let Some((epoch, last)) = self.barriers.pop_front()
            {
                self.close(epoch, last).await?;
            }
        }
    }

    fn is_waiting(&self) -> bool {
        self.outlets.iter().any(|outlet| !outlet.waiting.is_empty())
    }

    async fn obey(&mut self, order: Order) -> Result<(), Failure> {
        match order {
            Order::Assign { uid, split } => {
                let Some(source) = self.pipeline.sources.get(&uid) else { return Ok(()) };
                let name = self.attempt.of_source(&uid);
                let reader =
                    source.open(&name, split.split).await.map_err(|error| (Some(uid.clone()), error))?;
                self.readings.push(ask(uid, split.id, reader));
            }
            Order::Barrier { epoch, last } => self.barriers.push_back((epoch, last)),
            // It may pass a barrier that waits for records: only a free place lets these go on.
            Order::Settled { epoch, reinit } => {
                for outlet in &mut self.outlets {
                    let reinit = reinit.get(&outlet.uid).is_some_and(|w| w.contains(&WriterId(self.number)));
                    let told = outlet.writer.settled(epoch, reinit).await;
                    told.map_err(|error| (Some(outlet.uid.clone()), error))?;
                }
                self.write().await?;
            }
            _ => {} // Opened already; without event time, the end of input changes nothing.
        }
        Ok(())
    }

    async fn take(&mut self, read: Read<I>) -> Result<(), Failure> {
        let Read { uid, id, reader, records } = read;
        let at = |error| (Some(uid.clone()), error);
        let records = records.map_err(at)?;
        // A reader under way may be ahead of what was written, so the position is kept beside it. An
        // engine that asks its readers only between batches asks for it at the barrier alone.
        let split = reader.resume().map_err(at)?;
        let finished = records.is_none();
        let state = SplitState { id: id.clone(), split: split.clone(), watermark: None, finished };
        self.moved.insert((uid.clone(), id.clone()), state);
        let Some(records) = records else {
            let _ = self.news.send(News::SplitFinished { uid, id, split }).await;
            return Ok(());
        };
        self.readings.push(ask(uid, id, reader));
        for output in records.into_iter().flat_map(|record| (self.pipeline.function)(record)) {
            for outlet in &mut self.outlets {
                outlet.waiting.push(output.clone());
            }
        }
        self.write().await
    }

    /// Offers each writer what waits for it.
    async fn write(&mut self) -> Result<(), Failure> {
        for Outlet { uid, writer, waiting } in &mut self.outlets {
            if waiting.is_empty() {
                continue;
            }
            writer.write(waiting).await.map_err(|error| (Some(uid.clone()), error))?;
            if !waiting.is_empty() {
                let _ = self.news.send(News::NoFreePlace).await;
            }
        }
        Ok(())
    }

    /// Closes an epoch: everything before the barrier is written.
    async fn close(&mut self, epoch: Epoch, last: bool) -> Result<(), Failure> {
        self.stopped |= last;
        let (attempt, task) = (self.attempt.number, self.number);
        let mut report = Report { epoch, attempt, task, ..Report::default() };
        for Outlet { uid, writer, .. } in &mut self.outlets {
            let prepared = writer.prepare(epoch).await.map_err(|error| (Some(uid.clone()), error))?;
            report.sinks.insert(uid.clone(), prepared);
        }
        for ((uid, _), split) in std::mem::take(&mut self.moved) {
            report.sources.entry(uid).or_default().push(split);
        }
        let _ = self.news.send(News::Report(report)).await;
        Ok(())
    }
}

fn ask<I: Send + 'static>(uid: Uid, id: SplitId, mut reader: Box<dyn DynReader<I>>) -> Reading<I> {
    Box::pin(async move {
        let records = reader.next().await;
        Read { uid, id, reader, records }
    })
}
