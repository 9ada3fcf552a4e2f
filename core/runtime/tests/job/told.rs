//! What a job is asked and told while it runs, and what it says before and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidelock::log::Closed;
use tidelock::{ErrorKind, Uid};
use tidelock_runtime::{Job, Workers};
use tidelock_testkit::doubles::{Feed, MemorySink, MemorySource, Target};
use tidelock_testkit::harness::Row;

use super::{Bounded, config, log, passing, restarts};

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
