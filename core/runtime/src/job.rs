//! A job from opening to its end, with its restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidelock::coordinator::{self, Coordinator, Ended, HostLink};
use tidelock::job::{Graph as CoreGraph, Job as CoreJob, JobConfig, Restored};
use tidelock::log::Log;
use tidelock::restore::Placement;
use tidelock::{Error, ErrorKind, Result, SinkControl, Uid, patiently};

use crate::attempt::{self, Setup};
use crate::counters::Counters;
use crate::handle::{Handle, Lifetime};
use crate::restarts::Restarts;
use crate::signals::{Signals, obey};
use crate::slice::Slicing;
use crate::worker::Build;
use crate::workers::Workers;

/// Bytes that sources may have handed over and nothing has taken yet. A barrier has to wait for them: a sink
/// that takes 10 MB a second holds it up for less than a second.
const BYTES_IN_FLIGHT_MAX: u64 = 8 << 20;

/// How long the client of an object store tries to reach it.
const STORE_PATIENCE: Duration = Duration::from_secs(180);

/// A job that was looked at and does not run yet.
#[derive(Debug)]
pub struct Job {
    core: CoreJob,
    restarts: Restarts,
    bytes_in_flight_max: u64,
    stop_on_signals: bool,
    handle: Lifetime,
}

impl Job {
    /// Looks at the job's log and finds out what a run will restore. Nothing is changed by it.
    ///
    /// # Errors
    /// For a wrong setting, a store that cannot hold a log, or a damaged newest entry.
    pub async fn open(config: JobConfig) -> Result<Self> {
        Self::opening(config).await
    }

    /// Boxed: it is compiled here, and not anew in each crate that has a job.
    fn opening(config: JobConfig) -> BoxFuture<'static, Result<Self>> {
        async move {
            let what = format!("the checkpoints at {}", config.checkpoints);
            Ok(Self::of(patiently(&what, STORE_PATIENCE, CoreJob::open(config)).await?))
        }
        .boxed()
    }

    /// The same on a log that is open already.
    ///
    /// # Errors
    /// As [`Job::open`].
    pub async fn open_on(config: JobConfig, log: Log) -> Result<Self> {
        Ok(Self::of(CoreJob::open_on(config, log).await?))
    }

    fn of(core: CoreJob) -> Self {
        Self {
            core,
            restarts: Restarts::default(),
            bytes_in_flight_max: BYTES_IN_FLIGHT_MAX,
            stop_on_signals: false,
            handle: Lifetime(Handle::new(Arc::new(Counters::default()))),
        }
    }

    /// What a run will restore; `None` on a first run.
    pub fn restored(&self) -> Option<&Restored> {
        self.core.restored()
    }

    /// The hand on the job while it runs: stop it, take a savepoint, see how it goes. Get it before
    /// [`Job::run`], which takes the job.
    pub fn handle(&self) -> Handle {
        self.handle.0.clone()
    }

    /// How often and when a failed attempt is followed by another one within this process. Default:
    /// [`Restarts::default`].
    #[must_use]
    pub fn restarts(mut self, restarts: Restarts) -> Self {
        self.restarts = restarts;
        self
    }

    /// How many bytes of records may be between sources and sinks, in each process. Default 8 MiB.
    /// Records that state was made of do not count. More helps where single records are large; it also
    /// makes checkpoints take longer while a sink is slow, because a barrier comes behind these records.
    #[must_use]
    pub fn bytes_in_flight_max(mut self, bytes: u64) -> Self {
        self.bytes_in_flight_max = bytes.max(1);
        self
    }

    /// Stops with a checkpoint on SIGTERM and Ctrl-C, and at once when asked again a second later or more.
    /// Where a job runs in several processes, a signal to any of them stops the job in all. A job that has not
    /// begun, because a target is away, has nothing to stop with: it ends with an error within seconds. Without it
    /// the process ends like in a crash, and the next start recovers.
    #[must_use]
    pub fn stop_on_signals(mut self) -> Self {
        self.stop_on_signals = true;
        self
    }

    /// Builds the graph on every worker, claims the job, recovers, and runs it to its end: the end of
    /// bounded input, or a stop through [`Job::handle`].
    ///
    /// # Errors
    /// What ended the last attempt, with the uid where it happened, if restarting does not help or
    /// was tried often enough.
    pub async fn run<F>(self, workers: Workers, build: F) -> Result<Ended>
    where
        F: for<'s> Fn(&crate::Graph<'s>) + Send + Sync + 'static,
    {
        self.run_built(workers, Arc::new(build)).await
    }

    /// Boxed: whoever awaits a run should neither carry its 17 KB in a future of his own nor compile it in his crate.
    fn run_built(self, workers: Workers, build: Arc<Build>) -> BoxFuture<'static, Result<Ended>> {
        async move {
            let handle = self.handle.0.clone();
            let stop_on_signals = self.stop_on_signals;
            let attempts = Box::pin(self.attempts(workers, build));
            let ended = if stop_on_signals {
                let signals = Signals::listen()?;
                tokio::select! {
                    ended = attempts => ended,
                    error = obey(signals.each(), &handle) => Err(error),
                }
            } else {
                attempts.await
            };
            ended.map_err(|error| handle.name_savepoints(error))
        }
        .boxed()
    }

    /// Builds the graph, and says what a run would do with the state: which uids get theirs back, which begin
    /// anew. Nothing is claimed, opened or changed: for a look before an upgrade, beside the job that still runs.
    ///
    /// # Errors
    /// What a run would refuse before it claims, such as state without a place in the graph.
    pub async fn dry_run<F>(&self, build: F) -> Result<Placement>
    where
        F: for<'s> Fn(&crate::Graph<'s>) + Send + Sync + 'static,
    {
        self.dry_run_built(Arc::new(build)).await
    }

    fn dry_run_built(&self, build: Arc<Build>) -> BoxFuture<'_, Result<Placement>> {
        self.place(build).boxed()
    }

    async fn place(&self, build: Arc<Build>) -> Result<Placement> {
        let setup = self.setup(Workers::threads(1), build);
        let (built, graph) = tokio::sync::oneshot::channel();
        let coordinate = |graph: CoreGraph| {
            let (orders, no_orders) = tokio::sync::mpsc::channel(1);
            let (news, no_news) = tokio::sync::mpsc::channel(1);
            let _ = built.send(graph);
            // The attempt ends before it begins: whoever opens anything waits for an order.
            let end = async move {
                drop((orders, no_news));
                Err(Error::new(ErrorKind::Other, "dry run", "nothing was run"))
            };
            (end.boxed(), HostLink { orders: no_orders, news })
        };
        let ended = attempt::run(self.core.restored().cloned(), &setup, coordinate).await;
        match graph.await {
            Ok(graph) => self.core.dry_run(&graph).await,
            Err(_) => Err(ended.err().unwrap_or_else(|| {
                Error::new(ErrorKind::Bug, "dry run", "the graph was not built, and nothing says why")
            })),
        }
    }

    fn setup(&self, workers: Workers, build: Arc<Build>) -> Setup {
        Setup {
            workers,
            bytes_in_flight_max: self.bytes_in_flight_max,
            slicing: Slicing::default(),
            end_timeout: attempt::END_TIMEOUT,
            call_timeout: self.core.config().call_timeout,
            handle: self.handle.0.clone(),
            job: self.core.config().job.clone(),
            log: self.core.log().clone(),
            build,
            #[cfg(test)]
            apply_on_arrival: false,
        }
    }

    async fn attempts(self, workers: Workers, build: Arc<Build>) -> Result<Ended> {
        let setup = self.setup(workers, build);
        let Self { core, restarts, handle: lifetime, .. } = self;
        let handle = &lifetime.0;
        let config = core.config().clone();
        // With several processes all of them start again: a supervisor does that.
        let restarts = if setup.workers.place().is_some() { Restarts::never() } else { restarts };
        let mut attempts = restarts.begin();
        let mut job = core;
        loop {
            let restored = job.restored().cloned();
            let mut sinks = BTreeMap::new();
            let coordinate = |graph: CoreGraph| {
                sinks.clone_from(&graph.sinks);
                let (coordinator, link, control) = Coordinator::new(job, graph);
                handle.attach(control);
                (coordinator.run().boxed(), link)
            };
            match Box::pin(attempt::run(restored, &setup, coordinate)).await {
                Ok(ended) => {
                    tidy(&ended, handle, &sinks).await;
                    return Ok(ended);
                }
                Err(error) => attempts.after(error, handle).await?,
            }
            job = loop {
                match CoreJob::open_on(config.clone(), setup.log.clone()).await {
                    Ok(job) => break job,
                    Err(error) => attempts.after(error, handle).await?,
                }
            };
        }
    }
}

/// By now no writer of this process lives. What the job had begun must not stay open in its targets for as long as
/// nobody starts it again.
async fn tidy(ended: &Ended, handle: &Handle, sinks: &BTreeMap<Uid, Arc<dyn SinkControl>>) {
    let Some(attempt) = handle.progress().attempt else { return };
    if let Err(error) = coordinator::tidy(ended, &attempt, sinks).await {
        tracing::warn!(%error, "the job has ended; what it had begun is open in a target until it starts again");
    }
}
