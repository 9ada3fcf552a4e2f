//! A stop is how a job ends, and its savepoint is there or is named, whatever fails meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tidelock::coordinator::Ended;
use tidelock::log::{Closed, EntryKind, Log, Snapshot};
use tidelock::{Error, Result, Retry};
use tidelock_runtime::{Handle, Job, Restarts};
use tokio::task::JoinHandle;

use super::broken::Breaks;
use super::gated::Gated;
use super::{PATIENCE, addresses, config, until, workers};

const SAVEPOINT: &str = "slow/a";

/// A job that is stopped with a savepoint, of which one process fails while the savepoint is written.
struct Stopping {
    log: Log,
    gated: Gated,
    handles: Vec<Handle>,
    running: Vec<JoinHandle<Result<Ended>>>,
}

impl Stopping {
    async fn fails_in(process: usize, processes: usize) -> Self {
        let gated = Gated::new();
        let log = gated.log();
        // Each process reads two of them.
        let source = Breaks::new(2 * processes, process);
        let addresses = addresses(processes);
        let (mut handles, mut running) = (Vec::new(), Vec::new());
        for process in 0..processes {
            let mut config = config();
            config.settings.interval = Duration::from_millis(20);
            let job = Job::open_on(config, log.clone()).await.unwrap().restarts(Restarts::never());
            handles.push(job.handle());
            let source = Arc::new(source.clone());
            running.push(tokio::spawn(job.run(workers(process, &addresses), move |graph| {
                graph.source("in", &source).stream();
            })));
        }
        until(async || source.readers(processes) == 2 * processes).await;
        handles[processes - 1].stop(Some(SAVEPOINT)).await.unwrap();
        tokio::time::timeout(PATIENCE, gated.reached()).await.expect("a savepoint is written");
        let last = log.newest().await.unwrap().unwrap();
        assert_eq!(last.kind, EntryKind::Closed(Closed::Stopped));
        source.now.notify_one();
        // The other reader of the process is gone only when all of the process stops.
        until(async || source.readers(processes) <= 2 * (processes - 1)).await;
        Self { log, gated, handles, running }
    }

    async fn ended(self) -> Vec<Result<Ended>> {
        let mut ended = Vec::new();
        for run in self.running {
            ended.push(tokio::time::timeout(PATIENCE, run).await.expect("it ends").unwrap());
        }
        ended
    }
}

fn named(error: &Error) -> Vec<&str> {
    error.context().filter(|(key, _)| *key == "savepoint").map(|(_, url)| url).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_while_the_savepoint_of_a_stop_is_written_takes_neither_it_nor_the_end_away() {
    for (process, processes) in [(0, 1), (0, 2), (1, 2)] {
        let stopping = Stopping::fails_in(process, processes).await;
        let (log, gated) = (stopping.log.clone(), stopping.gated.clone());
        gated.open();
        for ended in stopping.ended().await {
            assert_eq!(ended.unwrap().closed, Closed::Stopped, "{process} of {processes}");
        }
        let last = log.newest().await.unwrap().unwrap();
        let savepoint = Snapshot::load_from(gated.place(SAVEPOINT), None).await.unwrap();
        assert_eq!(savepoint.id(), last.snapshot_id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_a_savepoint_up_is_heard_also_where_a_process_has_failed() {
    for (process, processes) in [(0, 1), (0, 2), (1, 2)] {
        let stopping = Stopping::fails_in(process, processes).await;
        stopping.handles[processes - 1].cancel().await.unwrap();
        for ended in stopping.ended().await {
            let error = ended.unwrap_err();
            assert_eq!(named(&error), [SAVEPOINT], "{process} of {processes}: {error:?}");
            // A supervisor must not start a job again that is stopped.
            assert_eq!(error.retry(), Retry::Halt, "{process} of {processes}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_before_it_stops_names_the_savepoint_that_is_not_written() {
    let gated = Gated::new();
    let job = Job::open_on(config(), gated.log()).await.unwrap().restarts(Restarts::never());
    let handle = job.handle();
    let source = Arc::new(Breaks::new(0, 0));
    let run = job.run(workers(0, &addresses(1)), move |graph| {
        graph.source("in", &source).stream();
    });
    let (_, ended) = tokio::join!(handle.stop(Some(SAVEPOINT)), run);
    let error = ended.unwrap_err();
    assert_eq!(named(&error), [SAVEPOINT], "{error:?}");
    assert!(error.to_string().contains("the broker is gone"), "{error:?}");
}
