//! One seed, from its plan to its audit.

use rand::RngExt;
use tidelock::coordinator::Control;
use tidelock::job::{OnCancel, StartFrom};
use tidelock::log::{Closed, RequestId};

use super::audit::audit;
use super::doubles::Double;
use super::drive::{Came, Sim};
use super::keeper::{Keeper, Kept};
use super::plan::{FORK, Plan, Story, job};
use super::points::Hits;
use super::process::log_root;
use super::topic_sink::TopicConfig;
use super::world::State;

/// When nothing went wrong for so many simulated milliseconds, a job that has not finished makes no
/// progress. Its supervisor waits for some seconds, and its input takes a few.
const PATIENCE: u64 = 60_000;

/// How long zombies and late requests get to do harm when the job is over.
const AFTERMATH: u64 = 60_000;

/// What a seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was hit.
    pub hits: Hits,
    /// One number for all that happened.
    pub trace: u64,
    /// Simulated milliseconds.
    pub ms: u64,
    /// Attempts that were started.
    pub attempts: usize,
    /// Records that readers see.
    pub visible: usize,
}

/// A seed that found something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub seed: u64,
    /// What.
    pub wrong: String,
    /// The readable trace, where it was asked for.
    pub lines: Vec<String>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let Self { seed, wrong, .. } = self;
        write!(
            f,
            "seed {seed}: {wrong}\nreplay it: TIDELOCK_SEED={seed} cargo test --release -p tidelock-testkit --test sim"
        )
    }
}

/// Runs something on a paused clock of its own: the same input takes the same steps.
pub fn on_paused_clock<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("invariant: a runtime without threads and I/O starts anywhere").block_on(run)
}

/// Runs a seed. With a double, something of it is broken on purpose.
///
/// # Errors
/// What was found.
pub fn simulate(seed: u64, double: Option<Double>, lines: bool) -> Result<Report, Found> {
    simulate_plan(Plan::of(seed), double, lines)
}

/// Runs a plan.
///
/// # Errors
/// What was found.
pub fn simulate_plan(plan: Plan, double: Option<Double>, lines: bool) -> Result<Report, Found> {
    let seed = plan.seed;
    on_paused_clock(async {
        let mut sim = Sim::new(seed, lines);
        let outcome = Tale::new(&mut sim, plan, double).tell(&mut sim).await;
        let state = sim.world.lock();
        match outcome {
            Ok(()) => Ok(report(&state)),
            Err(wrong) => Err(Found { seed, wrong, lines: state.lines().to_vec() }),
        }
    })
}

fn report(state: &State) -> Report {
    Report {
        hits: state.hits.clone(),
        trace: state.trace_hash(),
        ms: state.now,
        attempts: state.processes.len(),
        visible: state.topics.values().map(|topic| topic.visible().len()).sum(),
    }
}

struct Tale {
    plan: Plan,
    keepers: Vec<Keeper>,
    told: bool,
    savepoints: u32,
}

impl Tale {
    fn new(sim: &mut Sim, plan: Plan, double: Option<Double>) -> Self {
        let mut state = sim.world.lock();
        state.input.partitions.clone_from(&plan.partitions);
        state.input.trims = plan.trims;
        state.faults.clone_from(&plan.faults);
        state.noise = plan.noise;
        state.double = double;
        let twins = state.rng.random_range(0..8) == 0;
        drop(state);
        let mut keeper = Keeper::new(plan.spec.clone());
        keeper.pause_max = plan.pause_max;
        if twins {
            // Two supervisors, or one that believed too early that the first start had failed.
            keeper.start(sim);
        }
        keeper.start(sim);
        Self { plan, keepers: vec![keeper], told: false, savepoints: 0 }
    }

    async fn tell(&mut self, sim: &mut Sim) -> Result<(), String> {
        loop {
            for keeper in &mut self.keepers {
                keeper.look(sim)?;
            }
            let now = sim.world.lock().now;
            if !self.told && now >= self.plan.story_at {
                self.act(sim).await?;
                continue;
            }
            self.go_on_after_a_stop(sim);
            if self.keepers.iter().all(|keeper| keeper.is_over(sim)) {
                break;
            }
            let trouble = sim.world.lock().last_trouble;
            if now > trouble + PATIENCE {
                return Err(format!(
                    "no progress: not finished after {now} ms, the last trouble at {trouble}"
                ));
            }
            let looks = self.keepers.iter().filter_map(Keeper::next_look);
            let story = (!self.told).then_some(self.plan.story_at);
            let next = looks.chain(story).min().unwrap_or(now + 5_000).saturating_sub(now).clamp(1, 5_000);
            let lives =
                |state: &State| state.processes.iter().map(|process| process.life).collect::<Vec<_>>();
            let before = lives(&sim.world.lock());
            sim.until(next, |state| lives(state) != before).await?;
        }
        sim.pass(AFTERMATH).await?;
        let state = sim.world.lock();
        for keeper in &self.keepers {
            if keeper.kept != Kept::Halted {
                audit(&state, &keeper.spec)?;
            }
        }
        Ok(())
    }

    /// The user acts, once: where that is not possible now, a little later.
    async fn act(&mut self, sim: &mut Sim) -> Result<(), String> {
        let control = self.keepers[0].running(sim).and_then(|process| sim.control(process));
        self.told = match (self.plan.story, control) {
            (Story::Run, _) => true,
            (Story::Rollback, _) => self.roll_back(sim),
            (_, None) => self.keepers[0].kept != Kept::Going,
            (Story::Savepoint | Story::Fork, Some(control)) => self.take_savepoint(sim, &control).await?,
            (Story::StopAndGo, Some(control)) => {
                let savepoint = self.new_savepoint();
                let savepoint = (!self.plan.seed.is_multiple_of(4)).then_some(&*savepoint);
                sim.during(1_000, async { control.stop(savepoint).await }).await?;
                true
            }
            (Story::CancelAndGo | Story::CancelAndDelete, Some(control)) => {
                sim.during(1_000, async { control.cancel().await }).await?;
                true
            }
        };
        self.plan.story_at = sim.world.lock().now + 100;
        Ok(())
    }

    /// A savepoint's folder must be new.
    fn new_savepoint(&mut self) -> String {
        self.savepoints += 1;
        format!("savepoints/{}", self.savepoints)
    }

    async fn take_savepoint(&mut self, sim: &mut Sim, control: &Control) -> Result<bool, String> {
        let url = self.new_savepoint();
        let taken = sim.during(10_000, async { control.savepoint(&url).await }).await?;
        let Came::To(Ok(_)) = taken else { return Ok(self.keepers[0].kept != Kept::Going) };
        sim.world.lock().reached("a savepoint was taken");
        if self.plan.story == Story::Fork {
            self.fork(sim, url);
        }
        Ok(true)
    }

    fn fork(&mut self, sim: &Sim, url: String) {
        let mut spec = self.plan.spec.clone();
        spec.config.job = job(FORK);
        spec.config.start_from = StartFrom::Snapshot { url, request: None };
        let renamed =
            |topic: &TopicConfig| TopicConfig { topic: topic.topic.replace("job", FORK), ..topic.clone() };
        spec.topics = spec.topics.iter().map(renamed).collect();
        for table in &mut spec.tables {
            table.table = table.table.replace("job", FORK);
        }
        sim.world.lock().reached("a job was forked from a running one");
        self.keepers.push(Keeper::new(spec));
    }

    /// Rolls back to an entry that is retained now, while the old attempt still runs.
    fn roll_back(&mut self, sim: &mut Sim) -> bool {
        let keeper = &mut self.keepers[0];
        let chosen = {
            let mut state = sim.world.lock();
            let root = log_root(&keeper.spec.config.job);
            let stand = state.objects.entries(&root).filter(|fact| fact.deleted.is_none());
            let positions: Vec<u64> =
                stand.filter(|fact| fact.entry.state.is_some()).map(|fact| fact.entry.position.0).collect();
            if positions.is_empty() {
                return keeper.kept != Kept::Going;
            }
            let chosen = positions[state.rng.random_range(0..positions.len())];
            state.reached("a rollback was asked for");
            chosen
        };
        let root = log_root(&keeper.spec.config.job);
        keeper.spec.config.start_from = StartFrom::Snapshot {
            url: format!("{root}#{chosen}"),
            request: Some(RequestId("go back".to_owned())),
        };
        keeper.start(sim);
        true
    }

    /// A job that was stopped or cancelled goes on, unless that was meant to be its end.
    fn go_on_after_a_stop(&mut self, sim: &mut Sim) {
        let deletes = self.plan.spec.config.on_cancel == OnCancel::Delete;
        for keeper in &mut self.keepers {
            let goes_on = match keeper.kept {
                Kept::Ended(Closed::Stopped) => true,
                Kept::Ended(Closed::Cancelled) => !deletes,
                _ => false,
            };
            if goes_on {
                sim.world.lock().reached("a job went on after it was stopped");
                keeper.kept = Kept::Going;
                keeper.start(sim);
            }
        }
    }
}
