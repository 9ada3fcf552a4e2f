//! Who asks a job to stop gets the savepoint that he asked for, or hears that there is none.

// A failed assertion is a failed test.
#![allow(clippy::panic, clippy::unwrap_used)]

mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tidelock::coordinator::{Control, Ended};
use tidelock::job::{Job, JobConfig, OnCancel};
use tidelock::log::{Closed, EntryKind, Log, Snapshot};
use tidelock::{
    CommitPermit, Committed, Epoch, Error, ErrorKind, JobId, Pending, Prepared, Result, Retry, Sink,
    SinkAttempt, SinkWriter, Uid, WriterId,
};
use tidelock_testkit::doubles::{Feed, MemorySource};
use tidelock_testkit::host::{Pipeline, start};
use tidelock_testkit::oracle::Input;

/// What must happen happens within this time on a clock that runs on by itself. A savepoint whose store does not
/// answer is given up later.
const PATIENCE: Duration = Duration::from_secs(300);

/// The store of the places whose names begin so does not answer.
const SILENT: &str = "silent";

struct World {
    log: Log,
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let silent = ThrottleConfig { wait_put_per_call: Duration::from_secs(86_400), ..Default::default() };
        let silent = Arc::new(ThrottledStore::new(InMemory::new(), silent));
        let places = Arc::clone(&store);
        let log = Log::on(Arc::clone(&store) as _, Path::from("log")).with_places(move |name| {
            let store: Arc<dyn ObjectStore> = match name.starts_with(SILENT) {
                true => Arc::clone(&silent) as _,
                false => Arc::clone(&places) as _,
            };
            Ok(Log::on(store, Path::from(name)))
        });
        Self { log, store }
    }

    /// Runs a job until it ends. `user` has it in hand once a checkpoint is durable.
    async fn run(&self, on_cancel: OnCancel, user: impl AsyncFnOnce(Control)) -> Result<Ended> {
        let mut config = JobConfig::new(JobId::new("job").unwrap(), "memory");
        config.settings.interval = Duration::from_millis(20);
        config.on_cancel = on_cancel;
        let ended = tokio::time::timeout(PATIENCE, reading::run(config, self.log.clone(), user)).await;
        ended.expect("nobody waits for what never comes")?.0
    }

    /// Whether a savepoint of the last entry is there, whole.
    async fn has(&self, savepoint: &str) -> bool {
        let last = self.log.newest().await.unwrap().unwrap().snapshot_id();
        let place = Log::on(Arc::clone(&self.store) as _, Path::from(savepoint));
        Snapshot::load_from(place, None).await.is_ok_and(|found| found.id() == last)
    }
}

/// The error with which a job ends whose savepoint is missing, and what it tells of each.
fn missing(error: &Error) -> Vec<String> {
    assert_eq!(error.retry(), Retry::Halt, "{error:?}");
    assert!(error.to_string().contains("tidelock snapshots copy LOG#POSITION"), "{error:?}");
    error.context().filter(|(key, _)| *key == "savepoint").map(|(_, url)| url.to_owned()).collect()
}

async fn until(condition: impl AsyncFn() -> bool) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_a_stop_that_hangs_in_its_savepoint_and_says_that_there_is_none() {
    let world = World::new();
    let error = world
        .run(OnCancel::Retain, async |control| {
            control.stop(Some("silent/a")).await.unwrap();
            until(async || {
                let newest = world.log.newest().await.unwrap().unwrap();
                newest.kind == EntryKind::Closed(Closed::Stopped)
            })
            .await;
            control.cancel().await;
        })
        .await
        .unwrap_err();
    assert_eq!(missing(&error), ["silent/a"]);
    assert!(format!("{error:?}").contains("told to end at once"), "{error:?}");
    // Nothing is lost: what the error says can be done.
    let last = world.log.newest().await.unwrap().unwrap();
    let settled = Snapshot::load_from(world.log.clone(), Some(last.position)).await.unwrap();
    settled.export(&Log::on(Arc::clone(&world.store) as _, Path::from("elsewhere"))).await.unwrap();
    assert!(world.has("elsewhere").await);
}

#[tokio::test(start_paused = true)]
async fn each_of_two_who_stop_a_job_gets_the_savepoint_that_he_asked_for() {
    let world = World::new();
    let ended = world
        .run(OnCancel::Retain, async |control| {
            let stops = [Some("first"), Some("second"), None].map(|savepoint| control.stop(savepoint));
            for stopped in futures::future::join_all(stops).await {
                stopped.unwrap();
            }
        })
        .await
        .unwrap();
    assert_eq!(ended.closed, Closed::Stopped);
    assert!(world.has("first").await && world.has("second").await);
}

#[tokio::test(start_paused = true)]
async fn a_savepoint_that_hangs_takes_no_other_one_away() {
    let world = World::new();
    let error = world
        .run(OnCancel::Retain, async |control| {
            control.stop(Some("silent/a")).await.unwrap();
            control.stop(Some("silent/b")).await.unwrap();
            control.stop(Some("first")).await.unwrap();
            until(async || world.has("first").await).await;
            // Also for whoever comes while one of them hangs.
            control.stop(Some("second")).await.unwrap();
            until(async || world.has("second").await).await;
            control.cancel().await;
        })
        .await
        .unwrap_err();
    assert_eq!(missing(&error), ["silent/a", "silent/b"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_before_its_savepoint_says_so_and_deletes_nothing() {
    let world = World::new();
    let error = world
        .run(OnCancel::Delete, async |control| {
            let (stopped, ()) = tokio::join!(control.stop(Some("first")), control.cancel());
            stopped.unwrap();
        })
        .await
        .unwrap_err();
    assert_eq!(missing(&error), ["first"]);
    assert!(!world.has("first").await);
    let last = world.log.newest().await.unwrap().unwrap();
    assert_eq!(last.kind, EntryKind::Closed(Closed::Cancelled));
    let settled = Snapshot::load_from(world.log.clone(), Some(last.position)).await.unwrap();
    settled.check_whole().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_comes_after_the_end_is_no_savepoint_in_silence() {
    let world = World::new();
    let mut kept = None;
    world
        .run(OnCancel::Retain, async |control| {
            control.stop(None).await.unwrap();
            kept = Some(control);
        })
        .await
        .unwrap();
    let control = kept.unwrap();
    control.stop(None).await.unwrap();
    let error = control.stop(Some("first")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(missing(&error), ["first"]);
}

/// A sink whose target does not answer when an attempt begins.
struct Away;

/// The writer that it never opens.
struct Nobody;

#[async_trait]
impl Sink for Away {
    type Record = ();
    type Committable = ();
    type Writer = Nobody;

    async fn recover(&self, _: &SinkAttempt, _: &[Pending<()>]) -> Result<()> {
        std::future::pending().await
    }

    async fn open(&self, _: &SinkAttempt, _: WriterId) -> Result<Nobody> {
        panic!("nothing is opened before sinks have recovered")
    }

    async fn commit(&self, _: &CommitPermit, _: Vec<Pending<()>>) -> Result<Committed> {
        panic!("nothing is committed before sinks have recovered")
    }
}

#[async_trait]
impl SinkWriter for Nobody {
    type Record = ();
    type Committable = ();

    async fn write(&mut self, _: &mut Vec<()>) -> Result<()> {
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Vec<Prepared<()>>> {
        Ok(Vec::new())
    }

    async fn settled(&mut self, _: Epoch, _: bool) -> Result<()> {
        Ok(())
    }
}

/// Runs a job whose sink cannot begin, and stops it. `None`: it does not end for a minute.
async fn stopped_while_away(savepoint: Option<&str>) -> Option<Result<Ended>> {
    let world = World::new();
    let job =
        Job::open_on(JobConfig::new(JobId::new("job").unwrap(), "memory"), world.log.clone()).await.unwrap();
    let pipeline = Pipeline::<Input, ()> {
        sources: BTreeMap::from([(Uid::new("in").unwrap(), Arc::new(MemorySource::new(Feed::new())) as _)]),
        function: Arc::new(|_| Vec::new()),
        sinks: BTreeMap::from([(Uid::new("rows").unwrap(), Arc::new(Away) as _)]),
        tasks: 1,
        log: None,
    };
    let (attempt, control) = start(job, pipeline);
    let stop = async {
        // It has claimed its log by then, and waits for the target.
        tokio::time::sleep(Duration::from_secs(1)).await;
        control.stop(savepoint).await.unwrap();
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(attempt, stop).0 });
    ended.await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_stopped_while_a_target_is_away_from_its_beginning_ends_soon_and_names_its_sink() {
    let error = stopped_while_away(None).await.expect("it ends").unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Restart));
    let said = error.to_string();
    assert!(said.contains("told to stop before it had begun") && said.contains("uid=rows"), "{said}");
    assert!(stopped_while_away(Some("savepoint")).await.is_none(), "who wants a savepoint waits for it");
}
