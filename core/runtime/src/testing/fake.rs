//! A coordinator that does what the test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use object_store::memory::InMemory;
use tidelock::coordinator::{Ended, HostLink};
use tidelock::host::{News, Opening, Order, Report, SplitState};
use tidelock::job::Graph as CoreGraph;
use tidelock::log::{Closed, Log, SnapshotId};
use tidelock::*;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Snapshot;
use crate::attempt::{self, Setup};
use crate::counters::Counters;
use crate::handle::Handle;
use crate::slice::Slicing;
use crate::{Graph, Workers};

/// A test that waits longer than this hangs: nothing is timed by it.
const HANG: Duration = Duration::from_secs(60);

pub(crate) struct Fake {
    pub(crate) graph: CoreGraph,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) counters: Arc<Counters>,
    end: Option<oneshot::Sender<Result<Ended>>>,
    attempt: JoinHandle<Result<Ended>>,
}

/// What a test may want otherwise.
pub(crate) struct Twist {
    pub(crate) bytes_in_flight_max: u64,
    pub(crate) slicing: Slicing,
    pub(crate) end_timeout: Duration,
    pub(crate) call_timeout: Duration,
    /// The double that takes records as they arrive.
    pub(crate) apply_on_arrival: bool,
    pub(crate) log: Log,
}

impl Default for Twist {
    fn default() -> Self {
        let log = Log::on(Arc::new(InMemory::new()), "log".into());
        Self {
            bytes_in_flight_max: 1 << 20,
            slicing: Slicing::default(),
            end_timeout: attempt::END_TIMEOUT,
            call_timeout: HANG,
            apply_on_arrival: false,
            log,
        }
    }
}

impl Fake {
    /// Starts an attempt of a graph; `Err` where it ends before it began.
    pub(crate) async fn start(
        workers: usize,
        build: impl for<'s> Fn(&Graph<'s>) + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start_with(workers, Twist::default(), build).await
    }

    pub(crate) async fn start_with(
        workers: usize,
        twist: Twist,
        build: impl for<'s> Fn(&Graph<'s>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let (orders, orders_end) = mpsc::channel(64);
        let (news_end, news) = mpsc::channel(64);
        let (end, ended) = oneshot::channel();
        let (graph_sender, graph) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let setup = Setup {
            workers: Workers::threads(workers),
            bytes_in_flight_max: twist.bytes_in_flight_max,
            slicing: twist.slicing,
            end_timeout: twist.end_timeout,
            call_timeout: twist.call_timeout,
            apply_on_arrival: twist.apply_on_arrival,
            handle: Handle::new(Arc::clone(&counters)),
            job: JobId::new("test").unwrap(),
            log: twist.log,
            build: Arc::new(build),
        };
        let attempt = tokio::spawn(async move {
            let coordinate = |graph| {
                let _ = graph_sender.send(graph);
                let run = async { ended.await.unwrap_or_else(|_| Err(failed("the test ended"))) };
                (run.boxed(), HostLink { orders: orders_end, news: news_end })
            };
            attempt::run(None, &setup, coordinate).await
        });
        match graph.await {
            Ok(graph) => Ok(Self { graph, orders, news, counters, end: Some(end), attempt }),
            Err(_) => Err(attempt.await.unwrap().unwrap_err()),
        }
    }

    pub(crate) async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// Opens the attempt, first epoch 1, with nothing restored.
    pub(crate) async fn open(&mut self) {
        self.open_with(1, &Snapshot::default()).await;
    }

    pub(crate) async fn open_with(&mut self, epoch: u64, snapshot: &Snapshot) {
        let job = JobId::new("test").unwrap();
        let attempt = Attempt { job, number: Position(3), generation: Generation(1) };
        let Snapshot { operators, reached, .. } = snapshot.clone();
        self.order(Order::Open(Opening { attempt, epoch: Epoch(epoch), operators, reached })).await;
        assert!(matches!(self.next().await, News::Opened));
    }

    pub(crate) async fn assign(&self, uid: &str, split: SplitState) {
        self.order(Order::Assign { uid: Uid::new(uid).unwrap(), split }).await;
    }

    pub(crate) async fn barrier(&self, epoch: u64) {
        self.order(Order::Barrier { epoch: Epoch(epoch), last: false }).await;
    }

    /// Waits until a source handed over so many records.
    pub(crate) async fn read(&self, uid: &str, records: u64) {
        let uid = Uid::new(uid).unwrap();
        while self.counters.read()[&uid] < records {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }

    pub(crate) async fn next(&mut self) -> News {
        tokio::time::timeout(HANG, self.news.recv()).await.expect("the test hangs").expect("the host is gone")
    }

    /// The reports of all tasks for an epoch. Every task reports once.
    pub(crate) async fn reports(&mut self, epoch: u64) -> Vec<Report> {
        let mut reports: Vec<Report> = Vec::new();
        while reports.len() < self.graph.tasks as usize {
            match self.next().await {
                News::Report(report) => {
                    assert_eq!(report.epoch, Epoch(epoch));
                    assert_eq!(report.attempt, Position(3));
                    assert!(reports.iter().all(|other| other.task != report.task), "two reports of a task");
                    reports.push(report);
                }
                News::SplitFinished { .. } => {}
                other => panic!("{other:?} instead of a report"),
            }
        }
        reports
    }

    /// Sends a barrier and waits for all reports.
    pub(crate) async fn checkpoint(&mut self, epoch: u64) -> Vec<Report> {
        self.barrier(epoch).await;
        self.reports(epoch).await
    }

    /// Ends the attempt well.
    pub(crate) async fn finish(mut self) -> Result<Ended> {
        let snapshot =
            SnapshotId { job: JobId::new("test").unwrap(), position: Position(9), epoch: Epoch(9) };
        let ended = Ended { closed: Closed::Stopped, snapshot, was_finished: false, unread: BTreeMap::new() };
        let _ = self.end.take().unwrap().send(Ok(ended));
        self.ended().await
    }

    /// How the attempt ended. The coordinator ends as soon as the host says that it failed.
    pub(crate) async fn ended(mut self) -> Result<Ended> {
        loop {
            tokio::select! {
                ended = &mut self.attempt => return ended.unwrap(),
                news = self.news.recv() => if let (Some(News::Failed { error, .. }), Some(end)) = (news, self.end.take()) {
                    let _ = end.send(Err(error));
                },
                () = tokio::time::sleep(HANG) => panic!("the test hangs"),
            }
        }
    }
}

fn failed(why: &str) -> Error {
    Error::new(ErrorKind::Other, "test", why)
}
