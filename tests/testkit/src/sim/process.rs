//! What runs in a process: the real coordinator, the real log and the page-long host, on the simulated
//! world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::join;
use object_store::ObjectStore;
use object_store::path::Path;
use tidelock::coordinator::{Control, Coordinator, Ended, tidy};
use tidelock::job::{Job, JobConfig};
use tidelock::log::Log;
use tidelock::write_ahead::{WriteAhead, WriteAheadConfig};
use tidelock::{Attempt, JobId, Position, Result, SinkControl, SinkData, SourceData, Uid};

use super::doubles::Double;
use super::input::{Record, SimSource, StartAt};
use super::link::relay;
use super::store::SimStore;
use super::table::{TableConfig, TableTarget};
use super::topic_sink::{TopicConfig, TopicSink};
use super::world::{Client, World};
use crate::host::{Pipeline, host};

/// The uid of the one source.
pub const INPUT: &str = "in";

/// The folder of a job's log.
pub fn log_root(job: &JobId) -> String {
    format!("jobs/{job}")
}

/// What a process is told to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The job.
    pub config: JobConfig,
    /// How many tasks.
    pub tasks: u32,
    /// Where a first run starts.
    pub start: StartAt,
    /// How many records a reader returns at once.
    pub batch_max: u64,
    /// The transactional sinks.
    pub topics: Vec<TopicConfig>,
    /// The write-ahead sinks.
    pub tables: Vec<TableConfig>,
    /// How far this machine's wall clock is from the others', in milliseconds.
    pub skew_ms: i64,
}

/// The moment on the wall when a simulation begins: 2026-01-01. Any would do.
const WALL_MS: i64 = 1_767_225_600_000;

fn log_of(client: &Client, folder: &str) -> Log {
    let store: Arc<dyn ObjectStore> = Arc::new(SimStore::new(client.clone()));
    log_on(&client.world, store, folder)
}

fn log_on(world: &Arc<World>, store: Arc<dyn ObjectStore>, folder: &str) -> Log {
    let (chance, places, below) = (Arc::clone(world), Arc::clone(world), Arc::clone(&store));
    Log::on(store, Path::from(folder))
        .with_random(move || rand::RngExt::random(&mut chance.lock().rng))
        // A savepoint is a folder of the same store.
        .with_places(move |folder| Ok(log_on(&places, Arc::clone(&below), folder)))
}

/// One attempt, from looking at the log to its end, and what its host does then. Dropped, it crashed; not polled, it
/// is paused.
pub(super) async fn attempt(client: Client, spec: Spec, slot: Arc<Mutex<Option<Control>>>) -> Result<Ended> {
    let log = log_of(&client, &log_root(&spec.config.job));
    let world = Arc::clone(&client.world);
    let pipeline = pipeline(&client, &spec, log.clone());
    let job = Job::open_on(spec.config, log).await?;
    let (seed, now) = {
        let mut state = client.world.lock();
        (rand::RngExt::random(&mut state.rng), state.now)
    };
    let wall = WALL_MS + spec.skew_ms + i64::try_from(now).unwrap_or_default();
    let wall = jiff::Timestamp::from_millisecond(wall).unwrap_or_default();
    let graph = pipeline.graph();
    let sinks = graph.sinks.clone();
    let (coordinator, link, control) = Coordinator::with_chance(job, graph, seed, wall);
    let progress = control.progress();
    *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(control);
    let (link, carrying) = relay(client, link);
    let mut coordinator = Box::pin(coordinator.run());
    let ended = tokio::select! {
        biased;
        ended = &mut coordinator => ended,
        _ = join(carrying, host(link, pipeline)) => coordinator.await,
    }?;
    // The writers are gone by now.
    let attempt = progress.borrow().attempt.clone();
    if let Some(attempt) = attempt {
        tidy_up(&world, &ended, &attempt, &sinks).await;
    }
    Ok(ended)
}

/// What a host does in the name of a job that has ended: nothing depends on it.
async fn tidy_up(
    world: &World,
    ended: &Ended,
    attempt: &Attempt,
    sinks: &BTreeMap<Uid, Arc<dyn SinkControl>>,
) {
    let double = world.lock().double;
    let mut ended = ended.clone();
    match double {
        Some(Double::HostTidiesNothing) => return,
        Some(Double::HostTidiesAsTheNewest) => ended.snapshot.position = Position(u64::MAX),
        _ => {}
    }
    let tidied = tidy(&ended, attempt, sinks).await;
    world.lock().reached(match tidied {
        Ok(()) => "a job has ended and is tidied",
        Err(_) => "a job has ended, and a target could not be tidied",
    });
}

fn pipeline(client: &Client, spec: &Spec, log: Log) -> Pipeline<Record, Record> {
    let uid = |name: &str| Uid::new(name).expect("invariant: our own names are legal");
    let source = SimSource::new(client.clone(), spec.start, spec.batch_max);
    let sources: BTreeMap<Uid, Arc<dyn SourceData<Record>>> =
        BTreeMap::from([(uid(INPUT), Arc::new(source) as _)]);
    let mut sinks: BTreeMap<Uid, Arc<dyn SinkData<Record>>> = BTreeMap::new();
    for topic in &spec.topics {
        sinks.insert(topic.uid.clone(), Arc::new(TopicSink::new(client.clone(), topic.clone())));
    }
    for TableConfig { uid, table } in &spec.tables {
        let target = TableTarget::new(client.clone(), table.clone());
        // A few records stay in the entry, and more of them become several chunks.
        let mut config = WriteAheadConfig::default();
        (config.in_entry_bytes_max, config.chunk_bytes) = (100, 60);
        let sink = WriteAhead::new(target, config);
        sinks.insert(uid.clone(), Arc::new(sink.expect("invariant: the configuration is valid")));
    }
    Pipeline { sources, function: Arc::new(|record| vec![record]), sinks, tasks: spec.tasks, log: Some(log) }
}
