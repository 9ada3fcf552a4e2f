//! Times at their ends, and how a job is told to end.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use tidelock::job::JobConfig;
use tidelock::log::{Closed, Log};
use tidelock::{Error, ErrorKind, JobId};
use tidelock_runtime::{Job, Restarts, Workers};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;

fn config() -> JobConfig {
    JobConfig::new(JobId::new("job").unwrap(), "memory")
}

async fn open(config: JobConfig) -> Job {
    Job::open_on(config, Log::on(Arc::new(InMemory::new()), "log".into())).await.unwrap()
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
