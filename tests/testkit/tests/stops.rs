//! Who asks a job to stop gets the savepoint that he asked for, or hears that there is none.

// A failed assertion is a failed test.
#![allow(clippy::panic, clippy::unwrap_used)]

mod reading;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tidelock::coordinator::{Control, Ended};
use tidelock::job::{JobConfig, OnCancel};
use tidelock::log::{Closed, EntryKind, Log, Snapshot};
use tidelock::{Error, ErrorKind, JobId, Result, Retry};

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
