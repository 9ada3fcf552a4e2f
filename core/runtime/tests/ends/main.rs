//! Times at their ends, and how a job is told to end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so")]

mod broken;
mod cancelled;
mod gated;
mod stopped;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use tidelock::coordinator::{Ended, tidy};
use tidelock::job::JobConfig;
use tidelock::log::{Closed, Log};
use tidelock::{Attempt, Error, ErrorKind, JobId, Result, SinkControl, Uid};
use tidelock_runtime::{Handle, Job, Restarts, Workers};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;
use tokio::task::JoinHandle;

fn config() -> JobConfig {
    JobConfig::new(JobId::new("job").unwrap(), "memory")
}

async fn open(config: JobConfig) -> Job {
    Job::open_on(config, Log::on(Arc::new(InMemory::new()), "log".into())).await.unwrap()
}

/// Free ones, for so many processes.
fn addresses(processes: usize) -> Vec<String> {
    let ports: Vec<_> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    ports.iter().map(|port| port.local_addr().unwrap().to_string()).collect()
}

/// One process of several, or a job of its own.
fn workers(process: usize, addresses: &[String]) -> Workers {
    match addresses.len() {
        1 => Workers::threads(2),
        _ => Workers::processes(process, addresses.to_vec(), 1).unwrap(),
    }
}

/// How long anybody waits in a test for what must happen.
const PATIENCE: Duration = Duration::from_secs(120);

async fn until(condition: impl AsyncFn() -> bool) {
    let waited = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("it never comes");
}

fn source_of(rows: u64) -> Arc<MemorySource> {
    let feed = Feed::new();
    feed.append("a", 0..rows);
    Arc::new(MemorySource::new(feed))
}

/// A time for ever is a time: "no checkpoint but those that I ask for".
#[tokio::test(flavor = "multi_thread")]
async fn every_time_of_a_job_may_be_for_ever() {
    let (source, target) = (source_of(100), Target::new());
    let sink = Arc::new(MemorySink::new(target.clone()));
    let mut config = config();
    for time in [
        &mut config.settings.interval,
        &mut config.settings.pause_min,
        &mut config.settings.timeout,
        &mut config.call_timeout,
        &mut config.discovery_interval,
        &mut config.sweep_interval,
    ] {
        *time = Duration::MAX;
    }
    let restarts = Restarts { good_after: Duration::MAX, ..Restarts::default() };
    let job = open(config).await.restarts(restarts);
    let (handle, built) = (job.handle(), AtomicU64::new(0));
    let running = tokio::spawn(job.run(Workers::threads(1), move |graph| {
        let fails = built.fetch_add(1, Ordering::SeqCst) == 0;
        let rows =
            graph.source("in", &source).event_time(|input| input.place as i64).idle_after(Duration::MAX);
        rows.stream()
            .try_map(move |input| match fails {
                true => Err(Error::new(ErrorKind::Unavailable, "test", "it passes")),
                false => Ok(Row::new(input.split, input.place)),
            })
            .sink("out", &sink);
    }));
    while target.visible().len() < 100 {
        // The first attempt fails, and one of nothing may come before all is read.
        let _ = handle.checkpoint().await;
        assert!(!running.is_finished(), "it ended by itself: {:?}", running.await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    handle.stop(None).await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().closed, Closed::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_a_job_takes_nobodys_savepoint_away() {
    let source = source_of(100);
    let job = open(config()).await;
    let handle = job.handle();
    let run = job.run(Workers::threads(1), move |graph| {
        graph.source("in", &source).stream();
    });
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    // Two people ask for it, and whatever started the process sends a signal right behind.
    let stops = [one.to_str(), other.to_str(), None].map(|savepoint| handle.stop(savepoint));
    let (stopped, ended) = tokio::join!(futures::future::join_all(stops), run);
    for stopped in stopped {
        stopped.unwrap();
    }
    assert_eq!(ended.unwrap().closed, Closed::Stopped);
    assert!(one.join("snapshot.json").exists() && other.join("snapshot.json").exists());
    let late = folder.path().join("late");
    let error = handle.stop(late.to_str()).await.unwrap_err();
    assert!(error.to_string().contains("the job had ended before"), "{error:?}");
    handle.stop(None).await.unwrap();
}

const ROWS: u64 = 200;

/// Two processes of one job, as two runs in this one, that have written all rows and prepared none.
struct Two {
    handles: Vec<Handle>,
    running: Vec<JoinHandle<Result<Ended>>>,
}

impl Two {
    async fn start(log: &Log, feed: &Feed, target: &Target, rows: u64) -> Self {
        let addresses = addresses(2);
        let (mut handles, mut running) = (Vec::new(), Vec::new());
        for process in [0, 1] {
            let mut config = config();
            config.settings.interval = Duration::MAX;
            let job = Job::open_on(config, log.clone()).await.unwrap();
            handles.push(job.handle());
            let workers = Workers::processes(process, addresses.clone(), 1).unwrap();
            let source = Arc::new(MemorySource::new(feed.clone()));
            let sink = Arc::new(MemorySink::new(target.clone()));
            running.push(tokio::spawn(job.run(workers, move |graph| {
                let rows = graph.source("in", &source).stream();
                rows.map(|input| Row::new(input.split, input.place)).rebalance().sink("out", &sink);
            })));
        }
        let two = Self { handles, running };
        let written = |handle: &Handle| handle.records_written().values().sum::<u64>();
        while two.handles.iter().map(written).sum::<u64>() < rows {
            assert!(!two.running.iter().any(JoinHandle::is_finished), "a process ended by itself");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(target.leftovers().len(), 2, "each process has begun something");
        two
    }

    /// How it ended, in all of them the same way.
    async fn ended(self) -> (Ended, Attempt) {
        let mut ended = Vec::new();
        for run in self.running {
            ended.push(run.await.unwrap().unwrap());
        }
        assert_eq!(ended[0], ended[1]);
        (ended.remove(0), self.handles[0].progress().attempt.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_of_several_processes_had_begun_is_aborted_at_its_end_and_nothing_of_the_next() {
    let (feed, target) = (Feed::new(), Target::new());
    let log = Log::on(Arc::new(InMemory::new()), "log".into());
    feed.append("a", 0..ROWS);
    let first = Two::start(&log, &feed, &target, ROWS).await;
    first.handles[1].cancel().await.unwrap();
    let (ended, attempt) = first.ended().await;
    assert_eq!(ended.closed, Closed::Cancelled);
    assert_eq!(target.leftovers(), [], "nobody is left to abort it");
    // A host that comes to it late, when the job goes on elsewhere.
    let next = Two::start(&log, &feed, &target, ROWS).await;
    let sink: Arc<dyn SinkControl> = Arc::new(MemorySink::new(target.clone()));
    tidy(&ended, &attempt, &BTreeMap::from([(Uid::new("out").unwrap(), sink)])).await.unwrap();
    assert_eq!(target.leftovers().len(), 2, "what the newer attempt has begun is there");
    next.handles[1].stop(None).await.unwrap();
    assert_eq!(next.ended().await.0.closed, Closed::Stopped);
    let mut visible = target.visible();
    visible.sort();
    assert_eq!(visible, (0..ROWS).map(|place| Row::new("a", place)).collect::<Vec<_>>());
    assert_eq!(target.leftovers(), []);
}
