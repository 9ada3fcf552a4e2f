//! How a run ends that must not go on: with what it says, and without another try.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidelock::log::Closed;
use tidelock::{
    CommitPermit, Committed, Error, ErrorKind, Pending, Result, Retry, Sink, SinkAttempt, WriterId,
};
use tidelock_runtime::{Job, Restarts, Workers};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;

use super::{config, log, passing, restarts};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_restarting_does_not_help_ends_the_run() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed));
    let job = Job::open_on(config(), log()).await.unwrap().restarts(restarts());
    let error = job.run(Workers::threads(2), move |graph| {
        graph
            .source("in", &source)
            .stream()
            .try_map(|_| -> Result<()> { Err(Error::new(ErrorKind::Data, "parse", "line 7 is damaged")) });
    });
    let error = error.await.unwrap_err();
    assert!(error.to_string().contains("line 7 is damaged"), "{error}");
    assert!(error.to_string().contains("uid=in"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_function_ends_the_run_with_uid_and_cause_and_is_never_tried_again() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed));
    let job = Job::open_on(config(), log()).await.unwrap().restarts(restarts());
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&attempts);
    let error = job.run(Workers::threads(1), move |graph| {
        attempts.fetch_add(1, Ordering::SeqCst);
        graph.source("in", &source).stream().inspect(|_| panic!("a defect"));
    });
    let error = error.await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Bug, Retry::Halt));
    assert!(error.to_string().contains("a defect") && error.to_string().contains("uid=in"), "{error}");
    assert_eq!(counted.load(Ordering::SeqCst), 1, "it was tried again");
}

/// Whatever a connector advises: a wrong setting does not mend itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_never_tried_again_whatever_its_error_advises() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed));
    let job = Job::open_on(config(), log()).await.unwrap().restarts(restarts());
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&attempts);
    let ended = job.run(Workers::threads(1), move |graph| {
        attempts.fetch_add(1, Ordering::SeqCst);
        graph.source("in", &source).stream().try_map(|_| -> Result<()> {
            Err(Error::new(ErrorKind::Config, "test", "wrong").with_retry(Retry::Restart))
        });
    });
    assert_eq!(ended.await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(counted.load(Ordering::SeqCst), 1, "it was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sink_in_two_places_of_a_graph_is_refused_before_anything_is_claimed() {
    let (source, log) = (Arc::new(MemorySource::new(Feed::new())), log());
    let sink = Arc::new(MemorySink::new(Target::new()));
    let job = Job::open_on(config(), log.clone()).await.unwrap();
    let refused = job.run(Workers::threads(2), move |graph| {
        let rows = graph.source("in", &source).stream().map(|input| Row::new(input.split, input.place));
        rows.clone().sink("rows", &sink);
        rows.sink("again", &sink);
    });
    let error = refused.await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Halt));
    assert!(error.to_string().contains("again") && error.to_string().contains("rows"), "{error}");
    assert!(log.newest().await.unwrap().is_none(), "the job was claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_comes_before_the_job_has_begun_is_obeyed() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed));
    let job = Job::open_on(config(), log()).await.unwrap();
    let handle = job.handle();
    let running = job.run(Workers::threads(2), move |graph| drop(graph.source("in", &source).stream()));
    let (ended, stopped) = tokio::join!(running, handle.stop(None));
    stopped.unwrap();
    assert_eq!(ended.unwrap().closed, Closed::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_between_two_attempts_ends_the_run_with_the_error_of_the_last() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed));
    let patient = Restarts { wait_first: Duration::from_secs(3_600), ..Restarts::default() };
    let patient = Restarts { wait_max: Duration::from_secs(3_600), ..patient };
    let job = Job::open_on(config(), log()).await.unwrap().restarts(patient);
    let handle = job.handle();
    let failed = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&failed);
    let running = job.run(Workers::threads(1), move |graph| {
        let failed = Arc::clone(&failed);
        graph.source("in", &source).stream().try_map(move |_| -> Result<()> {
            failed.store(1, Ordering::SeqCst);
            Err(passing(7))
        });
    });
    let failed = async {
        while seen.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        handle.stop(None).await.unwrap();
    };
    let (ended, ()) = tokio::join!(running, failed);
    assert!(ended.unwrap_err().to_string().contains("failure 7"));
}

/// The older one fails of what the newer one did to it, before it appends anything that the log would refuse.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_below_a_newer_one_says_that_it_is_fenced_and_does_not_start_again() {
    let (log, swept) = (log(), Arc::new(AtomicU64::new(0)));
    let feed = Feed::new();
    feed.append("a", 0..10);
    let mut rarely = config();
    rarely.settings.interval = Duration::from_secs(3_600);
    let older = Job::open_on(rarely, log.clone()).await.unwrap().restarts(restarts());
    let (source, seen) = (Arc::new(MemorySource::new(feed.clone())), Arc::clone(&swept));
    let older_handle = older.handle();
    let older = tokio::spawn(older.run(Workers::threads(2), move |graph| {
        let swept = Arc::clone(&seen);
        graph.source("in", &source).stream().try_map(move |input| match swept.load(Ordering::SeqCst) {
            0 => Ok(input),
            _ => Err(Error::new(ErrorKind::NotFound, "write", "the file was swept")),
        });
    }));
    while older_handle.records_read().values().sum::<u64>() < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let newer = Job::open_on(config(), log).await.unwrap();
    let handle = newer.handle();
    let source = Arc::new(MemorySource::new(feed.clone()));
    let newer = tokio::spawn(newer.run(Workers::threads(1), move |graph| {
        drop(graph.source("in", &source).stream());
    }));
    while handle.progress().checkpoints == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    swept.store(1, Ordering::SeqCst);
    feed.append("a", 10..20);
    let error = older.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error:?}");
    assert!(format!("{error:?}").contains("the file was swept"), "{error:?}");
    handle.stop(None).await.unwrap();
    assert_eq!(newer.await.unwrap().unwrap().closed, Closed::Stopped);
}

/// A [`MemorySink`] whose recoveries take longer than the time between two, and which in the end meets another owner.
struct Swept {
    inner: MemorySink,
    recoveries: AtomicU64,
    running: AtomicU64,
    most: Arc<AtomicU64>,
}

#[async_trait]
impl Sink for Swept {
    type Record = <MemorySink as Sink>::Record;
    type Committable = <MemorySink as Sink>::Committable;
    type Writer = <MemorySink as Sink>::Writer;

    async fn recover(&self, attempt: &SinkAttempt, pending: &[Pending<Self::Committable>]) -> Result<()> {
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        match self.recoveries.fetch_add(1, Ordering::SeqCst) {
            0..3 => Sink::recover(&self.inner, attempt, pending).await,
            3 => Err(passing(3)),
            _ => Err(Error::new(ErrorKind::Conflict, "test", "another owner").with_retry(Retry::Halt)),
        }
    }

    async fn open(&self, attempt: &SinkAttempt, writer: WriterId) -> Result<Self::Writer> {
        Sink::open(&self.inner, attempt, writer).await
    }

    async fn commit(
        &self,
        permit: &CommitPermit,
        committables: Vec<Pending<Self::Committable>>,
    ) -> Result<Committed> {
        Sink::commit(&self.inner, permit, committables).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sweep_runs_at_a_time_and_one_that_meets_another_owner_ends_the_job() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed));
    let most = Arc::new(AtomicU64::new(0));
    let sink = Arc::new(Swept {
        inner: MemorySink::new(Target::new()),
        recoveries: AtomicU64::new(0),
        running: AtomicU64::new(0),
        most: Arc::clone(&most),
    });
    let mut config = config();
    config.sweep_interval = Duration::from_millis(5);
    let job = Job::open_on(config, log()).await.unwrap().restarts(restarts());
    let running = job.run(Workers::threads(1), move |graph| {
        let rows = graph.source("in", &source).stream().map(|input| Row::new(input.split, input.place));
        rows.sink("out", &sink);
    });
    let error = running.await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Halt), "{error:?}");
    assert!(error.to_string().contains("uid=out"), "{error}");
    assert_eq!(most.load(Ordering::SeqCst), 1);
}
