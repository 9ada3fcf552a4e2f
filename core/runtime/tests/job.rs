//! Whole jobs with the real coordinator, on sources and sinks in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidelock::job::{JobConfig, Settings};
use tidelock::log::{Closed, Log};
use tidelock::{
    CommitPermit, Committed, Discovery, Error, ErrorKind, JobId, Known, Pending, Result, Retry, Sink,
    SinkAttempt, Source, Uid, WriterId,
};
use tidelock_runtime::{Job, Restarts, Tumbling, Window, Workers, fold};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;
use tidelock_testkit::oracle::Input;

/// A [`MemorySource`] all of whose splits are there from the beginning.
struct Bounded(MemorySource);

#[async_trait]
impl Source for Bounded {
    type Record = <MemorySource as Source>::Record;
    type Split = <MemorySource as Source>::Split;
    type Reader = <MemorySource as Source>::Reader;

    async fn discover(&self, known: &Known<Self::Split>) -> Result<Discovery<Self::Split>> {
        let found = Source::discover(&self.0, known).await?;
        Ok(Discovery { complete: true, ..found })
    }

    async fn open(&self, split: Self::Split) -> Result<Self::Reader> {
        Source::open(&self.0, split).await
    }
}

fn config() -> JobConfig {
    let mut config = JobConfig::new(JobId::new("job").unwrap(), "memory");
    let mut settings = Settings::default();
    settings.interval = Duration::from_millis(5);
    config.settings = settings;
    config.discovery_interval = Duration::from_millis(20);
    config
}

fn log() -> Log {
    Log::on(Arc::new(InMemory::new()), "log".into())
}

fn restarts() -> Restarts {
    Restarts {
        attempts_max: 100,
        wait_first: Duration::from_millis(1),
        wait_max: Duration::from_millis(5),
        ..Restarts::default()
    }
}

/// A failure that the next attempt may not have.
fn passing(number: u64) -> Error {
    Error::new(ErrorKind::Unavailable, "test", format!("failure {number}"))
}

/// Rows by key, with the places of each in the order in which they became visible.
fn by_split(rows: &[Row]) -> BTreeMap<String, Vec<u64>> {
    let mut splits: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in rows {
        splits.entry(row.key.clone()).or_default().push(row.value);
    }
    splits
}

async fn exactly_once_through_failures(workers: usize, seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (feed, target) = (Feed::new(), Target::new());
    let mut expected = BTreeMap::new();
    for split in ["a", "b", "c"] {
        let length = rng.random_range(1_000..3_000);
        feed.append(split, 0..length);
        feed.end(split);
        expected.insert(split.to_owned(), (0..length).collect::<Vec<_>>());
    }
    let total: usize = expected.values().map(Vec::len).sum();
    let source = Arc::new(Bounded(MemorySource::new(feed)));
    let sink = Arc::new(MemorySink::new(target.clone()));
    // Fails again and again, each time after a random number of records.
    let until_failure = Arc::new(AtomicU64::new(rng.random_range(50..1_500)));
    let failures = Arc::new(AtomicU64::new(0));
    let fuses: Vec<u64> = (0..12).map(|_| rng.random_range(50..2_500)).collect();
    let job = Job::open_on(config(), log()).await.unwrap().restarts(restarts());
    let (counted, handle) = (Arc::clone(&failures), job.handle());
    let ended = job
        .run(Workers::threads(workers), move |graph| {
            let (fuse, failures, fuses) = (Arc::clone(&until_failure), Arc::clone(&failures), fuses.clone());
            graph
                .source("in", &source)
                .stream()
                .try_map(move |input| {
                    if fuse.fetch_sub(1, Ordering::SeqCst) == 1 {
                        let failure = failures.fetch_add(1, Ordering::SeqCst);
                        let next = fuses.get(usize::try_from(failure).unwrap()).copied();
                        fuse.store(next.unwrap_or(u64::MAX), Ordering::SeqCst);
                        return Err(passing(failure));
                    }
                    Ok(Row::new(input.split, input.place))
                })
                .sink("out", &sink);
        })
        .await
        .unwrap();
    assert_eq!(ended.closed, Closed::Finished);
    assert!(counted.load(Ordering::SeqCst) > 0, "nothing failed, so nothing was shown");
    assert_eq!(by_split(&target.visible()), expected);
    assert!(target.leftovers().is_empty());
    assert!(handle.records_written()[&Uid::new("out").unwrap()] >= total as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_once_through_failures_on_one_worker() {
    for seed in 0..3 {
        exactly_once_through_failures(1, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_once_through_failures_on_two_workers() {
    for seed in 10..13 {
        exactly_once_through_failures(2, seed).await;
    }
}

/// Rows of windows: how many records of each key have their time in each hundred places.
async fn windows_are_exact_through_failures(workers: usize, bytes_in_flight_max: u64, seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (feed, target) = (Feed::new(), Target::new());
    let mut expected = BTreeMap::<String, u64>::new();
    for split in ["a", "b", "c"] {
        let length = rng.random_range(1_000..2_000);
        feed.append(split, 0..length);
        feed.end(split);
        for place in 0..length {
            *expected.entry(format!("{}-{}", place % 7, place / 100 * 100)).or_default() += 1;
        }
    }
    let source = Arc::new(Bounded(MemorySource::new(feed)));
    let sink = Arc::new(MemorySink::new(target.clone()));
    let failures = Arc::new(AtomicU64::new(8));
    let seen = Arc::new(AtomicU64::new(0));
    let fuse: Vec<u64> = (0..8).map(|_| rng.random_range(100..3_000)).collect();
    let job = Job::open_on(config(), log()).await.unwrap();
    let job = job.restarts(restarts()).bytes_in_flight_max(bytes_in_flight_max);
    let left = Arc::clone(&failures);
    let ended = job.run(Workers::threads(workers), move |graph| {
        let (failures, seen, fuse) = (Arc::clone(&failures), Arc::clone(&seen), fuse.clone());
        let (rows, late) = graph
            .source("in", &source)
            .event_time(|input| i64::try_from(input.place).unwrap())
            .stream()
            .try_map(move |input| {
                let nth = failures.load(Ordering::SeqCst);
                if nth > 0 && seen.fetch_add(1, Ordering::SeqCst) == fuse[usize::try_from(nth).unwrap() - 1] {
                    seen.store(0, Ordering::SeqCst);
                    failures.fetch_sub(1, Ordering::SeqCst);
                    return Err(passing(nth));
                }
                Ok(input)
            })
            .key_by(|input| input.place % 7)
            .window(
                "hundreds",
                Tumbling::of(Duration::from_millis(100)),
                fold(
                    |count: &mut u64, _: &Input| *count += 1,
                    |key: &u64, window: Window, count: &u64| {
                        Row::new(format!("{key}-{}", window.start), *count)
                    },
                ),
            );
        rows.sink("rows", &sink);
        late.inspect(|input| panic!("{input} is late"));
    });
    assert_eq!(ended.await.unwrap().closed, Closed::Finished);
    assert!(left.load(Ordering::SeqCst) < 8, "nothing failed, so nothing was shown");
    let rows = target.visible();
    let counts: BTreeMap<String, u64> = rows.iter().map(|row| (row.key.clone(), row.value)).collect();
    assert_eq!(counts, expected);
    assert_eq!(rows.len(), expected.len(), "a window has two rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_is_exact_and_written_once_through_failures() {
    for (workers, seed) in [(1, 20), (2, 21), (3, 22), (2, 23)] {
        windows_are_exact_through_failures(workers, 64 << 20, seed).await;
    }
}

/// One batch exceeds the budget: records flow one batch at a time, and still nothing waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_budget_stops_nothing_for_ever() {
    for (workers, seed) in [(1, 30), (3, 31)] {
        windows_are_exact_through_failures(workers, 1, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_job_goes_on_where_it_stopped_with_other_workers() {
    let (feed, target, log) = (Feed::new(), Target::new(), log());
    for workers in [1, 2, 1] {
        let until = feed_more(&feed);
        let source = Arc::new(MemorySource::new(feed.clone()));
        let sink = Arc::new(MemorySink::new(target.clone()));
        let job = Job::open_on(config(), log.clone()).await.unwrap();
        assert_eq!(job.restored().is_some(), until > 1_000);
        let handle = job.handle();
        let running = tokio::spawn(job.run(Workers::threads(workers), move |graph| {
            graph
                .source("in", &source)
                .stream()
                .map(|input| Row::new(input.split, input.place))
                .sink("out", &sink);
        }));
        while target.visible().len() < usize::try_from(until).unwrap() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        handle.stop(None).await.unwrap();
        let ended = running.await.unwrap().unwrap();
        assert_eq!(ended.closed, Closed::Stopped);
    }
    assert_eq!(by_split(&target.visible()), BTreeMap::from([("a".to_owned(), (0..3_000).collect())]));
}

/// Appends a thousand inputs; returns how many there are.
fn feed_more(feed: &Feed) -> u64 {
    static LENGTH: AtomicU64 = AtomicU64::new(0);
    let before = LENGTH.fetch_add(1_000, Ordering::SeqCst);
    feed.append("a", before..before + 1_000);
    before + 1_000
}

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

/// Two processes of one job, as two runs in this one.
#[tokio::test(flavor = "multi_thread")]
async fn the_handle_of_every_process_answers() {
    let (feed, target, log) = (Feed::new(), Target::new(), log());
    feed.append("a", 0..1_000);
    feed.append("b", 0..1_000);
    let ports: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = ports.iter().map(|port| port.local_addr().unwrap().to_string()).collect();
    drop(ports);
    let (mut handles, mut running) = (Vec::new(), Vec::new());
    for process in [0, 1] {
        let job = Job::open_on(config(), log.clone()).await.unwrap();
        handles.push(job.handle());
        let workers = Workers::processes(process, addresses.clone(), 1).unwrap();
        let source = Arc::new(MemorySource::new(feed.clone()));
        let sink = Arc::new(MemorySink::new(target.clone()));
        running.push(tokio::spawn(job.run(workers, move |graph| {
            let numbers = graph.source("in", &source).stream();
            numbers.map(|input| Row::new(input.split, input.place)).sink("out", &sink);
        })));
    }
    let far = &handles[1];
    let mut settings = far.settings().await.unwrap();
    assert_eq!(settings.interval, Duration::from_millis(5), "not the settings of the job");
    settings.interval = Duration::from_millis(7);
    far.set_settings(settings.clone()).await.unwrap();
    assert_eq!(handles[0].settings().await.unwrap(), settings);
    let taken = far.checkpoint().await.unwrap();
    assert!(far.checkpoint().await.unwrap().epoch > taken.epoch);
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("savepoint");
    let exported = far.savepoint(url.to_str().unwrap()).await.unwrap();
    assert!(url.join("snapshot.json").exists(), "{exported}");
    while far.progress().checkpoints == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    far.stop(None).await.unwrap();
    for run in running {
        assert_eq!(run.await.unwrap().unwrap().closed, Closed::Stopped);
    }
    assert_eq!(far.checkpoint().await.unwrap_err().kind(), ErrorKind::Conflict, "nobody is there to answer");
    assert!(far.progress().checkpoints > 0, "what was seen last is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_the_user_changed_outlive_a_restart_and_the_others_stay_as_they_are() {
    let feed = Feed::new();
    feed.append("a", 0..100);
    let source = Arc::new(MemorySource::new(feed.clone()));
    let mut given = config();
    given.settings.tolerable_failures = 9;
    let job = Job::open_on(given, log()).await.unwrap().restarts(restarts());
    let (handle, broken) = (job.handle(), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&broken);
    let running = tokio::spawn(job.run(Workers::threads(1), move |graph| {
        let broken = Arc::clone(&seen);
        graph.source("in", &source).stream().try_map(move |_| match broken.swap(0, Ordering::SeqCst) {
            0 => Ok(()),
            number => Err(passing(number)),
        });
    }));
    let mut settings = handle.settings().await.unwrap();
    settings.interval = Duration::from_millis(3);
    handle.set_settings(settings.clone()).await.unwrap();
    let attempt = handle.checkpoint().await.map(|_| handle.progress().attempt).unwrap();
    broken.store(1, Ordering::SeqCst);
    feed.append("a", 100..200);
    while handle.progress().attempt == attempt || handle.progress().checkpoints == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(handle.settings().await.unwrap(), settings);
    assert_eq!(settings.tolerable_failures, 9, "another setting was reset");
    settings.interval = Duration::ZERO;
    assert_eq!(handle.set_settings(settings).await.unwrap_err().kind(), ErrorKind::Config);
    handle.stop(None).await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().closed, Closed::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_that_is_run_again_says_what_it_does_not_read() {
    let (feed, target, log) = (Feed::new(), Target::new(), log());
    let mut said = Vec::new();
    for split in ["a", "b"] {
        feed.append(split, 0..10);
        feed.end(split);
        let source = Arc::new(Bounded(MemorySource::new(feed.clone())));
        let sink = Arc::new(MemorySink::new(target.clone()));
        let job = Job::open_on(config(), log.clone()).await.unwrap();
        let ended = job.run(Workers::threads(1), move |graph| {
            let numbers = graph.source("in", &source).stream();
            numbers.map(|input| Row::new(input.split, input.place)).sink("out", &sink);
        });
        said.push(ended.await.unwrap());
    }
    let (first, second) = (said[0].to_string(), said[1].to_string());
    assert!(first.contains("finished") && said[0].unread.is_empty(), "{first}");
    assert_eq!(said[1].unread[&Uid::new("in").unwrap()].len(), 1);
    assert!(second.contains("nothing to do") && second.contains("1 of in (b)"), "{second}");
}

#[tokio::test]
async fn a_dry_run_says_what_a_run_would_restore_and_changes_nothing() {
    let (feed, target, log) = (Feed::new(), Target::new(), log());
    feed.append("a", 0..10);
    feed.end("a");
    let graph = |uid: &'static str| {
        let source = Arc::new(Bounded(MemorySource::new(feed.clone())));
        let sink = Arc::new(MemorySink::new(target.clone()));
        move |graph: &tidelock_runtime::Graph<'_>| {
            let numbers = graph.source(uid, &source).stream();
            numbers.map(|input| Row::new(input.split, input.place)).sink("out", &sink);
        }
    };
    let open = || Job::open_on(config(), log.clone());
    let first = open().await.unwrap().dry_run(graph("in")).await.unwrap();
    assert_eq!((first.restored.len(), first.fresh.len()), (0, 2), "nothing is there yet");
    open().await.unwrap().run(Workers::threads(1), graph("in")).await.unwrap();
    let entries = log.positions().await.unwrap();

    let again = open().await.unwrap().dry_run(graph("in")).await.unwrap();
    assert!(again.restored.contains(&Uid::new("in").unwrap()), "{again:?}");
    let error = open().await.unwrap().dry_run(graph("renamed")).await.unwrap_err();
    for part in ["state_without_place=in", "new_in_the_graph=renamed"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(log.positions().await.unwrap(), entries, "nothing was appended");
    // What a run would say of the graph itself is said, too.
    let error = open().await.unwrap().dry_run(graph("in.valid?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
