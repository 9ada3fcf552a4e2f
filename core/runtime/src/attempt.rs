//! One attempt in one process: workers, tasks and coordinator from their beginning to their end.

use std::sync::Arc;
use std::time::Duration;

use tidelock::coordinator::{Ended, HostLink};
use tidelock::job::{Graph as CoreGraph, Restored};
use tidelock::log::Log;
use tidelock::{Error, ErrorKind, JobId, Result, Retry, patiently};
use timely::communication::{Hooks, WorkerGuards};
use tokio::sync::mpsc;

use crate::budget::Budget;
use crate::cluster::{Hello, Post, START_TIMEOUT, follow, lead};
use crate::coordination::{Coordination, watch_coordinator};
use crate::dispatch::{Built, Dispatch};
use crate::handle::Handle;
use crate::lookup::Desks;
use crate::outbox::Outbox;
use crate::shared::Shared;
use crate::slice::Slicing;
use crate::stop::Stop;
use crate::tasks::Tasks;
use crate::transit::Transit;
use crate::worker::{self, Build};
use crate::workers::Workers;

/// How long workers, and then tasks, may take to end. What still runs after that is stuck in a function that
/// never returns; the process must end, or two attempts would run in it.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long workers may take to drop what their graph held when no function of it runs any more: hundreds of millions
/// of keys take minutes, and are no sign of a defect. Whatever has not come back by then does not.
const DROP_TIMEOUT: Duration = Duration::from_secs(600);

/// What all attempts of a job have in common.
pub(crate) struct Setup {
    pub(crate) workers: Workers,
    pub(crate) bytes_in_flight_max: u64,
    pub(crate) slicing: Slicing,
    /// [`END_TIMEOUT`], but in tests.
    pub(crate) end_timeout: Duration,
    /// How long a store may take to answer one call.
    pub(crate) call_timeout: Duration,
    pub(crate) handle: Handle,
    pub(crate) job: JobId,
    pub(crate) log: Log,
    pub(crate) build: Arc<Build>,
    #[cfg(test)]
    pub(crate) apply_on_arrival: bool,
}

/// The worker threads. However the attempt's future ends, they are stopped and joined.
struct Threads {
    stop: Arc<Stop>,
    guards: Option<WorkerGuards<()>>,
}

impl Threads {
    async fn start(
        setup: &Setup,
        shared: &Arc<Shared>,
        restored: Option<Restored>,
        built: mpsc::Sender<Built>,
    ) -> Result<Self> {
        let (worker_shared, build) = (Arc::clone(shared), Arc::clone(&setup.build));
        let config = setup.workers.to_timely();
        let hooks = shared.post.as_ref().map_or_else(Hooks::default, |post| post.watch_connections());
        let start = move || {
            let (builders, others) = config.communication.try_build_with(hooks)?;
            timely::execute::execute_from(builders, others, config.worker, move |worker| {
                worker::run(worker, &worker_shared, restored.clone(), &*build, &built);
            })
        };
        let failed = |message: String| Error::new(ErrorKind::Unavailable, "start workers", message);
        let guards = if setup.workers.place().is_some() {
            // Finding the other processes blocks.
            let started = tokio::time::timeout(START_TIMEOUT, on_own_thread(start));
            let started = patiently("the other processes of the job", START_TIMEOUT, started).await;
            let late = || failed("not all processes were there in time".to_owned());
            started.map_err(|_| late())?.ok_or_else(late)?
        } else {
            start()
        };
        Ok(Self { stop: Arc::clone(&shared.stop), guards: Some(guards.map_err(failed)?) })
    }

    /// Ends and joins them, in bounded time: a function of the user's may never return. What their state takes to
    /// be dropped is another matter.
    async fn join(mut self, end_timeout: Duration) -> Result<()> {
        self.stop.end();
        let stuck = "a worker did not stop: a function in the graph blocks it";
        let through = tokio::time::timeout(end_timeout, self.stop.workers_are_through()).await;
        through.map_err(|_| still_running(stuck))?;
        let Some(guards) = self.guards.take() else { return Ok(()) };
        // A worker catches its panics, so there is nothing to learn from the result.
        let joined = tokio::time::timeout(DROP_TIMEOUT, on_own_thread(move || drop(guards.join())));
        let joined = patiently("the workers to drop what they held", DROP_TIMEOUT, joined).await;
        joined.map(drop).map_err(|_| still_running("a worker does not come back from dropping its graph"))
    }
}

/// Runs what blocks. A thread of its own, because a runtime waits for its blocking tasks when it ends.
async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(done.send(work())));
    result.await.ok()
}

fn still_running(what: &str) -> Error {
    Error::new(ErrorKind::Bug, "end the attempt", what).with_retry(Retry::Halt)
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.end();
        if let Some(guards) = self.guards.take() {
            std::thread::spawn(move || drop(guards.join()));
        }
    }
}

/// Runs one attempt to its end. `coordinate` makes its coordinator once the graph is known.
pub(crate) async fn run(
    restored: Option<Restored>,
    setup: &Setup,
    coordinate: impl FnOnce(CoreGraph) -> Coordination,
) -> Result<Ended> {
    let stop = Stop::new();
    let transit = setup.workers.place().map(|place| Transit::new(place.processes, place.threads));
    let shared = Arc::new(Shared {
        tasks: Tasks::new(tokio::runtime::Handle::current(), Arc::clone(&stop)),
        budget: Budget::new(setup.bytes_in_flight_max, transit),
        slicing: setup.slicing,
        call_timeout: setup.call_timeout,
        outbox: Outbox::new(Arc::clone(&stop)),
        counters: setup.handle.shared_counters(),
        handle: setup.handle.clone(),
        log: setup.log.clone(),
        desks: Desks::default(),
        post: setup.workers.place().map(|place| Post::new(place, setup.workers.addresses().to_vec())),
        #[cfg(test)]
        apply_on_arrival: setup.apply_on_arrival,
        stop,
    });
    let (built_sender, mut built) = mpsc::channel(setup.workers.here());
    let hello = Hello {
        job: setup.job.clone(),
        restored: restored.as_ref().map(|restored| restored.id.clone()),
        uids: Vec::new(),
    };
    let threads = Threads::start(setup, &shared, restored, built_sender).await?;
    let ended = conduct(setup, &shared, &mut built, hello, coordinate).await;
    if let Some(post) = &shared.post {
        post.close();
    }
    let joined = match (&ended, &shared.post) {
        // The other processes end too, or are dead or paused: there is nobody to wait for.
        (Err(_), Some(_)) => {
            drop(threads);
            Ok(())
        }
        // Another one may be gone, and a connection to it stay open: what was decided is said all the same.
        (Ok(_), Some(_)) if shared.stop.failed_late() => {
            let _ = tokio::time::timeout(setup.end_timeout, threads.join(setup.end_timeout)).await;
            Ok(())
        }
        _ => threads.join(setup.end_timeout).await,
    };
    let stuck = "a reader, a writer or a lookup did not stop: it blocks its thread";
    let finished = tokio::time::timeout(setup.end_timeout, shared.tasks.ended()).await;
    let quiet = joined.and(finished.map_err(|_| still_running(stuck)));
    let ended = match (shared.stop.take_failure(), ended) {
        // I5: a newer attempt owns the job, and what failed here only follows from that.
        (Some(failure), Err(error)) if error.kind() == ErrorKind::Fenced => {
            Err(error.because(failure.into_error()))
        }
        // What the coordinator says after a failure only follows from it: where it had decided how the job ends, the
        // failure is not kept.
        (Some(failure), _) => Err(failure.into_error()),
        (None, ended) => ended,
    };
    match (ended, quiet) {
        (ended, Ok(())) => ended,
        (Ok(_), Err(stuck)) => Err(stuck),
        (Err(error), Err(stuck)) => Err(stuck.because(error)),
    }
}

/// Brings the built graph and the coordinator together, until one of them ends.
async fn conduct(
    setup: &Setup,
    shared: &Arc<Shared>,
    built: &mut mpsc::Receiver<Built>,
    mut hello: Hello,
    coordinate: impl FnOnce(CoreGraph) -> Coordination,
) -> Result<Ended> {
    let stopped = || Error::new(ErrorKind::Other, "run", "the attempt ended before it began");
    let mut workers = Vec::new();
    while workers.len() < setup.workers.here() {
        tokio::select! {
            next = built.recv() => workers.push(next.ok_or_else(stopped)?),
            () = shared.stop.token().cancelled() => return Err(stopped()),
        }
    }
    let everywhere = setup.workers.everywhere();
    let dispatch = Dispatch::new(workers, everywhere, Arc::clone(shared))?;
    hello.uids = dispatch.uids();
    match &shared.post {
        None => alone(shared, dispatch, everywhere, coordinate).await,
        Some(post) if post.is_leader() => lead(shared, post, dispatch, &hello, coordinate).await,
        Some(post) => follow(shared, post, dispatch, hello).await,
    }
}

/// Runs the attempt in this process alone.
async fn alone(
    shared: &Arc<Shared>,
    dispatch: Dispatch,
    workers: usize,
    coordinate: impl FnOnce(CoreGraph) -> Coordination,
) -> Result<Ended> {
    let graph = dispatch.core_graph(u32::try_from(workers).unwrap_or(u32::MAX));
    let (coordinator, HostLink { orders, news }) = coordinate(graph);
    shared.tasks.spawn(None, "obey", dispatch.run(orders));
    shared.tasks.spawn(None, "report", Arc::clone(&shared.outbox).forward(news.clone()));
    watch_coordinator(&shared.stop, coordinator, &news).await
}
