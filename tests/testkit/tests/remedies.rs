//! Every error that names a remedy is followed by somebody who does what it says.

// A failed assertion and a poisoned lock are a failed test.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tidelock::coordinator::{Coordinator, Ended};
use tidelock::job::{Job, JobConfig, OnCancel, StartFrom};
use tidelock::log::{Closed, EntryKind, Log, RequestId, Snapshot};
use tidelock::write_ahead::{Apply, Version, WriteAhead, WriteAheadConfig, Writes};
use tidelock::{
    Discovery, Epoch, Error, ErrorKind, Generation, JobId, Known, Position, Result, Retry, Source, Uid,
    Versioned, unknown_version,
};
use tidelock_testkit::doubles::{Feed, MemorySource};
use tidelock_testkit::host::{Pipeline, host};
use tidelock_testkit::oracle::Input;

/// What must happen happens within this time on a clock that runs on by itself.
const PATIENCE: Duration = Duration::from_secs(600);

/// A store that takes longer is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Word(String);

impl Versioned for Word {
    const VERSION: u16 = 1;

    fn upgrade(version: u16, _json: &str) -> Result<Self> {
        Err(unknown_version::<Self>(version))
    }
}

/// A target that keeps one version for all.
#[derive(Debug, Default)]
struct Rows {
    newest: Option<Version>,
    words: Vec<Word>,
}

#[derive(Debug, Clone, Default)]
struct Target {
    rows: Arc<Mutex<Rows>>,
    /// Somebody must look at it before it takes anything.
    broken: Arc<AtomicBool>,
}

#[async_trait]
impl Apply for Target {
    type Record = Word;

    async fn newest(&self, _job: &JobId, _uid: &Uid) -> Result<Option<Version>> {
        Ok(self.rows.lock().unwrap().newest)
    }

    async fn apply(&self, writes: Writes<Word>) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Auth, "apply", "no right to write"));
        }
        let words = writes.all().await?;
        let mut rows = self.rows.lock().unwrap();
        if rows.newest < Some(writes.version) {
            rows.newest = Some(writes.version);
            rows.words.extend(words);
        }
        Ok(())
    }
}

/// A feed that has no other splits than those that are there: the input ends when they do.
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

/// A job from a feed to a write-ahead sink, and the places that outlive its attempts.
struct World {
    job: &'static str,
    /// The uids of its graph.
    source: &'static str,
    sink: &'static str,
    allow_dropped: Vec<&'static str>,
    on_cancel: OnCancel,
    writes: WriteAheadConfig,
    /// Where the settings of the sink say that it writes.
    place: &'static str,
    log: Log,
    feed: Feed,
    target: Target,
}

/// A log, beside other places of the same store.
fn log() -> Log {
    let store = Arc::new(InMemory::new());
    let places = Arc::clone(&store);
    Log::on(store, Path::from("log"))
        .with_places(move |name| Ok(Log::on(Arc::clone(&places) as _, Path::from(name))))
}

/// A moment on the wall.
fn at(ms: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap()).unwrap()
}

impl World {
    fn new() -> Self {
        let (feed, target) = (Feed::new(), Target::default());
        let (source, sink, allow_dropped) = ("in", "out", Vec::new());
        let (on_cancel, writes) = (OnCancel::Retain, WriteAheadConfig::default());
        let (job, place, log) = ("job", "table first", log());
        Self { job, source, sink, allow_dropped, on_cancel, writes, place, log, feed, target }
    }

    fn words(&self) -> Vec<Word> {
        self.target.rows.lock().unwrap().words.clone()
    }

    /// Runs an attempt at a time on the wall, until so many words are visible.
    async fn run(&self, wall_ms: u64, from: StartFrom, words: usize) -> Result<Ended> {
        self.run_and_stop(wall_ms, from, words, None).await
    }

    /// The same, with a savepoint when it stops.
    async fn run_and_stop(
        &self,
        wall_ms: u64,
        from: StartFrom,
        words: usize,
        savepoint: Option<&str>,
    ) -> Result<Ended> {
        let mut config = JobConfig::new(JobId::new(self.job).unwrap(), "memory");
        config.settings.interval = Duration::from_millis(20);
        config.start_from = from;
        config.on_cancel = self.on_cancel;
        config.call_timeout = CALL_TIMEOUT;
        let uid = |name: &str| Uid::new(name).unwrap();
        config.allow_dropped_state = self.allow_dropped.iter().copied().map(uid).collect();
        let job = Job::open_on(config, self.log.clone()).await?;
        let sink = WriteAhead::new(self.target.clone(), self.writes.clone())?.at(self.place);
        let pipeline = Pipeline {
            sources: BTreeMap::from([(
                uid(self.source),
                Arc::new(Bounded(MemorySource::new(self.feed.clone()))) as _,
            )]),
            function: Arc::new(|input: Input| vec![Word(input.to_string())]),
            sinks: BTreeMap::from([(uid(self.sink), Arc::new(sink) as _)]),
            tasks: 1,
            log: Some(self.log.clone()),
        };
        let (coordinator, link, control) = Coordinator::with_chance(job, pipeline.graph(), 1, at(wall_ms));
        let mut coordinator = Box::pin(coordinator.run());
        let attempt = async {
            tokio::select! {
                biased;
                ended = &mut coordinator => ended,
                () = host(link, pipeline) => coordinator.await,
            }
        };
        let stop = async {
            while self.words().len() < words {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            control.stop(savepoint).await.unwrap();
            if self.on_cancel == OnCancel::Delete {
                control.cancel().await;
            }
            std::future::pending().await
        };
        tokio::time::timeout(PATIENCE, async {
            tokio::select! { ended = attempt => ended, ended = stop => ended }
        })
        .await
        .expect("it ends")
    }

    /// Runs an attempt to the end of the input.
    async fn finish(&self, wall_ms: u64) -> Ended {
        let ended = self.run(wall_ms, StartFrom::Newest, usize::MAX).await.unwrap();
        assert_eq!(ended.closed, Closed::Finished);
        ended
    }

    async fn newest(&self) -> Position {
        self.log.newest().await.unwrap().unwrap().position
    }

    /// The target has writes of a newer history, which the job's log does not know.
    fn overtake(&self, generation: u64) {
        self.target.rows.lock().unwrap().newest =
            Some(Version { generation: Generation(generation), epoch: Epoch(1) });
    }
}

fn entry(position: Position) -> StartFrom {
    StartFrom::Snapshot { url: format!("log#{position}"), request: None }
}

fn inputs(split: &str, places: std::ops::Range<u64>) -> Vec<Word> {
    places.map(|place| Word(Input::new(split, place).to_string())).collect()
}

fn halts(error: &Error, kind: ErrorKind, remedy: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, Retry::Halt), "{error:?}");
    assert!(format!("{error:?}").contains(remedy), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_of_a_newer_generation_is_written_to_after_a_rollback_to_the_newest_snapshot() {
    let world = World::new();
    world.feed.append("a", 0..10);
    world.run(1_000, StartFrom::Newest, 10).await.unwrap();
    world.overtake(5_000);
    world.feed.append("a", 0..20);
    let error = world.run(2_000, StartFrom::Newest, 20).await.unwrap_err();
    halts(&error, ErrorKind::Conflict, "roll back to the newest snapshot");
    // Followed too early: the clock is not past what the error names, and it says so again.
    let error = world.run(3_000, entry(world.newest().await), 20).await.unwrap_err();
    assert!(format!("{error:?}").contains("clock_must_be_past=1970-01-01T00:00:05Z"), "{error:?}");
    world.run(5_001, entry(world.newest().await), 20).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..20));
}

#[tokio::test(start_paused = true)]
async fn prepared_data_that_a_newer_generation_hides_is_written_again_after_it_is_abandoned() {
    let world = with_prepared_words().await;
    world.overtake(5_000);
    let error = world.run(6_000, StartFrom::Newest, 10).await.unwrap_err();
    halts(&error, ErrorKind::Conflict, "abandon what is prepared");
    assert_eq!(world.words(), [], "nothing was applied, and nothing ignored");
    let lost = world.log.abandon(&JobId::new("job").unwrap(), None, at(6_000)).await.unwrap();
    assert!(lost.is_some());
    // A snapshot from before it: the first positions.
    world.run(7_000, entry(start_of(&world.log).await), 10).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..10));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_not_settled_can_be_chosen_once_the_job_was_started_without_a_choice() {
    let world = with_prepared_words().await;
    let newest = world.newest().await;
    let error = world.run(2_000, entry(newest), 10).await.unwrap_err();
    halts(&error, ErrorKind::Conflict, "start the job without choosing a snapshot");
    world.run(3_000, StartFrom::Newest, 10).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..10));
    world.feed.append("a", 0..20);
    world.run(4_000, entry(newest), 20).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..20), "it went on from what was committed");
}

#[tokio::test(start_paused = true)]
async fn a_stop_whose_savepoint_cannot_be_written_leaves_the_job_stopped_and_the_savepoint_to_a_copy() {
    let world = World::new();
    world.feed.append("a", 0..10);
    // The name of a folder that is taken: the log's own.
    let error = world.run_and_stop(1_000, StartFrom::Newest, 10, Some("log")).await.unwrap_err();
    halts(&error, ErrorKind::Config, "tidelock snapshots copy");
    let last = world.log.newest().await.unwrap().unwrap();
    assert_eq!(last.kind, EntryKind::Closed(Closed::Stopped), "it is stopped");
    assert!(
        error.context().any(|fact| fact == ("position", last.position.to_string().as_str())),
        "{error:?}"
    );
    let savepoint = Log::on(Arc::new(InMemory::new()), Path::from("elsewhere"));
    let settled = Snapshot::load_from(world.log.clone(), Some(last.position)).await.unwrap();
    settled.export(&savepoint).await.unwrap();
    assert_eq!(Snapshot::load_from(savepoint, None).await.unwrap().id(), last.snapshot_id());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_newest_entry_is_left_behind_by_a_new_job_from_an_older_one() {
    let mut world = World::new();
    let store = Arc::new(InMemory::new());
    let damaged = Log::on(Arc::clone(&store) as _, Path::from("damaged"));
    world.log = damaged.clone();
    world.feed.append("a", 0..10);
    world.run(1_000, StartFrom::Newest, 10).await.unwrap();
    let newest = world.newest().await;
    let object = Path::from(format!("damaged/log/{:020}.json", newest.0));
    store.put(&object, "not an entry".into()).await.unwrap();
    let error = world.run(2_000, StartFrom::Newest, 10).await.unwrap_err();
    halts(&error, ErrorKind::Corrupt, "a new job");
    // The newest entry that can be read and is settled.
    let mut older = None;
    for position in damaged.positions().await.unwrap() {
        if Snapshot::load_from(damaged.clone(), Some(position)).await.is_ok() {
            older = Some(position);
        }
    }
    world.job = "fork";
    let fork = Log::on(store, Path::from("fork")).with_places(move |_| Ok(damaged.clone()));
    world.log = fork;
    world.target = Target::default();
    world.feed.append("a", 0..20);
    let from = older.unwrap();
    let covered = usize::try_from(20).unwrap();
    world.run(3_000, entry(from), 1).await.unwrap();
    let words = world.words();
    assert!(words.len() <= covered && words == inputs("a", 20 - words.len() as u64..20), "{words:?}");
}

#[tokio::test(start_paused = true)]
async fn state_without_a_place_is_restored_once_its_uid_is_back_and_dropped_where_it_is_named() {
    let mut world = World::new();
    world.feed.append("a", 0..10);
    world.run(1_000, StartFrom::Newest, 10).await.unwrap();
    world.source = "renamed";
    let refused = world.run(2_000, StartFrom::Newest, 10).await.unwrap_err();
    halts(
        &refused,
        ErrorKind::Config,
        "give the uid back to its operator, or list it in allow_dropped_state",
    );
    assert!(refused.to_string().contains("state_without_place=in, new_in_the_graph=renamed"), "{refused}");
    // Given back, it goes on where it was.
    world.source = "in";
    world.feed.append("a", 10..20);
    world.run(3_000, StartFrom::Newest, 20).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..20));
    // Dropped by name, the other one begins anew.
    world.source = "renamed";
    world.allow_dropped = vec!["in"];
    world.run(4_000, StartFrom::Newest, 40).await.unwrap();
    assert_eq!(world.words(), [inputs("a", 0..20), inputs("a", 0..20)].concat());
    // Once is enough: the next snapshot does not have it.
    world.allow_dropped.clear();
    world.feed.append("a", 20..21);
    world.run(5_000, StartFrom::Newest, 41).await.unwrap();
}

/// A job that has prepared ten words and could apply none of them.
async fn with_prepared_words() -> World {
    let world = World::new();
    world.feed.append("a", 0..10);
    world.target.broken.store(true, Ordering::Relaxed);
    world.run(1_000, StartFrom::Newest, 10).await.expect_err("nothing can be applied");
    world.target.broken.store(false, Ordering::Relaxed);
    world
}

#[tokio::test(start_paused = true)]
async fn prepared_data_without_a_place_is_committed_by_the_graph_that_prepared_it() {
    let mut world = with_prepared_words().await;
    world.sink = "renamed";
    world.allow_dropped = vec!["out"];
    let refused = world.run(2_000, StartFrom::Newest, 10).await.unwrap_err();
    halts(&refused, ErrorKind::Config, "must be committed by the graph that prepared it");
    assert!(refused.to_string().contains("prepared_data_without_place=out"), "{refused}");
    assert_eq!(world.words(), [], "nothing was dropped");
    world.sink = "out";
    world.run(3_000, StartFrom::Newest, 10).await.unwrap();
    world.sink = "renamed";
    world.feed.append("a", 10..20);
    world.run(4_000, StartFrom::Newest, 20).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..20));
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_for_one_table_go_there_first_or_are_given_up_where_another_one_is_configured() {
    for is_gone in [false, true] {
        let mut world = with_prepared_words().await;
        let first = std::mem::take(&mut world.target);
        world.place = "table second";
        let refused = world.run(2_000, StartFrom::Newest, 10).await.unwrap_err();
        halts(&refused, ErrorKind::Config, "configure the place of before, start the job and stop it");
        let told = refused.to_string();
        assert!(told.contains("pending_for=table first, configured=table second"), "{told}");
        assert_eq!(world.words(), [], "nothing went elsewhere");
        if is_gone {
            let lost = world.log.abandon(&JobId::new("job").unwrap(), None, at(3_000)).await.unwrap();
            assert!(lost.is_some());
            world.run(4_000, entry(start_of(&world.log).await), 10).await.unwrap();
            assert_eq!(world.words(), inputs("a", 0..10));
            continue;
        }
        let second = std::mem::replace(&mut world.target, first);
        world.place = "table first";
        world.run_and_stop(3_000, StartFrom::Newest, 10, Some("saved")).await.unwrap();
        assert_eq!(world.words(), inputs("a", 0..10));
        (world.place, world.target) = ("table second", second);
        world.feed.append("a", 10..20);
        world.run(4_000, StartFrom::Newest, 10).await.unwrap();
        assert_eq!(world.words(), inputs("a", 10..20));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_abandoned_is_named_and_an_older_entry_writes_it_again() {
    let mut world = with_prepared_words().await;
    let listing = world.newest().await;
    world.sink = "renamed";
    let refused = world.run(2_000, StartFrom::Newest, 10).await.unwrap_err();
    halts(&refused, ErrorKind::Config, "abandoned with `tidelock snapshots abandon`");
    world.log.abandon(&JobId::new("job").unwrap(), None, at(2_000)).await.unwrap().expect("something");
    let refused = world.run(3_000, entry(listing), 10).await.unwrap_err();
    halts(&refused, ErrorKind::Expired, "choose an older one");
    world.allow_dropped = vec!["out"];
    world.run(4_000, entry(start_of(&world.log).await), 10).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..10));
}

#[tokio::test(start_paused = true)]
async fn prepared_records_whose_chunk_is_gone_come_from_a_backup_or_are_written_again_after_they_are_abandoned()
 {
    for restored in [true, false] {
        let (world, store, chunks) = with_prepared_chunks().await;
        let object = chunks.last().unwrap().clone();
        let backup = store.get(&object).await.unwrap().bytes().await.unwrap();
        store.delete(&object).await.unwrap();
        let error = world.run(2_000, StartFrom::Newest, 10).await.unwrap_err();
        halts(&error, ErrorKind::NotFound, "Restore the file from a backup");
        halts(&error, ErrorKind::NotFound, "tidelock snapshots abandon");
        assert_eq!(world.words(), [], "nothing of the epoch is visible");
        if restored {
            store.put(&object, backup.into()).await.unwrap();
            world.run(3_000, StartFrom::Newest, 10).await.unwrap();
        } else {
            let lost = world.log.abandon(&JobId::new("job").unwrap(), None, at(3_000)).await.unwrap();
            assert!(lost.is_some());
            world.run(4_000, entry(start_of(&world.log).await), 10).await.unwrap();
        }
        assert_eq!(world.words(), inputs("a", 0..10));
    }
}

/// A job that has prepared ten words in chunks of its log and could apply none of them, its store, and where the chunks are.
async fn with_prepared_chunks() -> (World, Arc<InMemory>, Vec<Path>) {
    let store = Arc::new(InMemory::new());
    let mut world = World::new();
    world.log = log_in(&store, "log");
    (world.writes.in_entry_bytes_max, world.writes.chunk_bytes) = (0, 20);
    world.feed.append("a", 0..10);
    world.target.broken.store(true, Ordering::Relaxed);
    world.run(1_000, StartFrom::Newest, 10).await.expect_err("nothing can be applied");
    world.target.broken.store(false, Ordering::Relaxed);
    let newest = world.log.newest().await.unwrap().unwrap();
    let needed = newest.state.iter().flat_map(|state| state.chunks());
    let chunks: Vec<_> = needed.map(|chunk| Path::from(format!("log/{}", chunk.name))).collect();
    assert!(chunks.len() > 1, "{chunks:?}");
    (world, store, chunks)
}

/// A log in a folder of a store, from which its other folders can be named.
fn log_in(store: &Arc<InMemory>, folder: &'static str) -> Log {
    let places = Arc::clone(store);
    Log::on(Arc::clone(store) as _, Path::from(folder))
        .with_places(move |name| Ok(Log::on(Arc::clone(&places) as _, Path::from(name))))
}

#[tokio::test(start_paused = true)]
async fn a_savepoint_a_rollback_and_a_fork_need_no_chunk_of_what_was_committed_before_them() {
    let (mut world, store, chunks) = with_prepared_chunks().await;
    let listing = world.newest().await;
    let error = world.run(2_000, entry(listing), 10).await.unwrap_err();
    halts(&error, ErrorKind::Conflict, "not settled");
    // What is pending is committed before the savepoint is written.
    world.run_and_stop(3_000, StartFrom::Newest, 10, Some("saved")).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..10));
    for chunk in &chunks {
        let _ = store.delete(chunk).await;
    }
    world.feed.append("a", 10..20);
    world.run(4_000, entry(listing), 20).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..20), "it went on from what was committed");
    (world.job, world.log, world.target) = ("fork", log_in(&store, "fork"), Target::default());
    let saved = StartFrom::Snapshot { url: "saved".to_owned(), request: None };
    world.run(5_000, saved, 10).await.unwrap();
    assert_eq!(world.words(), inputs("a", 10..20));
}

/// The first positions of a job.
async fn start_of(log: &Log) -> Position {
    for position in log.positions().await.unwrap() {
        if log.read(position).await.unwrap().unwrap().kind == EntryKind::Start {
            return position;
        }
    }
    panic!("the job has a start entry");
}

/// Another log, from which the snapshots of the first one can be named.
fn log_beside(first: &Log) -> Log {
    let first = first.clone();
    log().with_places(move |_| Ok(first.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_repeats_a_rollback_without_a_name_goes_on_when_the_savepoint_is_gone() {
    let mut world = World::new();
    let store = Arc::new(InMemory::new());
    let places = Arc::clone(&store);
    world.log = Log::on(Arc::clone(&store) as _, Path::from("log"))
        .with_places(move |name| Ok(Log::on(Arc::clone(&places) as _, Path::from(name))));
    world.feed.append("a", 0..10);
    world.run_and_stop(1_000, StartFrom::Newest, 10, Some("saved")).await.unwrap();
    let again = StartFrom::Snapshot { url: "saved".to_owned(), request: None };
    world.feed.append("a", 10..20);
    world.run(2_000, again.clone(), 20).await.unwrap();
    store.delete(&Path::from("saved/snapshot.json")).await.unwrap();
    world.feed.append("a", 20..30);
    world.run(3_000, again, 30).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..30), "it goes on behind what it wrote");
    // Of a name that was never restored nothing is taken for granted.
    let other = StartFrom::Snapshot { url: "other".to_owned(), request: None };
    let refused = world.run(4_000, other, 30).await.unwrap_err();
    halts(&refused, ErrorKind::NotFound, "there is no savepoint");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_fit_its_log_or_its_job_does_with_a_new_log_and_a_new_id() {
    let mut world = World::new();
    world.feed.append("a", 0..10);
    world.run(1_000, StartFrom::Newest, 10).await.unwrap();
    let (first, from) = (world.log.clone(), world.newest().await);
    world.log = log_beside(&first);
    let refused = world.run(2_000, entry(from), 10).await.unwrap_err();
    halts(&refused, ErrorKind::Config, "for a new log choose a new job id");
    world.job = "fork";
    world.feed.append("a", 10..20);
    world.run(3_000, entry(from), 20).await.unwrap();
    assert_eq!(world.words(), inputs("a", 0..20), "it goes on behind the snapshot");
    // By another name of the snapshot, or the request would count as obeyed.
    let again = StartFrom::Snapshot { url: format!("log#{from}"), request: Some(RequestId("2".to_owned())) };
    let refused = world.run(4_000, again.clone(), 20).await.unwrap_err();
    halts(&refused, ErrorKind::Config, "needs a job that has no state yet");
    (world.job, world.log) = ("another", log_beside(&first));
    world.target = Target::default();
    world.run(5_000, again, 10).await.unwrap();
    assert_eq!(world.words(), inputs("a", 10..20));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_finished_reads_all_of_it_again_with_another_id_and_another_log() {
    let mut world = World::new();
    world.feed.append("a", 0..10);
    world.feed.end("a");
    world.finish(1_000).await;
    let ended = world.finish(2_000).await;
    assert!(ended.was_finished && ended.to_string().contains("another checkpoints folder or another job id"));
    assert_eq!(world.words(), inputs("a", 0..10));
    (world.job, world.log) = ("again", log());
    assert!(!world.finish(3_000).await.was_finished);
    assert_eq!(world.words(), [inputs("a", 0..10), inputs("a", 0..10)].concat());
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_a_cancelled_job_could_not_delete_are_deleted_by_hand() {
    let mut world = World::new();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let slow = ThrottleConfig { wait_delete_per_call: CALL_TIMEOUT * 2, ..Default::default() };
    world.log = Log::on(Arc::new(ThrottledStore::new(Arc::clone(&store), slow)), Path::from("log"));
    world.feed.append("a", 0..10);
    world.on_cancel = OnCancel::Delete;
    let error = world.run(1_000, StartFrom::Newest, 10).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Halt, "{error:?}");
    assert!(error.to_string().contains("tidelock snapshots delete LOG#POSITION"), "{error:?}");
    let log = Log::on(store, Path::from("log"));
    let closed = log.newest().await.unwrap().unwrap();
    assert_eq!(closed.kind, EntryKind::Closed(Closed::Cancelled));
    let mut deleted = 0;
    for position in log.positions().await.unwrap() {
        // Those that must stay are refused.
        if let Ok(deletion) = log.plan_deletion(&BTreeSet::from([position])).await {
            log.prune(&deletion.work).await.unwrap();
            deleted += 1;
        }
    }
    assert!(deleted > 0, "there was something to delete");
    for position in log.positions().await.unwrap() {
        let stays = log.read(position).await.unwrap().unwrap();
        let fence =
            stays.kind == EntryKind::Claim || log.positions().await.unwrap().contains(&position.next());
        assert!(position == closed.position || fence, "{:?} at {position} is left", stays.kind);
    }
}
