//! Carries the coordinator's orders to the workers of this process, in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use tidelock::host::{News, Opening, Order, SplitState};
use tidelock::job::Graph as CoreGraph;
use tidelock::{Error, ErrorKind, Result, Uid, WriterId};
use tokio::sync::mpsc;

use crate::book::{Book, Start};
use crate::graph::Plan;
use crate::shared::Shared;
use crate::sink::Settle;
use crate::source::{Inbox, SourceOrder};

/// What one worker of this process built.
pub(crate) struct Built {
    pub(crate) worker: u32,
    pub(crate) book: Arc<Book>,
    pub(crate) plan: Plan,
}

pub(crate) struct Dispatch {
    shared: Arc<Shared>,
    /// The number of workers in all processes. Splits are dealt out among them in turn: every process
    /// sees every split, and takes those of its own workers.
    workers_everywhere: usize,
    workers: Vec<Built>,
    /// The inboxes of each source, worker by worker, and whose turn it is to get a split.
    sources: BTreeMap<Uid, (Vec<Arc<Inbox>>, usize)>,
    settles: BTreeMap<Uid, Vec<(WriterId, Arc<Settle>)>>,
}

impl Dispatch {
    /// Checks that all workers built the same graph.
    pub(crate) fn new(
        mut workers: Vec<Built>,
        workers_everywhere: usize,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        workers.sort_by_key(|built| built.worker);
        let same = workers.windows(2).all(|pair| pair[0].plan.shape() == pair[1].plan.shape());
        if !same || workers.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "build graph",
                "the function that builds the graph must build the same one on every worker",
            ));
        }
        let mut sources: BTreeMap<Uid, (Vec<Arc<Inbox>>, usize)> = BTreeMap::new();
        let mut settles: BTreeMap<Uid, Vec<(WriterId, Arc<Settle>)>> = BTreeMap::new();
        for built in &workers {
            for (uid, (_, inbox)) in &built.plan.sources {
                sources.entry(uid.clone()).or_default().0.push(Arc::clone(inbox));
            }
            for (uid, (_, settle)) in &built.plan.sinks {
                settles.entry(uid.clone()).or_default().push((WriterId(built.worker), Arc::clone(settle)));
            }
        }
        Ok(Self { shared, workers_everywhere, workers, sources, settles })
    }

    /// What the coordinator must know of the graph. `tasks` is the number of workers everywhere.
    pub(crate) fn core_graph(&self, tasks: u32) -> CoreGraph {
        let plan = &self.workers[0].plan;
        let sources = plan.sources.iter().map(|(uid, (control, _))| (uid.clone(), Arc::clone(control)));
        let sinks = plan.sinks.iter().map(|(uid, (control, _))| (uid.clone(), Arc::clone(control)));
        CoreGraph {
            sources: sources.collect(),
            operators: plan.operators.clone(),
            sinks: sinks.collect(),
            tasks,
        }
    }

    /// All uids of the graph.
    pub(crate) fn uids(&self) -> Vec<Uid> {
        self.workers[0].plan.shape().iter().cloned().collect()
    }

    /// Obeys until the coordinator sends nothing more.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<()> {
        while let Some(order) = orders.recv().await {
            self.obey(order).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Open(opening) => {
                self.open(opening).await?;
                self.shared.outbox.push(News::Opened);
            }
            Order::Assign { uid, split } => self.assign(&uid, split)?,
            Order::EndOfInput => self.tell_sources(|| SourceOrder::EndOfInput),
            Order::Barrier { epoch, last } => self.tell_sources(|| SourceOrder::Barrier { epoch, last }),
            Order::Completed { epoch } => {
                self.shared.counters.checkpointed();
                self.tell_sources(|| SourceOrder::Completed(epoch));
            }
            Order::Settled { epoch, reinit } => {
                for (uid, writers) in &self.settles {
                    for (writer, settle) in writers {
                        settle.tell(epoch, reinit.get(uid).is_some_and(|reinit| reinit.contains(writer)));
                    }
                }
            }
            order => {
                let error =
                    Error::new(ErrorKind::Bug, "obey", "the coordinator sent an order that is not known");
                return Err(error.with("order", format!("{order:?}")));
            }
        }
        Ok(())
    }

    /// Opens writers and loads state, all at once; only then may records flow.
    async fn open(&mut self, opening: Opening) -> Result<()> {
        let opening = Arc::new(opening);
        let mut openings = Vec::new();
        for built in &mut self.workers {
            built.book.begin(Start { attempt: opening.attempt.clone(), epoch: opening.epoch });
            for (uid, opener) in std::mem::take(&mut built.plan.openers) {
                let opened = opener(Arc::clone(&opening));
                openings.push(async move { opened.await.map_err(|error| error.with("uid", &uid)) });
            }
        }
        try_join_all(openings).await?;
        for (uid, (inboxes, _)) in &self.sources {
            let (epoch, reached) = (opening.epoch, opening.reached.get(uid).copied());
            inboxes.iter().for_each(|inbox| inbox.push(SourceOrder::Open { epoch, reached }));
        }
        Ok(())
    }

    fn assign(&mut self, uid: &Uid, split: SplitState) -> Result<()> {
        let Some((inboxes, turn)) = self.sources.get_mut(uid) else {
            let error =
                Error::new(ErrorKind::Bug, "assign", "a split of a source that the graph does not have");
            return Err(error.with("uid", uid).with("split", &split.id));
        };
        let first = self.workers[0].worker as usize;
        let own = (*turn % self.workers_everywhere).checked_sub(first);
        if let Some(inbox) = own.and_then(|own| inboxes.get(own)) {
            inbox.push(SourceOrder::Assign(Box::new(split)));
        }
        *turn += 1;
        Ok(())
    }

    fn tell_sources(&self, order: impl Fn() -> SourceOrder) {
        for (inboxes, _) in self.sources.values() {
            inboxes.iter().for_each(|inbox| inbox.push(order()));
        }
    }
}
