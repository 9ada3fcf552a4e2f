//! For scenarios that are told step by step: a small job, and words for what happens to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidelock::ErrorKind;
use tidelock::job::{JobConfig, StartFrom};
use tidelock::log::{Closed, Entry, EntryKind, RequestId};

use super::audit::audit;
use super::doubles::Double;
use super::drive::{Came, Sim};
use super::input::{Partition, StartAt};
use super::keeper::{Keeper, Kept};
use super::plan::{JOB, job, uid};
use super::points::{Fault, Point};
use super::process::{Spec, log_root};
use super::seed::on_paused_clock;
use super::table::TableConfig;
use super::topic_sink::TopicConfig;
use super::world::{Life, ProcessId, State};

/// What must happen happens within so many simulated milliseconds, or never.
const PATIENCE: u64 = 120_000;

/// Three splits of a hundred records, one every ten milliseconds: a second of work in some fifty epochs.
const SPLITS: u32 = 3;
const RECORDS: u64 = 100;
const GAP: u64 = 10;

/// How a scenario went wrong, or that it did not.
pub type Told = Result<(), String>;

/// A world with one small job.
#[derive(Debug)]
pub struct Scene {
    /// The world and its processes.
    pub sim: Sim,
    /// Who looks after the job, once [`Scene::finish`] is called.
    pub keeper: Keeper,
}

/// Tells a scenario, in a world where something may be broken on purpose.
///
/// # Errors
/// What went wrong.
pub fn tell(double: Option<Double>, scenario: impl AsyncFn(&mut Scene) -> Told) -> Told {
    on_paused_clock(async {
        let mut scene = Scene::new(double);
        let told = scenario(&mut scene).await;
        for line in scene.sim.world.lock().lines() {
            println!("{line}");
        }
        told
    })
}

/// A job with a topic and nothing unusual.
pub fn plain_spec(name: &str) -> Spec {
    let mut config = JobConfig::new(job(name), "simulated");
    config.settings.interval = Duration::from_millis(20);
    config.settings.timeout = Duration::from_millis(5000);
    config.discovery_interval = Duration::from_millis(100);
    let topic = topic(name, "a");
    Spec {
        config,
        tasks: 2,
        start: StartAt::Earliest,
        batch_max: 5,
        topics: vec![topic],
        tables: Vec::new(),
        skew_ms: 0,
    }
}

/// A transactional sink of a job.
pub fn topic(job: &str, name: &str) -> TopicConfig {
    let topic = format!("{job}-{name}");
    TopicConfig { uid: uid(name), topic, slots: 9, timeout_ms: 24 * 3_600_000, padding: 0 }
}

/// A write-ahead sink of a job.
pub fn table(job: &str, name: &str) -> TableConfig {
    TableConfig { uid: uid(name), table: format!("{job}-{name}") }
}

/// Says what is not so.
///
/// # Errors
/// The words, where it is not so.
pub fn sure(holds: bool, words: &str) -> Told {
    if holds { Ok(()) } else { Err(words.to_owned()) }
}

/// How often a point was passed so far.
pub fn passes(state: &State, point: Point) -> u64 {
    state.hits.passes.get(&point).copied().unwrap_or(0)
}

/// Whether a state that matters was reached.
pub fn reached(state: &State, name: &str) -> bool {
    state.hits.states.contains_key(name)
}

/// How many entries of a kind the log ever had.
pub fn appended(state: &State, kind: EntryKind) -> usize {
    state.objects.entries(&log_root(&job(JOB))).filter(|fact| fact.entry.kind == kind).count()
}

/// Whether the newest entry lists something.
pub fn is_pending(state: &State) -> bool {
    let newest = state.objects.newest(&log_root(&job(JOB)));
    newest.and_then(|fact| fact.entry.state.as_ref()).is_some_and(|state| !state.is_settled())
}

impl Scene {
    fn new(double: Option<Double>) -> Self {
        // `TIDELOCK_TRACE` tells a scenario step by step.
        let sim = Sim::new(1, std::env::var_os("TIDELOCK_TRACE").is_some());
        {
            let mut state = sim.world.lock();
            state.double = double;
            for split in 0..SPLITS {
                let partition = Partition { records: RECORDS, gap: GAP, ..Partition::default() };
                state.input.partitions.insert(split, partition);
            }
        }
        Self { sim, keeper: Keeper::new(plain_spec(JOB)) }
    }

    /// What the next attempt is started with.
    pub fn spec(&mut self) -> &mut Spec {
        &mut self.keeper.spec
    }

    /// Changes the source system.
    pub fn partitions(&self, mut change: impl FnMut(u32, &mut Partition)) {
        for (split, partition) in &mut self.sim.world.lock().input.partitions {
            change(*split, partition);
        }
    }

    /// Something shall go wrong.
    pub fn fault(&self, fault: Fault) {
        self.sim.world.lock().faults.push(fault);
    }

    /// Starts an attempt.
    pub fn start(&mut self) -> ProcessId {
        let process = self.sim.start(&self.keeper.spec);
        self.keeper.adopt(process);
        process
    }

    /// Kills an attempt.
    pub fn kill(&self, process: ProcessId) {
        self.sim.world.lock().kill(process);
    }

    /// Wakes an attempt that was paused.
    pub fn wake(&self, process: ProcessId) {
        self.sim.world.lock().wake(process);
    }

    /// Goes on until something is so.
    ///
    /// # Errors
    /// Where it never is, or somebody is accused first.
    pub async fn until(&mut self, words: &str, condition: impl FnMut(&State) -> bool) -> Told {
        match self.sim.until(PATIENCE, condition).await? {
            Came::To(()) => Ok(()),
            Came::TimeUp => Err(format!("never: {words}")),
        }
    }

    /// Goes on until an attempt is paused.
    ///
    /// # Errors
    /// As [`Scene::until`].
    pub async fn until_paused(&mut self, process: ProcessId) -> Told {
        let paused = |state: &State| matches!(state.processes[process].life, Life::Paused(_));
        self.until("the attempt is paused", paused).await
    }

    /// Goes on until an attempt is killed.
    ///
    /// # Errors
    /// As [`Scene::until`].
    pub async fn until_dead(&mut self, process: ProcessId) -> Told {
        self.until("the attempt is killed", |state| state.processes[process].life == Life::Dead).await
    }

    /// Goes on until an attempt ended, and says whether it was fenced.
    ///
    /// # Errors
    /// Where it ended otherwise.
    pub async fn until_fenced(&mut self, process: ProcessId) -> Told {
        self.until("the attempt ends", |state| state.processes[process].life == Life::Ended).await?;
        let fenced = |error: &tidelock::Error| error.kind() == ErrorKind::Fenced;
        let outcome = self.sim.outcome(process).and_then(|outcome| outcome.as_ref().err());
        sure(outcome.is_some_and(fenced), &format!("fenced, and not {outcome:?}"))
    }

    /// Goes on until an attempt ended with an error: fenced, or refused by a target first.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn until_failed(&mut self, process: ProcessId) -> Told {
        self.until("the attempt ends", |state| state.processes[process].life == Life::Ended).await?;
        let outcome = self.sim.outcome(process);
        sure(outcome.is_some_and(Result::is_err), &format!("failed, and not {outcome:?}"))
    }

    /// Lets a supervisor look after the job until it is over; zombies wake; then the oracle audits.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn keep(&mut self) -> Result<Kept, String> {
        let until = self.sim.world.lock().now + PATIENCE;
        while self.keeper.kept == Kept::Going {
            self.keeper.look(&mut self.sim)?;
            self.sim.pass(50).await?;
            sure(self.sim.world.lock().now < until, "no progress")?;
        }
        self.sim.pass(60_000).await?;
        let state = self.sim.world.lock();
        if self.keeper.kept != Kept::Halted {
            audit(&state, &self.keeper.spec)?;
        }
        Ok(self.keeper.kept)
    }

    /// The same, to the end of the input.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn finish(&mut self) -> Told {
        let kept = self.keep().await?;
        sure(kept == Kept::Ended(Closed::Finished), &format!("finished, and not {kept:?}"))
    }

    /// Every entry that the job's log ever had.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let state = self.sim.world.lock();
        let root = log_root(&self.keeper.spec.config.job);
        state.objects.entries(&root).map(|fact| Arc::clone(&fact.entry)).collect()
    }

    /// How many histories the log has.
    pub fn lineages(&self) -> usize {
        self.entries().iter().map(|entry| entry.lineage.generation).collect::<BTreeSet<_>>().len()
    }

    /// The next attempts go back to the first positions of the job.
    pub fn roll_back_to_the_start(&mut self) {
        let entries = self.entries();
        let start = entries.iter().find(|entry| entry.kind == EntryKind::Start);
        let position = start.map_or(0, |entry| entry.position.0);
        self.spec().config.start_from = StartFrom::Snapshot {
            url: format!("{}#{position}", log_root(&job(JOB))),
            request: Some(RequestId("go back".to_owned())),
        };
    }
}
