//! What a start restores, known before the graph is built.

use super::*;
use crate::job::{Graph, Job, JobConfig, StartFrom};
use crate::log::savepoint::chunk_names;
use crate::{Error, ErrorKind};

fn config(job: &str, start_from: StartFrom) -> JobConfig {
    let mut config = JobConfig::new(JobId::new(job).unwrap(), "unused");
    config.start_from = start_from;
    config
}

fn snapshot(url: &str, request: Option<&str>) -> StartFrom {
    StartFrom::Snapshot { url: url.to_owned(), request: request.map(|name| RequestId(name.to_owned())) }
}

/// A log beside which `there` is found under the name "there".
fn beside(log: Log, there: &Log) -> Log {
    let there = there.clone();
    log.with_places(move |url| {
        assert_eq!(url, "there");
        Ok(there.clone())
    })
}

#[tokio::test]
async fn an_empty_log_restores_nothing() {
    let job = Job::open_on(config("orders", StartFrom::Newest), memory()).await.unwrap();
    assert_eq!(job.restored(), None);
    // An attempt that claimed and crashed before it resolved its first positions: still a first run.
    append(job.log(), &entry(1, EntryKind::Claim, 1, 0)).await;
    let job = Job::open_on(config("orders", StartFrom::Newest), job.log().clone()).await.unwrap();
    assert_eq!(job.restored(), None);
}

#[tokio::test]
async fn the_newest_entry_is_restored() {
    let log = memory();
    small_log(&log).await;
    let job = Job::open_on(config("orders", StartFrom::Newest), log.clone()).await.unwrap();
    let restored = job.restored().unwrap();
    assert_eq!((restored.id.position, restored.id.epoch), (Position(4), Epoch(1)));
    assert_eq!(restored.uids, ["in", "count", "out"].map(uid).into());
    assert_eq!(restored.closed, None);

    let mut closed = entry(5, EntryKind::Closed(Closed::Stopped), 1, 2);
    closed.state = Some(state(vec![], vec![]));
    append(&log, &closed).await;
    let job = Job::open_on(config("orders", StartFrom::Newest), log).await.unwrap();
    assert_eq!(job.restored().unwrap().closed, Some(Closed::Stopped));
}

#[tokio::test]
async fn a_log_belongs_to_one_job() {
    let log = memory();
    small_log(&log).await;
    let error = Job::open_on(config("other", StartFrom::Newest), log).await.expect_err("another's log");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("job_of_the_log=orders"), "{error}");
}

#[tokio::test]
async fn a_rollback_is_restored_until_it_was_obeyed() {
    let log = memory();
    small_log(&log).await;
    let log = beside(log.clone(), &log);
    for (from, request) in
        [(snapshot("there#3", None), "orders#3"), (snapshot("there#3", Some("fix-7")), "fix-7")]
    {
        let job = Job::open_on(config("orders", from.clone()), log.clone()).await.unwrap();
        assert_eq!(job.restored().unwrap().id.position, Position(3));
        assert_eq!(job.chosen.as_ref().unwrap().names[0], RequestId(request.to_owned()));

        let mut start = log.newest().await.unwrap().unwrap();
        start.position = start.position.next();
        start.nonce = log.nonce();
        start.obeyed.push(RequestId(request.to_owned()));
        append(&log, &start).await;
        let job = Job::open_on(config("orders", from), log.clone()).await.unwrap();
        assert_eq!(job.restored().unwrap().id.position, start.position, "it goes on from the newest");
        assert!(job.chosen.is_none());
    }
    // Whoever names the request may delete the snapshot once it was obeyed.
    let gone = snapshot("there#99", Some("fix-7"));
    Job::open_on(config("orders", gone), log).await.unwrap();
}

/// Appends the start entry of a rollback that was obeyed under these names.
async fn obey(log: &Log, names: &[&str]) {
    let mut start = log.newest().await.unwrap().unwrap();
    start.position = start.position.next();
    start.nonce = log.nonce();
    start.state = Some(State::default());
    start.obeyed.extend(names.iter().map(|name| RequestId((*name).to_owned())));
    append(log, &start).await;
}

#[tokio::test]
async fn a_rollback_that_was_obeyed_needs_its_snapshot_no_more() {
    let log = memory();
    small_log(&log).await;
    let here = log.clone();
    let log = log.with_places(move |url| match url {
        "here" => Ok(here.clone()),
        _ => Err(Error::new(ErrorKind::NotFound, "open the store", "there is no such folder")),
    });
    let open = async |url: &str| Job::open_on(config("orders", snapshot(url, None)), log.clone()).await;
    let names = open("here#4").await.unwrap().chosen.unwrap().names;
    assert_eq!(names, ["orders#4", "here#4"].map(|name| RequestId(name.to_owned())));
    open("moved").await.expect_err("nothing of this name was ever restored");
    let state = log.newest().await.unwrap().unwrap().state.unwrap();
    obey(&log, &["orders#4", "here#4", "orders#2", "moved"]).await;
    // Moved away.
    assert!(open("moved").await.unwrap().chosen.is_none());
    // First its chunks are pruned, then it is.
    let chunks = chunk_names(&state).into_iter().collect();
    log.prune(&PruneWork { entries: vec![], chunks }).await.unwrap();
    assert!(open("here#4").await.unwrap().chosen.is_none());
    log.prune(&PruneWork { entries: vec![Position(4)], chunks: vec![] }).await.unwrap();
    let again = open("here#4").await.unwrap();
    assert!(again.chosen.is_none());
    assert_eq!(again.restored().unwrap().id.position, Position(5), "it goes on from the newest");
    open("here#99").await.expect_err("nothing of this name was ever restored");
}

#[tokio::test]
async fn another_savepoint_at_the_place_of_one_that_was_restored_is_restored() {
    let log = memory();
    small_log(&log).await;
    let there = Log::on(Arc::new(InMemory::new()), Path::from("there"));
    let settled = Snapshot::load_from(log.clone(), Some(Position(4))).await.unwrap();
    settled.export(&there).await.unwrap();
    obey(&log, &["orders#2", "there"]).await;
    let log = beside(log.clone(), &there);
    let job = Job::open_on(config("orders", snapshot("there", None)), log.clone()).await.unwrap();
    assert_eq!(job.restored().unwrap().id.position, Position(4));
    job.dry_run(&Graph::default()).await.expect_err("the graph has no place for the state of the snapshot");
    // Obeyed by another attempt since it was opened: a dry run goes on from the newest, too.
    obey(&log, &["orders#4", "there"]).await;
    job.dry_run(&Graph::default()).await.unwrap();
    assert!(Job::open_on(config("orders", snapshot("there", None)), log).await.unwrap().chosen.is_none());
}

#[tokio::test]
async fn a_fork_needs_a_new_job_without_state() {
    let first = memory();
    small_log(&first).await;
    let fork = beside(Log::on(Arc::new(InMemory::new()), Path::from("jobs/fork")), &first);
    let error = Job::open_on(config("orders", snapshot("there#4", None)), fork.clone())
        .await
        .expect_err("the same job id in a new log");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("new job id"), "{error}");

    let job = Job::open_on(config("fork", snapshot("there#4", None)), fork.clone()).await.unwrap();
    assert_eq!(job.restored().unwrap().id.to_string(), "orders#4");

    let mut began = entry(1, EntryKind::Start, 1, 0);
    began.job = JobId::new("fork").unwrap();
    began.state = Some(state(vec![], vec![]));
    append(&fork, &began).await;
    let error = Job::open_on(config("fork", snapshot("there#4", None)), fork)
        .await
        .expect_err("it has state already");
    assert_eq!(error.kind(), ErrorKind::Config);
}
